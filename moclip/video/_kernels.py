"""Compiled loops over vectors and fields.

numba takes most of a second to load. Import this module only where a kernel is called. The compiled code is kept beside
this file, or in the user's cache where that folder is read-only.
"""

from typing import Any

import numba
import numpy as np

from moclip.video.layout import FUTURE, INTER, INTRA

COARSEST, FINEST = 4, 2  # log2 of the block size: 16 and 4 pixels


@numba.njit(cache=True, nogil=True)
def _cells(vector: Any, shape: tuple[int, int], shift: int) -> Any:
    """First and last + 1 of the grid rows and columns that a coded block covers. Unsigned: numba then omits checks."""
    x, y = vector.dst_x - (vector.w >> 1), vector.dst_y - (vector.h >> 1)
    top, left = max(y >> shift, 0), max(x >> shift, 0)
    bottom, right = min((y + vector.h) >> shift, shape[0]), min((x + vector.w) >> shift, shape[1])
    return np.uint64(top), np.uint64(max(bottom, top)), np.uint64(left), np.uint64(max(right, left))


@numba.njit(cache=True, nogil=True)
def grid_vectors(vectors: np.ndarray, grid: np.ndarray, mask: np.ndarray, block_size: int) -> tuple[int, int, int]:
    """Write one frame's list of vectors to a grid.

    Parameters
    ----------
    vectors : structured array (N,), `moclip.video.layout.VECTOR`
    grid : int16 (gh, gw, 2), written
    mask : uint8 (gh, gw), written
    block_size : int
        Side of a grid cell in pixels.

    Returns
    -------
    past : int
        Number of vectors that point into the past. Without any, the whole grid is intra.
    largest : int
        The largest block size, 16 to 4 pixels, that fits the corners of all coded blocks. If it is smaller than
        ``block_size``, the grid cannot hold the vectors and must be written again at this size.
    scale : int
        Units per pixel of the vectors into the past; -1 where they differ.
    """
    grid[:] = 0
    mask[:] = INTRA
    shift, rows, columns, one = FINEST, np.uint64(mask.shape[0]), np.uint64(mask.shape[1]), np.uint64(1)
    while 1 << shift < block_size:
        shift += 1
    past, corners, scales, common = 0, 0, 0, -1
    for vector in vectors:
        x, y = vector.dst_x - (vector.w >> 1), vector.dst_y - (vector.h >> 1)
        corners |= x | y | vector.w | vector.h
        if vector.source >= 0:
            top, bottom, left, right = _cells(vector, mask.shape, shift)
            for i in range(top, bottom):
                for j in range(left, right):
                    if mask[i, j] == INTRA:  # a vector into the past has precedence, wherever it is listed
                        mask[i, j] = FUTURE
            continue
        past += 1
        scales |= vector.motion_scale  # bits set in any of them
        common &= vector.motion_scale  # bits set in all of them
        # Destination minus source. A damaged stream may hold anything.
        vx = min(max(-np.int64(vector.motion_x), -32767), 32767)
        vy = min(max(-np.int64(vector.motion_y), -32767), 32767)
        # Most blocks cover one cell or two by two; this takes half the time. Unsigned: a negative row is very large.
        row, column = np.uint64(y >> shift), np.uint64(x >> shift)
        if vector.w == block_size and vector.h == block_size and row < rows and column < columns:
            mask[row, column], grid[row, column, 0], grid[row, column, 1] = INTER, vx, vy
            continue
        whole = row < rows and column < columns and row + one < rows and column + one < columns
        if vector.w == 2 * block_size and vector.h == 2 * block_size and whole:
            for r, c in ((row, column), (row, column + one), (row + one, column), (row + one, column + one)):
                mask[r, c], grid[r, c, 0], grid[r, c, 1] = INTER, vx, vy
            continue
        top, bottom, left, right = _cells(vector, mask.shape, shift)
        for i in range(top, bottom):
            for j in range(left, right):
                mask[i, j], grid[i, j, 0], grid[i, j, 1] = INTER, vx, vy
    if not past:
        mask[:] = INTRA
    needed = FINEST
    while needed < COARSEST and not corners >> needed & 1:
        needed += 1
    return past, 1 << needed, scales if scales == common else -1


@numba.njit(cache=True, nogil=True)
def unfold(
    planes: np.ndarray,
    shape: tuple[int, int, int],
    frames: np.ndarray,
    shift: int,
    grid: np.ndarray,
    places: np.ndarray,
) -> None:
    """Unpack some frames of a chunk onto the grid of their clip; see `moclip.video.store._pack`.

    Parameters
    ----------
    planes : uint8 (5 * n * rows * columns,)
        Low bytes of all x, of all y, high bytes of all x, of all y, masks.
    shape : (n, rows, columns)
        Shape of the chunk's grids.
    frames : int64 (K,)
        Frames, counted from the start of the chunk.
    shift : int
        log2 of the chunk's block size divided by the clip's.
    grid : int16 (S, gh, gw, 2), written at ``places``
    places : int64 (K,)
    """
    count, rows, columns = shape
    cells = count * rows * columns
    for frame, place in zip(frames, places):  # noqa: B905
        for i in range(grid.shape[1]):
            first = (frame * rows + (i >> shift)) * columns
            for j in range(grid.shape[2]):
                for axis in range(2):
                    low = np.uint64(axis * cells + first + (j >> shift))
                    folded = np.int64(planes[low]) | np.int64(planes[low + np.uint64(2 * cells)]) << 8
                    grid[place, i, j, axis] = (folded >> 1) ^ -(folded & 1)


