"""What `moclip data stats` writes of a data set: tables by clip, class and length of vectors, and a page of plots."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from moclip.config.sections import Config, ConfigError
from moclip.datasets.base import VideoDataset
from moclip.datasets.facts import Facts, facts_of
from moclip.inputs.transforms import InputScale
from moclip.io.artefacts import save_csv
from moclip.report.figures.style import save_figure, use_style
from moclip.studies.shortcuts.figures import SPLITS, page

UNITS = {"pixels": "pixels", "equivalent": "pixels of a video 340 wide at 25 frames/s"}
SHOWN = ("codec", "width", "height", "fps", "frames", "seconds", "i_distance", "b_share", "kbit_s")  # of the facts
# Lengths at which the share of longer vectors is given, in pixels of the network's units.
LENGTHS = (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128)


def write_page(dataset: VideoDataset, config: Config, folder: Path) -> str:
    """Write ``stats.png``, ``stats.pdf`` and ``stats-*.csv`` into ``folder``; return a line that says so.

    Raises
    ------
    ConfigError
        No clip can be read, or the configuration's units need a frame rate that a video does not have.
    """
    scale = InputScale(config.motion.units, config.motion.bound)
    facts, problems = facts_of([clip for clip in dataset.clips if clip.path.is_file()], config.data.workers)
    if not facts:
        raise ConfigError(f"{dataset.name}: no clip can be read; `moclip data verify` says why")
    try:
        table = clips(dataset, facts, scale)
    except ValueError as error:  # a video without a frame rate has no equivalent units
        raise ConfigError(f"{dataset.name}: {error}") from error
    tables = table, classes(table, list(dataset.classes)), longer_than(facts, scale)
    for name, each in zip(("clips", "classes", "motion"), tables, strict=True):
        save_csv(folder / f"stats-{name}.csv", each)
    unread = f"; {len(problems)} clips cannot be read" if problems else ""
    title = f"{dataset.description}\n{len(table)} clips{unread}; vectors in {UNITS[config.motion.units]}"
    use_style()
    save_figure(folder, "stats", *page(*tables, scale.bound, title))
    return f"{dataset.name}: {folder / 'stats.png'} and .pdf, numbers in stats-*.csv{unread}"


def clips(dataset: VideoDataset, facts: Mapping[str, Facts], scale: InputScale) -> pd.DataFrame:
    """One row per clip that could be read.

    Parameters
    ----------
    facts : `moclip.datasets.facts.facts_of`.
    scale : of the vectors; beyond its ``bound`` they saturate.

    Returns
    -------
    DataFrame
        video, class_name, group, split, codec, width, height, fps, frames, seconds, i_distance (frames per I-frame),
        b_share, kbit_s, saturated, vectors (their number), mean_length (of the vectors' longer component, scaled).
    """
    rows = []
    read = [(split, clip) for split, members in dataset.splits.items() for clip in members if clip.name in facts]
    for split, clip in read:
        fact = facts[clip.name]
        factor = scale.factor(fact.width, fact.fps) if fact.lengths else 1.0
        count = np.array(fact.lengths)
        mean = (count * np.arange(len(count))).sum() / fact.scale * factor / count.sum() if count.sum() else np.nan
        row = {"video": clip.name, "class_name": clip.class_name, "group": clip.group, "split": split}
        row |= {name: getattr(fact, name) for name in SHOWN}
        rows.append(
            row | {"saturated": fact.saturated(scale.bound, factor), "vectors": int(count.sum()), "mean_length": mean}
        )
    return pd.DataFrame(rows).round(6)


def classes(table: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """One row per class, in the data set's order: clips of each split, groups, and medians of the rest.

    ``b_clips`` is the share of clips with B-frames; ``saturated`` is the share among all vectors of the class.
    """
    by = table.assign(b_clips=table["b_share"] > 0, beyond=table["saturated"] * table["vectors"]).groupby("class_name")
    counts = pd.crosstab(table["class_name"], table["split"]).reindex(columns=list(SPLITS), fill_value=0)
    medians = by[["seconds", "frames", "fps", "i_distance", "kbit_s", "mean_length"]].median().add_prefix("median_")
    result = counts.assign(groups=by["group"].nunique()).join(medians)
    result = result.assign(b_clips=by["b_clips"].mean(), saturated=by["beyond"].sum() / by["vectors"].sum())
    return result.reindex(order).dropna(subset=["groups"]).round(6).reset_index()


def longer_than(facts: Mapping[str, Facts], scale: InputScale) -> pd.DataFrame:
    """Share of all block vectors whose longer component exceeds each of `LENGTHS`: length, share."""
    beyond, total = np.zeros(len(LENGTHS)), 0
    for fact in (fact for fact in facts.values() if any(fact.lengths)):
        count = np.array(fact.lengths, dtype=np.int64)
        lengths = np.arange(len(count)) / fact.scale * scale.factor(fact.width, fact.fps)
        beyond += [count[lengths > length].sum() for length in LENGTHS]
        total += count.sum()
    return pd.DataFrame({"length": LENGTHS, "share": (beyond / total if total else np.nan * beyond).round(8)})
