"""Motion vectors from the bitstream: one decoding pass, chunk by chunk."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import PictureType

from moclip.video.blocks import Gridder
from moclip.video.errors import VideoError
from moclip.video.layout import VECTOR, refine
from moclip.video.motion import PER_FRAME, Motion
from moclip.video.probe import MOTION_CODECS, TRANSCODE_ADVICE, open_video

SLACK = 512  # grids grow by at most this many frames at a time; the system moves large blocks without copying them
_NO_FRAME = av.VideoFrame()
# All others (P, SP, MPEG-4's S) predict from the past.
_TYPES = {PictureType[name].value: kind for name, kind in {"I": "I", "SI": "I", "B": "B", "BI": "B"}.items()}
# Leave out steps that only the picture needs. lowres=3 would save another tenth of the time, but it also turns off the
# decoder's error concealment, and with it the mark on damaged frames by which `OpenVideo.frames` recognises them.
_MOTION_ONLY = {"flags2": "+export_mvs", "skip_idct": "all", "skip_loop_filter": "all"}


def read_motion(path: Path | str, until: int | None = None) -> Motion:
    """Read the motion vectors of all frames in one pass, as coded (a rotation tag is not applied).

    Parameters
    ----------
    path : path-like
        A video of a codec that exports vectors: MPEG-1/2/4, H.264, H.263, WMV and related ones.
    until : int, optional
        Stop after this frame; the rest of the file is not read.

    Raises
    ------
    VideoError
        The file is missing, no video, damaged or breaks off, changes its size, or its codec exports no vectors; or
        the video has fewer frames than ``until`` asks for.
    """
    arrays: dict[str, np.ndarray] = {}
    count = block_size = 0
    for chunk in read_chunks(path, until):
        if chunk.block_size < block_size:
            fit = (block_size, chunk.block_size, chunk.height, chunk.width)
            arrays |= {name: refine(arrays[name], *fit).copy() for name in ("grid", "mask")}
        begin, count, block_size = count, count + len(chunk), chunk.block_size
        for name in PER_FRAME:
            part = getattr(chunk, name)
            array = arrays.setdefault(name, part[:0].copy())
            if count > len(array):  # grow in place: no second copy is made. What is added is also written, with zeros.
                array.resize((min(2 * count, count + SLACK), *array.shape[1:]), refcheck=False)
            array[begin:count] = part
    for array in arrays.values():
        array.resize((count, *array.shape[1:]), refcheck=False)
    return replace(chunk, **arrays)  # type: ignore[arg-type]


def read_chunks(path: Path | str, until: int | None = None) -> Iterator[Motion]:
    """Read a video's motion chunk by chunk, in constant memory.

    Yields
    ------
    Motion
        A new one at every I-frame, and after 32 frames. They share their memory: use one before taking the next. The
        block size may become smaller on the way, never larger. Its ``scale`` and ``fps`` are known in the last one.

    Raises
    ------
    VideoError
        As `read_motion`.
    """
    with open_video(path) as video:
        context = video.stream.codec_context
        if video.codec not in MOTION_CODECS:
            raise VideoError(path, f"FFmpeg exports no motion vectors from {video.codec}", TRANSCODE_ADVICE)
        context.options |= _MOTION_ONLY
        facts = {"codec": video.codec, "container": video.container.format.name}
        # FFmpeg keeps no vectors of MPEG-4's B-frames and lists zeros in their place.
        without, snow = "IB" if video.codec == "mpeg4" else "I", video.codec == "snow"
        gridder = Gridder(context.width, context.height)
        stamps: list[int] = []
        for number, frame in enumerate(video.frames(until, last_too=True)):
            if frame.width != gridder.width or frame.height != gridder.height:
                raise VideoError(path, f"changes its size in frame {number}", TRANSCODE_ADVICE)
            kind = _TYPES.get(frame.pict_type, "P")
            if gridder.ends_before(kind):
                yield gridder.take(**facts)
            try:
                gridder.add(kind, None if kind in without else _vectors(frame, snow))
            except ValueError as error:
                raise VideoError(path, f"frame {number}: {error}", TRANSCODE_ADVICE) from error
            if frame.pts is not None:
                stamps.append(frame.pts)
        yield gridder.take(fps=video.frame_rate(stamps), **facts)


def _vectors(frame: av.VideoFrame, snow: bool) -> np.ndarray | None:
    """A frame's list of vectors: `VECTOR` array (N,)."""
    side_data: Any = frame.side_data
    vectors = None
    place = -1  # usually the vectors are the last entry
    # By index: a look-up by type takes longer than everything else here (it hashes an Enum), and iteration yields
    # entries before PyAV 19 but their types from then on.
    with suppress(IndexError):
        while not isinstance(side_data[place], MotionVectors):
            place -= 1
        vectors = np.frombuffer(side_data[place], VECTOR)
    # A frame and its side data refer to each other. So pictures would stay in memory until the garbage collector runs,
    # and the decoder would allocate new memory for each, which takes three times as long. Another frame in its place
    # breaks the cycle.
    SideDataContainer.__init__(side_data, _NO_FRAME)  # type: ignore[call-arg]
    if snow and vectors is not None:  # that decoder gives a corner one block before the centre
        vectors = vectors.copy()
        vectors["dst_x"] += vectors["w"]
        vectors["dst_y"] += vectors["h"]
    return vectors
