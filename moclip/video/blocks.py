"""Block vectors, from FFmpeg's list to a regular grid."""

import math
from typing import NamedTuple

import numpy as np

from moclip.video.layout import CHUNK, COARSEST, FUTURE, INTRA


class Chunk(NamedTuple):
    """Consecutive frames on one grid. The chunks of a `Gridder` share their memory: use one before taking the next."""

    grid: np.ndarray  # int16 (n, gh, gw, 2), units of 1 / scale pixels, destination minus source, see `Motion`
    mask: np.ndarray  # uint8 (n, gh, gw)
    types: list[str]  # "I", "P", "B"
    has_motion: list[bool]
    block_size: int


class Gridder:
    """Collects frames on the coarsest grid that holds all blocks so far exactly.

    Where blocks overlap, a vector into the past has precedence over one into the future, and of two into the past the
    last one in the list: CoViAR's loader also writes them in the order of the list. In H.264, FFmpeg marks every vector
    of a block's second reference list as future, regardless of where it points.

    Parameters
    ----------
    width, height : int
        Size of the video in pixels; blocks are cut at its edges.

    Attributes
    ----------
    block_size : int
        Side of a grid cell in pixels, so far.
    scale : int
        Units per pixel; 0 before the first vector.
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
        """Allocate the memory of a chunk, which is used again for each one, and a view of every frame in it."""
        shape = (CHUNK, *grid_shape(self.height, self.width, self.block_size))
        self._grid, self._mask = np.empty((*shape, 2), np.int16), np.empty(shape, np.uint8)
        self._frames = list(zip(self._grid, self._mask, strict=True))

    def add(self, kind: str, vectors: np.ndarray | None) -> None:
        """Add one frame.

        Parameters
        ----------
        kind : "I", "P" or "B"
        vectors : `VECTOR` array (N,), or None
            None: all blocks are intra, or for "B" no vector is known.

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
            past, largest, scale = self._grid_vectors(vectors, grid, mask, self.block_size)
            if past and (largest < self.block_size or scale != self.scale or not scale):
                self._adapt(vectors, largest, scale)
        self._types.append(kind)
        self._has_motion.append(past > 0)

    def full(self) -> bool:
        """Whether there is no room for another frame."""
        return len(self._types) == CHUNK

    def take(self) -> Chunk | None:
        """The frames added since the last call, or None. The next `add` overwrites its arrays."""
        n = len(self._types)
        if not n:
            return None
        chunk = Chunk(self._grid[:n], self._mask[:n], self._types, self._has_motion, self.block_size)
        self._types, self._has_motion = [], []
        return chunk

    def _adapt(self, vectors: np.ndarray, block_size: int, scale: int) -> None:
        """Take over the scale of the first vectors, and refine all grids of the chunk to ``block_size``."""
        if scale < 0:
            raise ValueError("vectors of several scales in one frame")
        if scale < 1 or scale & (scale - 1):
            raise ValueError(f"vectors of {scale} units per pixel, which is no power of two")
        if self.scale not in (0, scale):
            raise ValueError(f"vectors of {scale} units per pixel after vectors of {self.scale}")
        self.scale = scale
        if block_size < self.block_size:
            n, fit = len(self._types), (self.block_size, block_size, self.height, self.width)
            grid, mask = refine(self._grid[:n], *fit), refine(self._mask[:n], *fit)
            self.block_size = block_size
            self._make_room()
            self._grid[:n], self._mask[:n] = grid, mask
            self._grid_vectors(vectors, *self._frames[n], block_size)


def grid_shape(height: int, width: int, block_size: int) -> tuple[int, int]:
    """Rows and columns of the grid of a frame; height, width and block_size in pixels."""
    return math.ceil(height / block_size), math.ceil(width / block_size)


def refine(array: np.ndarray, block_size: int, finer: int, height: int, width: int) -> np.ndarray:
    """Repeat the cells of grids (n, gh, gw, ...) so that their side is ``finer`` instead of ``block_size`` pixels.

    With ``finer`` 1 the result is a field: (n, height, width, ...).
    """
    if block_size == finer:
        return array
    factor = block_size // finer
    rows, columns = grid_shape(height, width, finer)
    return np.repeat(np.repeat(array, factor, axis=1)[:, :rows], factor, axis=2)[:, :, :columns]
