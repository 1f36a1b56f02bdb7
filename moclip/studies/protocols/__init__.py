"""The paper's protocol against the published code's, field by field (notebook 09)."""
