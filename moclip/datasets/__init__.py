"""Data sets: clips with a label, a group and a split, regardless of their source."""

from typing import Any

from moclip.config.datasets import DATASETS
from moclip.datasets.base import Clip, VideoDataset, hash_clips
from moclip.registry import lookup

__all__ = ["DATASETS", "Clip", "VideoDataset", "hash_clips", "load_dataset"]


def load_dataset(name: str, *, hashes: bool = True, **kwargs: Any) -> VideoDataset:
    """A data set by name.

    Parameters
    ----------
    name : ``moving_photos``, ``ucf101``, ``hmdb51`` or ``video_folder``; see the functions in `moclip.config.datasets`.
    hashes : read every clip once for its SHA-256 (`Clip.sha256`), by which motion and features are stored; False
        lists the clips only (UCF101 has 7 GB).
    **kwargs : arguments of that function.

    Raises
    ------
    UnknownNameError
        The message names the nearest data set.
    ClipsError
        Clips that cannot be read, if they are hashed.
    """
    functions = {name: dataset.function for name, dataset in DATASETS.items()}
    dataset: VideoDataset = lookup("data set", functions, name)(**kwargs)
    return hash_clips(dataset, kwargs.get("workers")) if hashes else dataset
