"""Small videos with known motion."""

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


def texture(height: int, width: int) -> np.ndarray:
    """Smooth random RGB texture, uint8 (height, width, 3): block matching has one clear answer on it."""
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    smooth = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * np.exp(-((frequency / 0.08) ** 2))[..., None], axes=(0, 1))
    smooth = 0.7 * smooth.real.mean(axis=2, keepdims=True) + 0.3 * smooth.real  # pale: colour is stored coarsely
    smooth /= np.abs(smooth).max()
    return (127.5 + 127 * smooth).astype(np.uint8)


def make_pan(dx: int, dy: int, count: int = 14, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Frames whose content moves by (dx, dy) pixels a frame, +x right, +y down."""
    world = texture(height + abs(dy) * count, width + abs(dx) * count)
    frames = []
    for t in range(count):
        x = (count - t) * dx if dx > 0 else t * -dx
        y = (count - t) * dy if dy > 0 else t * -dy
        frames.append(np.ascontiguousarray(world[y : y + height, x : x + width]))
    return frames


def encode_with(
    codec: str,
    path: Path,
    options: dict[str, str] | None = None,
    pixels: str = "yuv420p",
    frames: list[np.ndarray] | None = None,
) -> None:
    """Frames (a pan) in any codec that the wheel can encode, B-frames and all; skips the test where it cannot."""
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"no {codec} encoder in this build of PyAV")
    rate = Fraction(30000, 1001) if codec in ("h261", "h263") else 25  # the one that these two know
    with av.open(str(path), "w", format="m4v" if path.suffix == ".m4v" else None) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        frames = frames or make_pan(2, 1)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())


@pytest.fixture
def pan():
    return make_pan


@pytest.fixture
def encode_as():
    return encode_with


@pytest.fixture(params=["missing", "directory", "empty", "text", "text called mp4", "audio"])
def bad_path(request, tmp_path):
    """A path that holds no video."""
    (tmp_path / "bad").mkdir()
    return make_bad(request.param, tmp_path / "bad")


def make_bad(kind: str, folder: Path) -> Path:
    """A path that holds no readable video, of the given kind."""
    if kind == "missing":
        return folder / "missing.mp4"
    if kind == "directory":
        return folder
    path = folder / {"audio": "sound.wav", "text": "notes.txt"}.get(kind, "bad.mp4")
    if kind == "empty":
        path.touch()
    elif kind in ("text", "text called mp4"):
        path.write_text("not a video at all\n" * 200)
    elif kind == "audio":
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
    else:
        raise AssertionError(kind)
    return path


@pytest.fixture
def golden():
    """Folder of the golden videos and what CoViAR's loader made of them."""
    return Path(__file__).parents[1] / "data" / "golden"
