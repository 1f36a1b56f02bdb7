"""Data sets: clips with a label, a group and a split, whatever they come from."""

from typing import Any

from moclip.config.datasets import DATASETS
from moclip.datasets.base import Clip, VideoDataset
from moclip.registry import lookup

__all__ = ["Clip", "VideoDataset", "load_dataset"]


def load_dataset(name: str, **kwargs: Any) -> VideoDataset:
    """A data set by name.

    Parameters
    ----------
    name : ``moving_photos``, ``ucf101``, ``hmdb51`` or ``video_folder``; see the functions in `moclip.config.datasets`.
    **kwargs : the function's own.

    Raises
    ------
    UnknownNameError
        The message names the nearest data set.
    """
    functions = {name: dataset.function for name, dataset in DATASETS.items()}
    return lookup("data set", functions, name)(**kwargs)  # type: ignore[no-any-return]
