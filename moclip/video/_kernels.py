"""Compiled loops over vectors and fields.

numba takes most of a second to load, so that this module is imported where the first kernel is needed, not before. The
compiled code is kept beside this file (in the user's cache where that folder is read-only).
"""

from typing import Any

import numba
import numpy as np

from moclip.video.layout import INTER, INTRA, NONE

COARSEST, FINEST = 4, 2  # log2 of a cell's side: 16 and 4 pixels


@numba.njit(cache=True, nogil=True)
def _cells(vector: Any, shape: tuple[int, int], shift: int) -> Any:
    """Rows and columns of the cells that a block covers, inside the grid; unsigned, which saves checks."""
    x, y = vector.dst_x - (vector.w >> 1), vector.dst_y - (vector.h >> 1)
    top, left = max(y >> shift, 0), max(x >> shift, 0)
    bottom, right = min((y + vector.h) >> shift, shape[0]), min((x + vector.w) >> shift, shape[1])
    return np.uint64(top), np.uint64(max(bottom, top)), np.uint64(left), np.uint64(max(right, left))


@numba.njit(cache=True, nogil=True)
def grid_vectors(vectors: np.ndarray, grid: np.ndarray, mask: np.ndarray, shift: int) -> tuple[int, int, int]:
    """One frame's list of vectors as a grid.

    Parameters
    ----------
    vectors : structured array (N,), `moclip.video.blocks.VECTOR`
    grid : int16 (gh, gw, 2), written
    mask : uint8 (gh, gw), written
    shift : int
        log2 of the cell's side.

    Returns
    -------
    past : int
        Number of vectors that point into the past. Without any, all of the grid is intra.
    shift : int
        log2 of the largest cell, 16 to 4 pixels, that divides the corners of all blocks. Where it is smaller than the
        ``shift`` that was given, what was written is of no use.
    scale : int
        Units a pixel of the past vectors; -1 where they differ.
    """
    grid[:] = 0
    mask[:] = INTRA
    past, scale, corners = 0, 0, 0
    for vector in vectors:
        top, bottom, left, right = _cells(vector, mask.shape, shift)
        x, y = vector.dst_x - (vector.w >> 1), vector.dst_y - (vector.h >> 1)
        corners |= x | y | (x + vector.w) | (y + vector.h)
        if vector.source < 0:
            scale = vector.motion_scale if not past or vector.motion_scale == scale else -1
            past += 1
            # Destination minus source. A damaged stream may hold anything.
            x, y = (
                min(max(-np.int64(vector.motion_x), -32767), 32767),
                min(max(-np.int64(vector.motion_y), -32767), 32767),
            )
            for i in range(top, bottom):
                for j in range(left, right):
                    mask[i, j] = INTER
                    grid[i, j, 0] = x
                    grid[i, j, 1] = y
    if 0 < past < len(vectors):
        for vector in vectors:
            if vector.source >= 0:
                top, bottom, left, right = _cells(vector, mask.shape, shift)
                for i in range(top, bottom):
                    for j in range(left, right):
                        if mask[i, j] == INTRA:  # the past has precedence, wherever it is listed
                            mask[i, j] = NONE
    needed = FINEST
    while needed < COARSEST and not corners >> needed & 1:
        needed += 1
    return past, needed, scale


@numba.njit(cache=True, nogil=True)
def whole_pixels(units: int, scale: int, coviar: bool) -> int:
    """A vector's component in whole pixels: the nearest (halves upward), or in CoViAR's way cut toward zero."""
    if not coviar:
        return (2 * units + scale) // (2 * scale)
    return units // scale if units >= 0 else -(-units // scale)


@numba.njit(cache=True, nogil=True)
def copy_plus(to: np.ndarray, start: int, source: np.ndarray, begin: int, count: int, gain: int) -> None:
    """``to[start:][:count] = source[begin:][:count] + gain``."""
    target, origin = np.uint64(start), np.uint64(begin)  # no check for negative indices: the loop becomes vectors
    for n in range(np.uint64(count)):
        to[target + n] = source[origin + n] + gain


