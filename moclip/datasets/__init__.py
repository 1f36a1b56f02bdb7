"""Data sets: clips with a label, a group and a split, whatever they come from."""

from typing import Any

from moclip.datasets.base import Clip, VideoDataset
from moclip.registry import lookup

__all__ = ["Clip", "VideoDataset", "load_dataset"]

DATASETS = {
    "moving_photos": "moclip.datasets.moving_photos:MovingPhotos",
    "ucf101": "moclip.datasets.ucf101:UCF101",
    "hmdb51": "moclip.datasets.hmdb51:HMDB51",
    "video_folder": "moclip.datasets.video_folder:VideoFolder",
}


def load_dataset(name: str, **kwargs: Any) -> VideoDataset:
    """A data set by name.

    Parameters
    ----------
    name : ``moving_photos``, ``ucf101``, ``hmdb51`` or ``video_folder``; see the functions in `DATASETS`.
    **kwargs : the function's own.

    Raises
    ------
    UnknownNameError
        The message names the nearest data set.
    """
    return lookup("data set", DATASETS, name)(**kwargs)  # type: ignore[no-any-return]
