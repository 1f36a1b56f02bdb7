"""Which clips illustrate what fusion corrects and degrades (the paper's Figure 3), chosen by a rule and not by hand."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import softmax

from moclip.report import statistics as metrics

if TYPE_CHECKING:  # this room loads no PyAV
    from moclip.video import Motion


def margins(scores: np.ndarray, names: list[str], classes: list[str], truth: dict[str, str]) -> pd.Series:
    """Probability of the true class minus that of the best other class, by video name.

    Parameters
    ----------
    scores, names, classes : `moclip.io.artefacts.load_scores`.
    truth : video name -> class name.
    """
    probabilities = softmax(scores, axis=1)  # (N, C)
    rows, columns = np.arange(len(names)), np.array([classes.index(truth[name]) for name in names])
    true = probabilities[rows, columns]
    probabilities[rows, columns] = -1
    return pd.Series(true - probabilities.max(axis=1), index=names)


def choose(margins: pd.Series, rule: str, seed: int) -> str | None:
    """Choose one video name of ``margins``; None if there are none.

    Parameters
    ----------
    rule : ``median`` takes the clip whose margin is nearest the median, ``random`` draws one by ``seed``. Of several
        such clips, the first name is taken.
    """
    ordered = margins.sort_index().astype(float)
    if ordered.empty:
        return None
    if rule == "random":
        return str(np.random.default_rng(seed).choice(ordered.index.to_numpy()))
    distance = (ordered - ordered.median()).abs()  # of an even number, two are equally near but for rounding
    return str(distance.index[np.isclose(distance, distance.min(), rtol=0, atol=1e-12)][0])


def best_classes(predictions: pd.DataFrame, dataset: str, system: str, video: str) -> pd.Series:
    """Probability of the five best classes of a clip, best first (the system's first seed)."""
    row = metrics.first_seed(predictions, dataset, system).set_index("video").loc[video]
    ranks = [rank for rank in range(1, 6) if pd.notna(row.get(f"top{rank}"))]  # a data set may have fewer classes
    return pd.Series([row[f"score{rank}"] for rank in ranks], index=[row[f"top{rank}"] for rank in ranks], dtype=float)


def shown_frame(motion: "Motion") -> int:
    """Index of the frame whose motion is drawn: the last with motion in the GOP of the middle frame.

    Its vectors have been accumulated the longest. If that GOP has no motion, the nearest frame with motion is taken.

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
    in_gop = moving[(start < moving) & (moving < end)]
    return int(in_gop[-1] if len(in_gop) else moving[np.abs(moving - middle).argmin()])
