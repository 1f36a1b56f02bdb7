"""What CoViAR's data loader returns for a video, bit for bit (Wu et al. 2018; code: chaoyuaw/pytorch-coviar).

The loader differs from `Motion` in these points:

* It addresses a frame by GOP and position. The last frame of the file does not exist, because its parser is never
  flushed.
* Vectors are truncated to whole pixels, toward zero.
* I-frames, frames without vectors, and positions beyond the end of a GOP give zeros. So does a pixel of a raw field
  whose source lies outside the image.
"""

from collections.abc import Sequence

import numpy as np

from moclip.video.fields import accumulate
from moclip.video.motion import FIELDS, Motion
from moclip.video.probe import TRANSCODE_ADVICE


class CoviarMotion:
    """The motion of a raw MPEG-4 stream as CoViAR's loader returns it.

    Frame ``t`` is position ``t % gop`` of GOP ``t // gop``. A GOP starts at each I-frame.

    Parameters
    ----------
    motion : Motion
        From `read_motion` or `load_motion`.
    gop : int
        Frames per GOP. 12 in CoViAR's code and in what `transcode` writes. Where the GOPs of the stream are shorter,
        the positions that are left over give zeros; where they are longer, their last frames have no index.

    Raises
    ------
    ValueError
        CoViAR cannot read such a video: it is no raw MPEG-4 stream, or it has B-frames.
    """

    def __init__(self, motion: Motion, gop: int = 12) -> None:
        if (motion.codec, motion.container) != ("mpeg4", "m4v"):
            raise ValueError(f"CoViAR reads raw MPEG-4, not {motion.codec} in {motion.container}; {TRANSCODE_ADVICE}")
        if "B" in motion.types:
            raise ValueError(f"has B-frames, which CoViAR cannot read; {TRANSCODE_ADVICE}")
        self.motion, self.gop = motion, gop
        self.starts = np.flatnonzero(motion.types[: len(self)] == "I").tolist()

    def __len__(self) -> int:
        """Number of frames by CoViAR's count: one less than the file has."""
        return len(self.motion) - 1

    def raw(self, t: int) -> np.ndarray:
        """Vectors of one frame: int32 (H, W, 2), pixels, x first, destination minus source; see `fields`."""
        return self.fields([t], "raw")[0]

    def accumulated(self, t: int) -> np.ndarray:
        """Displacement since the I-frame of the GOP: int32 (H, W, 2), pixels; see `fields`."""
        return self.fields([t])[0]

    def fields(self, frames: Sequence[int] | np.ndarray, field: str = "accumulated") -> np.ndarray:
        """`raw` or `accumulated` fields of several frames.

        Parameters
        ----------
        frames : sequence of int (S,)
            In any order; a frame may occur more than once.
        field : {"accumulated", "raw"}

        Returns
        -------
        int32 (S, H, W, 2)
            Pixels, x first, +x right, +y down, destination minus source.

        Raises
        ------
        IndexError
            No such GOP.
        ValueError
            Unknown ``field``.
        """
        if field not in FIELDS:
            raise ValueError(f"field must be 'accumulated' or 'raw', not {field!r}")
        located = [self.locate(t) for t in frames]
        # The vectors of an I-frame are zeros.
        stretches = [(frame if field == "raw" else start + 1, frame + 1) for start, frame in located]
        out = np.empty((len(located), self.motion.height, self.motion.width, 2), np.int32)
        accumulate(self._whole_pixels, stretches, out, self.motion.block_size, scale=1)
        return out

    def locate(self, t: int) -> tuple[int, int]:
        """The I-frame of the GOP, and the frame itself, or the I-frame again where CoViAR gives zeros.

        Raises
        ------
        IndexError
            No such GOP.
        """
        gop, position = divmod(t, self.gop)
        if not 0 <= gop < len(self.starts):
            raise IndexError(f"frame {t} is in GOP {gop}; the video has {len(self.starts)} GOPs")
        start, end = [*self.starts, len(self)][gop : gop + 2]
        frame = start + position
        return start, frame if frame < end and self.motion.has_motion[frame] else start

    def _whole_pixels(self, frames: list[int]) -> np.ndarray:
        return np.trunc(self.motion.grids(frames) / self.motion.scale).astype(np.int16)
