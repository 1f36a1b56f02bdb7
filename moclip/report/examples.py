"""Which clips stand for what fusion mends and breaks (the paper's Figure 3), chosen by a rule and not by hand."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moclip.report import plots

if TYPE_CHECKING:
    from moclip.video import Motion


def margins(scores: np.ndarray, names: list[str], classes: list[str], truth: dict[str, str]) -> pd.Series:
    """Probability of the true class minus that of the best other class, by video name.

    Parameters
    ----------
    scores, names, classes : `moclip.artefacts.load_scores`.
    truth : video name -> class name.
    """
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)  # (N, C)
    own = np.array([classes.index(truth[name]) for name in names])
    rows = np.arange(len(names))
    true = probabilities[rows, own]
    probabilities[rows, own] = -1
    return pd.Series(true - probabilities.max(axis=1), index=names)


def choose(margins: pd.Series, rule: str, seed: int) -> str | None:
    """One video name of those in ``margins``; None where there are none.

    Parameters
    ----------
    rule : ``median`` takes the clip whose margin is nearest the median, ``random`` draws one by ``seed``. Ties go to
        the first name.
    """
    ordered = margins.sort_index().astype(float)
    if ordered.empty:
        return None
    if rule == "random":
        return str(np.random.default_rng(seed).choice(ordered.index.to_numpy()))
    apart = (ordered - ordered.median()).abs()  # of an even number, two are equally near but for rounding
    return str(apart.index[np.isclose(apart, apart.min(), rtol=0, atol=1e-12)][0])


def best_classes(predictions: pd.DataFrame, dataset: str, system: str, video: str) -> pd.Series:
    """Probability of the five best classes of a clip, best first (the system's first seed)."""
    rows = predictions.query("dataset == @dataset and system == @system and video == @video")
    if rows.empty:
        raise KeyError(f"no prediction of {system!r} for {video!r} on {dataset!r}")
    row = rows.sort_values("seed").iloc[0]
    ranks = [rank for rank in range(1, 6) if pd.notna(row.get(f"top{rank}"))]  # a data set may have fewer classes
    return pd.Series([row[f"score{rank}"] for rank in ranks], index=[row[f"top{rank}"] for rank in ranks], dtype=float)


def shown_frame(motion: "Motion") -> int:
    """The frame whose motion is drawn: the last with motion in the GOP of the middle frame.

    There the vectors have been accumulated longest. Where that GOP has no motion, the nearest frame that has.

    Raises
    ------
    ValueError
        No frame has motion.
    """
    middle = len(motion) // 2
    moving = np.flatnonzero(motion.has_motion)
    if not len(moving):
        raise ValueError("no frame of this clip has motion vectors")
    intra = np.flatnonzero(motion.types == "I")
    start = max(intra[intra <= middle], default=0)
    end = min(intra[intra > middle], default=len(motion))
    own = moving[(start < moving) & (moving < end)]
    return int(own[-1] if len(own) else moving[np.abs(moving - middle).argmin()])


def card(
    seen: np.ndarray, at: np.ndarray, motion: "Motion", t: int, scores: dict[str, pd.Series], truth: str, title: str
) -> Figure:
    """One clip: the frame that the encoder saw, its motion, and the five best classes of each system.

    Parameters
    ----------
    seen, at : uint8 (H, W, 3), the encoder's frame and frame ``t``.
    scores : system -> `best_classes`.
    truth : true class name.
    """
    figure = plt.figure(figsize=(7, 2.9))
    halves = figure.add_gridspec(2, 1, height_ratios=[1.15, 1])
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    picture, arrows, raw, accumulated = top.subplots(1, 4)
    top.suptitle(title, fontsize=8)
    picture.imshow(seen)
    picture.set_title("the encoder's frame")
    field = motion.raw(t)
    magnify = 1.5 * motion.block / _long(field)
    plots.quiver(arrows, at, field, motion.block, magnify)
    arrows.set_title(f"frame {t}, vectors x {magnify:.1f}")
    _field(raw, field, "raw")
    if "B" in motion.types:
        accumulated.text(0.5, 0.5, "not defined\nwith B-frames", ha="center", va="center", fontsize=7)
    else:
        _field(accumulated, motion.accumulated(t), "accumulated")
    for axes in (picture, arrows, raw, accumulated):
        axes.set_axis_off()
    for axes, (system, best) in zip(bottom.subplots(1, len(scores)), scores.items(), strict=True):
        plots.score_bars(axes, best, truth, plots.COLOURS[system])
        axes.set_title(f"{plots.LABELS[system]}: {'right' if best.index[0] == truth else 'wrong'}")
    return figure


def _field(axes: Axes, field: np.ndarray, name: str) -> None:
    axes.imshow(plots.colour_field(field, bound=_long(field)))
    axes.set_title(f"{name}, colours to {_long(field):.1f} px")


def _long(field: np.ndarray) -> float:
    """Length that few moving pixels pass (pixels, at least 1): one wild vector must not make all others invisible."""
    lengths = np.hypot(field[..., 0], field[..., 1])
    return max(float(np.percentile(lengths[lengths > 0], 95)), 1.0) if lengths.any() else 1.0
