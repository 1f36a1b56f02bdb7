"""Motion vectors from the bitstream: one decoding pass gives a grid of blocks a frame."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from moclip.video.blocks import BlockField, stack, to_blocks
from moclip.video.errors import VideoError
from moclip.video.probe import MOTION_CODECS, TRANSCODE_ADVICE, decode_all, frame_rate, open_video

COVIAR_GOP = 12
_TYPES = {"I": "I", "SI": "I", "B": "B", "BI": "B"}  # all others (P, SP, MPEG-4's S) predict from the past
# Steps that the picture needs and the vectors do not. lowres=3 would save another third of the time, but it also turns
# off the decoder's error concealment, and with it the mark on damaged frames by which `decode_all` knows them.
_MOTION_ONLY = {"flags2": "+export_mvs", "skip_idct": "all", "skip_loop_filter": "all"}


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
    block : int
        Side of a grid cell in pixels, 16, 8 or 4: the largest that all blocks of the file fit.
    width, height : int
        Size of the video in pixels; gw = ceil(width / block), gh = ceil(height / block).
    fps : float
        Frames a second; 0.0 where the file does not say.
    compat : str or None
        "coviar": `raw` and `accumulated` count and compute as CoViAR's loader does.
    source : str
        SHA-256 of the video file where it was kept (`save_motion`), else "".
    """

    grid: np.ndarray
    mask: np.ndarray
    types: np.ndarray
    has_motion: np.ndarray
    scale: int
    block: int
    width: int
    height: int
    fps: float
    compat: str | None = None
    source: str = ""

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
            _, frame = self._locate_compat(t)
            return self._follow([frame] if frame is not None else [])
        self._check_index(t)
        field = np.repeat(np.repeat(self.grid[t], self.block, axis=0), self.block, axis=1)
        return field[: self.height, : self.width] / np.float32(self.scale)  # (H, W, 2)

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
        if self.compat:
            start, frame = self._locate_compat(t)
            return self._follow(list(range(start, frame + 1)) if frame is not None else [])
        self._check_index(t)
        if "B" in self.types:
            raise ValueError(
                "vectors cannot be accumulated over B-frames, which do not say which frame they point into; "
                f"{TRANSCODE_ADVICE}"
            )
        return self._follow(list(range(self._last_intra(t), t + 1)))

    def _follow(self, frames: list[int]) -> np.ndarray:
        """Sum of vectors along the way back through ``frames`` (ascending); no frames: zeros."""
        from moclip.video._kernels import follow_back  # numba: a second to import

        moving = [k for k in frames if self.has_motion[k]]
        grid = self.grid[moving]  # (K, gh, gw, 2)
        shift = self.block.bit_length() - 1
        if self.compat:
            pixels = (np.sign(grid) * (np.abs(grid) // self.scale)).astype(np.int16)  # C's division: toward zero
            return follow_back(pixels, pixels, shift, self.height, self.width)
        steps = (2 * grid.astype(np.int32) + self.scale) // (2 * self.scale)
        sums = follow_back(steps.astype(np.int16), grid, shift, self.height, self.width)
        return sums.astype(np.float32) / np.float32(self.scale)

    def _last_intra(self, t: int) -> int:
        intra = np.flatnonzero(self.types[: t + 1] == "I")
        return int(intra[-1]) if len(intra) else 0

    def _check_index(self, t: int) -> None:
        if not 0 <= t < len(self):
            raise IndexError(f"frame {t} is not in 0..{len(self) - 1}")

    def _locate_compat(self, t: int) -> tuple[int, int | None]:
        """First frame of the GOP, and the frame that CoViAR reads for ``t``; None where it returns zeros."""
        gop, position = divmod(t, COVIAR_GOP)
        starts = np.flatnonzero(self.types == "I")
        if not 0 <= gop < len(starts):
            raise IndexError(f"frame {t} lies in GOP {gop}, and the video has {len(starts)}")
        start = int(starts[gop])
        end = int(starts[gop + 1]) if gop + 1 < len(starts) else len(self)
        frame = start + position
        return start, frame if frame < end and self.has_motion[frame] else None


def read_motion(path: Path | str, compat: str | None = None) -> Motion:
    """Read the motion vectors of all frames in one pass, as coded (a rotation tag is not applied).

    Parameters
    ----------
    path : path-like
        A video of a codec that exports vectors: MPEG-1/2/4, H.264, H.263, WMV and their kin.
    compat : {None, "coviar"}
        "coviar": what CoViAR's loader would give, bit for bit. Raw MPEG-4 elementary streams only (`transcode`); the
        last frame does not exist; see `Motion.raw` for how frames are counted.

    Raises
    ------
    VideoError
        The file is missing, no video, damaged or breaks off, changes its size, or its codec exports no vectors; in
        compat mode also: no raw MPEG-4 stream, or one with B-frames.
    """
    if compat not in (None, "coviar"):
        raise ValueError(f"compat must be None or 'coviar', not {compat!r}")
    with open_video(path) as (container, stream):
        context = stream.codec_context
        codec = context.codec.canonical_name
        if codec not in MOTION_CODECS:
            raise VideoError(path, f"FFmpeg exports no motion vectors from {codec}", TRANSCODE_ADVICE)
        if compat and (container.format.name != "m4v" or codec != "mpeg4"):
            found = f"{codec} in {container.format.name}"
            raise VideoError(path, f"CoViAR reads raw MPEG-4 part 2 streams only, this is {found}", TRANSCODE_ADVICE)
        fps = float(frame_rate(stream) or 0)
        context.options |= _MOTION_ONLY
        builder = _Builder(path, context.width, context.height)
        for frame in decode_all(container, stream, path):
            builder.add(frame)
    return builder.finish(fps, compat)


class _Builder:
    """Collects the frames of one video."""

    def __init__(self, path: Path | str, width: int, height: int) -> None:
        self.path, self.width, self.height = path, width, height
        self.types: list[str] = []
        self.frames: list[BlockField | None] = []

    def add(self, frame: av.VideoFrame) -> None:
        if (frame.width, frame.height) != (self.width, self.height):
            raise VideoError(self.path, f"changes its size in frame {len(self.types)}", TRANSCODE_ADVICE)
        kind = _TYPES.get(PictureType(frame.pict_type).name, "P")
        vectors = frame.side_data.get("MOTION_VECTORS") if kind != "I" else None
        try:
            field = None if vectors is None else to_blocks(vectors.to_ndarray(), self.width, self.height)
        except ValueError as error:
            raise VideoError(self.path, f"frame {len(self.types)}: {error}", TRANSCODE_ADVICE) from error
        self.types.append(kind)
        self.frames.append(field)

    def finish(self, fps: float, compat: str | None) -> Motion:
        if not self.types:
            raise VideoError(self.path, "no frames in it")
        if compat and "B" in self.types:
            raise VideoError(self.path, "has B-frames, which CoViAR cannot read", TRANSCODE_ADVICE)
        scales = {frame.scale for frame in self.frames if frame is not None}
        if len(scales) > 1:
            raise VideoError(self.path, f"mixes vectors of {sorted(scales)} units a pixel", TRANSCODE_ADVICE)
        if compat:  # CoViAR's parser is never flushed, so that the last frame does not come out
            self.types.pop()
            self.frames.pop()
        grid, mask, block = stack(self.frames, self.width, self.height)
        return Motion(
            grid=grid,
            mask=mask,
            types=np.array(self.types, "U1"),
            has_motion=np.array([frame is not None for frame in self.frames], bool),
            scale=scales.pop() if scales else 1,
            block=block,
            width=self.width,
            height=self.height,
            fps=fps,
            compat=compat,
        )
