"""Write video: frames to a file, and any video to the stream that CoViAR reads.

Both functions use one encoder thread, one reference frame, a fixed distance of I-frames and, by default, no B-frames.
So every motion vector of a P-frame points to the frame before it, and the same frames give the same bytes.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from moclip.io.files import atomic_path
from moclip.video.probe import open_video, video_errors

QP2LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA: units of its rate control per quantiser step
QUALITY = {"mpeg4": (5, 1, 31), "libx264": (23, 0, 51)}  # default, best, worst
# What ffmpeg does by default with a phone's rotation tag (degrees counter-clockwise).
_UPRIGHT = {-90: [("transpose", "clock")], 90: [("transpose", "cclock")]}
_UPRIGHT |= {180: [("hflip", ""), ("vflip", "")], -180: [("hflip", ""), ("vflip", "")]}
CONTAINERS = {".mp4": "mp4", ".avi": "avi", ".m4v": "m4v"}  # FFmpeg's "m4v" writes the bare elementary stream


def encode(
    frames: Iterable[np.ndarray],
    path: Path | str,
    *,
    fps: float = 25.0,
    codec: str = "mpeg4",
    gop: int = 12,
    quality: int | None = None,
    b_frames: int = 0,
) -> None:
    """Write RGB frames to a video whose motion can be read back.

    Parameters
    ----------
    frames : iterable of uint8 (H, W, 3)
        RGB, all of one size; H and W even, since colour is stored at half resolution.
    path : path-like
        ``.mp4`` and ``.avi`` are containers, ``.m4v`` is the raw MPEG-4 elementary stream (codec ``mpeg4`` only).
        Written to a temporary name and renamed.
    fps : float
        Frames per second.
    codec : {"mpeg4", "libx264"}
        MPEG-4 part 2 (16x16 blocks, half-pixel vectors) or H.264 (blocks down to 4x4, quarter-pixel vectors).
    gop : int
        Every ``gop``-th frame is an I-frame, and no other is (x264 inserts none at scene cuts).
    quality : int, optional
        ``mpeg4``: constant quantiser, 1 (best) to 31, default 5. ``libx264``: CRF, 0 (lossless) to 51, default 23.
    b_frames : int
        At most this many consecutive B-frames, for examples and tests. Vectors of such a video cannot be accumulated.

    Raises
    ------
    ValueError
        No frames, frames of the wrong shape, type or an odd size, an unknown codec or suffix, quality or b_frames out
        of range.
    """
    if not 0 <= b_frames <= 16:
        raise ValueError(f"b_frames {b_frames} must lie in 0..16")
    options = _options(codec, gop, quality) | {"bf": str(b_frames)}
    _write(_to_yuv(frames), Path(path), _container(Path(path), codec), codec, fps, options)


def transcode(
    src: Path | str,
    dst: Path | str,
    *,
    width: int = 340,
    height: int = 256,
    gop: int = 12,
    quality: int | None = None,
    codec: str = "mpeg4",
) -> None:
    """Re-encode a video, by default into CoViAR's format: a raw MPEG-4 part 2 elementary stream.

    The same as ``ffmpeg -i SRC -vf scale=W:H,setsar=1:1 -q:v 1 -c:v mpeg4 -f rawvideo DST`` (CoViAR's command), except
    that every decoded frame is kept. ffmpeg duplicates and drops frames where time stamps are uneven.

    Parameters
    ----------
    src, dst : path-like
        With ``mpeg4`` the result is the raw stream, regardless of the name of ``dst``. With ``libx264`` the suffix,
        ``.mp4`` or ``.avi``, selects the container. Written to a temporary name and renamed.
    width, height : int
        Size of the result in pixels, even numbers with ``libx264``. The aspect ratio is not kept (bicubic, square
        pixels).
    gop : int
        Distance of I-frames.
    quality : int, optional
        ``mpeg4``: ffmpeg's ``-q:v``, 1 to 31, default 1. The quantiser never goes below 2, as in ffmpeg, whose
        ``qmin`` is 2: with 1, the motion search is tuned for quantiser 1 and the picture is coded with 2.
        ``libx264``: CRF, 0 (lossless) to 51, default 23.
    codec : {"mpeg4", "libx264"}
        Both without B-frames and with one reference, so that vectors can be accumulated.

    Raises
    ------
    ValueError
        An unknown codec, a suffix or size that the codec does not allow, or gop or quality out of range.
    VideoError
        The source is missing, is no video, or breaks off; or the result cannot be written.
    """
    dst = Path(dst)
    if codec == "mpeg4":
        container, options = "m4v", _options(codec, gop, 1 if quality is None else quality) | {"qmin": "2"}
    else:
        options, container = _options(codec, gop, quality), _container(dst, codec)
        if width % 2 or height % 2:
            raise ValueError(f"libx264 takes even sizes only, not {width}x{height}")
    with open_video(src) as video:
        decoded = video.frames()
        first = list(islice(decoded, 25))  # about a second: the rate of a raw stream is known from its time stamps
        rate = video.frame_rate([frame.pts for frame in first if frame.pts is not None])
        # A damaged header may say anything. 25 is what ffmpeg takes for raw streams.
        fps = rate if 0.001 <= rate <= 65535 else 25.0
        _write(_scaled(chain(first, decoded), width, height), dst, container, codec, fps, options)


def _container(path: Path, codec: str) -> str:
    """FFmpeg's name for the container of a suffix."""
    container = CONTAINERS.get(path.suffix.lower())
    if container is None or (container == "m4v" and codec != "mpeg4"):
        raise ValueError(f"{path.name}: cannot write {codec} there; use .mp4 or .avi, or .m4v with mpeg4")
    return container


def _options(codec: str, gop: int, quality: int | None) -> dict[str, str]:
    if codec not in QUALITY:
        raise ValueError(f"codec {codec!r} is not one of {', '.join(QUALITY)}")
    default, best, worst = QUALITY[codec]
    quality = default if quality is None else quality
    if not best <= quality <= worst:
        raise ValueError(f"quality {quality} of {codec} must lie in {best}..{worst}")
    if gop < 1:
        raise ValueError(f"gop must be at least 1, not {gop}")
    common = {"g": str(gop), "bf": "0", "flags": "+bitexact"}
    if codec == "libx264":
        fixed = {"sc_threshold": "0", "keyint_min": str(gop), "refs": "1", "weightp": "0", "threads": "1"}
        # Without x264's tree of macroblocks (mbtree): with it, about one file in a hundred came out with other bytes.
        return common | fixed | {"mbtree": "0", "crf": str(quality), "preset": "medium"}
    # ffmpeg passes -q:v in each frame's quality field, which PyAV does not set. A rate control without freedom does the
    # same: lmin = lmax fixes lambda, and with i_qfactor=1 I-frames get the same quality.
    pinned = str(quality * QP2LAMBDA)
    return common | {"qmin": str(quality), "qmax": "31", "lmin": pinned, "lmax": pinned, "i_qfactor": "1"}


def _to_yuv(frames: Iterable[np.ndarray]) -> Iterator[av.VideoFrame]:
    """RGB arrays as YUV 4:2:0 frames, checked."""
    shape = None
    for array in frames:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")  # checks type and dimensions
        if frame.width % 2 or frame.height % 2:
            raise ValueError(f"frame size {frame.width}x{frame.height} is odd; crop or pad to even sides")
        if shape not in (None, array.shape):
            raise ValueError(f"a frame of shape {array.shape} follows frames of shape {shape}")
        shape = array.shape
        yield frame.reformat(format="yuv420p", interpolation=Interpolation.BICUBIC)


def _scaled(frames: Iterable[av.VideoFrame], width: int, height: int) -> Iterator[av.VideoFrame]:
    """Frames through ffmpeg's own filters; a new graph is built where the input changes."""
    for (source, rotation), alike in groupby(frames, _describe):
        graph = av.filter.Graph()
        nodes = [
            graph.add("buffer", source),
            *[graph.add(*node) for node in _UPRIGHT.get(rotation, [])],
            graph.add("scale", f"{width}:{height}:flags=bicubic"),
            graph.add("setsar", "1:1"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        for frame in alike:
            graph.vpush(frame)
            yield graph.vpull()


def _describe(frame: av.VideoFrame) -> tuple[str, int]:
    """A frame as ffmpeg's filter graphs take it in, and its rotation in degrees."""
    colours = f"pix_fmt={frame.format.name}:colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
    return f"video_size={frame.width}x{frame.height}:time_base=1/25:{colours}", frame.rotation


def _write(
    frames: Iterable[av.VideoFrame], path: Path, container: str, codec: str, fps: float, options: dict[str, str]
) -> None:
    """Encode and mux YUV frames."""
    rate = _rational(fps)
    # "file:", since FFmpeg would take a name with a colon for a protocol
    with (
        video_errors(path, "cannot be written", ""),
        atomic_path(path) as temporary,
        av.open(f"file:{temporary}", "w", format=container, options={"fflags": "+bitexact"}) as out,
    ):
        stream: VideoStream | None = None
        for index, frame in enumerate(frames):
            if stream is None:
                form: dict[str, Any] = {"width": frame.width, "height": frame.height, "pix_fmt": "yuv420p"}
                stream = cast(VideoStream, out.add_stream(codec, rate, options, thread_count=1, **form))
            frame.pts, frame.time_base = index, 1 / rate
            frame.pict_type = PictureType.NONE  # a decoded frame brings its old type, which would be forced
            out.mux(stream.encode(frame))
        if stream is None:
            raise ValueError(f"no frames to write to {path}")
        out.mux(stream.encode())


def _rational(fps: float) -> Fraction:
    """``fps`` as a fraction that MPEG-4 can hold: its clock ticks at most 65,535 times a second."""
    for denominator in (1001, 100, 10, 1):
        rate = Fraction(fps).limit_denominator(denominator)
        if 0 < rate.numerator <= 65535:
            return rate
    raise ValueError(f"fps must lie in 0.001..65535, not {fps}")
