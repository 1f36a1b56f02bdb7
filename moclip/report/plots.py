"""Plots of the notebooks: one look, colour-blind safe, readable at column width."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from moclip.paths import atomic_path

# Okabe and Ito's palette; one colour a system, the same in every figure.
COLOURS = {
    "zero_shot": "#CC79A7",
    "mv_only": "#E69F00",
    "fusion": "#0072B2",
    "appearance_head": "#009E73",
    "motion_head": "#D55E00",
    "fusion_permuted": "#999999",
}
LABELS = {
    "zero_shot": "zero-shot",
    "mv_only": "MV-only",
    "fusion": "fusion",
    "appearance_head": "appearance head",
    "motion_head": "motion head",
    "fusion_permuted": "fusion, motion permuted",
}


def use_style() -> None:
    """Sizes for a column of 3.4 inches; PDF text stays text."""
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


def save_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write ``<name>.png`` (200 dpi) and ``<name>.pdf``, without dates inside."""
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None, "Producer": None})):
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, dpi=200, metadata=metadata, bbox_inches="tight")


def similarity(axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Heat map of mean similarity: rows are true classes, columns are prompts."""
    sns.heatmap(
        values, ax=axes, cmap="viridis", xticklabels=columns, yticklabels=rows, cbar_kws={"label": "mean cosine"}
    )
    axes.set(xlabel="class prompt", ylabel="true class")
    axes.tick_params(length=0, labelsize=6)


def score_bars(axes: Axes, names: Sequence[str], scores: Sequence[float], truth: str) -> None:
    """Horizontal bars of the best classes of one clip; the true class is dark."""
    colours = [COLOURS["fusion"] if name == truth else "#BBBBBB" for name in names]
    axes.barh(range(len(names)), scores, color=colours)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("probability")


def colour_field(field: np.ndarray, bound: float) -> np.ndarray:
    """A motion field as colours: hue is direction (0 degrees = right = red), saturation is length up to ``bound``.

    Parameters
    ----------
    field : (H, W, 2) pixels.

    Returns
    -------
    float (H, W, 3) RGB; white is no motion.
    """
    hue = np.arctan2(field[..., 1], field[..., 0]) / (2 * np.pi) % 1
    length = np.clip(np.hypot(field[..., 0], field[..., 1]) / bound, 0, 1)
    return hsv_to_rgb(np.stack([hue, length, np.ones_like(hue)], axis=-1))


def quiver(axes: Axes, image: np.ndarray, field: np.ndarray, step: int, magnify: float) -> None:
    """Motion vectors as arrows on a frame, one every ``step`` pixels, drawn ``magnify`` times their length.

    Parameters
    ----------
    image : uint8 (H, W, 3). field : (H, W, 2) pixels; content moves along the arrow.
    """
    height, width = field.shape[:2]
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    vectors = field[y, x]
    moving = np.hypot(vectors[..., 0], vectors[..., 1]) > 0
    axes.imshow(image)
    axes.quiver(
        x[moving],
        y[moving],
        vectors[moving, 0],
        vectors[moving, 1],
        color="#FFD500",
        edgecolor="black",
        linewidth=0.3,
        angles="xy",
        scale_units="xy",
        scale=1 / magnify,
        width=0.012,
    )
    axes.set_axis_off()


def learning_curve(axes: Axes, history: pd.DataFrame, label: str | None = None) -> None:
    """Training accuracy an epoch."""
    axes.plot(history["epoch"], history["accuracy"], label=label)
    axes.set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.02))
    sns.despine(ax=axes)


def accuracy_bars(axes: Axes, table: pd.DataFrame, ceilings: Mapping[str, float] | None = None) -> None:
    """Accuracy with interval of every system of one data set, in the order of `LABELS`; ceilings as dashed lines.

    Parameters
    ----------
    table : rows of ``results.csv`` of one data set.
    """
    table = table.set_index("system").reindex([name for name in LABELS if name in set(table["system"])])
    values = 100 * table["accuracy"]
    errors = np.abs(100 * table[["low", "high"]].to_numpy().T - values.to_numpy())
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
