"""Compiled loops. Imported only when a field is asked for, since numba takes a second to load."""

import numba
import numpy as np


@numba.njit(cache=True)
def follow_back(steps: np.ndarray, values: np.ndarray, shift: int, height: int, width: int) -> np.ndarray:
    """Follow every pixel of the last frame back through all frames, and add up what it meets.

    Parameters
    ----------
    steps : int16 (K, gh, gw, 2)
        Whole pixels to move by, x first, destination minus source; frames in order of time.
    values : int16 (K, gh, gw, 2)
        What is added up along the way.
    shift : int
        log2 of the block's side.
    height, width : int
        Size of the image; a step that would leave it is not taken, and its value not added.

    Returns
    -------
    int32 (height, width, 2)
    """
    sums = np.zeros((height, width, 2), np.int32)
    at = np.empty((height, width, 2), np.int32)  # where each pixel has got to
    for row in range(height):
        for column in range(width):
            at[row, column, 0], at[row, column, 1] = column, row
    # Frames outside, pixels inside: neighbours do not wait for each other. Pixel by pixel takes four times as long.
    for k in range(steps.shape[0] - 1, -1, -1):
        for row in range(height):
            for column in range(width):
                x, y = at[row, column, 0], at[row, column, 1]
                i, j = np.uint32(y >> shift), np.uint32(x >> shift)  # unsigned: no check for negative indices
                to_x, to_y = x - steps[k, i, j, 0], y - steps[k, i, j, 1]
                if 0 <= to_x < width and 0 <= to_y < height:
                    at[row, column, 0], at[row, column, 1] = to_x, to_y
                    sums[row, column, 0] += values[k, i, j, 0]
                    sums[row, column, 1] += values[k, i, j, 1]
    return sums
