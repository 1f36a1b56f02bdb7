"""Figures, drawn from tables and arrays."""
