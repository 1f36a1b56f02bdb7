"""Open a video, and report what is in it without decoding it."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

MAX_PIXELS = 64 << 20  # twice 8K. A damaged header may ask for any amount of memory.
# Tags need not be UTF-8. From PyAV 19 on they never fail, and this argument no longer exists.
_ANY_TAGS = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
HOLD_BACK = ("mpeg1video", "mpeg2video", "mpeg4")  # their decoders release a frame only when the next one arrives
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
        Coded frames, counted in the file (the header's count is not trusted). A decoder returns fewer where an encoder
        marked frames as "not coded" (some XviD files).
    fps : float
        Average frames per second; 0.0 where the file does not say.
    gop : int or None
        Median distance of keyframes, in frames; None with fewer than two keyframes.
    has_b_frames : bool
        The stream reorders frames: some are predicted from the future.
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
    with open_video(path) as video:
        # Left out: packets that an edit list cuts off, and the empty packet at the end, which flushes decoders.
        coded = (packet for packet in video.packets() if packet.size and not packet.is_discard)
        frames = [(packet.is_keyframe, packet.pts) for packet in coded]
        if not frames:
            raise VideoError(path, "no frames in it")
        keys = [number for number, (is_key, _) in enumerate(frames) if is_key]
        stamps = [stamp for _, stamp in frames if stamp is not None]
        context = video.stream.codec_context
        # MPEG-1/2 decoders expect B-frames until the stream says otherwise; their containers have time stamps
        announced = context.has_b_frames and video.codec not in ("mpeg1video", "mpeg2video")
        return VideoInfo(
            path=Path(path),
            codec=video.codec,
            width=context.width,
            height=context.height,
            frames=len(frames),
            fps=video.frame_rate(stamps),
            gop=round(statistics.median(b - a for a, b in pairwise(keys))) if len(keys) > 1 else None,
            has_b_frames=announced or stamps != sorted(stamps),
            exports_motion=video.codec in MOTION_CODECS,
        )


@dataclass(frozen=True)
class OpenVideo:
    """The first video stream of an open file."""

    path: Path
    container: InputContainer
    stream: VideoStream
    codec: str  # FFmpeg's name

    def packets(self) -> Iterator[av.Packet]:
        """All packets, with the empty one at the end.

        Raises
        ------
        VideoError
            Fewer packets than the header announces.
        av.FFmpegError
            Damaged; `open_video` makes it a `VideoError`.
        """
        count = 0
        for packet in self.container.demux(self.stream):
            count += packet.size > 0
            yield packet
        if count < self.stream.frames:
            raise VideoError(self.path, f"breaks off: {count} of the {self.stream.frames} announced frames are there")

    def frames(self, until: int | None = None, last_too: bool = False) -> Iterator[av.VideoFrame]:
        """Decode every frame, in presentation order.

        A damaged frame is an error, never a picture made up by the decoder. Damage that leaves no trace cannot be
        found: a raw stream cut exactly between two frames, or a flipped bit that decodes.

        Parameters
        ----------
        until : int, optional
            Stop after this frame.
        last_too : bool
            Vectors of the last frame are needed, too. Decoders that hold a frame back release the last one without its
            vectors, unless another frame follows: the first one is sent again, and then dropped.

        Raises
        ------
        VideoError
            Damaged, no frames, or fewer than ``until`` asks for.
        """
        count, first = 0, b""
        context = self.stream.codec_context
        with video_errors(self.path):  # the caller's own errors do not pass through here
            for packet in self.packets():
                if last_too and not first and packet.is_keyframe:
                    first = bytes(packet)
                if not packet.size and first and context.has_b_frames and self.codec in HOLD_BACK:
                    frames = [*context.decode(av.Packet(first)), *packet.decode()][:-1]
                else:
                    frames = packet.decode()
                for frame in frames:
                    if frame.is_corrupt:
                        raise VideoError(self.path, f"frame {count} is damaged or the file breaks off there")
                    yield frame
                    count += 1
                    if count - 1 == until:
                        return
        if not count:
            raise VideoError(self.path, "no frames in it")
        if until is not None:
            raise VideoError(self.path, f"has {count} frames; frame {until} does not exist")

    def frame_rate(self, stamps: Sequence[int]) -> float:
        """Average frames per second, FFmpeg's guess where the file does not say, or 0.0.

        Parameters
        ----------
        stamps : sequence of int
            Time stamps of the frames. They alone give the rate of a raw MPEG-4 stream, from the clock in its frames:
            FFmpeg reports 25 for all of these.
        """
        first, last = min(stamps, default=0), max(stamps, default=0)
        clock = self.stream.time_base
        if self.container.format.name == "m4v" and first < last and clock:
            return (len(stamps) - 1) * clock.denominator / ((last - first) * clock.numerator)
        rate = self.stream.average_rate or self.stream.guessed_rate  # if unknown: None before PyAV 19, 0/1 from then on
        return rate.numerator / rate.denominator if rate else 0.0


@contextmanager
def open_video(path: Path | str) -> Iterator[OpenVideo]:
    """Open a file's first video stream, with one decoder thread; FFmpeg's errors become `VideoError`.

    Frame threads lose or misplace motion vectors (H.264 with B-frames), so no reader here uses them.
    """
    path = Path(path)
    format_ = _container(path)
    # The whole path: FFmpeg takes what stands before a colon for a protocol.
    with (
        video_errors(path),
        av.open(str(path.absolute()), format=format_, **_ANY_TAGS) as container,  # type: ignore[call-overload]
    ):
        if not container.streams.video or container.format.name == "tty":  # FFmpeg draws .txt files as terminals
            raise VideoError(path, "no video stream in it")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise VideoError(path, "no decoder for its video", "the file is damaged or of a codec that FFmpeg lacks")
        context.thread_count = 1
        if context.width * context.height > MAX_PIXELS:
            raise VideoError(path, f"pictures of {context.width}x{context.height}, over {MAX_PIXELS >> 20} megapixels")
        # Raw MPEG-4 has no container that would reveal a cut, so even a few missing bits must count. Elsewhere this is
        # too strict: it rejects sound XviD files whose packets hold two frames.
        strict = {"err_detect": "aggressive"} if container.format.name == "m4v" else {}
        context.options = strict | {"max_pixels": str(MAX_PIXELS)}  # for sizes that change on the way
        yield OpenVideo(path, container, stream, context.codec.canonical_name)


@contextmanager
def video_errors(
    path: Path, cause: str = "cannot be read", advice: str = "it is damaged or no video"
) -> Iterator[None]:
    """FFmpeg's errors as `VideoError`."""
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(path, f"{cause} ({error.strerror})", advice) from error


def _container(path: Path) -> str | None:
    """FFmpeg's name of the container, where the file begins with the mark of a common one.

    Without the name FFmpeg tries all its formats, which takes a millisecond for a raw MPEG-4 stream: as long as three
    frames.
    """
    try:
        if not path.stat().st_size:  # also a pipe, which would never end
            raise VideoError(path, "the file is empty")
        with path.open("rb", buffering=0) as file:
            begin = file.read(12)
    except FileNotFoundError:
        raise VideoError(path, "no such file") from None
    except (OSError, ValueError) as error:  # a directory, a name too long or with a NUL, a file that may not be read
        raise VideoError(path, f"cannot be opened ({error.args[-1]})") from error
    if begin[:4] == b"\0\0\1\xb0":
        return "m4v"
    return "avi" if begin[:4] == b"RIFF" and begin[8:] == b"AVI " else None
