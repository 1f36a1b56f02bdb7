"""The verdicts as colours: a chart, and the cells of the ledger."""

import pandas as pd
from matplotlib.axes import Axes

from moclip.report.figures.accuracy import stacked_bars
from moclip.studies.claims.evidence import Verdict

COLOURS = dict(zip(Verdict, ("#009E73", "#E69F00", "#D55E00", "#BBBBBB", "#E8E8E8"), strict=True))


def verdict_bars(axes: Axes, counts: pd.DataFrame) -> None:
    """Stacked bars: claims by place (rows, the first on top) and verdict (colours).

    Parameters
    ----------
    counts : `moclip.studies.claims.ledger.counts`.
    """
    totals = {verdict: f"{verdict} ({count})" for verdict, count in counts.sum().items()}
    stacked_bars(axes, counts.rename(columns=totals), list(COLOURS.values()), "claims", 0.75, edgecolor="white", lw=0.5)
    axes.set_yticks(range(len(counts)), list(counts.index))
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower right")


def verdict_style(verdict: str) -> str:
    """CSS of a verdict's cell."""
    return f"border-left: 0.8em solid {COLOURS[Verdict(verdict)]}; white-space: nowrap"
