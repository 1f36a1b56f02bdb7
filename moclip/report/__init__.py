"""Metrics, tables and plots: reads artefacts only, never a model, and imports no torch."""
