"""From the configuration to data sets that are ready to read: generated, listed, re-encoded one way."""

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from moclip.config.sections import ConfigError, Data, MinFrames
from moclip.datasets import load_dataset
from moclip.datasets.base import NO_MOTION, REMEDY, Clip, VideoDataset, fingerprint_files
from moclip.datasets.facts import facts_of
from moclip.io.files import atomic_path
from moclip.io.parallel import ClipsError, for_each_file
from moclip.io.paths import data_dir
from moclip.video import VideoError, transcode
from moclip.video.scan import open_motion

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
        Clips could not be re-encoded; with ``on_error="skip"``, no training or no test clip can be used.
    """
    datasets = _moving_photos(settings) if settings.name == "moving_photos" else [_as_shipped(settings)]
    folder = reencoded_dir(settings) if settings.reencode else None
    if settings.on_error == "skip":
        datasets = [_usable(dataset, folder, settings) for dataset in datasets]
    if folder:
        datasets = [reencode(dataset, folder, settings.workers, settings.scheduler) for dataset in datasets]
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


def _as_shipped(settings: Data) -> VideoDataset:
    """UCF101, HMDB51 or the user's folder; listed clips that are missing are written to a report."""
    settings.check()
    assert settings.root is not None
    common = {"root": settings.root, "val_fraction": settings.val_fraction, "seed": settings.seed}
    if settings.name == "video_folder":
        return load_dataset("video_folder", test_fraction=settings.test_fraction, **common)
    own = {"annotation_path": settings.annotation_path, "fold": settings.fold}
    dataset = load_dataset(settings.name, allow_partial=settings.allow_partial, **own, **common)
    report = _report(dataset, "missing.txt", dataset.missing)
    if dataset.missing:
        log.warning("%s: %d listed clips are missing, see %s", dataset.name, len(dataset.missing), report)
    return dataset


def _usable(dataset: VideoDataset, folder: Path | None, settings: Data) -> VideoDataset:
    """The data set without the clips that give no motion; description and report say which those are.

    A clip fails in being re-encoded into ``folder``; without a folder, in being read to its end as it is.
    """
    clips = dataset.clips
    if folder:
        reasons = dict(_encode_missing(dataset, folder, settings.workers, settings.scheduler))
    else:
        facts, problems = facts_of(clips, settings.workers, settings.scheduler)
        problems |= {name: own.note or NO_MOTION for name, own in facts.items() if not sum(own.lengths)}
        reasons = {clip.path: problems[clip.name] for clip in clips if clip.name in problems}
    failures = [(clip.path, reasons[clip.path]) for clip in clips if clip.path in reasons]
    report = _report(dataset, "unreadable.txt", [f"{path}: {reason}" for path, reason in failures])
    if not failures:
        return dataset
    log.warning("%s: %d of %d clips cannot be used, see %s", dataset.name, len(failures), len(clips), report)
    if left := _without(dataset, {clip.name for clip in clips if clip.path in reasons}, "unreadable", settings.workers):
        return left
    raise ClipsError(failures, len(clips))


def _long_enough(dataset: VideoDataset, settings: Data) -> VideoDataset:
    """The data set without clips of too few frames, as its description says."""
    facts, problems = facts_of(dataset.clips, settings.workers, settings.scheduler)
    if problems:
        paths = {clip.name: clip.path for clip in dataset.clips}
        raise ClipsError([(paths[name], reason) for name, reason in problems.items()], len(paths), REMEDY)
    train, test = settings.min_frames.train, settings.min_frames.test
    fewest = {clip.name: train for clip in [*dataset.train, *dataset.val]} | {clip.name: test for clip in dataset.test}
    short = {name for name, frames in fewest.items() if facts[name].decoded < frames}
    rule = f"under {train} frames in training, {test} in testing"
    if left := _without(dataset, short, rule, settings.workers):
        return left
    raise ConfigError(f"{dataset.name}: no training or no test clip has data.min_frames={settings.min_frames!r}")


def _without(dataset: VideoDataset, names: set[str], why: str, workers: int | None) -> VideoDataset | None:
    """The data set without some clips; its description counts them. None if a split would be empty."""
    if not names:
        return dataset
    train, val, test = (
        [clip for clip in members if clip.name not in names] for members in (dataset.train, dataset.val, dataset.test)
    )
    if not (train and test):
        return None
    description = f"{dataset.description}, {len(names)} of {len(dataset.clips)} clips left out ({why})"
    fingerprint = fingerprint_files([*train, *val, *test], workers)
    return replace(dataset, train=train, val=val, test=test, description=description, fingerprint=fingerprint)


def _report(dataset: VideoDataset, name: str, lines: Sequence[str]) -> Path:
    """Write a report; without lines there is none."""
    path = reports_dir(dataset) / name
    path.unlink(missing_ok=True)
    if lines:
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines))
    return path


def reports_dir(dataset: VideoDataset) -> Path:
    """Where what is found out about a data set's files is written."""
    return data_dir() / "reports" / dataset.name


def reencoded_dir(settings: Data) -> Path:
    """Where re-encoded clips lie; clips of the same name in another folder may be other clips."""
    assert settings.root is not None
    origin = hashlib.sha256(str(settings.root.expanduser().resolve()).encode()).hexdigest()[:8]
    return data_dir() / "reencoded" / f"{settings.name}-{origin}"


def reencode(
    dataset: VideoDataset, folder: Path, workers: int | None = None, scheduler: str | None = None
) -> VideoDataset:
    """The same data set with every clip re-encoded into CoViAR's format (340 x 256, MPEG-4, GOP 12, no B-frames).

    Streams as they are shipped may tell classes apart by their encoder's settings (UCF101's do); re-encoded one way
    they cannot. Clips that are there already, with the time stamp of their source, stay.

    Raises
    ------
    ClipsError
        At the end, with every clip that could not be re-encoded or has no motion vectors then; the others are kept.
    """
    if failures := _encode_missing(dataset, folder, workers, scheduler):
        raise ClipsError(failures, len(dataset.clips), REMEDY)
    result = in_folder(dataset, folder)
    return replace(result, fingerprint=fingerprint_files(result.clips, workers))


def _encode_missing(
    dataset: VideoDataset, folder: Path, workers: int | None, scheduler: str | None
) -> list[tuple[Path, str]]:
    """Re-encode the clips that are not there yet; path and reason of every one that fails."""
    pairs = [
        (clip.path, moved.path)
        for clip, moved in zip(dataset.clips, in_folder(dataset, folder).clips, strict=True)
        if not _is_current(clip.path, moved.path)
    ]
    if not pairs:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # one at a time: whatever is unfinished in there is a killed run's
        for leftover in folder.glob(f"*/.*{SUFFIX}"):
            leftover.unlink()
        todo = [pair for pair in pairs if not _is_current(*pair)]  # another process may have made some meanwhile
        return for_each_file(_reencode, todo, "re-encoding", workers, scheduler, on_error="skip")


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
    with atomic_path(target) as temporary:
        transcode(source, temporary)
        with open_motion(temporary) as (_, chunks):  # mostly the first chunk says it
            if not any(any(chunk.has_motion) for chunk in chunks):
                raise VideoError(source, NO_MOTION)
        os.utime(temporary, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_current(source: Path, target: Path) -> bool:
    return target.is_file() and abs(target.stat().st_mtime - source.stat().st_mtime) <= COARSEST_CLOCK
