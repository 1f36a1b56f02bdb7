"""Motion of a video: a grid of blocks a frame, and fields of pixels from it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from moclip.video.fields import accumulate, quantise
from moclip.video.probe import TRANSCODE_ADVICE

COVIAR_GOP = 12


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of a video, as coded.

    Vectors are destination minus source: content that moves right or down is positive. They point from a frame to the
    past only; the vectors of B-frames into the future are left out.

    Attributes
    ----------
    grid : int16 (T, gh, gw, 2)
        Vectors in native units, x first; ``grid / scale`` is in pixels. Zero where the mask is not 1.
    mask : uint8 (T, gh, gw)
        1: the block has a vector (it may be zero). 2: intra, predicted from no other frame; all of an I-frame, and
        what no vector covers elsewhere. 0: no vector into the past, but one into the future (B-frames).
    types : U1 (T,)
        "I", "P" or "B", in presentation order. MPEG-4's S-frames (global motion) count as "P".
    has_motion : bool (T,)
        The frame has vectors (I-frames and P-frames that are all intra have none).
    scale : int
        Units a pixel: 2 for half-pixel vectors, 4 for quarter-pixel ones.
    block_size : int
        Side of a grid cell in pixels, 16, 8 or 4: the largest that all blocks of the file fit.
    width, height : int
        Size of the video in pixels; gw = ceil(width / block_size), gh = ceil(height / block_size).
    fps : float
        Frames a second; 0.0 where the file does not say.
    compat : str or None
        "coviar": `raw` and `accumulated` count and compute as CoViAR's loader does.
    source : str
        SHA-256 of the video file where it was kept (`save_motion`), else "".
    codec, container : str
        FFmpeg's names of what the vectors were read from: "mpeg4" in "m4v" is what CoViAR reads.

    Notes
    -----
    Where blocks overlap or a block has two vectors: a vector into the past has precedence over one into the future,
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
    fps: float
    compat: str | None = None
    source: str = ""
    codec: str = ""
    container: str = ""

    def __len__(self) -> int:
        """Number of frames T; in compat mode CoViAR's count, one less than the file has."""
        return len(self.grid)

    def raw(self, t: int) -> np.ndarray:
        """The vectors of frame ``t`` as a field, blocks expanded to pixels.

        Parameters
        ----------
        t : int
            Frame in presentation order. In compat mode 12 * gop + position, where a GOP starts at every I-frame.

        Returns
        -------
        float32 (H, W, 2), or int32 in compat mode
            Pixels, x first, +x right, +y down, destination minus source. Zeros where there is no vector: mask 0 or 2,
            frames without motion, and in compat mode also positions beyond the end of a GOP, vectors under a pixel,
            and pixels whose source lies outside the image.

        Raises
        ------
        IndexError
            No such frame, or in compat mode no such GOP.
        """
        if self.compat:
            return self.fields([t], "raw")[0]
        self._check_index(t)
        return self._expand(self.grids([t])[0]) / np.float32(self.scale)  # (H, W, 2)

    def accumulated(self, t: int) -> np.ndarray:
        """Displacement of every pixel of frame ``t`` since the last I-frame (CoViAR, Wu et al. 2018, section 3.2).

        A pixel is followed back frame by frame: at p, block vector v, it goes on at p - round(v) in the frame before
        (round(v) = floor(v + 1/2)) and v itself, not rounded, is added to the result. Where p - round(v) lies outside
        the image the step is not taken and nothing is added. Frames without vectors are passed over. In compat mode
        v is first cut to whole pixels toward zero, as CoViAR has it, and a frame without vectors gives zeros.

        The recursion takes every vector to point into the frame just before. That holds for MPEG-4 and what `encode`
        and `transcode` write; H.264 with several reference frames does not say which one a vector points into.

        Parameters
        ----------
        t : int
            As for `raw`.

        Returns
        -------
        float32 (H, W, 2), or int32 in compat mode
            Pixels, same sign as `raw`.

        Raises
        ------
        IndexError
            As for `raw`.
        ValueError
            The video has B-frames.
        """
        return self.fields([t])[0]

    def fields(
        self, frames: Sequence[int] | np.ndarray, field: str = "accumulated", bound: float | None = None
    ) -> np.ndarray:
        """`raw` or `accumulated` fields of several frames; every vector is followed once, however many are asked for.

        Parameters
        ----------
        frames : sequence of int (S,)
            In any order, repeats allowed; counted as for `raw`.
        field : {"accumulated", "raw"}
        bound : float, optional
            Give 8 bit instead of pixels, with this many pixels at the end of the range (the paper's is 20):
            v * 127.5 / ``bound``, cut toward zero, moved by 128, limited to 0..255.

        Returns
        -------
        (S, H, W, 2)
            float32 in pixels, int32 in compat mode, uint8 with a ``bound``.

        Raises
        ------
        IndexError, ValueError
            As for `accumulated`; ValueError also for an unknown ``field`` and a ``bound`` of 0 or less.
        """
        if field not in ("accumulated", "raw"):
            raise ValueError(f"field must be 'accumulated' or 'raw', not {field!r}")
        if bound is not None and not bound > 0:
            raise ValueError(f"bound must be more than 0 pixels, not {bound}")
        places = [self._locate(int(t)) for t in frames]
        pixels = np.int32 if self.compat else np.float32
        out = np.empty((len(places), self.height, self.width, 2), np.uint8 if bound is not None else pixels)
        if field == "raw" and not self.compat:
            vectors = self.grids(frames) / np.float32(self.scale)  # (S, gh, gw, 2)
            for place, cells in enumerate(vectors if bound is None else quantise(vectors, bound)):
                out[place] = self._expand(cells)
            return out
        if field == "accumulated":
            self._check_order()
        times: list[int] = []
        segments = []
        begun, done = None, 0
        for place in sorted(range(len(places)), key=places.__getitem__):
            start, frame = places[place]
            restart = start != begun or field == "raw"
            first = frame if field == "raw" else (start if restart else done) + 1
            times += range(first, frame + 1)
            segments.append((place, restart, frame + 1 - first))
            begun, done = start, frame
        accumulate(self.grids(times), segments, out, self.block_size, self.scale, self.compat is not None, bound)
        return out

    def grids(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Block grids of some frames: int16 (S, gh, gw, 2). Of a stored motion, nothing else is unpacked.

        Raises
        ------
        IndexError
            No such frame.
        """
        return self.grid[self._indices(frames)]

    def _indices(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        indices = np.asarray(frames, np.int64)
        if len(indices):
            self._check_index(int(indices.min()))
            self._check_index(int(indices.max()))
        return indices

    def steps(self, t: int) -> np.ndarray:
        """The frames whose vectors add up to ``accumulated(t)``, in order of time: int64 (K,).

        Raises
        ------
        IndexError, ValueError
            As for `accumulated`.
        """
        self._check_order()
        start, frame = self._locate(t)
        return start + 1 + np.flatnonzero(self.has_motion[start + 1 : frame + 1])

    def as_coviar(self) -> "Motion":
        """The same motion in compat mode: what `read_motion` with ``compat="coviar"`` gives.

        Raises
        ------
        ValueError
            CoViAR could not read such a video: no raw MPEG-4 stream, or one with B-frames.
        """
        if self.compat == "coviar":
            return self
        if (self.codec, self.container) != ("mpeg4", "m4v"):
            raise ValueError(f"CoViAR reads raw MPEG-4 part 2 streams only, this is {self.codec} in {self.container}")
        if "B" in self.types:
            raise ValueError("has B-frames, which CoViAR cannot read")
        return self._coviar()

    def _coviar(self) -> "Motion":
        last = len(self) - 1  # CoViAR's parser is never flushed, so that the last frame does not come out
        parts = {name: getattr(self, name)[:last] for name in ("grid", "mask", "types", "has_motion")}
        return replace(self, **parts, compat="coviar")

    def _expand(self, cells: np.ndarray) -> np.ndarray:
        """Cells (gh, gw, 2) to pixels (H, W, 2)."""
        return np.repeat(np.repeat(cells, self.block_size, axis=0), self.block_size, axis=1)[
            : self.height, : self.width
        ]

    def _locate(self, t: int) -> tuple[int, int]:
        """The last I-frame, -1 before the first, and the frame that is meant: the I-frame where CoViAR gives zeros."""
        if self.compat:
            return self._locate_compat(t)
        self._check_index(t)
        before = bisect_right(self._intra, t)
        return self._intra[before - 1] if before else -1, t

    @cached_property
    def _intra(self) -> list[int]:
        """The I-frames, in order."""
        return np.flatnonzero(self.types == "I").tolist()  # type: ignore[no-any-return]

    def _check_order(self) -> None:
        if "B" in self.types:
            raise ValueError(
                "vectors cannot be accumulated over B-frames, which do not say which frame they point into; "
                f"{TRANSCODE_ADVICE}"
            )

    def _check_index(self, t: int) -> None:
        if not 0 <= t < len(self):
            raise IndexError(f"frame {t} is not in 0..{len(self) - 1}")

    def _locate_compat(self, t: int) -> tuple[int, int]:
        gop, position = divmod(t, COVIAR_GOP)
        starts = self._intra
        if not 0 <= gop < len(starts):
            raise IndexError(f"frame {t} lies in GOP {gop}, and the video has {len(starts)}")
        start = starts[gop]
        end = starts[gop + 1] if gop + 1 < len(starts) else len(self)
        frame = start + position
        return start, frame if frame < end and self.has_motion[frame] else start
