"""Block vectors, as FFmpeg lists them, on a regular grid."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NONE, INTER, INTRA = 0, 1, 2  # values of the mask
COARSEST, FINEST = 16, 4  # FFmpeg lists no block smaller than 8 in practice; H.264 goes down to 4


class BlockField(NamedTuple):
    """Vectors of one frame, on the coarsest grid that holds them exactly."""

    grid: np.ndarray  # int16 (gh, gw, 2), units of 1 / scale pixels, destination minus source
    mask: np.ndarray  # uint8 (gh, gw)
    block: int
    scale: int


def to_blocks(vectors: np.ndarray, width: int, height: int) -> BlockField | None:
    """One frame's list of vectors as a grid; None if none of them points into the past.

    Parameters
    ----------
    vectors : structured array (N,)
        FFmpeg's AVMotionVector: source (negative: past), w, h, dst_x, dst_y (centre of the block, pixels),
        motion_x, motion_y (source minus destination), motion_scale.
    width, height : int
        Size of the video in pixels; blocks that reach beyond are cut.

    Notes
    -----
    Where blocks overlap, the one listed last wins, as in CoViAR's loader, which writes them in order.
    """
    past = vectors["source"] < 0
    if not past.any():
        return None
    left = vectors["dst_x"].astype(np.int32) - vectors["w"] // 2
    top = vectors["dst_y"].astype(np.int32) - vectors["h"] // 2
    box = np.stack([left, top, left + vectors["w"], top + vectors["h"]], axis=1)  # (N, 4)
    block = _common_block(box)
    shape = (math.ceil(height / block), math.ceil(width / block))
    grid, mask = np.zeros((*shape, 2), np.int16), np.full(shape, INTRA, np.uint8)
    if not past.all():
        rows, columns, _ = _cells(box[~past], block, shape)
        mask[rows, columns] = NONE
        vectors, box = vectors[past], box[past]
    rows, columns, index = _cells(box, block, shape)
    grid[rows, columns, 0] = -vectors["motion_x"][index]
    grid[rows, columns, 1] = -vectors["motion_y"][index]
    mask[rows, columns] = INTER
    scale = vectors["motion_scale"]
    if (scale != scale[0]).any():
        raise ValueError("vectors of several scales in one frame")
    return BlockField(grid, mask, block, int(scale[0]))


def stack(fields: Sequence[BlockField | None], width: int, height: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Frames on one common grid, the finest of theirs.

    Returns
    -------
    grid : int16 (T, gh, gw, 2)
    mask : uint8 (T, gh, gw)
        Frames without vectors (None) are intra all over.
    block : int
    """
    block = min((field.block for field in fields if field is not None), default=COARSEST)
    shape = (len(fields), math.ceil(height / block), math.ceil(width / block))
    grid, mask = np.zeros((*shape, 2), np.int16), np.full(shape, INTRA, np.uint8)
    for t, field in enumerate(fields):
        if field is not None:
            grid[t] = _refine(field.grid, field.block // block)[: shape[1], : shape[2]]
            mask[t] = _refine(field.mask, field.block // block)[: shape[1], : shape[2]]
    return grid, mask, block


def _refine(array: np.ndarray, factor: int) -> np.ndarray:
    return array if factor == 1 else np.repeat(np.repeat(array, factor, axis=0), factor, axis=1)


def _common_block(box: np.ndarray) -> int:
    """Largest of 16, 8 and 4 that divides all corners of all blocks."""
    bits = int(np.bitwise_or.reduce(box, axis=None))
    return max(FINEST, min(COARSEST, bits & -bits)) if bits else COARSEST


def _cells(box: np.ndarray, block: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid cells that blocks cover, inside the image: rows, columns, and the number of the block that covers each."""
    first_x, first_y, last_x, last_y = (box // block).T
    wide, high = last_x - first_x, last_y - first_y
    count = wide * high
    if (count == 1).all():  # the usual case: no block covers more than one cell
        index = np.arange(len(box))
        rows, columns = first_y, first_x
    else:
        index = np.repeat(np.arange(len(box)), count)
        offset = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
        rows, columns = first_y[index] + offset // wide[index], first_x[index] + offset % wide[index]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return rows[inside], columns[inside], index[inside]
