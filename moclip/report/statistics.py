"""Accuracies with honest intervals.

Clips of a group come from one source, so they are not independent: the bootstrap resamples groups (class + group), not
clips. A clip's correctness is averaged over seeds first; seeds are never pooled as extra clips. Where predictions have
a column ``fold``, the value is the mean over folds of the accuracy in each.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

CLIP = ["class_name", "group", "video"]
FOLD = "fold"


@dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap interval, as shares (0..1), and its standard deviations over seeds and over folds.

    ``n`` counts clips, each fold's own.
    """

    value: float
    low: float
    high: float
    n: int
    seeds: int = 1
    seed_sd: float = float("nan")
    fold_sd: float = float("nan")


def rows_of(predictions: pd.DataFrame, dataset: str, system: str) -> pd.DataFrame:
    """A system's rows of what `moclip.io.artefacts.load_predictions` returns.

    Raises
    ------
    KeyError
        The system has no predictions on that data set; the message lists those that have.
    """
    rows = predictions[(predictions["dataset"] == dataset) & (predictions["system"] == system)]
    if rows.empty:
        there = predictions.loc[predictions["dataset"] == dataset, "system"].unique()
        raise KeyError(f"no predictions of {system!r} on {dataset!r}; there are: {', '.join(sorted(there))}")
    return rows


def per_clip(predictions: pd.DataFrame, dataset: str, system: str) -> pd.Series:
    """Share of seeds that got a clip right, by (fold, class_name, group, video); no column ``fold``: it is 1."""
    rows = rows_of(predictions, dataset, system)
    return rows.assign(**{FOLD: rows.get(FOLD, 1)}).groupby([FOLD, *CLIP])["correct"].mean()


def first_seed(predictions: pd.DataFrame, dataset: str, system: str) -> pd.DataFrame:
    """A system's rows under its first seed: a row a clip, for what has to be counted in whole clips."""
    rows = rows_of(predictions, dataset, system)
    return rows[rows["seed"] == rows["seed"].min()]


def accuracy(predictions: pd.DataFrame, dataset: str, system: str, resamples: int, confidence: float) -> Estimate:
    """Top-1 accuracy with a group-bootstrap interval."""
    clips = per_clip(predictions, dataset, system)
    by_seed = rows_of(predictions, dataset, system).groupby("seed")["correct"].mean()
    return replace(_estimate(clips, resamples, confidence), seeds=len(by_seed), seed_sd=float(by_seed.std()))


def difference(
    predictions: pd.DataFrame, dataset: str, system: str, other: str, resamples: int, confidence: float
) -> Estimate:
    """Accuracy of ``system`` minus accuracy of ``other`` on the same clips, with a paired group-bootstrap interval."""
    one, two = per_clip(predictions, dataset, system), per_clip(predictions, dataset, other)
    check_same_clips(one, two, f"{system} and {other} on {dataset}")
    return _estimate(one - two, resamples, confidence)


def check_same_clips(one: pd.Series, two: pd.Series, who: str) -> None:
    """Raise ValueError, with the first clips of the difference, where two results of `per_clip` are of other clips."""
    if not one.index.equals(two.index):
        missing = one.index.symmetric_difference(two.index)
        raise ValueError(f"{who}: not tested on the same clips, of one alone are {list(missing[:3])}")


def _estimate(clips: pd.Series, resamples: int, confidence: float) -> Estimate:
    by_fold = clips.groupby(level=FOLD).mean()
    low, high = interval(clips, resamples, confidence)
    return Estimate(float(by_fold.mean()), low, high, len(clips), fold_sd=float(by_fold.std()))


def mcnemar(predictions: pd.DataFrame, dataset: str, system: str, other: str) -> float:
    """Exact McNemar p-value of the first seed of each system.

    It takes clips for independent, which clips of a group are not: read it beside the interval, not instead of it.
    """
    right = {name: first_seed(predictions, dataset, name).set_index("video")["correct"] for name in (system, other)}
    one, two = right[system].align(right[other], join="inner")
    mended, broken = int((one & ~two).sum()), int((~one & two).sum())
    return float(stats.binomtest(mended, mended + broken).pvalue) if mended + broken else 1.0


def interval(clips: pd.Series, resamples: int, confidence: float) -> tuple[float, float]:
    """Percentile interval of the mean over folds of the mean of ``clips``, groups resampled whole.

    A group that is tested in several folds is drawn for all of them at once. What other training clips would have
    changed is not in the interval. An index without folds is one fold.
    """
    if FOLD not in clips.index.names:
        clips = pd.concat({1: clips}, names=[FOLD])
    groups = clips.groupby(level=["class_name", "group", FOLD]).agg(["sum", "count"]).unstack(FOLD, fill_value=0)
    if len(groups) < 2:
        return float("nan"), float("nan")  # one group says nothing about others

    def mean_over_folds(*columns: np.ndarray, axis: int = -1) -> np.ndarray:
        totals = np.stack([column.sum(axis=axis) for column in columns])  # sums of the F folds, then their counts
        sums, counts = np.split(totals, 2)
        with np.errstate(invalid="ignore"):  # of few groups, none may be drawn for a fold: the others stand for it
            return np.nanmean(sums / counts, axis=0)

    result = stats.bootstrap(
        groups.to_numpy(float).T,  # (2F, groups)
        mean_over_folds,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
