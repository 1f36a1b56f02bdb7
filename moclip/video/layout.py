"""The layout of motion vectors in memory: FFmpeg's list and our grid."""

import numpy as np

FUTURE, INTER, INTRA = 0, 1, 2  # values of `Motion.mask`
COARSEST = 16  # the largest block size, in pixels; FFmpeg lists blocks down to 8, and for H.264 down to 4
CHUNK = 32  # frames; a chunk also ends before every I-frame

VECTOR = np.dtype(
    [
        ("source", "i4"),  # negative: the block is predicted from the past
        ("w", "u1"),
        ("h", "u1"),
        ("src_x", "i2"),
        ("src_y", "i2"),
        ("dst_x", "i2"),  # centre of the block, pixels
        ("dst_y", "i2"),
        ("flags", "u8"),
        ("motion_x", "i4"),  # source minus destination, in units of 1 / motion_scale pixels
        ("motion_y", "i4"),
        ("motion_scale", "u2"),
    ],
    align=True,
)
"""FFmpeg's AVMotionVector."""


def grid_shape(height: int, width: int, block_size: int) -> tuple[int, int]:
    """Rows and columns of the grid of a frame; height, width and block_size in pixels."""
    return -(-height // block_size), -(-width // block_size)  # rounded up


def refine(array: np.ndarray, block_size: int, finer: int, height: int, width: int) -> np.ndarray:
    """Repeat the cells of grids (n, gh, gw, ...) so that their side is ``finer`` instead of ``block_size`` pixels.

    With ``finer`` 1 the result is a field: (n, height, width, ...).
    """
    if block_size == finer:
        return array
    factor = block_size // finer
    rows, columns = grid_shape(height, width, finer)
    return np.repeat(np.repeat(array, factor, axis=1)[:, :rows], factor, axis=2)[:, :, :columns]
