import pickle

import av
import numpy as np
import pytest

from moclip.video import VideoError, encode, probe, read_motion, transcode


def test_what_encode_wrote(tmp_path, pan):
    encode(pan(1, 0, width=98, height=50), tmp_path / "a.mp4", fps=12.5, gop=5)
    info = probe(tmp_path / "a.mp4")
    assert (info.path, info.codec, info.width, info.height) == (tmp_path / "a.mp4", "mpeg4", 98, 50)
    assert (info.frames, info.fps, info.gop) == (14, 12.5, 5)
    assert info.exports_motion and not info.has_b_frames


def test_one_keyframe_has_no_distance(tmp_path, pan):
    encode(pan(1, 0), tmp_path / "a.mp4", gop=100)
    assert probe(tmp_path / "a.mp4").gop is None


@pytest.mark.parametrize(
    ("codec", "name", "canonical", "options", "b_frames", "exports"),
    [
        ("mpeg4", "a.avi", "mpeg4", {"bf": "2"}, True, True),
        ("libx264", "a.mp4", "h264", {"bf": "3"}, True, True),
        ("libx264", "b.mp4", "h264", {"bf": "0"}, False, True),
        ("mpeg2video", "a.mpg", "mpeg2video", {"bf": "0"}, False, True),
        ("mpeg2video", "b.mpg", "mpeg2video", {"bf": "2"}, True, True),
        ("flv", "a.flv", "flv1", {}, False, True),  # decoders are not always called what the codec is
        ("msmpeg4", "a.avi", "msmpeg4v3", {}, False, True),
        ("libvpx-vp9", "a.webm", "vp9", {"cpu-used": "8"}, False, False),
        ("libx265", "a.mp4", "hevc", {"x265-params": "log-level=none"}, True, False),
    ],
)
def test_codecs(tmp_path, encode_as, codec, name, canonical, options, b_frames, exports):
    encode_as(codec, tmp_path / name, options)
    info = probe(tmp_path / name)
    assert (info.codec, info.frames, info.has_b_frames, info.exports_motion) == (canonical, 14, b_frames, exports)


@pytest.mark.parametrize("fps", [12.5, 15, 25, 30000 / 1001, 50])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_rate_of_a_raw_stream(tmp_path, pan, fps, b_frames):
    """FFmpeg takes every raw stream for 25 frames a second."""
    encode(pan(1, 0), tmp_path / "a.mp4", fps=fps)
    transcode(tmp_path / "a.mp4", tmp_path / "b.m4v", width=96, height=64)
    encode(pan(1, 0), tmp_path / "c.m4v", fps=fps, b_frames=b_frames)
    for raw in ("b.m4v", "c.m4v"):
        assert probe(tmp_path / raw).fps == pytest.approx(fps, rel=1e-6)
        assert read_motion(tmp_path / raw).fps == pytest.approx(fps, rel=1e-6)


def test_rate_of_a_single_raw_frame(tmp_path, pan):
    encode(pan(1, 0)[:1], tmp_path / "a.m4v", fps=50)
    assert probe(tmp_path / "a.m4v").fps > 0


def test_golden(golden):
    info = probe(golden / "hardcuts_coviar.mp4")
    assert (info.codec, info.width, info.height, info.frames, info.fps, info.gop) == ("mpeg4", 340, 256, 101, 25, 12)


def test_no_video(bad_path):
    with pytest.raises(VideoError) as caught:
        probe(bad_path)
    assert caught.value.path == bad_path and str(bad_path) in str(caught.value) and caught.value.cause


def packet_places(path):
    """(position, size) in bytes of every packet."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux() if packet.size]


def test_container_that_breaks_off(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.avi")
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])  # within a frame
    with pytest.raises(VideoError, match=r"half\.avi"):
        probe(tmp_path / "half.avi")
    position, _ = packet_places(tmp_path / "a.avi")[7]
    (tmp_path / "seven.avi").write_bytes(data[:position])  # between two frames
    with pytest.raises(VideoError, match="7 of the 14 announced frames are there"):
        probe(tmp_path / "seven.avi")


def test_the_error_crosses_processes():
    error = VideoError("a.mp4", "is odd", "make it even")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.cause, copy.advice) == (str(error), error.path, "is odd", "make it even")


def test_nothing_is_decoded(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    position, size = packet_places(tmp_path / "a.mp4")[7]
    data[position : position + size] = np.random.default_rng(0).bytes(size)
    (tmp_path / "b.mp4").write_bytes(data)
    assert probe(tmp_path / "b.mp4").frames == 14
