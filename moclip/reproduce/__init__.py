"""Notebooks in order, from nothing to every table and figure: `moclip reproduce` (see ``run.py``)."""
