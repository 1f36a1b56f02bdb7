"""Motion vectors from the bitstream: one decoding pass, a piece at a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from moclip.video.blocks import Chunk, Gridder, refine
from moclip.video.errors import VideoError
from moclip.video.layout import CHUNK, COARSEST, VECTOR
from moclip.video.motion import Motion
from moclip.video.probe import MOTION_CODECS, TRANSCODE_ADVICE, decode_all, frame_rate, open_video

SLACK = 512  # most frames by which grids grow at a time; the system moves large blocks without copying them
_NO_FRAME = av.VideoFrame()
# All others (P, SP, MPEG-4's S) predict from the past.
_TYPES = {PictureType[name].value: kind for name, kind in {"I": "I", "SI": "I", "B": "B", "BI": "B"}.items()}
# Steps that the picture needs and the vectors do not. lowres=3 would save another tenth of the time, but it also turns
# off the decoder's error concealment, and with it the mark on damaged frames by which `decode_all` knows them.
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
    with open_motion(path, until) as (facts, chunks):
        return _join(chunks, facts)


def _join(chunks: Iterable[Chunk], facts: dict[str, Any]) -> Motion:
    height, width, block_size = facts["height"], facts["width"], COARSEST
    shape = (2 * CHUNK, -(-height // block_size), -(-width // block_size))
    grid, mask = np.empty((*shape, 2), np.int16), np.empty(shape, np.uint8)
    types: list[str] = []
    has_motion: list[bool] = []
    for chunk in chunks:
        if chunk.block_size < block_size:
            grid, mask = (refine(part, block_size, chunk.block_size, height, width).copy() for part in (grid, mask))
            block_size = chunk.block_size
        _append(grid, len(types), chunk.grid)
        _append(mask, len(types), chunk.mask)
        types += chunk.types
        has_motion += chunk.has_motion
    for part in (grid, mask):
        part.resize((len(types), *part.shape[1:]), refcheck=False)
    return Motion(grid, mask, np.array(types, "U1"), np.array(has_motion, bool), block_size=block_size, **facts)


def _append(array: np.ndarray, count: int, part: np.ndarray) -> None:
    """Put ``part`` behind the first ``count`` rows, in place: memory grows where it lies, no second copy is made."""
    end = count + len(part)
    if end > len(array):
        more = min(len(array), SLACK)  # what is added is also written: with zeros
        array.resize((max(end, len(array) + more), *array.shape[1:]), refcheck=False)
    array[count:end] = part


@contextmanager
def open_motion(path: Path | str, until: int | None = None) -> Iterator[tuple[dict[str, Any], Iterator[Chunk]]]:
    """Read a video's motion piece by piece, in constant memory.

    Yields
    ------
    facts : dict
        ``width``, ``height``, ``codec``, ``container`` of a `Motion`; ``scale`` and ``fps`` once the chunks are read.
    chunks : iterator of Chunk
        A new one at every I-frame, and after 32 frames. Cells may get finer on the way, never coarser.

    Raises
    ------
    VideoError
        As `read_motion`.
    """
    with open_video(path) as (container, stream):
        context = stream.codec_context
        codec = context.codec.canonical_name
        if codec not in MOTION_CODECS:
            raise VideoError(path, f"FFmpeg exports no motion vectors from {codec}", TRANSCODE_ADVICE)
        context.options |= _MOTION_ONLY
        size = {"width": context.width, "height": context.height}
        facts: dict[str, Any] = {**size, "fps": 0.0, "scale": 1, "codec": codec, "container": container.format.name}
        yield facts, _chunks(decode_all(container, stream, path, last_too=True), facts, path, until, stream)


def _chunks(
    frames: Iterable[av.VideoFrame], facts: dict[str, Any], path: Path | str, until: int | None, stream: VideoStream
) -> Iterator[Chunk]:
    width, height = facts["width"], facts["height"]
    # FFmpeg keeps no vectors of MPEG-4's B-frames and lists zeros in their place.
    without, snow = "IB" if facts["codec"] == "mpeg4" else "I", facts["codec"] == "snow"
    gridder = Gridder(width, height)
    stamps: list[int] = []
    count = 0
    for frame in frames:
        if frame.width != width or frame.height != height:
            raise VideoError(path, f"changes its size in frame {count}", TRANSCODE_ADVICE)
        kind = _TYPES.get(frame.pict_type, "P")
        if (kind == "I" or gridder.full()) and (chunk := gridder.take()):
            yield chunk
        try:
            gridder.add(kind, None if kind in without else _vectors(frame, snow))
        except ValueError as error:
            raise VideoError(path, f"frame {count}: {error}", TRANSCODE_ADVICE) from error
        count += 1
        if frame.pts is not None:
            stamps.append(frame.pts)
        if until is not None and count > until:
            break
    if until is not None and count <= until:
        raise VideoError(path, f"has {count} frames, so that frame {until} is not there")
    if not count:
        raise VideoError(path, "no frames in it")
    facts |= {"scale": gridder.scale or 1, "fps": float(frame_rate(stream, stamps) or 0)}
    if chunk := gridder.take():
        yield chunk


def _vectors(frame: av.VideoFrame, snow: bool) -> np.ndarray | None:
    """A frame's list of vectors: `VECTOR` array (N,)."""
    side_data: Any = frame.side_data
    vectors = None
    place = -1  # the vectors are the last entry, as a rule
    # By place: to ask by type takes longer than all the rest here (it hashes an Enum), and to iterate gives entries
    # before PyAV 19, their types from then on.
    with suppress(IndexError):
        while not isinstance(side_data[place], MotionVectors):
            place -= 1
        vectors = np.frombuffer(side_data[place], VECTOR)
    # A frame and its side data hold each other, so that pictures would pile up until the garbage collector comes by,
    # and the decoder would take fresh memory for each: three times as long. Another frame in its place ends it.
    SideDataContainer.__init__(side_data, _NO_FRAME)  # type: ignore[call-arg]
    if snow and vectors is not None:  # that decoder counts from a corner one block before the centre
        vectors = vectors.copy()
        vectors["dst_x"] += vectors["w"]
        vectors["dst_y"] += vectors["h"]
    return vectors
