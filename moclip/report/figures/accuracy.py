"""Figures of accuracies: bars, curves, classes and confusion matrices. Motion is drawn by `motion`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moclip.report.figures.style import GREY
from moclip.report.systems import FUSION, SYSTEMS


def similarity(axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Heat map of mean similarity: rows are true classes, columns are prompts."""
    sns.heatmap(
        values, ax=axes, cmap="viridis", xticklabels=columns, yticklabels=rows, cbar_kws={"label": "mean cosine"}
    )
    axes.set(xlabel="class prompt", ylabel="true class")
    axes.tick_params(length=0, labelsize=6)


def score_bars(
    axes: Axes,
    scores: pd.Series,
    truth: str | Sequence[str],
    colour: str = SYSTEMS[FUSION].colour,
    xlabel: str = "probability",
) -> None:
    """Horizontal bars of the best classes (or prompts) of one clip; those of the true class are coloured.

    Parameters
    ----------
    scores : probabilities, or the quantity that ``xlabel`` names, by class name; best first.
    truth : the true class, or all its prompts.
    """
    true = [truth] if isinstance(truth, str) else truth
    axes.barh(range(len(scores)), scores, color=[colour if name in true else GREY for name in scores.index])
    axes.set_yticks(range(len(scores)), list(scores.index))
    axes.invert_yaxis()
    axes.set(xlabel=xlabel)
    if xlabel == "probability":
        axes.set_xlim(0, 1)


