"""Data sets: clips with a label, a group and a split, whatever they come from."""

import difflib
from typing import Any

from moclip.datasets.base import Clip, VideoDataset

__all__ = ["Clip", "VideoDataset", "list_datasets", "load_dataset"]

NAMES = ("moving_photos", "ucf101", "hmdb51", "video_folder")


def list_datasets() -> list[str]:
    """Names that ``load_dataset`` takes."""
    return list(NAMES)


def load_dataset(name: str, **kwargs: Any) -> VideoDataset:
    """A data set by name.

    Parameters
    ----------
    name : ``moving_photos`` (see ``moclip.datasets.moving_photos.MovingPhotos``), ``ucf101`` (``...ucf101.UCF101``),
        ``hmdb51`` (``...hmdb51.HMDB51``) or ``video_folder`` (``...video_folder.VideoFolder``).
    **kwargs : passed on.

    Raises
    ------
    ValueError
        If there is no such data set; the message names the nearest one.
    """
    if name == "moving_photos":
        from moclip.datasets.moving_photos import MovingPhotos

        return MovingPhotos(**kwargs)
    if name == "ucf101":
        from moclip.datasets.ucf101 import UCF101

        return UCF101(**kwargs)
    if name == "hmdb51":
        from moclip.datasets.hmdb51 import HMDB51

        return HMDB51(**kwargs)
    if name == "video_folder":
        from moclip.datasets.video_folder import VideoFolder

        return VideoFolder(**kwargs)
    nearest = difflib.get_close_matches(name.lower().replace("-", "_"), NAMES, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise ValueError(f"no data set {name!r}; {hint}There are: {', '.join(NAMES)}")