@numba.njit(cache=True, nogil=True)
def advance(
    state: np.ndarray, now: int, moved: np.ndarray, grids: np.ndarray, size: tuple[int, int, int, int], coviar: bool
) -> int:
    """Carry displacements on through some frames: D_k(p) = D_{k-1}(p - step) + v, where p - step lies in the image.

    A pixel's two sums are one number, x + y * 2**half: adding v is one addition, and a row of a block is copied like
    memory. Cells that stand still cost nothing.

    Parameters
    ----------
    state : int32 (half 16) or int64 (half 32) (2, height * width)
        Displacements before, in ``state[now]``; the other one is where the next frame is written.
    now : int
        0 or 1.
    moved : uint8 (gh, gw)
        Cells where the two states may differ; zeros at the start, when both states are zeros.
    grids : int16 (K, gh, gw, 2)
        Vectors in order of time.
    size : height, width (pixels), side of a cell, units a pixel
    coviar : bool
        Vectors are cut to whole pixels, toward zero; else they are rounded for the step and added as they are.

    Returns
    -------
    int
        Where the result lies: the new ``now``.
    """
    half = 16 if state.itemsize == 4 else 32
    height, width, side, scale = size
    gh, gw = grids.shape[1:3]
    for k in range(len(grids)):
        old, new = state[now], state[1 - now]
        now = 1 - now
        for i in range(gh):
            j = 0
            while j < gw:  # a run of cells that do the same
                start, lags = j, moved[i, j]
                vx, vy = int(grids[k, i, j, 0]), int(grids[k, i, j, 1])
                still = vx == 0 and vy == 0
                while (
                    j < gw
                    and grids[k, i, j, 0] == vx
                    and grids[k, i, j, 1] == vy
                    and (not still or moved[i, j] == lags)
                ):
                    moved[i, j] = not still
                    j += 1
                if still and not lags:
                    continue
                dx, dy = whole_pixels(vx, scale, coviar), whole_pixels(vy, scale, coviar)
                gain = state.dtype.type(dx + (dy << half) if coviar else vx + (vy << half))
                left, right = start * side, min(j * side, width)
                first = min(max(left, dx), right)  # columns first..last have their source in the image
                last = max(min(right, width + dx), first)
                for row in range(i * side, min(i * side + side, height)):
                    base = row * width
                    if still or not 0 <= row - dy < height:
                        copy_plus(new, base + left, old, base + left, right - left, state.dtype.type(0))
                        continue
                    if left < first:
                        copy_plus(new, base + left, old, base + left, first - left, state.dtype.type(0))
                    copy_plus(new, base + first, old, base - dy * width + first - dx, last - first, gain)
                    if last < right:
                        copy_plus(new, base + last, old, base + last, right - last, state.dtype.type(0))
    return now


@numba.njit(cache=True, nogil=True)
def unpack(state: np.ndarray, out: np.ndarray) -> None:
    """Displacements as two numbers: int32 or int64 (N,) to float32 or int32 (N, 2)."""
    half = 16 if state.itemsize == 4 else 32
    number = state.dtype.type
    for n in range(len(state)):
        both = state[n]
        x = number(number(both << half) >> half)
        out[n, 0] = x
        out[n, 1] = number(number(both - x) >> half)


@numba.njit(cache=True, nogil=True)
def unpack_bytes(state: np.ndarray, pixel: np.float32, factor: np.float32, out: np.ndarray) -> None:
    """Displacements in 8 bit, y * 256 + x: int32 or int64 (N,) to uint16 (N,).

    v * pixel is in pixels; that times ``factor`` is cut toward zero, moved by 128 and limited to 0..255.
    """
    half = 16 if state.itemsize == 4 else 32
    number = state.dtype.type
    low, high = np.float32(-128), np.float32(127)
    for n in range(len(state)):
        both = state[n]
        x = number(number(both << half) >> half)
        y = number(number(both - x) >> half)
        a = np.int32(min(max((np.float32(x) * pixel) * factor, low), high))
        b = np.int32(min(max((np.float32(y) * pixel) * factor, low), high))
        out[n] = np.uint16(np.int32(a + np.int32(128)) | np.int32(np.int32(b + np.int32(128)) << np.int32(8)))
