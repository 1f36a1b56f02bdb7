"""Pictures of a video, in RGB."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from moclip.video.errors import VideoError
from moclip.video.probe import open_video


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Decode some frames of a video.

    Decoding runs from the start up to the last frame asked for, so that indices are exact in any container; only the
    frames asked for are converted to RGB.

    Parameters
    ----------
    path : path-like
    indices : sequence of int
        Frames in presentation order, from 0; any order, repeats allowed.

    Returns
    -------
    uint8 (K, H, W, 3)
        In the order of ``indices``, turned upright where the file has a rotation tag.

    Raises
    ------
    ValueError
        No index, or a negative one.
    VideoError
        The file cannot be read, is damaged before the last frame asked for, or has fewer frames.
    """
    wanted = [int(index) for index in indices]
    if not wanted or min(wanted) < 0:
        raise ValueError(f"indices must be 0 or more, and at least one, not {wanted}")
    pictures = decode_pictures(path, wanted, upright=True)
    if len({picture.shape for picture in pictures.values()}) > 1:
        raise VideoError(path, "changes its size between the frames asked for")
    return np.stack([pictures[index] for index in wanted])


def decode_pictures(path: Path | str, indices: Iterable[int], upright: bool = False) -> dict[int, np.ndarray]:
    """Some frames by number, each uint8 (H, W, 3).

    Parameters
    ----------
    indices : frames from 0, at least one.
    upright : apply the rotation tag; else pictures are as coded, as motion vectors are.

    Raises
    ------
    VideoError
        As `read_frames`, or a kind of picture that FFmpeg cannot convert.
    """
    wanted = set(indices)
    with open_video(path) as video:
        frames = enumerate(video.frames(until=max(wanted)))
        return {number: _to_picture(frame, path, upright) for number, frame in frames if number in wanted}


def _to_picture(frame: av.VideoFrame, path: Path | str, upright: bool) -> np.ndarray:
    try:
        picture = frame.reformat(format="rgb24", interpolation=Interpolation.BICUBIC).to_ndarray()
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, f"its {frame.format.name} pictures cannot be converted ({error})") from error
    return np.rot90(picture, frame.rotation // 90) if upright else picture  # phones film sideways and say so
