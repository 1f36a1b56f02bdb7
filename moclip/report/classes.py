"""Class by class: accuracies, confusions, and the clips that fusion corrects or degrades (the paper's Figure 2).

Counts of clips take the first seed of a system; accuracies take the mean over seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import norm
from sklearn.metrics import confusion_matrix

from moclip.report.statistics import first_seed, per_clip, rows_of
from moclip.report.systems import CONTROL, FUSION, MAIN_SYSTEMS, SINGLE_STREAMS, SYSTEMS


def per_class(predictions: pd.DataFrame, dataset: str, systems: Sequence[str], confidence: float) -> pd.DataFrame:
    """Accuracy of each class under each system, sorted by what fusion adds to the better of the two single streams.

    Parameters
    ----------
    predictions : `moclip.io.artefacts.load_predictions`.
    systems : at least `MAIN_SYSTEMS` and `CONTROL`.

    Returns
    -------
    DataFrame
        class_name, n_test, groups, adds and over_control (shares: fusion minus the better single stream, and minus
        `CONTROL`), and for each system its accuracy and ``_low`` and ``_high``: Wilson's interval with the groups of
        the class as the observations. This treats the clips of a group as copies of each other, so the intervals tend
        to be too wide. A bootstrap would claim certainty for a class of few groups that are all right.
    """
    columns: dict[str, pd.Series] = {}
    for system in systems:
        clips = per_clip(predictions, dataset, system).groupby("class_name")
        groups = clips.apply(lambda right: right.index.get_level_values("group").nunique())
        columns |= {"n_test": clips.size(), "groups": groups, system: clips.mean()}
        columns[f"{system}_low"], columns[f"{system}_high"] = _wilson(columns[system], groups, confidence)
    table = pd.DataFrame(columns)
    table.insert(2, "adds", table[FUSION] - table[list(SINGLE_STREAMS)].max(axis=1))
    table.insert(3, "over_control", table[FUSION] - table[CONTROL])
    return table.reset_index().sort_values(["adds", "class_name"], ascending=[False, True], ignore_index=True).round(4)


def _wilson(share: pd.Series, n: pd.Series, confidence: float) -> tuple[pd.Series, pd.Series]:
    """Wilson's score interval (1927) of a share of ``n`` observations; the share need not be a multiple of 1/n."""
    z = norm.ppf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (centre - half).clip(0, 1), (centre + half).clip(0, 1)


def outcomes(predictions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row per test clip: video, class_name, and whether each system and the control are right (first seeds)."""
    systems = [*MAIN_SYSTEMS, CONTROL]
    rows = pd.concat([first_seed(predictions, dataset, name) for name in systems])
    table = rows.pivot(index=["video", "class_name"], columns="system", values="correct")[systems]
    if table.isna().any(axis=None):
        raise ValueError(f"{', '.join(systems)} were not tested on the same clips of {dataset}")
    return table.rename_axis(columns=None).reset_index()


def corrected(outcomes: pd.DataFrame) -> pd.Series:
    """Whether a clip is corrected: fusion is right and both single streams are wrong."""
    return outcomes[FUSION] & ~outcomes[list(SINGLE_STREAMS)].any(axis=1)


def degraded(outcomes: pd.DataFrame) -> pd.Series:
    """Whether a clip is degraded: fusion is wrong and a single stream is right."""
    return ~outcomes[FUSION] & outcomes[list(SINGLE_STREAMS)].any(axis=1)


def changes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """How often fusion and the control are right, by which single stream is right.

    Returns
    -------
    DataFrame
        single streams right, clips, fusion right, fusion wrong, control right, and fusion right where the control is
        wrong. Corrected clips are those of "neither" with fusion right, degraded clips the other rows' "fusion wrong".
    """
    zero_shot, mv_only = (SYSTEMS[stream].label for stream in SINGLE_STREAMS)
    kinds = {(True, True): "both", (False, True): mv_only, (True, False): zero_shot, (False, False): "neither"}
    alone = [kinds[pair] for pair in zip(*(outcomes[stream] for stream in SINGLE_STREAMS), strict=True)]
    fusion, control = outcomes[FUSION], outcomes[CONTROL]
    counted = pd.DataFrame({"clips": 1, "fusion right": fusion, "fusion wrong": ~fusion, "control right": control})
    counted["fusion right, control wrong"] = fusion & ~control
    table = counted.groupby(alone).sum().reindex(list(kinds.values()), fill_value=0)
    return table.rename_axis("single streams right").reset_index()


def confusions(predictions: pd.DataFrame, dataset: str, classes: Sequence[str], system: str) -> np.ndarray:
    """Confusion matrix of a system as shares: (C, C), rows are true classes and sum to 1, columns are answers.

    All seeds count alike. A class without test clips has a row of NaN.
    """
    rows = rows_of(predictions, dataset, system)
    counts = confusion_matrix(rows["class_name"], rows["pred"], labels=list(classes)).astype(float)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def clustered(shares: np.ndarray) -> list[int]:
    """An order of the classes in which those that are confused with each other are neighbours.

    Average linkage on 1 - (mean of both directions of confusion), leaves in the order of Bar-Joseph et al. 2001.
    """
    if len(shares) < 3:
        return list(range(len(shares)))
    near = np.nan_to_num(shares)
    distance = 1 - (near + near.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed)).tolist()  # type: ignore[no-any-return]


def most_confused(predictions: pd.DataFrame, system: str, pairs: int = 10) -> pd.DataFrame:
    """The pairs of classes that a system confuses most often, most frequent first; all seeds count.

    Returns
    -------
    DataFrame
        dataset, class_name, taken_for, clips (of the class that were taken for the other), of (clips of the class).
    """
    rows = predictions[predictions["system"] == system]
    sizes = rows.groupby(["dataset", "class_name"]).size().rename("of")
    table = _wrong(rows).rename("clips").reset_index().merge(sizes, on=["dataset", "class_name"])
    return table.sort_values("clips", ascending=False, kind="stable")[:pairs]


def changed_confusions(predictions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Clips of each (true class, wrong class) under each single stream and under fusion (first seeds).

    Returns
    -------
    DataFrame
        stream, class_name, taken_for, by_stream, by_fusion, change; the largest decrease first.
    """
    counts = {name: _wrong(first_seed(predictions, dataset, name)) for name in MAIN_SYSTEMS}
    pairs = {name: pd.DataFrame({"by_stream": counts[name], "by_fusion": counts[FUSION]}) for name in SINGLE_STREAMS}
    table = pd.concat(pairs, names=["stream"]).fillna(0).astype(int).droplevel("dataset").reset_index()
    table["change"] = table["by_fusion"] - table["by_stream"]
    return table.sort_values(["change", "stream", "class_name", "taken_for"], ignore_index=True)


def _wrong(rows: pd.DataFrame) -> pd.Series:
    """Number of wrong answers by (dataset, class_name, taken_for)."""
    wrong = rows[~rows["correct"]].rename(columns={"pred": "taken_for"})
    return wrong.groupby(["dataset", "class_name", "taken_for"]).size()
