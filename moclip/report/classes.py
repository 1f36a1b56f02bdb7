"""Class by class: accuracies, confusions, and what fusion mends and breaks (the paper's Figure 2).

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

SINGLE = ("zero_shot", "mv_only")  # the streams that fusion joins
FUSION = "fusion"
CONTROL = "appearance_head"  # what is trained as fusion is, without motion: what it mends too, motion did not mend


def per_class(predictions: pd.DataFrame, dataset: str, systems: Sequence[str], confidence: float) -> pd.DataFrame:
    """Accuracy of each class under each system, sorted by what fusion adds to the better of the two single streams.

    Parameters
    ----------
    predictions : `moclip.io.artefacts.load_predictions`.
    systems : `SINGLE`, `FUSION` and `CONTROL`, and whatever else is wanted beside them.

    Returns
    -------
    DataFrame
        class_name, n_test, groups, adds and over_control (shares: fusion minus the better single stream, and minus
        `CONTROL`), and a system's accuracy with ``_low`` and ``_high``: Wilson's interval with a class's groups as the
        observations. That is as if clips of a group were copies of each other, so that the intervals are rather too
        wide. A class has too few groups to resample them: where all are right, a bootstrap would claim certainty.
    """
    columns: dict[str, pd.Series] = {}
    for system in systems:
        clips = per_clip(predictions, dataset, system).groupby("class_name")
        groups = clips.apply(lambda own: own.index.get_level_values("group").nunique())
        columns |= {"n_test": clips.size(), "groups": groups, system: clips.mean()}
        columns[f"{system}_low"], columns[f"{system}_high"] = _wilson(columns[system], groups, confidence)
    table = pd.DataFrame(columns)
    table.insert(2, "adds", table[FUSION] - table[list(SINGLE)].max(axis=1))
    table.insert(3, "over_control", table[FUSION] - table[CONTROL])
    return table.reset_index().sort_values(["adds", "class_name"], ascending=[False, True], ignore_index=True).round(4)


def _wilson(share: pd.Series, n: pd.Series, confidence: float) -> tuple[pd.Series, pd.Series]:
    """Wilson's score interval (1927) of a share of ``n`` observations; the share need not be a multiple of 1/n."""
    z = norm.ppf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (centre - half).clip(0, 1), (centre + half).clip(0, 1)


def outcomes(predictions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """A row a test clip: video, class_name, and whether each system and the control are right (first seeds)."""
    right = {name: first_seed(predictions, dataset, name).set_index("video") for name in (*SINGLE, FUSION, CONTROL)}
    table = pd.DataFrame({name: rows["correct"] for name, rows in right.items()})
    if table.isna().any(axis=None):
        raise ValueError(f"{', '.join(right)} were not tested on the same clips of {dataset}")
    table.insert(0, "class_name", right[FUSION]["class_name"])
    return table.reset_index()


def mended(outcomes: pd.DataFrame) -> pd.Series:
    """Clips that fusion has right and both single streams have wrong."""
    return outcomes[FUSION] & ~outcomes[list(SINGLE)].any(axis=1)


def broken(outcomes: pd.DataFrame) -> pd.Series:
    """Clips that fusion has wrong and a single stream has right."""
    return ~outcomes[FUSION] & outcomes[list(SINGLE)].any(axis=1)


def changes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """How often fusion and the control are right, by which single stream is.

    Returns
    -------
    DataFrame
        single streams right, clips, fusion right, fusion wrong, control right, and fusion right where the control is
        wrong. Fusion's mended clips are those right where neither is, its broken ones those wrong where some are.
    """
    kinds = {(False, False): "neither", (True, False): "zero-shot", (False, True): "MV-only", (True, True): "both"}
    alone = [kinds[pair] for pair in zip(*(outcomes[stream] for stream in SINGLE), strict=True)]
    counted = pd.DataFrame(
        {
            "clips": 1,
            "fusion right": outcomes[FUSION],
            "fusion wrong": ~outcomes[FUSION],
            "control right": outcomes[CONTROL],
            "fusion right, control wrong": outcomes[FUSION] & ~outcomes[CONTROL],
        }
    ).astype(int)
    table = counted.groupby(alone).sum().reindex(list(kinds.values())[::-1], fill_value=0)
    return table.rename_axis("single streams right").reset_index()


def confusions(predictions: pd.DataFrame, dataset: str, classes: Sequence[str], system: str) -> np.ndarray:
    """Share of the clips of a class (rows) that a system takes for each class (columns): (C, C), rows sum to 1.

    All seeds count alike. A class without test clips has a row of NaN.
    """
    rows = rows_of(predictions, dataset, system)
    counts = confusion_matrix(rows["class_name"], rows["pred"], labels=list(classes)).astype(float)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def clustered(shares: np.ndarray) -> list[int]:
    """An order of classes in which those that are taken for each other stand side by side.

    Average linkage on 1 - (mean of both directions of confusion), leaves in the order of Bar-Joseph et al. 2001.
    """
    if len(shares) < 3:
        return list(range(len(shares)))
    near = np.nan_to_num(shares)
    distance = 1 - (near + near.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed)).tolist()  # type: ignore[no-any-return]


def changed_confusions(predictions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Clips of each (true class, wrong class) under each single stream and under fusion (first seeds).

    Returns
    -------
    DataFrame
        stream, class_name, taken_for, by_stream, by_fusion, change; most mended first, most made last.
    """
    counts = {}
    for name in (*SINGLE, FUSION):
        rows = first_seed(predictions, dataset, name)
        counts[name] = rows[~rows["correct"]].groupby(["class_name", "pred"]).size()
    parts = []
    for stream in SINGLE:
        pair = pd.DataFrame({"by_stream": counts[stream], "by_fusion": counts[FUSION]}).fillna(0).astype(int)
        pair["change"] = pair["by_fusion"] - pair["by_stream"]
        pair.index.names = ["class_name", "taken_for"]
        parts.append(pair.reset_index().assign(stream=stream))
    table = pd.concat(parts)[["stream", "class_name", "taken_for", "by_stream", "by_fusion", "change"]]
    return table.sort_values(["change", "stream", "class_name", "taken_for"], ignore_index=True)
