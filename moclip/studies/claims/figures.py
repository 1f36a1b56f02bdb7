"""The verdicts as colours: a chart, and the cells of the ledger."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moclip.studies.claims.evidence import Verdict

COLOURS = dict(zip(Verdict, ("#009E73", "#E69F00", "#D55E00", "#BBBBBB", "#E8E8E8"), strict=True))


def verdict_bars(axes: Axes, counts: pd.DataFrame) -> None:
    """Stacked bars: claims by place (rows, the first on top) and verdict (colours).

    Parameters
    ----------
    counts : `moclip.studies.claims.ledger.counts`.
    """
    left = np.zeros(len(counts))
    for verdict, colour in COLOURS.items():
        claims = counts[verdict].to_numpy()
        label = f"{verdict} ({claims.sum()})"
        axes.barh(range(len(counts)), claims, 0.75, left, color=colour, label=label, edgecolor="white", lw=0.5)
        left += claims
    axes.set_yticks(range(len(counts)), list(counts.index))
    axes.invert_yaxis()
    axes.set(xlabel="claims")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="lower right")


def verdict_style(verdict: str) -> str:
    """CSS of a verdict's cell."""
    return f"border-left: 0.8em solid {COLOURS[Verdict(verdict)]}; white-space: nowrap"
