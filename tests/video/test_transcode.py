import hashlib
import os

import av
import numpy as np
import pytest

from moclip.video import VideoError, encode, probe, read_frames, read_motion, transcode

PAN = [np.full((64, 96, 3), level, np.uint8) for level in (10, 90)]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("codec", "name"), [("mpeg4", "a.mp4"), ("mpeg4", "a.m4v"), ("mpeg4", "a.avi"), ("libx264", "a.mp4")]
)
def test_same_frames_give_same_bytes(tmp_path, codec, name, pan):
    (tmp_path / "1").mkdir()
    for folder in (tmp_path / "1", tmp_path / "2"):
        encode(pan(2, 1), folder / name, codec=codec)
    assert digest(tmp_path / "1" / name) == digest(tmp_path / "2" / name)
    encode(pan(2, 1)[:-1], tmp_path / name, codec=codec)
    assert digest(tmp_path / name) != digest(tmp_path / "1" / name)


@pytest.mark.parametrize(("codec", "qualities"), [("mpeg4", (1, 2, 5, 12, 31)), ("libx264", (10, 23, 40))])
def test_quality_sets_the_size(tmp_path, codec, qualities, pan):
    sizes = []
    for quality in qualities:
        encode(pan(2, 1), tmp_path / "a.mp4", codec=codec, quality=quality)
        sizes.append(os.path.getsize(tmp_path / "a.mp4"))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1.5 * sizes[-1]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_i_frames_come_every_gop_and_nowhere_else(tmp_path, codec, pan):
    cut = pan(2, 1, count=20) + [255 - frame for frame in pan(-3, 2, count=10)]  # a scene cut at 20
    encode(cut, tmp_path / "a.mp4", codec=codec, gop=27, fps=30000 / 1001)
    assert "".join(read_motion(tmp_path / "a.mp4").types) == "I" + 26 * "P" + "IPP"
    info = probe(tmp_path / "a.mp4")
    assert info.gop == 27 and not info.has_b_frames and info.fps == pytest.approx(29.97, abs=1e-3)


def test_pictures_survive(tmp_path, pan):
    frames = pan(2, 1)
    encode(frames, tmp_path / "a.mp4", quality=1)
    back = read_frames(tmp_path / "a.mp4", range(14)).astype(int)
    assert np.abs(back - np.stack(frames)).mean() < 4


@pytest.mark.parametrize(
    ("frames", "arguments", "message"),
    [
        ([], {}, "no frames"),
        ([np.zeros((64, 95, 3), np.uint8)], {}, "95x64 is odd"),
        ([np.zeros((64, 96), np.uint8)], {}, "ndim"),
        ([np.zeros((64, 96, 4), np.uint8)], {}, "shape"),
        ([np.zeros((64, 96, 3))], {}, "uint8"),
        ([np.zeros((64, 96, 3), np.uint8), np.zeros((64, 98, 3), np.uint8)], {}, "follows"),
        (PAN, {"codec": "vp9"}, "mpeg4, libx264"),
        (PAN, {"quality": 32}, "1..31"),
        (PAN, {"gop": 0}, "gop"),
        (PAN, {"fps": 0}, "fps"),
        (PAN, {"b_frames": -1}, "b_frames"),
        (PAN, {"b_frames": 17}, "b_frames"),
    ],
)
def test_encode_refuses(tmp_path, frames, arguments, message):
    with pytest.raises(ValueError, match=message):
        encode(frames, tmp_path / "a.mp4", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "mpeg4"), ("a", "mpeg4"), ("a.m4v", "libx264")])
def test_encode_refuses_a_container(tmp_path, name, codec, pan):
    with pytest.raises(ValueError, match=r"use \.mp4"):
        encode(pan(1, 1), tmp_path / name, codec=codec)


def test_a_failing_source_of_frames_leaves_the_old_file(tmp_path, pan):
    encode(pan(1, 1), tmp_path / "a.mp4")
    before = digest(tmp_path / "a.mp4")

    def breaks():
        yield from pan(2, 1)[:5]
        raise RuntimeError("camera fell")

    with pytest.raises(RuntimeError, match="camera fell"):
        encode(breaks(), tmp_path / "a.mp4")
    assert digest(tmp_path / "a.mp4") == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("codec", "name"), [("libx264", "b.mp4"), ("libvpx-vp9", "b.webm"), ("mpeg4", "b.avi")])
