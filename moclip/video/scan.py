"""Motion vectors from the bitstream: one decoding pass, a piece at a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from moclip.video.blocks import VECTOR, Chunk, Gridder
from moclip.video.errors import VideoError
from moclip.video.probe import MOTION_CODECS, TRANSCODE_ADVICE, decode_all, frame_rate, open_video

_NO_FRAME = av.VideoFrame()
# All others (P, SP, MPEG-4's S) predict from the past.
_TYPES = {PictureType[name].value: kind for name, kind in {"I": "I", "SI": "I", "B": "B", "BI": "B"}.items()}
# Steps that the picture needs and the vectors do not. lowres=3 would save another tenth of the time, but it also turns
# off the decoder's error concealment, and with it the mark on damaged frames by which `decode_all` knows them.
_MOTION_ONLY = {"flags2": "+export_mvs", "skip_idct": "all", "skip_loop_filter": "all"}


@contextmanager
def open_motion(path: Path | str, until: int | None = None) -> Iterator[tuple[dict[str, Any], Iterator[Chunk]]]:
    """Read a video's motion piece by piece, in constant memory.

    Yields
    ------
    facts : dict
        ``width``, ``height``, ``codec`` and ``container`` of a `Motion`; ``scale`` and ``fps`` once the chunks are read.
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
    without = "IB" if facts["codec"] == "mpeg4" else "I"
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
            if kind in without:
                gridder.add(kind, None)
            else:
                _add(gridder, kind, frame, facts["codec"] == "snow")
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


def _add(gridder: Gridder, kind: str, frame: av.VideoFrame, snow: bool) -> None:
    side_data = frame.side_data
    try:
        vectors = side_data.get("MOTION_VECTORS")
        # PyAV's buffers do not say to type checkers that they are buffers, nor what they are made with
        blocks = None if vectors is None else np.frombuffer(vectors, VECTOR)  # type: ignore[call-overload]
        if snow and blocks is not None:  # that decoder counts from a corner one block before the centre
            blocks = blocks.copy()
            blocks["dst_x"] += blocks["w"]
            blocks["dst_y"] += blocks["h"]
        gridder.add(kind, blocks)
    finally:
        # A frame and its side data hold each other, so that pictures would pile up until the garbage collector comes
        # by, and the decoder would take fresh memory for each: three times as long. Another frame in its place ends it.
        SideDataContainer.__init__(side_data, _NO_FRAME)  # type: ignore[call-arg]
