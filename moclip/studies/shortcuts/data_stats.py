"""Statistics of a data set: one row per clip, one row per class, and the lengths of the vectors."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:  # this room loads no PyAV
    from moclip.datasets.base import VideoDataset
    from moclip.datasets.facts import Facts

SPLITS = ["train", "val", "test"]
SHOWN = ("codec", "width", "height", "fps", "frames", "seconds", "i_distance", "b_share", "kbit_s")  # of the facts
# Lengths at which the share of longer vectors is given, in pixels of the network's units.
LENGTHS = (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128)


def clips(
    dataset: "VideoDataset", facts: Mapping[str, "Facts"], factor: Callable[[int, float], float], bound: float
) -> pd.DataFrame:
    """One row per clip that could be read.

    Parameters
    ----------
    facts : `moclip.datasets.facts.facts_of`.
    factor : (width, fps) -> scale of the vectors, `moclip.inputs.transforms.InputScale.factor`.
    bound : length at which the 8-bit range ends.

    Returns
    -------
    DataFrame
        video, class_name, group, split, codec, width, height, fps, frames, seconds, i_distance (frames per I-frame),
        b_share, kbit_s, saturated, vectors (their number), mean_length (of the vectors' longer component, scaled).
    """
    rows = []
    read = [(split, clip) for split in SPLITS for clip in getattr(dataset, split) if clip.name in facts]
    for split, clip in read:
        fact = facts[clip.name]
        scale = factor(fact.width, fact.fps) if fact.lengths else 1.0
        count = np.array(fact.lengths)
        mean = (count * np.arange(len(count))).sum() / fact.scale * scale / count.sum() if count.sum() else np.nan
        row = {"video": clip.name, "class_name": clip.class_name, "group": clip.group, "split": split}
        row |= {name: getattr(fact, name) for name in SHOWN}
        rows.append(row | {"saturated": fact.saturated(bound, scale), "vectors": int(count.sum()), "mean_length": mean})
    return pd.DataFrame(rows).round(6)


def classes(table: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """One row per class, in the data set's order: clips of each split, groups, and medians of the rest.

    ``b_clips`` is the share of clips with B-frames; ``saturated`` is the share among all vectors of the class.
    """
    by = table.groupby("class_name")
    counts = pd.crosstab(table["class_name"], table["split"]).reindex(columns=SPLITS, fill_value=0)
    medians = by[["seconds", "frames", "fps", "i_distance", "kbit_s", "mean_length"]].median().add_prefix("median_")
    result = counts.assign(groups=by["group"].nunique()).join(medians)
    result["b_clips"] = (table["b_share"] > 0).groupby(table["class_name"]).mean()
    weighted = (table["saturated"] * table["vectors"]).groupby(table["class_name"]).sum()
    result["saturated"] = weighted / by["vectors"].sum()
    return result.reindex(order).dropna(subset=["groups"]).round(6).reset_index()


def longer_than(facts: Mapping[str, "Facts"], factor: Callable[[int, float], float]) -> pd.DataFrame:
    """Share of all block vectors whose longer component exceeds each of `LENGTHS`: length, share."""
    beyond, total = np.zeros(len(LENGTHS)), 0
    for fact in facts.values():
        count = np.array(fact.lengths, dtype=np.int64)
        if not count.sum():
            continue
        lengths = np.arange(len(count)) / fact.scale * factor(fact.width, fact.fps)
        beyond += [count[lengths > length].sum() for length in LENGTHS]
        total += count.sum()
    return pd.DataFrame({"length": LENGTHS, "share": (beyond / total if total else np.nan * beyond).round(8)})
