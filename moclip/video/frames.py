"""Pictures of a video, in RGB."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from moclip.video.errors import VideoError
from moclip.video.probe import open_video, video_errors


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Decode some frames of a video.

    Decoding starts at the first frame and stops after the last one requested. So indices are exact in any container.
    Only the frames requested are converted to RGB.

    Parameters
    ----------
    path : path-like
    indices : sequence of int
        Frames in presentation order, from 0; any order, and a frame may occur more than once.

    Returns
    -------
    uint8 (K, H, W, 3)
        In the order of ``indices``; upright where the file has a rotation tag.

    Raises
    ------
    ValueError
        No index, or a negative one.
    VideoError
        The file cannot be read, is damaged before the last frame requested, or has fewer frames.
    """
    wanted = [int(index) for index in indices]
    pictures = decode_pictures(path, set(wanted), upright=True)
    if len({picture.shape for picture in pictures.values()}) > 1:
        raise VideoError(path, "changes its size between the frames requested")
    return np.stack([pictures[index] for index in wanted])


def decode_pictures(path: Path | str, indices: set[int], upright: bool = False) -> dict[int, np.ndarray]:
    """Some frames in RGB, by number: uint8 (H, W, 3) each.

    Parameters
    ----------
    indices : set of int
        Frames in presentation order, from 0; at least one.
    upright : bool
        Apply the rotation tag. Otherwise pictures are as coded, like motion vectors.

    Raises
    ------
    ValueError, VideoError
        As `read_frames`; or FFmpeg cannot convert pictures of this format.
    """
    if not indices or min(indices) < 0:
        raise ValueError(f"indices must be 0 or more, and at least one, not {sorted(indices)}")
    with open_video(path) as video:
        frames = enumerate(video.frames(until=max(indices)))
        return {number: _to_picture(frame, video.path, upright) for number, frame in frames if number in indices}


def _to_picture(frame: av.VideoFrame, path: Path, upright: bool) -> np.ndarray:
    with video_errors(path, f"its {frame.format.name} pictures cannot be converted", ""):
        picture = frame.reformat(format="rgb24", interpolation=Interpolation.BICUBIC).to_ndarray()
    return np.rot90(picture, frame.rotation // 90) if upright else picture  # phones film sideways and say so
