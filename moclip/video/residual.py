"""Residuals as CoViAR defines them: what is left of a picture when the motion since a reference is taken away."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moclip.video.coviar import CoviarMotion
from moclip.video.frames import decode_pictures
from moclip.video.motion import Motion


def read_residual(
    path: Path | str, motion: Motion | CoviarMotion, indices: Sequence[int] | np.ndarray, accumulated: bool = True
) -> np.ndarray:
    """Differences between frames and what their motion vectors predict (Wu et al. 2018, section 3.2).

    This is not the residual that the stream codes. Decoded pictures are subtracted: the frame minus its reference,
    read at p - v for every pixel p. Both are converted to RGB first (FFmpeg's bicubic scaler). As in
    `Motion.accumulated`, every vector is taken to point to the frame just before.

    Parameters
    ----------
    path : path-like
    motion : Motion or CoviarMotion
        The motion of this video. With `CoviarMotion`, frames are counted as in CoViAR, and residuals are those of its
        loader (which has them in BGR): zeros for frames without vectors and beyond the end of a GOP. On six of its
        frames, 340 pixels wide, this is equal in every pixel up to column 335. Its last four columns (width modulo 8)
        are memory that its scaler never wrote, and so is all that is read from there. This noise is not reproduced.
    indices : sequence of int
        Frames, counted as ``motion`` counts them; any order, and a frame may occur more than once.
    accumulated : bool
        True: the reference is the last I-frame and v the accumulated field. False: the reference is the frame before
        and v its raw field; an I-frame has no reference and gives zeros. v is rounded to whole pixels
        (floor(v + 1/2)); where p - v lies outside the image, the nearest pixel of its edge is read.

    Returns
    -------
    int32 (K, H, W, 3)
        -255..255, RGB.

    Raises
    ------
    ValueError
        No index; or the video has B-frames, whose references are not known.
    IndexError
        No such frame.
    VideoError
        As `read_frames`.
    """
    located = map(motion.locate, indices)
    pairs = [(frame, start if accumulated or frame == start else frame - 1) for start, frame in located]
    fields = motion.fields(indices, "accumulated" if accumulated else "raw")
    pictures = decode_pictures(path, {number for pair in pairs for number in pair})
    height, width = fields.shape[1:3]
    rows, columns = np.indices((height, width))
    out = np.empty((*fields.shape[:3], 3), np.int32)
    for residual, (frame, reference), field in zip(out, pairs, fields, strict=True):
        steps = np.floor(field + 0.5).astype(np.int64)
        y, x = np.clip(rows - steps[..., 1], 0, height - 1), np.clip(columns - steps[..., 0], 0, width - 1)
        residual[:] = pictures[frame].astype(np.int32) - pictures[reference][y, x]
    return out
