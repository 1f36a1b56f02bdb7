"""No file brings the reader down: one error type, with path and cause."""

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from moclip.video import VideoError, encode, probe, read_frames, read_motion, transcode


def first_frame(path):
    return read_frames(path, [0])


def reencoded(path):
    folder = Path(os.environ["PYTEST_TRANSCODED"])
    transcode(path, folder / "out.m4v", width=48, height=32)


READERS = [probe, read_motion, first_frame, reencoded]
every_reader = pytest.mark.parametrize("read", READERS)


@pytest.fixture(autouse=True)
def transcoded(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYTEST_TRANSCODED", str(tmp_path_factory.mktemp("out")))


def refuses(read, path, match=None):
    with pytest.raises(VideoError, match=match) as caught:
        read(path)
    assert caught.value.path == Path(path) and caught.value.cause
    assert str(path) in str(caught.value)


def make_odd(kind: str, folder: Path) -> Path:
    """A path that is there, and no video."""
    path = folder / "odd.avi"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "broken link":
        path.symlink_to(folder / "missing.avi")
    elif kind == "device":
        return Path("/dev/null")
    elif kind == "below a file":
        path.write_bytes(b"x")
        return path / "a.avi"
    elif kind == "zero byte in the name":
        return folder / "a\0b.avi"
    elif kind == "text":
        path.write_text("not a video at all\n" * 200)
    elif kind == "one byte":
        path.write_bytes(b"R")
    elif kind == "random bytes":
        path.write_bytes(np.random.default_rng(0).bytes(10_000))
    elif kind == "zeros":
        path.write_bytes(bytes(10_000))
    elif kind == "sound":
        path = folder / "odd.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            frame.rate = 8000
            out.mux(stream.encode(frame))
            out.mux(stream.encode())
    elif kind == "no frames":
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            out.start_encoding()
    else:
        raise AssertionError(kind)
    return path


@every_reader
@pytest.mark.parametrize(
    "kind",
    [
        "fifo", "loop", "broken link", "device", "below a file", "zero byte in the name", "text", "one byte",
        "random bytes", "zeros", "sound", "no frames",
    ],
)  # fmt: skip
def test_what_is_no_video(tmp_path, kind, read):
    refuses(read, make_odd(kind, tmp_path))


def test_a_name_too_long(tmp_path):
    refuses(read_motion, tmp_path / ("a" * 300 + ".avi"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@every_reader
def test_unreadable(tmp_path, pan, read):
    encode(pan(1, 0), tmp_path / "a.avi")
    (tmp_path / "a.avi").chmod(0)
    refuses(read, tmp_path / "a.avi", "ermission")


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.jpg"])
def test_pictures_hold_no_motion(tmp_path, pan, name):
    Image.fromarray(pan(1, 0)[0]).save(tmp_path / name)
    refuses(read_motion, tmp_path / name, "no motion vectors")
    assert probe(tmp_path / name).frames == 1 and not probe(tmp_path / name).exports_motion
    assert read_frames(tmp_path / name, [0]).shape == (1, 64, 96, 3)


NAMES = ["\u00e4 \u540d\u524d \U0001f3ac.avi", "two\nlines.avi", "%d $(x) 'q' \".avi", " .avi", "-i.avi", "#?&=.avi"]


@every_reader
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_only_names(tmp_path, pan, name, read):
    encode(pan(2, 1), tmp_path / name)
    read(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:3000])
    refuses(read, tmp_path / name)


def test_names_in_no_encoding(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.avi")
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.avi")
    os.rename(tmp_path / "a.avi", name)
    assert len(read_motion(name)) == 14


def test_a_name_with_a_colon(tmp_path, pan, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(pan(2, 1), "a:b.avi")
    assert len(read_motion("a:b.avi")) == 14


def test_results_with_a_colon(tmp_path, pan, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(pan(2, 1), "concat:a.avi")
    assert os.listdir(tmp_path) == ["concat:a.avi"]
    assert len(read_motion(tmp_path / "concat:a.avi")) == 14


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_a_tag_that_is_not_utf8(tmp_path, pan, name):
    with av.open(str(tmp_path / name), "w") as out:
        out.metadata["title"] = "un film d'ete"
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in pan(2, 1):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    data = (tmp_path / name).read_bytes()
    assert b"d'ete" in data
    (tmp_path / name).write_bytes(data.replace(b"d'ete", b"d'\xe9t\xe9"))
    assert len(read_motion(tmp_path / name)) == 14


@pytest.mark.parametrize(
    ("name", "codec", "announces"),
    [
        ("a.mp4", "mpeg4", True), ("a.mp4", "libx264", True), ("a.avi", "mpeg4", True), ("a.mov", "msmpeg4", True),
        ("a.mkv", "libx264", False), ("a.mpg", "mpeg2video", False), ("a.m4v", "mpeg4", False),
        ("a.flv", "flv", False), ("a.wmv", "wmv2", False), ("a.h264", "libx264", False),
    ],
)  # fmt: skip
def test_cut_at_any_length(tmp_path, encode_as, name, codec, announces):
    encode_as(codec, tmp_path / name, {"bf": "0"})
    data = (tmp_path / name).read_bytes()
    assert len(read_motion(tmp_path / name)) == 14
    cut = tmp_path / f"cut{Path(name).suffix}"
    whole = 0
    for length in np.linspace(0, len(data) - 200, 60).astype(int):
        cut.write_bytes(data[:length])
        try:
            motion = read_motion(cut)
        except VideoError as error:
            assert error.path == cut and error.cause
        else:  # cut between two frames of a stream that does not say how many there are
            whole += 1
            assert len(motion) == 14 if announces else 0 < len(motion) <= 14  # 14: only an index at the end is lost
    assert whole < 60


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "m4v"), ("libx264", "h264"), ("mpeg2video", "m2v")])
def test_a_size_that_changes(tmp_path, encode_as, pan, codec, suffix):
    for number, (width, height) in enumerate([(96, 64), (64, 96)]):
        frames = pan(2, 1, 6, width, height)
        encode_as(codec, tmp_path / f"{number}.{suffix}", {"bf": "0"}, frames=frames)
    joined = b"".join((tmp_path / f"{number}.{suffix}").read_bytes() for number in (0, 1))
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(joined)
    refuses(read_motion, path, "changes its size")
    assert read_frames(path, [0, 3]).shape == (2, 64, 96, 3)
    with pytest.raises(VideoError, match="changes its size"):
        read_frames(path, [0, 8])
    transcode(path, tmp_path / "out.m4v", width=96, height=64)  # both parts, scaled to one size
    # FFmpeg's MPEG-2 decoder holds a frame back, and drops it where the size changes.
    assert len(read_motion(tmp_path / "out.m4v")) == (11 if codec == "mpeg2video" else 12)


def avi_of_size(path, codec, width, height, encode_as):
    """An AVI whose header says another size than was coded (these codecs take the header's word)."""
    encode_as(codec, path, {"strict": "-2"})
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 12
    assert struct.unpack("<ii", data[at : at + 8]) == (96, 64)
    data[at : at + 8] = struct.pack("<ii", width, height)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["msmpeg4", "wmv2"])
@pytest.mark.parametrize("size", [(65535, 16), (100_000, 100_000), (2**31 - 1, 64), (0, 0), (-96, 64)])
def test_dimensions_that_cannot_be(tmp_path, encode_as, codec, size):
    refuses(read_motion, avi_of_size(tmp_path / "a.avi", codec, *size, encode_as))


@every_reader
def test_huge_dimensions(tmp_path, encode_as, read):
    path = avi_of_size(tmp_path / "a.avi", "wmv2", 16_000, 16_000, encode_as)
    refuses(read, path, "16000x16000")  # before a picture of that size is asked for
