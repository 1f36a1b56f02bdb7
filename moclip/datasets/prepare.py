"""From the configuration to data sets that are ready to read: generated, listed, re-encoded one way."""

import hashlib
from dataclasses import replace
from pathlib import Path

from moclip.config import ConfigError, Data
from moclip.datasets import load_dataset
from moclip.datasets.base import Clip, VideoDataset, fingerprint_files
from moclip.parallel import for_each_file
from moclip.paths import data_dir
from moclip.video import transcode


def datasets_of(settings: Data) -> list[VideoDataset]:
    """The data sets of a configuration, the main one first; MovingPhotos has one a design.

    Raises
    ------
    ConfigError
        The configuration lacks what the data set needs.
    ClipsError
        Clips could not be re-encoded.
    """
    if settings.name == "moving_photos":
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
    if settings.root is None or settings.annotation_path is None:
        raise ConfigError(
            "UCF101 needs the folder of its videos and of its lists: "
            "-p data.root=/path/UCF-101 -p data.annotation_path=/path/ucfTrainTestlist"
        )
    dataset = load_dataset(
        "ucf101",
        root=settings.root,
        annotation_path=settings.annotation_path,
        fold=settings.fold,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
        allow_partial=settings.allow_partial,
    )
    if not settings.reencode:
        return [dataset]
    # Clips of the same name in another folder may be other clips.
    origin = hashlib.sha256(str(settings.root.expanduser().resolve()).encode()).hexdigest()[:8]
    return [reencode(dataset, data_dir() / "reencoded" / f"ucf101-{origin}", settings.workers)]


def reencode(dataset: VideoDataset, folder: Path, workers: int | None = None) -> VideoDataset:
    """The same data set with every clip re-encoded into CoViAR's format (340 x 256, MPEG-4, GOP 12, no B-frames).

    The streams that UCF101 ships tell classes apart by their encoder's settings; re-encoded one way they cannot. Clips
    that are there already, and newer than their source, stay.
    """
    targets = {clip: folder / clip.class_name / f"{clip.name}.m4v" for clip in dataset.clips}
    missing = [(clip.path, target) for clip, target in targets.items() if not _is_current(clip.path, target)]
    for_each_file(transcode, missing, "re-encoding", workers)

    def moved(clips: list[Clip]) -> list[Clip]:
        return [replace(clip, path=targets[clip]) for clip in clips]

    result = replace(
        dataset,
        train=moved(list(dataset.train)),
        val=moved(list(dataset.val)),
        test=moved(list(dataset.test)),
        description=f"{dataset.description}, re-encoded at 340x256 (MPEG-4, GOP 12)",
    )
    return replace(result, fingerprint=fingerprint_files(result.clips))


def _is_current(source: Path, target: Path) -> bool:
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime
