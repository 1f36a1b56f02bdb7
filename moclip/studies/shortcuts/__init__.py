"""What the encoder's settings tell of the class (notebook 07)."""
