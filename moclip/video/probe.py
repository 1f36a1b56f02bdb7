"""Open a video, and say what is in it without decoding it."""

import stat
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from moclip.video.errors import VideoError

# fmt: off
MOTION_CODECS = frozenset({
    "mpeg1video", "mpeg2video", "mpeg4", "h261", "h263", "h263i", "h263p", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3",
    "wmv1", "wmv2", "flv1", "rv10", "rv20", "snow", "h264",
})
# fmt: on
"""Codecs whose FFmpeg decoder exports motion vectors."""

MAX_PIXELS = 64 << 20  # twice 8K; a damaged header may ask for any amount of memory
# Tags need not be UTF-8. From PyAV 19 on they never fail, and the argument is gone.
_ANY_TAGS = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
TRANSCODE_ADVICE = "re-encode it with moclip.video.transcode(src, dst) and read that"


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its first video stream.

    Attributes
    ----------
    path : Path
    codec : str
        FFmpeg's name: ``mpeg4``, ``h264``, ``hevc`` ...
    width, height : int
        Pixels.
    frames : int
        Coded frames, counted in the file (the header's count is not trusted). Where an encoder marked frames as
        "not coded" (some XviD files), a decoder gives that many fewer.
    fps : float
        Average frames a second; 0.0 where the file does not say.
    gop : int or None
        Median distance of keyframes, in frames; None with fewer than two keyframes.
    has_b_frames : bool
        The stream reorders frames: it holds frames that are predicted from the future.
    exports_motion : bool
        FFmpeg can export motion vectors from this codec.
    """

    path: Path
    codec: str
    width: int
    height: int
    frames: int
    fps: float
    gop: int | None
    has_b_frames: bool
    exports_motion: bool


def probe(path: Path | str) -> VideoInfo:
    """Read a video's properties by demuxing it; nothing is decoded.

    Raises
    ------
    VideoError
        Missing, a directory, empty, no video in it, or damaged.
    """
    with open_video(path) as (container, stream):
        keys = []
        stamps = []
        count = 0
        for packet in demux_all(container, stream, path):
            if packet.is_discard or not packet.size:  # cut off by an edit list; the last one, which flushes decoders
                continue
            if packet.is_keyframe:
                keys.append(count)
            if packet.pts is not None:
                stamps.append(packet.pts)
            count += 1
        if not count:
            raise VideoError(path, "no frames in it")
        distances = [b - a for a, b in pairwise(keys)]
        context = stream.codec_context
        codec = context.codec.canonical_name
        # MPEG-1/2 decoders count on B-frames until they are told otherwise; their containers have time stamps
        announced = context.has_b_frames and codec not in ("mpeg1video", "mpeg2video")
        return VideoInfo(
            path=Path(path),
            codec=codec,
            width=context.width,
            height=context.height,
            frames=count,
            fps=float(frame_rate(stream, stamps) or 0),
            gop=round(statistics.median(distances)) if distances else None,
            has_b_frames=announced or stamps != sorted(stamps),
            exports_motion=codec in MOTION_CODECS,
        )


@contextmanager
def open_video(path: Path | str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file's first video stream, with one decoder thread; FFmpeg's errors come out as `VideoError`.

    Frame threads lose or misplace motion vectors (H.264 with B-frames), so that no reader here uses them.
    """
    path = Path(path)
    known = _container(path)
    with _blamed_on(path):
        # The whole path: FFmpeg takes what stands before a colon for a protocol.
        container = av.open(str(path.absolute()), format=known, **_ANY_TAGS)  # type: ignore[call-overload]
    with container:
        if not container.streams.video or container.format.name == "tty":  # FFmpeg draws .txt files as terminals
            raise VideoError(path, "no video stream in it")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise VideoError(path, "no decoder for its video", "the file is damaged or of a codec that FFmpeg lacks")
        stream.codec_context.thread_count = 1
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise VideoError(path, f"pictures of {width}x{height}, more than {MAX_PIXELS >> 20} megapixels")
        options = {"max_pixels": str(MAX_PIXELS)}  # for what turns up on the way
        if container.format.name == "m4v":
            # Raw MPEG-4 has no container that would betray a cut, so even a few missing bits must count. Elsewhere
            # this is too strict: it fails sound XviD files whose packets hold two frames.
            options["err_detect"] = "aggressive"
        stream.codec_context.options = options
        yield container, stream


def demux_all(container: InputContainer, stream: VideoStream, path: Path | str) -> Iterator[av.Packet]:
    """All packets of a stream, the empty one at the end too; fewer than the header announces are an error."""
    count = 0
    with _blamed_on(path):
        for packet in container.demux(stream):
            count += packet.size > 0
            yield packet
    if count < stream.frames:
        raise VideoError(path, f"breaks off: its header announces {stream.frames} frames, {count} are there")


def decode_all(
    container: InputContainer, stream: VideoStream, path: Path | str, last_too: bool = False
) -> Iterator[av.VideoFrame]:
    """Decode every frame, in presentation order; a damaged one is an error, never a picture made up by the decoder.

    What leaves no trace cannot be found: a raw stream cut exactly between two frames, a flipped bit that decodes.

    Parameters
    ----------
    last_too : bool
        The vectors of the last frame are wanted, too. Decoders that hold a frame back (`_holds_back`) let go of the
        last one without its vectors, unless another frame comes after it: the first one again, which is then dropped.
    """
    count = 0
    first: av.Packet | None = None
    with _blamed_on(path):  # the caller's own errors do not pass through here
        for packet in demux_all(container, stream, path):
            if last_too and first is None and packet.is_keyframe:
                first = packet
            if packet.size or first is None or not _holds_back(stream):
                frames = packet.decode()
            else:
                frames = [*_copy(first).decode(), *packet.decode()][:-1]
            for frame in frames:
                if frame.is_corrupt:
                    raise VideoError(path, f"frame {count} is damaged or the file breaks off there")
                count += 1
                yield frame


def _holds_back(stream: VideoStream) -> bool:
    context = stream.codec_context
    return bool(context.has_b_frames) and context.codec.canonical_name in ("mpeg1video", "mpeg2video", "mpeg4")


def _copy(packet: av.Packet) -> av.Packet:
    copy = av.Packet(packet.size)
    copy.update(bytes(packet))
    copy.stream = packet.stream
    return copy


def frame_rate(stream: VideoStream, stamps: Sequence[int] = ()) -> Fraction | None:
    """Average frames a second, or the best guess where the file has none.

    Parameters
    ----------
    stamps : time stamps of the frames that were met. Of a raw MPEG-4 stream only they tell the rate (the clock in its
        frames): FFmpeg says 25 whatever it is.
    """
    first, last = min(stamps, default=0), max(stamps, default=0)
    clock = stream.time_base
    if stream.container.format.name == "m4v" and first < last and clock:
        return Fraction((len(stamps) - 1) * clock.denominator, (last - first) * clock.numerator)
    rate = stream.average_rate or stream.guessed_rate  # where there is none: None before PyAV 19, 0/1 from then on
    return Fraction(rate.numerator, rate.denominator) if rate else None


@contextmanager
def _blamed_on(path: Path | str) -> Iterator[None]:
    """FFmpeg's errors as `VideoError`."""
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(path, f"cannot be read ({error.strerror})", "the file is damaged or no video") from error


def _container(path: Path) -> str | None:
    """FFmpeg's name of the container, where the file begins with the mark of a common one.

    Told nothing, FFmpeg tries all its formats: as long as three frames take, for a raw MPEG-4 stream a millisecond.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise VideoError(path, "a directory, not a video")
        if not found.st_size:  # also a pipe, which would never end
            raise VideoError(path, "the file is empty")
        with path.open("rb", buffering=0) as file:
            begin = file.read(12)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a NUL in the path is a ValueError
        raise VideoError(path, "no such file") from None
    except OSError as error:  # a name too long, a file that may not be read
        raise VideoError(path, f"cannot be looked at ({error.strerror})") from error
    if begin[:4] == b"\0\0\1\xb0":
        return "m4v"
    if begin[:4] == b"RIFF" and begin[8:] == b"AVI ":
        return "avi"
    return None
