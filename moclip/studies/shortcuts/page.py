"""A data set on a page of plots, and its numbers as CSV: what `moclip data stats` writes."""

from pathlib import Path

from moclip.config.sections import Config, ConfigError
from moclip.datasets.base import VideoDataset
from moclip.datasets.facts import facts_of
from moclip.inputs.transforms import InputScale
from moclip.io.artefacts import save_csv
from moclip.report.figures.style import save_figure, use_style
from moclip.studies.shortcuts import data_stats, figures

UNITS = {"pixels": "pixels", "equivalent": "pixels of a video 340 wide at 25 frames/s"}


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
        clips = data_stats.clips(dataset, facts, scale.factor, scale.bound)
    except ValueError as error:  # a video without a frame rate has no equivalent units
        raise ConfigError(f"{dataset.name}: {error}") from error
    classes = data_stats.classes(clips, list(dataset.classes))
    longer = data_stats.longer_than(facts, scale.factor)
    for name, table in {"clips": clips, "classes": classes, "motion": longer}.items():
        save_csv(folder / f"stats-{name}.csv", table)
    unread = f"; {len(problems)} clips cannot be read" if problems else ""
    title = f"{dataset.description}\n{len(clips)} clips{unread}; vectors in {UNITS[config.motion.units]}"
    use_style()
    figure = figures.page(clips, classes, longer, scale.bound, title)
    save_figure(folder, "stats", figure, figures.describe(clips, classes, scale.bound))
    return f"{dataset.name}: {folder / 'stats.png'} and .pdf, numbers in stats-*.csv{unread}"
