"""Numbers of the paper, typed from its tables and text; see ``README.md`` here."""

from pathlib import Path

import pandas as pd


def numbers(exhibit: str) -> pd.DataFrame:
    """A CSV here: the paper's ``table1``, ``table2``, ``figure2``, ``figure3``; others' ``published``, ``external``."""
    return pd.read_csv(Path(__file__).parent / f"{exhibit}.csv")
