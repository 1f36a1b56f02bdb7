"""From block grids to fields of pixels: accumulation over frames, and scaling to 8 bits."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np


def accumulate(
    grids: Callable[[list[int]], np.ndarray],
    stretches: Sequence[tuple[int, int]],
    out: np.ndarray,
    block_size: int,
    scale: int,
    bound: float | None = None,
) -> None:
    """Displacement of every pixel over stretches of frames (CoViAR, Wu et al. 2018, section 3.2).

    D = 0 before the stretch. Each frame of it sets D(p) = D(p - round(v)) + v, where v is the vector at pixel p and
    round(v) = floor(v + 1/2). Where p - round(v) lies outside the image, D(p) stays as it was. Stretches that begin at
    the same frame share their work.

    Parameters
    ----------
    grids : function
        From frame numbers (K) to their vectors: int16 (K, gh, gw, 2), in units of 1 / ``scale`` pixels.
    stretches : sequence of (begin, end), S
        Frames ``begin`` to ``end - 1``, in any order.
    out : (S, height, width, 2), written, contiguous
        int32: in the units of the grids. float32: in pixels. uint8: pixels scaled by `quantise` with ``bound``.
    block_size : int
        Side of a grid cell in pixels.
    scale : int
        Units per pixel, a power of two.
    """
    if scale < 1 or scale & (scale - 1):
        raise ValueError(f"scale must be a power of two, as FFmpeg's are, not {scale}")
    from moclip.video import _kernels  # numba: most of a second to import

    frames: list[int] = []  # whose grids are read, in this order
    segments: list[tuple[int, bool, int]] = []  # of these frames, for the kernel
    previous = (-1, -1)
    for place in sorted(range(len(stretches)), key=stretches.__getitem__):
        begin, end = stretches[place]
        restart = begin != previous[0]
        first = begin if restart else previous[1]
        frames += range(first, end)
        segments.append((place, restart, end - first))
        previous = (begin, end)
    height, width = out.shape[1:3]
    # A pixel's steps add up to less than the image's side. A vector differs from its step by at most half a pixel.
    longest = max((end - begin for begin, end in stretches), default=0)
    wide = scale * (max(height, width) + (longest + 1) // 2) >= 2**15
    sums = np.empty((2, height * width, 2), np.uint32 if wide else np.uint16)
    pairs = sums.view(np.uint64 if wide else np.uint32)[..., 0]  # the same memory
    vectors = np.ascontiguousarray(grids(frames))
    moved = np.empty(vectors.shape[1:3], np.uint8)
    size = (height, width, block_size, scale.bit_length() - 1)
    factor = np.float32(0 if bound is None else 127.5 / bound) / np.float32(scale)
    integers = by_integers(factor) if out.dtype == np.uint8 and not wide else (0, 0)
    table = np.array(segments, np.int64).reshape(-1, 3)
    flat = out.reshape(len(out), height * width * 2)
    _kernels.accumulate(vectors, table, sums, pairs, moved, size, factor, integers, flat)
    if out.dtype == np.float32:
        np.divide(out, np.float32(scale), out=out)


@lru_cache
def by_integers(factor: np.float32) -> tuple[int, int]:
    """How to truncate v * ``factor`` with 16-bit integers: limit |v|, multiply, divide by 256.

    Returns
    -------
    limit, multiplier : int
        The smallest v that reaches the end of the 8-bit range, and the multiplier. (0, 0) if the result differs from
        float32 arithmetic for any v. It is the same for the paper's 20 pixels and for most round bounds.
    """
    limit, multiplier = math.ceil(128 / factor), math.ceil(256 * float(factor))
    if limit * multiplier >= 2**16:
        return 0, 0
    units = np.arange(limit + 1)
    same = np.array_equal(units * multiplier >> 8, np.trunc(units.astype(np.float32) * factor))
    return (limit, multiplier) if same else (0, 0)


def quantise(pixels: np.ndarray, bound: float) -> np.ndarray:
    """Vectors in 8 bits: v * 127.5 / ``bound``, truncated toward zero, plus 128, limited to 0..255.

    Parameters
    ----------
    pixels : (...)
        Vectors in pixels.
    bound : float
        The number of pixels at the end of the range.

    Returns
    -------
    uint8 (...)
    """
    values = np.trunc(pixels.astype(np.float32) * np.float32(127.5 / bound)) + 128
    return np.clip(values, 0, 255).astype(np.uint8)