def test_transcode_writes_coviars_format(tmp_path, codec, name, encode_as):
    encode_as(codec, tmp_path / name, {"cpu-used": "8"} if "vpx" in codec else None)
    transcode(tmp_path / name, tmp_path / "out.mp4", width=68, height=52)
    info = probe(tmp_path / "out.mp4")
    assert (info.codec, info.width, info.height, info.frames) == ("mpeg4", 68, 52, 14)
    assert not info.has_b_frames and info.fps == 25
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.format.name == "m4v"
        assert container.streams.video[0].sample_aspect_ratio == 1
    assert "".join(read_motion(tmp_path / "out.mp4").types) == "IPPPPPPPPPPPIP"


def test_transcode_scales_like_a_picture_and_repeats(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4", quality=1)
    for name in ("1.m4v", "2.m4v"):
        transcode(tmp_path / "a.mp4", tmp_path / name, width=48, height=32)
    assert digest(tmp_path / "1.m4v") == digest(tmp_path / "2.m4v")
    small = read_frames(tmp_path / "1.m4v", [0, 9]).astype(int)
    large = read_frames(tmp_path / "a.mp4", [0, 9]).reshape(2, 32, 2, 48, 2, 3).mean(axis=(2, 4))
    assert np.abs(small - large).mean() < 6


def quantisers(path):
    """The quantiser of every frame of a raw 25 fps MPEG-4 stream, from its frame headers (ISO 14496-2, 6.2.5)."""
    found = []
    for header in path.read_bytes().split(b"\x00\x00\x01\xb6")[1:]:
        bits = "".join(f"{byte:08b}" for byte in header[:8])
        predicted, at = bits[:2] == "01", bits.index("0", 2) + 1  # type; whole seconds in unary
        at += 1 + 5 + 1 + 1 + predicted + 3  # marker, tick of 25, marker, coded, rounding, DC threshold
        found.append(int(bits[at : at + 5], 2))
    return found


@pytest.mark.parametrize(("quality", "quantiser"), [(1, 2), (2, 2), (7, 7), (31, 31)])
def test_quality_is_one_quantiser_for_all_frames(tmp_path, pan, quality, quantiser):
    # ffmpeg's -q:v 1 runs into its qmin of 2, as the golden file shows that was made with CoViAR's line
    encode(pan(2, 1), tmp_path / "a.mp4", quality=1)
    transcode(tmp_path / "a.mp4", tmp_path / "a.m4v", width=96, height=64, quality=quality)
    assert quantisers(tmp_path / "a.m4v") == [quantiser] * 14
    encode(pan(2, 1), tmp_path / "b.m4v", quality=quality)
    assert quantisers(tmp_path / "b.m4v") == [quality] * 14


def test_coviars_line_has_the_same_quantiser(golden):
    assert set(quantisers(golden / "hardcuts_coviar.mp4")) == {2}


def test_transcode_of_no_video(tmp_path, bad_path):
    with pytest.raises(VideoError):
        transcode(bad_path, tmp_path / "out" / "out.m4v")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_transcode_of_half_a_video(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.m4v")
    data = (tmp_path / "a.m4v").read_bytes()
    (tmp_path / "half.m4v").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"half\.m4v"):
        transcode(tmp_path / "half.m4v", tmp_path / "out.m4v")
    assert not (tmp_path / "out.m4v").exists()


def test_rotation_tag_is_applied(tmp_path, pan):
    frames = pan(2, 1)
    encode(frames, tmp_path / "a.mp4", quality=1)
    data = (tmp_path / "a.mp4").read_bytes()
    start = data.index(b"tkhd") + 4 + 40  # the matrix of a version-0 track header
    one, minus = (65536).to_bytes(4, "big"), (2**32 - 65536).to_bytes(4, "big")
    zero, last = bytes(4), (2**30).to_bytes(4, "big")
    turn = zero + one + zero + minus + zero + zero + zero + zero + last  # "show it turned clockwise", as phones write
    assert data[start : start + 36] == one + zero * 3 + one + zero * 3 + last
    (tmp_path / "r.mp4").write_bytes(data[:start] + turn + data[start + 36 :])
    upright = read_frames(tmp_path / "r.mp4", [0])[0].astype(int)
    assert np.abs(upright - np.rot90(frames[0], -1)).mean() < 4
    transcode(tmp_path / "r.mp4", tmp_path / "r.m4v", width=64, height=96)
    assert np.abs(read_frames(tmp_path / "r.m4v", [0])[0].astype(int) - upright).mean() < 4


def test_i_frames_of_the_source_leave_no_mark(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4", gop=5)
    transcode(tmp_path / "a.mp4", tmp_path / "a.m4v", width=96, height=64)
    assert "".join(read_motion(tmp_path / "a.m4v").types) == "IPPPPPPPPPPPIP"


@pytest.mark.parametrize(("codec", "name"), [("mpeg4", "a.mp4"), ("mpeg4", "a.m4v"), ("libx264", "a.mp4")])
def test_b_frames_where_asked_for(tmp_path, codec, name, pan):
    encode(pan(2, 1), tmp_path / name, codec=codec)
    assert not probe(tmp_path / name).has_b_frames
    encode(pan(2, 1), tmp_path / name, codec=codec, b_frames=2)
    assert probe(tmp_path / name).has_b_frames
    motion = read_motion(tmp_path / name)
    assert len(motion) == 14 and "B" in motion.types
    with pytest.raises(ValueError, match=r"moclip\.video\.transcode"):
        motion.accumulated(5)
    transcode(tmp_path / name, tmp_path / "b.m4v", width=96, height=64)
    np.testing.assert_allclose(
        np.median(read_motion(tmp_path / "b.m4v").accumulated(5), axis=(0, 1)), [10, 5], atol=0.5
    )


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_transcode_to_h264(tmp_path, name, pan):
    encode(pan(2, 1), tmp_path / "a.avi", quality=1, fps=12.5, b_frames=2)
    transcode(tmp_path / "a.avi", tmp_path / name, width=48, height=32, gop=5, codec="libx264", quality=10)
    info = probe(tmp_path / name)
    assert (info.codec, info.width, info.height, info.frames, info.fps) == ("h264", 48, 32, 14, 12.5)
    assert not info.has_b_frames and info.gop == 5
    motion = read_motion(tmp_path / name)
    assert "".join(motion.types) == "IPPPPIPPPPIPPP"
    np.testing.assert_allclose(np.median(motion.accumulated(4), axis=(0, 1)), [4, 2], atol=0.5)
    before = digest(tmp_path / name)
    transcode(tmp_path / "a.avi", tmp_path / name, width=48, height=32, gop=5, codec="libx264")
    assert os.path.getsize(tmp_path / name) > 0 and digest(tmp_path / name) != before  # coarser by default


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("a.m4v", {"codec": "libx264"}, r"use \.mp4"),
        ("a.mkv", {"codec": "libx264"}, r"use \.mp4"),
        ("a.mp4", {"codec": "libx264", "width": 97}, "even sizes only, not 97x256"),
        ("a.mp4", {"codec": "libx264", "quality": 52}, r"0\.\.51"),
        ("a.mp4", {"codec": "vp9"}, "mpeg4, libx264"),
        ("a.mp4", {"quality": 0}, r"1\.\.31"),
        ("a.mp4", {"gop": 0}, "gop"),
    ],
)
def test_transcode_refuses(tmp_path, pan, name, arguments, message):
    encode(PAN, tmp_path / "src.mp4")
    with pytest.raises(ValueError, match=message):
        transcode(tmp_path / "src.mp4", tmp_path / name, **arguments)
    assert os.listdir(tmp_path) == ["src.mp4"]


def test_a_result_that_cannot_be_written(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "src.mp4")
    with pytest.raises(VideoError, match=r"out\.m4v: cannot be written") as caught:
        transcode(tmp_path / "src.mp4", tmp_path / "out.m4v", width=0x10000, height=2)  # MPEG-4 ends at 8191
    assert caught.value.path == tmp_path / "out.m4v" and os.listdir(tmp_path) == ["src.mp4"]
