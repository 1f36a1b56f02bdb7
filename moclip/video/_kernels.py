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
    side, rows, columns = 1 << shift, np.uint64(mask.shape[0]), np.uint64(mask.shape[1])
    past, scale, corners = 0, 0, 0
    for vector in vectors:
        x, y = vector.dst_x - (vector.w >> 1), vector.dst_y - (vector.h >> 1)
        corners |= x | y | (x + vector.w) | (y + vector.h)
        if vector.source < 0:
            scale = vector.motion_scale if not past or vector.motion_scale == scale else -1
            past += 1
            # Destination minus source. A damaged stream may hold anything.
            vx = min(max(-np.int64(vector.motion_x), -32767), 32767)
            vy = min(max(-np.int64(vector.motion_y), -32767), 32767)
            if vector.w == side and vector.h == side:  # most blocks are one cell, and this takes half the time
                row, column = np.uint64(y >> shift), np.uint64(x >> shift)
                if row < rows and column < columns:
                    mask[row, column], grid[row, column, 0], grid[row, column, 1] = INTER, vx, vy
                continue
            top, bottom, left, right = _cells(vector, mask.shape, shift)
            for i in range(top, bottom):
                for j in range(left, right):
                    mask[i, j], grid[i, j, 0], grid[i, j, 1] = INTER, vx, vy
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
def paste(
    to: np.ndarray, start: int, source: np.ndarray, begin: int, rows: int, columns: int, width: int, gain: int
) -> None:
    """``to = source + gain`` on a rectangle of flat pictures of ``width``; ``start`` and ``begin`` are its corners."""
    for row in range(rows):
        # No check for negative indices: the loop becomes vectors.
        target, origin = np.uint64(start + row * width), np.uint64(begin + row * width)
        for n in range(np.uint64(columns)):
            to[target + n] = source[origin + n] + gain


@numba.njit(cache=True, nogil=True)
def advance(
    state: np.ndarray, now: int, moved: np.ndarray, grids: np.ndarray, size: tuple[int, int, int, int], coviar: bool
) -> int:
    """Carry displacements on through some frames: D_k(p) = D_{k-1}(p - step) + v, where p - step lies in the image.

    A pixel's two sums lie side by side and are added to as one number, so that the rows of a block are copied like
    memory. They are unsigned and counted from the middle of their range: nothing is carried from x to y. Cells that
    stand still cost nothing.

    Parameters
    ----------
    state : uint32 or uint64 (2, height * width)
        Displacements before, in ``state[now]``: x in the lower half of the bits, y in the upper one. The other one is
        where the next frame is written.
    now : int
        0 or 1.
    moved : uint8 (gh, gw)
        Cells where the two states may differ.
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
    half = 4 * state.itemsize
    height, width, side, scale = size
    gh, gw = grids.shape[1:3]
    for k in range(len(grids)):
        old, new = state[now], state[1 - now]
        now = 1 - now
        for i in range(gh):
            top, bottom = i * side, min(i * side + side, height)
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
                left, right = start * side, min(j * side, width)
                dx, dy = whole_pixels(vx, scale, coviar), whole_pixels(vy, scale, coviar)
                # The part whose source lies in the image.
                upper, lower = max(top, dy), min(bottom, height + dy)
                first, last = max(left, dx), min(right, width + dx)
                if last - first < right - left or lower - upper < bottom - top:
                    corner = top * width + left
                    paste(new, corner, old, corner, bottom - top, right - left, width, state.dtype.type(0))
                if first < last:
                    gain = state.dtype.type(dx + (dy << half) if coviar else vx + (vy << half))
                    corner = upper * width + first
                    paste(new, corner, old, corner - dy * width - dx, lower - upper, last - first, width, gain)
    return now


@numba.njit(cache=True, nogil=True)
def follow(
    grids: np.ndarray,
    ways: np.ndarray,
    sums: np.ndarray,
    pairs: np.ndarray,
    moved: np.ndarray,
    size: tuple[int, int, int, int],
    coviar: bool,
    pixel: np.float32,
    factor: np.float32,
    out: np.ndarray,
) -> None:
    """The loop of `moclip.video.fields.follow`.

    ``sums`` (2, N, 2) and ``pairs`` (2, N) are the same memory: the state of `advance`. Of 8 bit, v * ``pixel`` is in
    pixels, and that times ``factor`` is cut toward zero, moved by 128 and limited to 0..255.
    """
    zero = 1 << 8 * sums.itemsize - 1
    low, high = np.float32(-128), np.float32(127)
    now = at = 0
    for place, fresh, frames in ways:
        if fresh:
            sums[now] = zero
            moved[:] = 1  # the other state is out of date everywhere
        now = advance(pairs, now, moved, grids[at : at + frames], size, coviar)
        at += frames
        here, there = sums[now].reshape(-1), out[place]
        for n in range(len(there)):
            units = np.int32(np.int64(here[n]) - zero)
            if out.itemsize == 1:
                there[n] = np.int32(min(max(np.float32(units) * pixel * factor, low), high)) + 128
            else:
                there[n] = units
