"""Pictures of a video, in RGB."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from moclip.video.errors import VideoError
from moclip.video.probe import decode_all, open_video


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
    pictures: dict[int, np.ndarray] = {}
    count = 0
    with open_video(path) as (container, stream):
        for frame in decode_all(container, stream, path):
            if count in wanted:
                picture = _to_picture(frame, path)
                # phones film sideways and say so
                pictures[count] = np.rot90(picture, frame.rotation // 90) if upright else picture
            count += 1
            if count > max(wanted):
                break
    if count <= max(wanted):
        raise VideoError(path, f"has {count} frames, so that frame {max(wanted)} is not there")
    return pictures


def _to_picture(frame: av.VideoFrame, path: Path | str) -> np.ndarray:
    try:
        return frame.reformat(format="rgb24", interpolation=Interpolation.BICUBIC).to_ndarray()
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, f"its {frame.format.name} pictures cannot be converted ({error})") from error