def learning_curve(axes: Axes, history: pd.DataFrame, label: str | None = None, colour: str | None = None) -> None:
    """Training accuracy per epoch, with a dot at the last epoch.

    Scores that choose the epoch, if there are any, are a dashed line with a star at the best.

    Parameters
    ----------
    history : from `moclip.training.motion`; of a training in two phases, the first (which chooses) is drawn.
    """
    if "phase" in history:
        history = history[history["phase"] == "select"]
    (line,) = axes.plot(history["epoch"], history["accuracy"], label=label, color=colour)
    name, marks = "training accuracy", {"accuracy": (history.index[-1], "o")}
    if "score" in history:
        axes.plot(history["epoch"], history["score"], "--", color=line.get_color())
        name, marks["score"] = "accuracy (dashed: held out)", (history["score"].idxmax(), "*")
    for column, (row, marker) in marks.items():
        axes.plot(history["epoch"][row], history[column][row], marker, color=line.get_color(), ms=4, clip_on=False)
    axes.set(xlabel="epoch", ylabel=name, ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    sns.despine(ax=axes)


def whiskers(
    table: pd.DataFrame, value: str = "accuracy", low: str = "low", high: str = "high"
) -> tuple[pd.Series, np.ndarray]:
    """Values in percent (n,), and how far their intervals reach below and above (2, n)."""
    values = 100 * table[value]
    return values, np.abs(100 * table[[low, high]].to_numpy().T - values.to_numpy())


def percent_bars(axes: Axes, table: pd.DataFrame, labels: Sequence[str], colours: Sequence[str]) -> None:
    """Horizontal bars of accuracies with their intervals and values, one per row, the first on top.

    Parameters
    ----------
    table : columns accuracy, low and high.
    labels, colours : one per row.
    """
    values, errors = whiskers(table)
    places = np.arange(len(table))
    axes.barh(places, values, xerr=errors, color=colours, error_kw={"lw": 0.8})
    for place, value, high in zip(places, values, 100 * table["high"], strict=True):
        axes.text(np.nanmax([value, high]) + 1.5, float(place), f"{value:.1f}", va="center", fontsize=7)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set(xlabel="top-1 accuracy (%)", xlim=(0, 112))


def stacked_bars(
    axes: Axes, counts: pd.DataFrame, colours: Sequence[str], what: str, height: float, **look: Any
) -> None:
    """Horizontal bars of the rows of ``counts``, one part per column; ``look`` goes to matplotlib's ``barh``.

    Parameters
    ----------
    colours : one per column.
    what : is counted; the label of the axis.
    height : of a bar, as a share of a row.
    """
    left = np.zeros(len(counts))
    for (label, values), colour in zip(counts.items(), colours, strict=True):
        axes.barh(range(len(counts)), values, height, left, color=colour, label=label, **look)
        left += values.to_numpy()
    axes.set(xlabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def accuracy_bars(axes: Axes, table: pd.DataFrame, ceilings: Mapping[str, float] | None = None) -> None:
    """Accuracy with interval of every system on one data set, in the order of `SYSTEMS`; ceilings as dashed lines.

    Parameters
    ----------
    table : rows of ``results.csv`` of one data set.
    """
    systems = {name: system for name, system in SYSTEMS.items() if name in set(table["system"])}
    table = table.set_index("system").reindex(list(systems))
    labels = [system.label for system in systems.values()]
    percent_bars(axes, table, labels, [system.colour for system in systems.values()])
    limits = pd.Series(ceilings or {}, dtype=float).reindex(["appearance", "motion"])
    limits = limits[limits < 1]
    for ceiling, style in zip(np.unique(limits), ("--", ":"), strict=False):
        label = f"ceiling of {' and of '.join(limits.index[limits == ceiling])} alone: {100 * ceiling:.1f}"
        axes.axvline(100 * ceiling, color="black", lw=0.8, ls=style, label=label)
    axes.set_xticks(range(0, 101, 20))
    if len(limits):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)


def class_dots(table: pd.DataFrame, systems: Sequence[str], named: Sequence[str] = ()) -> Figure:
    """Figure 2: accuracy of each class under each system, with intervals, in the order of the table.

    Parameters
    ----------
    table : `moclip.report.classes.per_class`.
    systems : columns to draw.
    named : classes to mark with a star, if the data have them: those that the paper names.
    """
    columns, width, row_inches, labelsize = (1, 4.6, 0.28, 7) if len(table) <= 40 else (2, 7.0, 0.16, 6)
    rows = math.ceil(len(table) / columns)
    figure, panels = plt.subplots(1, columns, figsize=(width, 0.9 + row_inches * rows), squeeze=False)
    offsets = np.linspace(-0.3, 0.3, len(systems))
    for panel, start in zip(panels.flat, range(0, len(table), rows), strict=True):
        shown = table.iloc[start : start + rows].reset_index(drop=True)
        panel.barh(shown.index[::2], 106, left=-3, height=1, color="#F2F2F2", zorder=0)
        for name, offset in zip(systems, offsets, strict=True):
            value, errors = whiskers(shown, name, f"{name}_low", f"{name}_high")
            system = SYSTEMS[name]
            panel.errorbar(
                value, shown.index + offset, xerr=errors, fmt=system.marker, ms=3, lw=0.6, color=system.colour,
                label=system.label, clip_on=False,
            )  # fmt: skip
        panel.set_yticks(shown.index, [f"★ {name}" if name in named else name for name in shown["class_name"]])
        panel.tick_params(axis="y", length=0, labelsize=labelsize)
        panel.set(xlim=(-3, 103), ylim=(rows - 0.5, -0.5), xlabel="top-1 accuracy (%)")
        panel.set_xticks(range(0, 101, 20))
    drawn = panels[0, 0].get_legend_handles_labels()
    figure.legend(*drawn, loc="outside upper center", ncols=len(systems), frameon=False)
    return figure


def confusion(axes: Axes, shares: np.ndarray, names: Sequence[str], title: str, inches: float) -> None:
    """A confusion matrix whose rows sum to 1; cells have numbers if there is room, labels are always drawn.

    Parameters
    ----------
    shares : (C, C), rows are true classes.
    inches : side of the matrix in print; it sets the size of the text.
    """
    points = 72 * inches / len(names)  # height of a cell
    numbers = points >= 11
    bar = {"shrink": 0.4, "fraction": 0.03, "pad": 0.01, "label": "% of the class"}
    sns.heatmap(
        100 * shares, ax=axes, cmap="Blues", norm=PowerNorm(0.5, 0, 100), square=True, cbar=not numbers, cbar_kws=bar,
        xticklabels=names, yticklabels=names, linewidths=0.2, linecolor="#CCCCCC",
    )  # fmt: skip
    if numbers:
        fontsize = min(7.0, 0.42 * points)
        for row, column in zip(*np.nonzero(np.nan_to_num(shares) >= 0.005), strict=True):
            colour = "white" if shares[row, column] > 0.4 else "black"
            text = str(int(100 * shares[row, column] + 0.5))
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=fontsize, color=colour)
    axes.tick_params(length=0, labelsize=min(7.0, 0.85 * points), pad=1)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    axes.set(title=title, xlabel="taken for", ylabel="true class")
