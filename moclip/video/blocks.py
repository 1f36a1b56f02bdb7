"""Block vectors, as FFmpeg lists them, on a regular grid."""

import math
from typing import NamedTuple

import numpy as np

from moclip.video.layout import CHUNK, COARSEST, FUTURE, INTRA


class Chunk(NamedTuple):
    """Some frames in a row, on one grid. Those of a `Gridder` share their memory: use one before taking the next."""

    grid: np.ndarray  # int16 (n, gh, gw, 2), units of 1 / scale pixels, destination minus source; 0 where mask is not 1
    mask: np.ndarray  # uint8 (n, gh, gw)
    types: list[str]  # "I", "P", "B"
    has_motion: list[bool]
    block_size: int


class Gridder:
    """Collects frames on the coarsest grid that holds all blocks seen so far exactly.

    Where blocks overlap, a vector into the past has precedence over one into the future, and of two into the past the
    one that is listed last: CoViAR's loader writes them in the order of the list, too. In H.264, FFmpeg calls all of a
    block's second list of references future, wherever they lie.

    Parameters
    ----------
    width, height : int
        Size of the video in pixels; blocks that reach beyond are cut.

    Attributes
    ----------
    block_size : int
        Side of a cell so far.
    scale : int
        Units a pixel; 0 before the first vector.
    """

    def __init__(self, width: int, height: int) -> None:
        from moclip.video import _kernels

        self._grid_vectors = _kernels.grid_vectors
        self.width, self.height = width, height
        self.block_size, self.scale = COARSEST, 0
        self._types: list[str] = []
        self._has_motion: list[bool] = []
        self._make_room()

    def _make_room(self) -> None:
        """Memory of a chunk, the same for all of one cell size; and a view of every frame in it."""
        shape = (CHUNK, *grid_shape(self.height, self.width, self.block_size))
        self._grid, self._mask = np.empty((*shape, 2), np.int16), np.empty(shape, np.uint8)
        self._frames = list(zip(self._grid, self._mask, strict=True))

    def add(self, kind: str, vectors: np.ndarray | None) -> None:
        """Take one frame.

        Parameters
        ----------
        kind : "I", "P" or "B"
        vectors : `VECTOR` array (N,), or None
            None: all intra; for "B" no vector is known.

        Raises
        ------
        ValueError
            Vectors of several scales.
        """
        grid, mask = self._frames[len(self._types)]
        past = 0
        if vectors is None:
            grid[:] = 0
            mask[:] = FUTURE if kind == "B" else INTRA
        else:
            past, side, scale = self._grid_vectors(vectors, grid, mask, self.block_size)
            if past and (side < self.block_size or scale != self.scale or not scale):
                self._adapt(vectors, side, scale)
        self._types.append(kind)
        self._has_motion.append(past > 0)

    def full(self) -> bool:
        """No room for another frame."""
        return len(self._types) == CHUNK

    def take(self) -> Chunk | None:
        """What was collected since the last call; None if nothing was. Its arrays hold until the next `add`."""
        n = len(self._types)
        if not n:
            return None
        chunk = Chunk(self._grid[:n], self._mask[:n], self._types, self._has_motion, self.block_size)
        self._types, self._has_motion = [], []
        return chunk

    def _adapt(self, vectors: np.ndarray, side: int, scale: int) -> None:
        """Go over to cells of ``side`` pixels, and to the first scale met."""
        if scale < 0:
            raise ValueError("vectors of several scales in one frame")
        if scale < 1 or scale & (scale - 1):
            raise ValueError(f"vectors of {scale} units a pixel, which is no power of two")
        if self.scale not in (0, scale):
            raise ValueError(f"vectors of {scale} units a pixel after some of {self.scale}")
        self.scale = scale
        if side < self.block_size:
            n, fit = len(self._types), (self.block_size, side, self.height, self.width)
            grid, mask = refine(self._grid[:n], *fit), refine(self._mask[:n], *fit)
            self.block_size = side
            self._make_room()
            self._grid[:n], self._mask[:n] = grid, mask
            self._grid_vectors(vectors, *self._frames[n], side)


def grid_shape(height: int, width: int, block_size: int) -> tuple[int, int]:
    """Rows and columns of the grid of a frame; height, width and block_size in pixels."""
    return math.ceil(height / block_size), math.ceil(width / block_size)


def refine(array: np.ndarray, block_size: int, finer: int, height: int, width: int) -> np.ndarray:
    """Grids (n, gh, gw, ...) of cells of ``block_size`` pixels on cells of ``finer`` pixels."""
    if block_size == finer:
        return array
    factor = block_size // finer
    rows, columns = grid_shape(height, width, finer)
    return np.repeat(np.repeat(array, factor, axis=1)[:, :rows], factor, axis=2)[:, :, :columns]
