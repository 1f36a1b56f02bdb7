"""Files: where they lie, how they are written whole, what is kept and when it still holds."""
