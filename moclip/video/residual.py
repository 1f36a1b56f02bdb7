"""Residuals as CoViAR defines them: what is left of a picture when the motion since a reference is taken away."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moclip.video.frames import decode_pictures
from moclip.video.motion import COVIAR_GOP, Motion
from moclip.video.probe import TRANSCODE_ADVICE
from moclip.video.scan import read_motion


def read_residual(
    path: Path | str, indices: Sequence[int] | np.ndarray, accumulated: bool = True, compat: str | None = None
) -> np.ndarray:
    """Differences between frames and what their motion vectors predict (Wu et al. 2018, section 3.2).

    Not the residual that the stream codes, but decoded pictures subtracted: the frame minus its reference, read at
    p - v for every pixel p. Both are converted to RGB first (FFmpeg's bicubic scaler). As in `Motion.accumulated`,
    every vector is taken to point into the frame just before.

    Parameters
    ----------
    path : path-like
    indices : sequence of int
        Frames, counted as `Motion.raw` counts them; any order, repeats allowed.
    accumulated : bool
        True: the reference is the last I-frame and v the accumulated field. False: the reference is the frame before
        and v its raw field; an I-frame, which has no reference, gives zeros.
    compat : {None, "coviar"}
        None: v is rounded to whole pixels (floor(v + 1/2)); where p - v lies outside the image, the nearest pixel of
        its edge is read. "coviar": what CoViAR's loader gives, its channels in BGR order, and zeros for frames without
        vectors and beyond the end of a GOP. On six of its frames, 340 wide, this is equal in every pixel up to column
        335. Its last four columns (width modulo 8) are memory that its scaler never wrote, and so is all that is
        read from there: noise that is not copied here.

    Returns
    -------
    int32 (K, H, W, 3)
        -255..255, RGB; in compat mode BGR.

    Raises
    ------
    ValueError
        No index; or the video has B-frames, whose references are not known.
    IndexError
        No such frame, or in compat mode no such GOP.
    VideoError
        As `read_motion`.
    """
    wanted = [int(index) for index in indices]
    if not wanted:
        raise ValueError("indices must hold at least one frame")
    motion = read_motion(path, compat)
    if "B" in motion.types:
        raise ValueError(f"{path}: residuals need a video without B-frames; {TRANSCODE_ADVICE}")
    fields = {t: (motion.accumulated if accumulated else motion.raw)(t) for t in set(wanted)}
    pairs = {t: _frames(motion, t, accumulated) for t in fields}
    layout = "bgr24" if compat else "rgb24"
    pictures = decode_pictures(path, {0}.union(*filter(None, pairs.values())), layout)
    out = np.zeros((len(wanted), motion.height, motion.width, 3), np.int32)
    for row, t in zip(out, wanted, strict=True):
        if pair := pairs[t]:
            frame, reference = pair
            row[:] = pictures[frame].astype(np.int32) - _moved(pictures[reference], fields[t])
    return out


def _frames(motion: Motion, t: int, accumulated: bool) -> tuple[int, int] | None:
    """Numbers in the file of the frame that ``t`` means and of its reference; None where the residual is zero."""
    intra = np.flatnonzero(motion.types == "I")
    if motion.compat:
        gop, position = divmod(t, COVIAR_GOP)
        start = int(intra[gop])
        end = int(intra[gop + 1]) if gop + 1 < len(intra) else len(motion)
        frame = start + position
        if frame >= end or not motion.has_motion[frame]:
            return None
    else:
        frame = t
        start = int(intra[intra <= t].max(initial=0))
    if frame == start:
        return None
    return frame, start if accumulated else frame - 1


def _moved(picture: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) read at p - field(p), field (H, W, 2) in pixels, x first."""
    height, width = field.shape[:2]
    rows, columns = np.indices((height, width))
    steps = np.floor(field + 0.5).astype(np.int64)
    return picture[
        np.clip(rows - steps[..., 1], 0, height - 1), np.clip(columns - steps[..., 0], 0, width - 1)
    ]  # (H, W, 3)
