"""Plots of accuracies, classes and training: one look, colour-blind safe. Motion is drawn by `fields`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moclip.io.files import atomic_path

PRINT_DPI = 200
SCREEN_DPI = 130  # a third larger than in print: seven points stay readable
# Okabe and Ito's palette; one colour a system, the same in every figure.
COLOURS = {
    "zero_shot": "#CC79A7",
    "mv_only": "#E69F00",
    "fusion": "#0072B2",
    "appearance_head": "#009E73",
    "motion_head": "#D55E00",
    "fusion_permuted": "#999999",
}
MARKERS = {"zero_shot": "s", "mv_only": "^", "fusion": "o", "appearance_head": "D", "motion_head": "v"}
LABELS = {
    "zero_shot": "zero-shot",
    "mv_only": "MV-only",
    "fusion": "fusion",
    "appearance_head": "appearance head",
    "motion_head": "motion head",
    "fusion_permuted": "fusion, motion permuted",
}

VERDICTS = {  # of the claims ledger
    "confirmed": "#009E73",
    "not confirmed": "#E69F00",
    "contradicted": "#D55E00",
    "not testable here": "#BBBBBB",
    "not run": "#E8E8E8",
}


def use_style() -> None:
    """Sizes for print, in columns of 3.4 inches or pages of 7; PDF text stays text."""
    sns.set_theme(context="paper", style="ticks")
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.labelsize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "pdf.fonttype": 42,
            "svg.fonttype": "none",
        }
    )


def save_figure(folder: Path, name: str, figure: Figure, alt: str) -> Image:
    """Write ``<name>.png`` (200 dpi) and ``<name>.pdf``, without dates inside, and close the figure.

    Parameters
    ----------
    alt : what is to be seen, for those who cannot see it; goes into both files and into the notebook.

    Returns
    -------
    Image
        The PNG; as the last line of a cell it is what the notebook shows.
    """
    if not alt:
        raise ValueError(f"{name} has no alt text: say in a sentence or two what is to be seen")
    about = {
        ".png": {"Software": None, "Description": alt},
        ".pdf": {"CreationDate": None, "Producer": None, "Subject": alt},
    }
    for suffix, metadata in about.items():
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, dpi=PRINT_DPI, metadata=metadata, bbox_inches="tight")
    plt.close(figure)
    return Image(filename=str(folder / f"{name}.png"), alt=alt, width=_width(folder / f"{name}.png"))


def _width(png: Path) -> int:
    """Width on a screen, in CSS pixels."""
    with PIL.Image.open(png) as image:
        return round(image.width * SCREEN_DPI / PRINT_DPI)


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
    colour: str = COLOURS["fusion"],
    xlabel: str = "probability",
) -> None:
    """Horizontal bars of the best classes, or prompts, of one clip; those of the true class have the colour.

    Parameters
    ----------
    scores : probabilities, or what ``xlabel`` says, by name; best first.
    truth : the true class, or all its prompts.
    """
    own = [truth] if isinstance(truth, str) else truth
    axes.barh(range(len(scores)), scores, color=[colour if name in own else "#BBBBBB" for name in scores.index])
    axes.set_yticks(range(len(scores)), list(scores.index))
    axes.invert_yaxis()
    axes.set(xlabel=xlabel)
    if xlabel == "probability":
        axes.set_xlim(0, 1)


def learning_curve(axes: Axes, history: pd.DataFrame, label: str | None = None, colour: str | None = None) -> None:
    """Training accuracy an epoch, a dot at the last; scores that choose the epoch are dashed, a star at the best.

    Parameters
    ----------
    history : from `moclip.training.motion`; of a training in two phases the first, which chooses, is drawn.
    """
    if "phase" in history:
        history = history[history["phase"] == "select"]
    (line,) = axes.plot(history["epoch"], history["accuracy"], label=label, color=colour)
    name = "training accuracy"
    marks = [("accuracy", history.index[-1], "o")]
    if "score" in history:
        axes.plot(history["epoch"], history["score"], color=line.get_color(), linestyle="--")
        name = "accuracy (dashed: held out)"
        marks.append(("score", history["score"].idxmax(), "*"))
    for column, row, marker in marks:
        place = history["epoch"][row], history[column][row]
        axes.plot(*place, color=line.get_color(), marker=marker, markersize=4, clip_on=False)
    axes.set(xlabel="epoch", ylabel=name, ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    sns.despine(ax=axes)


def whiskers(
    table: pd.DataFrame, value: str = "accuracy", low: str = "low", high: str = "high"
) -> tuple[pd.Series, np.ndarray]:
    """Shares in percent, and how far their intervals reach below and above: (n,), (2, n)."""
    values = 100 * table[value]
    return values, np.abs(100 * table[[low, high]].to_numpy().T - values.to_numpy())


def accuracy_bars(axes: Axes, table: pd.DataFrame, ceilings: Mapping[str, float] | None = None) -> None:
    """Accuracy with interval of every system of one data set, in the order of `LABELS`; ceilings as dashed lines.

    Parameters
    ----------
    table : rows of ``results.csv`` of one data set.
    """
    table = table.set_index("system").reindex([name for name in LABELS if name in set(table["system"])])
    values, errors = whiskers(table)
    places = np.arange(len(table))
    axes.barh(places, values, xerr=errors, color=[COLOURS[name] for name in table.index], error_kw={"lw": 0.8})
    for place, value, high in zip(places, values, 100 * table["high"], strict=True):
        axes.text(max(value, high) + 1.5, float(place), f"{value:.1f}", va="center", fontsize=7)
    below: dict[float, list[str]] = {}
    for name in ("appearance", "motion"):
        below.setdefault((ceilings or {}).get(name, 1.0), []).append(name)
    for (ceiling, names), style in zip(sorted(below.items()), ("--", ":"), strict=False):
        if ceiling < 1:
            label = f"ceiling of {' and of '.join(names)} alone: {100 * ceiling:.1f}"
            axes.axvline(100 * ceiling, color="black", lw=0.8, ls=style, label=label)
    axes.set_yticks(places, [LABELS[name] for name in table.index])
    axes.invert_yaxis()
    axes.set(xlabel="top-1 accuracy (%)", xlim=(0, 112))
    axes.set_xticks(range(0, 101, 20))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)


def class_dots(table: pd.DataFrame, systems: Sequence[str], named: Sequence[str] = ()) -> Figure:
    """Figure 2: accuracy of each class under each system, with intervals; classes in the order of the table.

    Parameters
    ----------
    table : `moclip.report.classes.per_class`.
    systems : columns to draw.
    named : classes to mark with a star; the paper's, where the data have them.
    """
    columns = 1 if len(table) <= 40 else 2
    rows = math.ceil(len(table) / columns)
    row_inches = 0.28 if columns == 1 else 0.16
    size = (4.6 if columns == 1 else 7.0, 0.9 + row_inches * rows)
    figure, panels = plt.subplots(1, columns, figsize=size, squeeze=False)
    offsets = np.linspace(-0.3, 0.3, len(systems))
    for panel, start in zip(panels.flat, range(0, len(table), rows), strict=True):
        own = table.iloc[start : start + rows].reset_index(drop=True)
        panel.barh(own.index[::2], 106, left=-3, height=1, color="#F2F2F2", zorder=0)
        for system, offset in zip(systems, offsets, strict=True):
            value, errors = whiskers(own, system, f"{system}_low", f"{system}_high")
            panel.errorbar(
                value, own.index + offset, xerr=errors, fmt=MARKERS[system], ms=3, lw=0.6, color=COLOURS[system],
                label=LABELS[system], clip_on=False,
            )  # fmt: skip
        panel.set_yticks(own.index, [f"★ {name}" if name in named else name for name in own["class_name"]])
        panel.tick_params(axis="y", length=0, labelsize=7 if columns == 1 else 6)
        panel.set(xlim=(-3, 103), ylim=(rows - 0.5, -0.5), xlabel="top-1 accuracy (%)")
        panel.set_xticks(range(0, 101, 20))
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(systems), frameon=False
    )
    return figure


def confusion(axes: Axes, shares: np.ndarray, names: Sequence[str], title: str, inches: float) -> None:
    """A confusion matrix whose rows sum to 1; numbers in the cells where they have room, labels always.

    Parameters
    ----------
    shares : (C, C), rows are true classes.
    inches : side of the matrix in print; decides the size of its text.
    """
    points = 72 * inches / len(names)  # height of a cell
    numbers = points >= 11
    bar = {"shrink": 0.4, "fraction": 0.03, "pad": 0.01, "label": "% of the class"}
    sns.heatmap(
        100 * shares, ax=axes, cmap="Blues", norm=PowerNorm(0.5, 0, 100), square=True, cbar=not numbers, cbar_kws=bar,
        xticklabels=names, yticklabels=names, linewidths=0.2, linecolor="#CCCCCC",
    )  # fmt: skip
    if numbers:
        for row, column in zip(*np.nonzero(np.nan_to_num(shares) >= 0.005), strict=True):
            colour = "white" if shares[row, column] > 0.4 else "black"
            text = str(int(100 * shares[row, column] + 0.5))
            axes.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=min(7.0, 0.42 * points), color=colour
            )
    axes.tick_params(length=0, labelsize=min(7.0, 0.85 * points), pad=1)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    axes.set(title=title, xlabel="taken for", ylabel="true class")


def verdict_bars(axes: Axes, counts: pd.DataFrame) -> None:
    """Claims by place (rows, the first on top) and verdict (columns): `moclip.studies.claims.ledger.counts`."""
    left = np.zeros(len(counts))
    for verdict, colour in VERDICTS.items():
        own = counts[verdict].to_numpy()
        label = f"{verdict} ({own.sum()})"
        axes.barh(range(len(counts)), own, 0.75, left, color=colour, label=label, edgecolor="white", lw=0.5)
        left += own
    axes.set_yticks(range(len(counts)), list(counts.index))
    axes.invert_yaxis()
    axes.set(xlabel="claims")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="lower right")


def verdict_style(verdict: str) -> str:
    """CSS of a verdict's cell."""
    return f"border-left: 0.8em solid {VERDICTS[verdict]}; white-space: nowrap"
