"""From the configuration to data sets that are ready to read: generated, listed, re-encoded one way."""

import hashlib
import os
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from moclip.config import Data
from moclip.datasets import load_dataset
from moclip.datasets.base import Clip, VideoDataset, fingerprint_files
from moclip.parallel import for_each_file
from moclip.paths import data_dir
from moclip.video import transcode

COARSEST_CLOCK = 2  # seconds: the time stamps of some file systems are no finer


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
    if settings.horizontal_flip is None:
        return datasets
    return [replace(dataset, horizontal_flip=settings.horizontal_flip) for dataset in datasets]


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
    """UCF101 or the user's folder, re-encoded where that is asked for."""
    settings.check()
    assert settings.root is not None
    common = {"root": settings.root, "val_fraction": settings.val_fraction, "seed": settings.seed}
    if settings.name == "video_folder":
        dataset = load_dataset("video_folder", test_fraction=settings.test_fraction, **common)
    else:
        own = {"annotation_path": settings.annotation_path, "fold": settings.fold}
        dataset = load_dataset("ucf101", allow_partial=settings.allow_partial, **own, **common)
    if not settings.reencode:
        return dataset
    # Clips of the same name in another folder may be other clips.
    origin = hashlib.sha256(str(settings.root.expanduser().resolve()).encode()).hexdigest()[:8]
    return reencode(
        dataset, data_dir() / "reencoded" / f"{settings.name}-{origin}", settings.workers, settings.scheduler
    )


def reencode(
    dataset: VideoDataset, folder: Path, workers: int | None = None, executor: Executor | str | None = None
) -> VideoDataset:
    """The same data set with every clip re-encoded into CoViAR's format (340 x 256, MPEG-4, GOP 12, no B-frames).

    Streams as they are shipped may tell classes apart by their encoder's settings (UCF101's do); re-encoded one way
    they cannot. Clips that are there already, with the time stamp of their source, stay.
    """
    targets = {clip: folder / clip.class_name / f"{clip.name}.m4v" for clip in dataset.clips}
    missing = [(clip.path, target) for clip, target in targets.items() if not _is_current(clip.path, target)]
    for_each_file(_reencode, missing, "re-encoding", workers, executor)

    def moved(clips: list[Clip]) -> list[Clip]:
        return [replace(clip, path=targets[clip]) for clip in clips]

    result = replace(
        dataset,
        train=moved(list(dataset.train)),
        val=moved(list(dataset.val)),
        test=moved(list(dataset.test)),
        description=f"{dataset.description}, re-encoded at 340x256 (MPEG-4, GOP 12)",
    )
    return replace(result, fingerprint=fingerprint_files(result.clips, workers, executor))


def _reencode(source: Path, target: Path) -> None:
    """Re-encode, and give the result the time stamp of its source: an older file in that place is another file."""
    before = source.stat()
    transcode(source, target)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_current(source: Path, target: Path) -> bool:
    return target.is_file() and abs(target.stat().st_mtime - source.stat().st_mtime) <= COARSEST_CLOCK
