"""Accuracies with honest intervals.

Clips of a group come from one source, so they are not independent: the bootstrap resamples groups (class + group), not
clips. The correctness of a clip is averaged over seeds first; seeds are never pooled as extra clips. If predictions
have a column ``fold``, the value is the mean over folds of the accuracy in each fold.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

CLIP = ["class_name", "group", "video"]
FOLD = "fold"


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed: the number of resamples, and the confidence level as a share (0..1)."""

    resamples: int = 9999
    confidence: float = 0.95

    @property
    def level(self) -> str:
        """The confidence level in words: ``95 %``."""
        return f"{100 * self.confidence:g} %"


@dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap interval, as shares (0..1), and its standard deviations over seeds and over folds.

    ``n`` counts the clips of all folds.
    """

    value: float
    low: float
    high: float
    n: int
    seeds: int = 1
    seed_sd: float = float("nan")
    fold_sd: float = float("nan")

    def columns(self, name: str, prefix: str = "") -> dict[str, float]:
        """``name``, low and high (behind ``prefix``) as columns of a table: 4 decimals, no minus zero."""
        cells = {name: self.value, f"{prefix}low": self.low, f"{prefix}high": self.high}
        return {column: round(value, 4) + 0.0 for column, value in cells.items()}


def rows_of(predictions: pd.DataFrame, dataset: str, system: str) -> pd.DataFrame:
    """The rows of one system in the result of `moclip.io.artefacts.load_predictions`.

    Raises
    ------
    KeyError
        The system has no predictions on that data set; the message lists the systems that have.
    """
    rows = predictions[(predictions["dataset"] == dataset) & (predictions["system"] == system)]
    if rows.empty:
        systems = predictions.loc[predictions["dataset"] == dataset, "system"].unique()
        raise KeyError(f"no predictions of {system!r} on {dataset!r}; there are: {', '.join(sorted(systems))}")
    return rows


def per_clip(predictions: pd.DataFrame, dataset: str, system: str) -> pd.Series:
    """Share of seeds that got a clip right, by (fold, class_name, group, video); without a column ``fold``, it is 1."""
    rows = rows_of(predictions, dataset, system)
    return rows.assign(**{FOLD: rows.get(FOLD, 1)}).groupby([FOLD, *CLIP])["correct"].mean()


def first_seed(predictions: pd.DataFrame, dataset: str, system: str) -> pd.DataFrame:
    """The rows of a system's first seed, one per clip, for numbers that must be counted in whole clips."""
    rows = rows_of(predictions, dataset, system)
    return rows[rows["seed"] == rows["seed"].min()]


def accuracy(predictions: pd.DataFrame, dataset: str, system: str, bootstrap: Bootstrap) -> Estimate:
    """Top-1 accuracy with a group-bootstrap interval."""
    by_seed = rows_of(predictions, dataset, system).groupby("seed")["correct"].mean()
    estimate = _estimate(per_clip(predictions, dataset, system), bootstrap)
    return replace(estimate, seeds=len(by_seed), seed_sd=float(by_seed.std()))


def difference(predictions: pd.DataFrame, dataset: str, system: str, other: str, bootstrap: Bootstrap) -> Estimate:
    """Accuracy of ``system`` minus accuracy of ``other`` on the same clips, with a paired group-bootstrap interval."""
    one, two = per_clip(predictions, dataset, system), per_clip(predictions, dataset, other)
    check_same_clips(one, two, f"{system} and {other} on {dataset}")
    return _estimate(one - two, bootstrap)


def check_same_clips(one: pd.Series, two: pd.Series, who: str) -> None:
    """Check that two results of `per_clip` are on the same clips.

    Raises
    ------
    ValueError
        They are not; the message names the first clips that only one of them has.
    """
    if not one.index.equals(two.index):
        missing = one.index.symmetric_difference(two.index)
        raise ValueError(f"{who}: not tested on the same clips; only one of them has {list(missing[:3])}")


def _estimate(clips: pd.Series, bootstrap: Bootstrap) -> Estimate:
    by_fold = clips.groupby(level=FOLD).mean()
    low, high = interval(clips, bootstrap)
    return Estimate(float(by_fold.mean()), low, high, len(clips), fold_sd=float(by_fold.std()))


def mcnemar(predictions: pd.DataFrame, dataset: str, system: str, other: str) -> float:
    """Exact McNemar p-value of the first seed of each system.

    The test assumes independent clips, and clips of a group are not: read it beside the interval, not instead of it.
    """
    right = [first_seed(predictions, dataset, name).set_index("video")["correct"] for name in (system, other)]
    one, two = right[0].align(right[1], join="inner")
    only_one, only_two = int((one & ~two).sum()), int((~one & two).sum())
    return float(stats.binomtest(only_one, only_one + only_two).pvalue) if only_one + only_two else 1.0


def interval(clips: pd.Series, bootstrap: Bootstrap) -> tuple[float, float]:
    """Percentile interval of the mean over folds of the mean of ``clips``; groups are resampled whole.

    A group that is tested in several folds is drawn for all of them at once. The interval does not include what other
    training clips would have changed. An index without folds counts as one fold.
    """
    if FOLD not in clips.index.names:
        clips = pd.concat({1: clips}, names=[FOLD])
    groups = clips.groupby(level=["class_name", "group", FOLD]).agg(["sum", "count"]).unstack(FOLD, fill_value=0)
    if len(groups) < 2:
        return float("nan"), float("nan")  # one group says nothing about others

    def mean_over_folds(*columns: np.ndarray, axis: int = -1) -> np.ndarray:
        totals = np.stack([column.sum(axis=axis) for column in columns])  # sums of the F folds, then their counts
        sums, counts = np.split(totals, 2)
        with np.errstate(invalid="ignore"):  # a fold with few groups may get none: the other folds stand for it
            return np.nanmean(sums / counts, axis=0)

    result = stats.bootstrap(
        groups.to_numpy(float).T,  # (2F, groups)
        mean_over_folds,
        paired=True,
        n_resamples=bootstrap.resamples,
        batch=1000,
        confidence_level=bootstrap.confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
