"""From the configuration to data sets that are ready to read: generated, listed, re-encoded one way."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from moclip.config import ConfigError, Data, MinFrames
from moclip.datasets import load_dataset
from moclip.datasets.base import Clip, VideoDataset, fingerprint_files
from moclip.datasets.facts import facts_of
from moclip.parallel import ClipsError, for_each_file
from moclip.paths import atomic_path, data_dir
from moclip.video import transcode

COARSEST_CLOCK = 2  # seconds: the time stamps of some file systems are no finer
SUFFIX = ".m4v"

log = logging.getLogger(__name__)


def datasets_of(settings: Data) -> list[VideoDataset]:
    """The data sets of a configuration, the main one first; MovingPhotos has one a design.

    Raises
    ------
    ConfigError
        The configuration lacks what the data set needs.
    VideoFolderError
        The user's folder cannot be used as it is.
    ClipsError
        Clips could not be re-encoded.
    """
    datasets = _moving_photos(settings) if settings.name == "moving_photos" else [_from_disk(settings)]
    if settings.min_frames != MinFrames():
        datasets = [_long_enough(dataset, settings) for dataset in datasets]
    if settings.horizontal_flip is None:
        return datasets
    return [replace(dataset, horizontal_flip=settings.horizontal_flip) for dataset in datasets]


def originals_of(settings: Data) -> list[VideoDataset]:
    """The same data sets with the streams as they were shipped or generated, also where others are asked for."""
    return datasets_of(settings.model_copy(update={"reencode": False}))


def _moving_photos(settings: Data) -> list[VideoDataset]:
    return [
        load_dataset(
            "moving_photos",
            design=design,
            root=settings.root / design if settings.root else None,
            train_groups=groups.train,
            test_groups=groups.test,
            clips_per_group=settings.clips_per_group,
            val_fraction=settings.val_fraction,
            seed=settings.seed,
            workers=settings.workers,
        )
        for design, groups in settings.designs.items()
    ]


def _from_disk(settings: Data) -> VideoDataset:
    """Listed clips or the user's folder, re-encoded where that is asked for."""
    dataset = _as_shipped(settings)
    if not settings.reencode:
        return dataset
    return reencode(dataset, reencoded_dir(settings), settings.workers, settings.scheduler)


def _as_shipped(settings: Data) -> VideoDataset:
    """UCF101, HMDB51 or the user's folder; listed clips that are missing are written to a report."""
    settings.check()
    assert settings.root is not None
    common = {"root": settings.root, "val_fraction": settings.val_fraction, "seed": settings.seed}
    if settings.name == "video_folder":
        return load_dataset("video_folder", test_fraction=settings.test_fraction, **common)
    own = {"annotation_path": settings.annotation_path, "fold": settings.fold}
    dataset = load_dataset(settings.name, allow_partial=settings.allow_partial, **own, **common)
    report = reports_dir(dataset) / "missing.txt"
    report.unlink(missing_ok=True)
    if dataset.missing:
        with atomic_path(report) as temporary:
            temporary.write_text("".join(f"{path}\n" for path in dataset.missing))
        log.warning("%s: %d listed clips are missing, see %s", dataset.name, len(dataset.missing), report)
    return dataset


def _long_enough(dataset: VideoDataset, settings: Data) -> VideoDataset:
    """The data set without clips of too few frames; its description, which every table has, says how many those are."""
    facts, problems = facts_of(dataset.clips, settings.workers)
    if problems:
        paths = {clip.name: clip.path for clip in dataset.clips}
        raise ClipsError([(paths[name], reason) for name, reason in problems.items()], len(paths))
    fewest = {"train": settings.min_frames.train, "val": settings.min_frames.train, "test": settings.min_frames.test}
    splits: dict[str, Any] = {
        split: [clip for clip in getattr(dataset, split) if facts[clip.name].decoded >= frames]
        for split, frames in fewest.items()
    }
    left = [clip for clips in splits.values() for clip in clips]
    dropped = len(dataset.clips) - len(left)
    if not dropped:
        return dataset
    if not (splits["train"] and splits["test"]):
        raise ConfigError(f"{dataset.name}: no training or no test clip has data.min_frames={settings.min_frames!r}")
    rule = f"under {fewest['train']} frames in training, {fewest['test']} in testing"
    description = f"{dataset.description}, {dropped} of {len(dataset.clips)} clips left out ({rule})"
    return replace(dataset, **splits, description=description, fingerprint=fingerprint_files(left, settings.workers))


def reports_dir(dataset: VideoDataset) -> Path:
    """Where what is found out about a data set's files is written."""
    return data_dir() / "reports" / dataset.name


def reencoded_dir(settings: Data) -> Path:
    """Where re-encoded clips lie; clips of the same name in another folder may be other clips."""
    assert settings.root is not None
    origin = hashlib.sha256(str(settings.root.expanduser().resolve()).encode()).hexdigest()[:8]
    return data_dir() / "reencoded" / f"{settings.name}-{origin}"


def reencode(
    dataset: VideoDataset, folder: Path, workers: int | None = None, executor: Executor | str | None = None
) -> VideoDataset:
    """The same data set with every clip re-encoded into CoViAR's format (340 x 256, MPEG-4, GOP 12, no B-frames).

    Streams as they are shipped may tell classes apart by their encoder's settings (UCF101's do); re-encoded one way
    they cannot. Clips that are there already, with the time stamp of their source, stay.
    """
    result = in_folder(dataset, folder)
    pairs = [(clip.path, moved.path) for clip, moved in zip(dataset.clips, result.clips, strict=True)]
    if not all(_is_current(*pair) for pair in pairs):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # one at a time: whatever is unfinished in there is a killed run's
            for leftover in folder.glob(f"*/.*{SUFFIX}"):
                leftover.unlink()
            todo = [pair for pair in pairs if not _is_current(*pair)]
            for_each_file(_reencode, todo, "re-encoding", workers, executor)
    return replace(result, fingerprint=fingerprint_files(result.clips, workers, executor))


def in_folder(dataset: VideoDataset, folder: Path) -> VideoDataset:
    """The same data set with its clips where `reencode` puts them, whether they are there or not."""

    def moved(clips: Sequence[Clip]) -> list[Clip]:
        return [replace(clip, path=folder / clip.class_name / f"{clip.name}{SUFFIX}") for clip in clips]

    description = f"{dataset.description}, re-encoded at 340x256 (MPEG-4, GOP 12)"
    train, val, test = moved(dataset.train), moved(dataset.val), moved(dataset.test)
    return replace(dataset, train=train, val=val, test=test, description=description)


def _reencode(source: Path, target: Path) -> None:
    """Re-encode, and give the result the time stamp of its source: an older file in that place is another file."""
    before = source.stat()
    transcode(source, target)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_current(source: Path, target: Path) -> bool:
    return target.is_file() and abs(target.stat().st_mtime - source.stat().st_mtime) <= COARSEST_CLOCK
