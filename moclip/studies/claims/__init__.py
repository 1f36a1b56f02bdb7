"""The paper's claims, checked one by one against this run's tables (notebook 99)."""
