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