@numba.njit(cache=True, nogil=True)
def paste(
    to: np.ndarray, start: int, source: np.ndarray, begin: int, rows: int, columns: int, width: int, gain: int
) -> None:
    """``to = source + gain`` on a rectangle of flattened pictures, with its corner at ``start`` and ``begin``."""
    # Unsigned: without checks for negative indices the compiler vectorises the loop.
    target, origin, step = np.uint64(start), np.uint64(begin), np.uint64(width)
    for _ in range(rows):
        for n in range(np.uint64(columns)):
            to[target + n] = source[origin + n] + gain
        target += step
        origin += step


@numba.njit(cache=True, nogil=True)
def advance(state: np.ndarray, now: int, moved: np.ndarray, grids: np.ndarray, size: tuple[int, int, int, int]) -> int:
    """Accumulate displacements over some frames: D_k(p) = D_{k-1}(p - step) + v, where p - step lies in the image.

    The sums of x and y of a pixel are the two halves of one number, so one addition serves both and rows of a block
    are copied like memory. The halves are unsigned and start from the middle of their range, so nothing carries over
    from x to y. Blocks without motion cost nothing.

    Parameters
    ----------
    state : uint32 or uint64 (2, height * width)
        ``state[now]`` holds the displacements before, x in the lower half of the bits and y in the upper half. The
        next frame is written to the other one.
    now : int
        0 or 1.
    moved : uint8 (gh, gw)
        Blocks where the two states may differ.
    grids : int16 (K, gh, gw, 2)
        Vectors in order of time.
    size : (height, width, block_size, log2 of the units per pixel)
        The first three in pixels.

    Returns
    -------
    int
        The new ``now``: which state holds the result.
    """
    half = 4 * state.itemsize
    height, width, block_size, bits = size
    half_pixel = 1 << bits >> 1
    vectors = grids.view(np.int32).reshape(grids.shape[:3])  # x and y at once
    columns, one = np.uint64(grids.shape[2]), np.uint64(1)
    for k in range(len(grids)):
        old, new = state[now], state[1 - now]
        now = 1 - now
        for i in range(grids.shape[1]):
            row, lags = vectors[k, i], moved[i]
            top, bottom = i * block_size, min(i * block_size + block_size, height)
            j = np.uint64(0)
            while j < columns:  # a run of blocks with the same vector
                start, vector, lag = j, row[j], lags[j]
                if vector:
                    while j < columns and row[j] == vector:
                        lags[j] = 1
                        j += one
                else:
                    while j < columns and not row[j] and lags[j] == lag:
                        lags[j] = 0
                        j += one
                    if not lag:
                        continue
                left, right = int(start) * block_size, min(int(j) * block_size, width)
                vx, vy = int(grids[k, i, start, 0]), int(grids[k, i, start, 1])
                dx, dy = (vx + half_pixel) >> bits, (vy + half_pixel) >> bits  # the nearest pixel, halves upward
                # The part whose source lies in the image.
                upper, lower = max(top, dy), min(bottom, height + dy)
                first, last = max(left, dx), min(right, width + dx)
                if last - first < right - left or lower - upper < bottom - top:
                    corner = top * width + left
                    paste(new, corner, old, corner, bottom - top, right - left, width, state.dtype.type(0))
                if first < last:
                    gain = state.dtype.type(vx + (vy << half))
                    corner = upper * width + first
                    paste(new, corner, old, corner - dy * width - dx, lower - upper, last - first, width, gain)
    return now


@numba.njit(cache=True, nogil=True)
def quantise(units: np.ndarray, out: np.ndarray, limit: int, multiplier: int) -> None:
    """Scale to 8 bits with 16-bit integers, twice as fast as with float32. See `moclip.video.fields.by_integers`.

    Every intermediate value is cast back to 16 bits, because numba widens it to 64 and then fewer pixels fit into one
    instruction.
    """
    zero, most, m = np.uint16(1 << 15), np.uint16(limit), np.uint16(multiplier)
    middle, shift = np.uint16(128), np.uint16(8)
    for n in range(len(out)):
        above = min(np.uint16(max(units[n], zero) - zero), most)
        below = min(np.uint16(zero - min(units[n], zero)), most)
        up = min(np.uint16(np.uint16(above * m) >> shift), np.uint16(127))
        down = min(np.uint16(np.uint16(below * m) >> shift), middle)
        out[n] = np.uint8(np.uint16(middle + up) - down)


@numba.njit(cache=True, nogil=True)
def accumulate(
    grids: np.ndarray,
    segments: np.ndarray,
    sums: np.ndarray,
    pairs: np.ndarray,
    moved: np.ndarray,
    size: tuple[int, int, int, int],
    factor: np.float32,
    integers: tuple[int, int],
    out: np.ndarray,
) -> None:
    """The loop of `moclip.video.fields.accumulate`.

    ``sums`` (2, N, 2) and ``pairs`` (2, N) are the same memory: the state of `advance`. ``segments`` has rows of
    (place in ``out``, restart from zero or continue, number of grids). For 8 bits, v * ``factor`` is truncated toward
    zero, plus 128, limited to 0..255; by `quantise` if ``integers``, its limit and multiplier, are not 0.
    """
    zero = 1 << 8 * sums.itemsize - 1
    states = sums.reshape(-1)
    low, high = np.float32(-128), np.float32(127)
    limit, multiplier = integers
    now = at = 0
    for place, restart, frames in segments:
        if restart:
            states[:] = zero
            moved[:] = 0
        now = advance(pairs, now, moved, grids[at : at + frames], size)
        at += frames
        result, target = sums[now].reshape(-1), out[place]
        if multiplier:
            quantise(result, target, limit, multiplier)
            continue
        for n in range(len(target)):
            units = np.int32(np.int64(result[n]) - zero)
            if out.itemsize == 1:
                target[n] = np.int32(min(max(np.float32(units) * factor, low), high)) + 128
            else:
                target[n] = units
