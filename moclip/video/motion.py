"""Motion of a video: one grid of block vectors per frame, and fields of pixels computed from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moclip.video.fields import accumulate, quantise
from moclip.video.layout import refine
from moclip.video.probe import TRANSCODE_ADVICE

FIELDS = ("accumulated", "raw")
PER_FRAME = ("grid", "mask", "types", "has_motion")  # arrays of `Motion`


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of a video, as coded.

    Vectors are destination minus source: content that moves right or down is positive. They point from a frame to the
    past only; the vectors of B-frames into the future are left out. Frames are counted in presentation order, from 0.

    Attributes
    ----------
    grid : int16 (T, gh, gw, 2)
        Vectors in native units, x first; ``grid / scale`` is in pixels. Zero where the mask is not `INTER`.
    mask : uint8 (T, gh, gw)
        `INTER` (1): the block has a vector, which may be zero. `INTRA` (2): predicted from no other frame; all blocks
        of an I-frame, and blocks without a vector in other frames. `FUTURE` (0): no vector into the past, but one into
        the future (B-frames).
    types : U1 (T,)
        "I", "P" or "B". MPEG-4's S-frames (global motion) count as "P".
    has_motion : bool (T,)
        The frame has vectors (I-frames and P-frames that are all intra have none).
    scale : int
        Units per pixel: 2 for half-pixel vectors, 4 for quarter-pixel vectors.
    block_size : int
        Side of a grid cell in pixels: 16, 8 or 4, the largest that fits all blocks of the file.
    width, height : int
        Size of the video in pixels; gw = ceil(width / block_size), gh = ceil(height / block_size).
    fps : float
        Frames per second; 0.0 where the file does not say.
    source : str
        SHA-256 of the video file, if the motion comes from a store (`moclip.video.store`), else "".
    codec, container : str
        FFmpeg's names for the video that the vectors were read from.

    Notes
    -----
    Where blocks overlap or a block has two vectors, a vector into the past has precedence over one into the future,
    and of two into the past the one that FFmpeg lists last. FFmpeg knows no vectors of MPEG-4's B-frames.
    """

    grid: np.ndarray
    mask: np.ndarray
    types: np.ndarray
    has_motion: np.ndarray
    scale: int
    block_size: int
    width: int
    height: int
    fps: float = 0.0
    source: str = ""
    codec: str = ""
    container: str = ""

    def __len__(self) -> int:
        """Number of frames T."""
        return len(self.types)

    def raw(self, t: int) -> np.ndarray:
        """The vectors of frame ``t`` as a field, blocks expanded to pixels.

        Returns
        -------
        float32 (H, W, 2)
            Pixels, x first, +x right, +y down, destination minus source. Zeros where there is no vector: mask `INTRA`
            or `FUTURE`, and frames without motion.

        Raises
        ------
        IndexError
            No such frame.
        """
        return self.fields([t], "raw")[0]

    def accumulated(self, t: int) -> np.ndarray:
        """Displacement of every pixel of frame ``t`` since the last I-frame (CoViAR, Wu et al. 2018, section 3.2).

        A pixel is followed back frame by frame. At p with block vector v, v is added to the result without rounding,
        and the next step starts at p - round(v) in the frame before (round(v) = floor(v + 1/2)). Where p - round(v)
        lies outside the image, the step is not taken and nothing is added. Frames without vectors change nothing.

        The recursion takes every vector to point to the frame just before. That holds for MPEG-4 and for what `encode`
        and `transcode` write. H.264 with several reference frames does not say which one a vector points to.

        Returns
        -------
        float32 (H, W, 2)
            Pixels, same sign as `raw`.

        Raises
        ------
        IndexError
            No such frame.
        ValueError
            The video has B-frames.
        """
        return self.fields([t])[0]

    def fields(
        self, frames: Sequence[int] | np.ndarray, field: str = "accumulated", bound: float | None = None
    ) -> np.ndarray:
        """`raw` or `accumulated` fields of several frames. Every vector is followed once, however many are asked for.

        Parameters
        ----------
        frames : sequence of int (S,)
            In any order; a frame may occur more than once.
        field : {"accumulated", "raw"}
        bound : float, optional
            Scale to 8 bits instead of pixels, with this many pixels at the end of the range (the paper's is 20):
            v * 127.5 / ``bound``, truncated toward zero, plus 128, limited to 0..255.

        Returns
        -------
        (S, H, W, 2)
            float32 in pixels, or uint8 with a ``bound``.

        Raises
        ------
        IndexError, ValueError
            As for `accumulated`; ValueError also for an unknown ``field`` and a ``bound`` of 0 or less.
        """
        if field not in FIELDS:
            raise ValueError(f"field must be 'accumulated' or 'raw', not {field!r}")
        if bound is not None and not bound > 0:
            raise ValueError(f"bound must be more than 0 pixels, not {bound}")
        indices = self._indices(frames)
        out = np.empty((len(indices), self.height, self.width, 2), np.float32 if bound is None else np.uint8)
        if field == "raw":
            vectors = self.grids(indices) / np.float32(self.scale)  # (S, gh, gw, 2)
            for place, grid in enumerate(vectors if bound is None else quantise(vectors, bound)):  # one by one: faster
                out[place] = refine(grid[None], self.block_size, 1, self.height, self.width)[0]
            return out
        stretches = list(zip((self.last_i_frames[indices] + 1).tolist(), (indices + 1).tolist(), strict=True))
        accumulate(self.grids, stretches, out, self.block_size, self.scale, bound)
        return out

    def grids(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Block grids of some frames: int16 (S, gh, gw, 2). A stored motion unpacks only what they need.

        Raises
        ------
        IndexError
            No such frame.
        """
        return self.grid[self._indices(frames)]

    def steps(self, t: int) -> np.ndarray:
        """The frames whose vectors add up to ``accumulated(t)``, in order of time: int64 (K,).

        Raises
        ------
        IndexError, ValueError
            As for `accumulated`.
        """
        first = self.last_i_frames[self._indices([t])[0]] + 1
        return first + np.flatnonzero(self.has_motion[first : t + 1])

    def locate(self, t: int) -> tuple[int, int]:
        """The frame from which ``accumulated(t)`` starts (the last I-frame, or the first of all frames), and ``t``.

        Raises
        ------
        IndexError, ValueError
            As for `accumulated`.
        """
        return max(int(self.last_i_frames[self._indices([t])[0]]), 0), int(t)

    @cached_property
    def last_i_frames(self) -> np.ndarray:
        """For each frame, the last I-frame up to it, or -1: int64 (T,).

        Raises
        ------
        ValueError
            The video has B-frames.
        """
        if "B" in self.types:
            raise ValueError(f"B-frames do not say which frame their vectors point to; {TRANSCODE_ADVICE}")
        return np.maximum.accumulate(np.where(self.types == "I", np.arange(len(self)), -1))

    def _indices(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        indices = np.asarray(frames, np.int64)
        outside = indices[(indices < 0) | (indices >= len(self))]
        if len(outside):
            raise IndexError(f"frame {outside[0]} is not in 0..{len(self) - 1}")
        return indices
