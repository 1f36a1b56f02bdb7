"""Block vectors, from FFmpeg's list to a regular grid."""

from typing import Any

import numpy as np

from moclip.video.layout import CHUNK, COARSEST, FUTURE, INTRA, grid_shape, refine
from moclip.video.motion import Motion


class Gridder:
    """Collects frames, chunk by chunk, on the coarsest grid that holds all blocks so far exactly.

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
        self._added: list[tuple[str, bool]] = []  # type, has_motion
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
        grid, mask = self._frames[len(self._added)]
        past = 0
        if vectors is None:
            grid[:] = 0
            mask[:] = FUTURE if kind == "B" else INTRA
        else:
            past, largest, scale = self._grid_vectors(vectors, grid, mask, self.block_size)
            if past and (largest < self.block_size or scale != self.scale or not scale):
                self._adapt(vectors, largest, scale)
        self._added.append((kind, past > 0))

    def ends_before(self, kind: str) -> bool:
        """Whether a frame of this type begins another chunk: every I-frame does, and what follows 32 frames."""
        return len(self._added) == CHUNK or (kind == "I" and len(self._added) > 0)

    def take(self, **facts: Any) -> Motion:
        """The frames added since the last call; ``facts`` are what `Motion` says beside them.

        Chunks share their memory: the next `add` overwrites the grid and the mask.
        """
        n = len(self._added)
        types, has_motion = zip(*self._added, strict=True)
        self._added = []
        arrays = self._grid[:n], self._mask[:n], np.array(types, "U1"), np.array(has_motion, bool)
        return Motion(*arrays, self.scale or 1, self.block_size, self.width, self.height, **facts)

    def _adapt(self, vectors: np.ndarray, block_size: int, scale: int) -> None:
        """Take over the scale of the first vectors, and refine all grids of the chunk to ``block_size``."""
        if scale < 1 or scale & (scale - 1) or self.scale not in (0, scale):
            units = "several scales" if scale < 0 else f"{scale} units per pixel after vectors of {self.scale}"
            raise ValueError(f"vectors of {units}; a video must have one scale, a power of two")
        self.scale = scale
        if block_size < self.block_size:
            n, fit = len(self._added), (self.block_size, block_size, self.height, self.width)
            grid, mask = refine(self._grid[:n], *fit), refine(self._mask[:n], *fit)
            self.block_size = block_size
            self._make_room()
            self._grid[:n], self._mask[:n] = grid, mask
            self._grid_vectors(vectors, *self._frames[n], block_size)
