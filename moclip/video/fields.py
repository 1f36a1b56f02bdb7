"""From block grids to fields of pixels: accumulation and 8 bit."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def accumulate(
    grids: np.ndarray,
    segments: Sequence[tuple[int, int, int]],
    out: np.ndarray,
    block_size: int,
    scale: int,
    coviar: bool,
    bound: float | None = None,
) -> None:
    """Displacement of every pixel since the last I-frame, followed from frame to frame and taken down on the way.

    D_0 = 0, and for every later frame D_k(p) = D_{k-1}(p - round(v)) + v, where v is the vector at p, round(v) =
    floor(v + 1/2), and nothing changes where p - round(v) lies outside the image (CoViAR, Wu et al. 2018, section 3.2).

    Parameters
    ----------
    grids : int16 (K, gh, gw, 2)
        Vectors in order of time, in units of 1 / ``scale`` pixels.
    segments : sequence of (place, restart, frames)
        Stretches of the grids, in order: accumulate the next ``frames`` grids and write the field to ``out[place]``.
        ``restart``: begin from zero, as at an I-frame (always True in the first segment); else continue from the
        previous segment.
    out : (S, height, width, 2), written, in one piece
        int32: in the grids' units, in CoViAR's way in pixels. float32: in pixels. uint8: `quantise` with ``bound``.
    block_size : int
        Side of a cell, pixels.
    scale : int
        Units a pixel, a power of two.
    coviar : bool
        v is cut to whole pixels, toward zero, as CoViAR has it.
    """
    if scale < 1 or scale & (scale - 1):
        raise ValueError(f"scale must be a power of two, as FFmpeg's are, not {scale}")
    from moclip.video import _kernels  # numba: most of a second to import

    height, width = out.shape[1:3]
    # A pixel's steps add up to less than the image's side; a vector differs from its step by half a pixel at most.
    frames = longest = 0
    for _, restart, more in segments:
        frames = more if restart else frames + more
        longest = max(longest, frames)
    wide = scale * (max(height, width) + (longest + 1) // 2) >= 2**15
    sums = np.empty((2, height * width, 2), np.uint32 if wide else np.uint16)
    pairs = sums.view(np.uint64 if wide else np.uint32)[..., 0]  # the same memory
    moved = np.empty(grids.shape[1:3], np.uint8)
    size = (height, width, block_size, scale.bit_length() - 1)
    factor = np.float32(0 if bound is None else 127.5 / bound) / np.float32(1 if coviar else scale)
    integers = by_integers(factor) if out.dtype == np.uint8 and not wide else (0, 0)
    turns = np.array(segments, np.int64).reshape(-1, 3)
    flat = out.reshape(len(out), height * width * 2)
    _kernels.accumulate(np.ascontiguousarray(grids), turns, sums, pairs, moved, size, coviar, factor, integers, flat)
    if out.dtype == np.float32 and not coviar:
        np.divide(out, np.float32(scale), out=out)


@lru_cache
def by_integers(factor: np.float32) -> tuple[int, int]:
    """How to cut v * ``factor`` to whole numbers with integers of 16 bits: v, limited, times the multiplier over 256.

    Returns
    -------
    limit, multiplier : int
        The first v that reaches the end of 8 bits, and what to multiply by; 0, 0 where that is not the same as with
        float32 for every v. It is the same for the paper's 20 pixels and most round bounds.
    """
    limit, multiplier = math.ceil(128 / factor), math.ceil(256 * float(factor))
    if limit * multiplier >= 2**16:
        return 0, 0
    units = np.arange(limit + 1)
    same = np.array_equal(units * multiplier >> 8, np.trunc(units.astype(np.float32) * factor))
    return (limit, multiplier) if same else (0, 0)


def quantise(pixels: np.ndarray, bound: float) -> np.ndarray:
    """Vectors in 8 bit: v * 127.5 / ``bound`` cut toward zero, moved by 128, limited to 0..255.

    Parameters
    ----------
    pixels : (...)
        Vectors in pixels.
    bound : float
        Pixels that reach the end of the range.

    Returns
    -------
    uint8 (...)
    """
    values = np.trunc(pixels.astype(np.float32) * np.float32(127.5 / bound)) + 128
    return np.clip(values, 0, 255).astype(np.uint8)
