"""Every codec that exports vectors and that the wheel can encode, in the containers that take it."""

import os
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from moclip.video import INTER, VideoError, probe, read_motion, transcode
from moclip.video.probe import MOTION_CODECS

FREE = ((96, 64), (97, 65), (95, 63), (131, 99), (176, 144))
EVEN = ((96, 64), (98, 66), (130, 98), (176, 144))
FOURS = ((96, 64), (100, 68), (176, 144))
H261 = ((176, 144), (352, 288))  # the only sizes of the standard
H263 = ((128, 96), *H261)
RM = ((96, 64), (112, 80), (176, 144))
MOVES = ((2, 1), (-3, 0), (0, 2), (-4, -5), (7, -3), (0, 0))

# Encoder: the codec's name when read, its files, sizes that it takes.
CODECS = {
    "mpeg1video": ("mpeg1video", ("avi", "mkv", "mp4", "mov", "mpg", "wmv", "ts", "m1v"), FREE),
    "mpeg2video": ("mpeg2video", ("avi", "mkv", "mp4", "mov", "mpg", "wmv", "ts", "m2v"), FREE),
    "mpeg4": ("mpeg4", ("avi", "mkv", "mp4", "mov", "mpg", "wmv", "ts", "m4v"), FREE),
    "h261": ("h261", ("avi", "wmv", "h261"), H261),
    "h263": ("h263", ("avi", "mov", "wmv", "h263"), H263),
    "h263p": ("h263", ("avi", "wmv"), FOURS),  # H.263+ goes by the older name in files
    "msmpeg4v2": ("msmpeg4v2", ("avi", "wmv"), FREE),
    "msmpeg4": ("msmpeg4v3", ("avi", "mkv", "mov", "wmv"), FREE),
    "wmv1": ("wmv1", ("avi", "wmv"), EVEN),
    "wmv2": ("wmv2", ("avi", "wmv"), EVEN),
    "flv": ("flv1", ("flv", "avi", "wmv"), FREE),
    "rv10": ("rv10", ("rm",), RM),
    "rv20": ("rv20", ("rm",), RM),
    "snow": ("snow", ("avi", "mkv", "wmv"), FREE),
    "libx264": ("h264", ("avi", "mkv", "mp4", "mov", "mpg", "flv", "wmv", "ts", "h264"), EVEN),
}
OPTIONS = {"snow": {"strict": "-2"}, "libx264": {"refs": "1", "weightp": "0"}}
NOT_ENCODED = {"h263i", "msmpeg4v1"}  # in the table of codecs, but no encoder in the wheel makes them: not checked
# Nor is libxvid in the wheel; the real clips below are XviD's.
READ_AS_ANOTHER = {"h263p"}

# Coding tools that change how vectors are kept: encoder, file, options, pixel format.
TOOLS = {
    "mpeg4 with 8x8 vectors": ("mpeg4", "a.mp4", {"flags": "+mv4"}, "yuv420p"),
    "mpeg4 with quarter pixels": ("mpeg4", "a.mp4", {"flags": "+mv4+qpel"}, "yuv420p"),
    "mpeg4 interlaced": ("mpeg4", "a.avi", {"flags": "+ildct+ilme"}, "yuv420p"),
    "mpeg4 in packets with lost sync": ("mpeg4", "a.avi", {"data_partitioning": "1", "ps": "100"}, "yuv420p"),
    "mpeg2 interlaced": ("mpeg2video", "a.mpg", {"flags": "+ildct+ilme"}, "yuv420p"),
    "mpeg2 4:2:2": ("mpeg2video", "a.mkv", {}, "yuv422p"),
    "h263p with long vectors": ("h263p", "a.avi", {"umv": "1", "aiv": "1"}, "yuv420p"),
    "flv with 8x8 vectors": ("flv", "a.flv", {"flags": "+mv4"}, "yuv420p"),
    "h264 of 10 bit": ("libx264", "a.mp4", {}, "yuv420p10le"),
    "h264 4:4:4": ("libx264", "a.mp4", {}, "yuv444p"),
    "h264 interlaced": ("libx264", "a.mkv", {"flags": "+ildct+ilme"}, "yuv420p"),
    "h264 in four slices, CAVLC": ("libx264", "a.mp4", {"slices": "4", "coder": "vlc"}, "yuv420p"),
}

# Encoders of codecs from which FFmpeg exports nothing: file, pixel format, options.
SILENT = {
    "libx265": ("a.mp4", "yuv420p", {"x265-params": "log-level=none"}),
    "libvpx": ("a.webm", "yuv420p", {"cpu-used": "8"}),
    "libvpx-vp9": ("a.webm", "yuv420p", {"cpu-used": "8"}),
    "libsvtav1": ("a.mp4", "yuv420p", {"preset": "12"}),
    "mjpeg": ("a.avi", "yuvj420p", {}),
    "ffv1": ("a.mkv", "yuv420p", {}),
    "prores": ("a.mov", "yuv422p10le", {}),
    "huffyuv": ("a.avi", "yuv422p", {}),
    "svq1": ("a.mov", "yuv410p", {}),
    "cinepak": ("a.avi", "rgb24", {}),
    "roqvideo": ("a.roq", "yuvj444p", {}),
    "flashsv": ("a.flv", "bgr24", {}),
    "zmbv": ("a.avi", "bgr0", {}),
    "jpeg2000": ("a.mov", "yuv420p", {}),
    "dvvideo": ("a.avi", "yuv420p", {}),
    "rawvideo": ("a.avi", "yuv420p", {}),
    "apng": ("a.apng", "rgb24", {}),
    "gif": ("a.gif", "rgb8", {}),
}
# Not in the table of codecs, and no encoder in the wheel makes them: whether they export anything is not checked.
SILENT_NOT_ENCODED = {
    "theora",
    "vc1",
    "wmv3",
    "rv30",
    "rv40",
    "vp3",
    "vp5",
    "vp6",
    "vp7",
    "svq3",
    "cavs",
    "vvc",
    "indeo5",
}


def without_b(encoder):
    return {"bf": "0"} | OPTIONS.get(encoder, {})


def inner(field):
    """Without the outer blocks, whose content comes from outside the picture."""
    return field[16:-16, 16:-16].reshape(-1, field.shape[-1])


def test_the_list_of_codecs_is_what_was_seen():
    seen = {codec for codec, _, _ in CODECS.values()}
    assert seen | READ_AS_ANOTHER | NOT_ENCODED == MOTION_CODECS


def test_what_is_not_checked_cannot_be_encoded():
    encoded = set()
    for name in av.codecs_available:
        try:
            encoded.add(av.codec.Codec(name, "w").canonical_name)
        except av.codec.codec.UnknownCodecError:
            continue
    assert not encoded & (NOT_ENCODED | SILENT_NOT_ENCODED)
    assert not SILENT_NOT_ENCODED & MOTION_CODECS


@pytest.mark.parametrize(
    ("encoder", "suffix"), [(encoder, suffix) for encoder, (_, files, _) in CODECS.items() for suffix in files]
)
def test_a_pan_in_every_container(tmp_path, encode_as, pan, encoder, suffix):
    codec, _, sizes = CODECS[encoder]
    path = tmp_path / f"a.{suffix}"
    encode_as(encoder, path, without_b(encoder), frames=pan(2, 1, 14, *sizes[-1]))
    info, motion = probe(path), read_motion(path)
    assert (info.codec, info.width, info.height) == (codec, *sizes[-1])
    assert info.exports_motion and not info.has_b_frames
    assert len(motion) == info.frames == 14 and motion.types[0] == "I"
    assert motion.has_motion[1:11].all()
    for t in (1, 5, 10):
        assert np.median(inner(motion.raw(t)), axis=0).tolist() == [2, 1]
        assert np.abs(np.median(inner(motion.accumulated(t)), axis=0) - [2 * t, t]).max() <= 0.5


@pytest.mark.parametrize("encoder", CODECS)
def test_a_pan_of_every_size_and_direction(tmp_path, encode_as, pan, encoder):
    # Exact in all codecs: to the half, quarter or eighth of a pixel that the codec has. Beyond some 10 pixels the
    # encoders' searches give up (msmpeg4 and wmv write intra blocks), which says nothing about the reader.
    _, files, sizes = CODECS[encoder]
    path = tmp_path / f"a.{files[0]}"
    for width, height in sizes:
        for dx, dy in MOVES:
            encode_as(encoder, path, without_b(encoder), frames=pan(dx, dy, 5, width, height))
            motion = read_motion(path)
            assert (motion.width, motion.height) == (width, height)
            assert motion.raw(2).shape == (height, width, 2)
            assert np.median(inner(motion.raw(2)), axis=0).tolist() == [dx, dy], (width, height, dx, dy)


@pytest.mark.parametrize("encoder", CODECS)
def test_where_it_moves(tmp_path, encode_as, pan, encoder):
    # One square of 64 x 48 pixels moves within a still picture.
    moving, still = pan(0, 3, 6, 176, 144), [picture.copy() for picture in pan(0, 0, 6, 176, 144)]
    for picture, other in zip(still, moving, strict=True):
        picture[48:96, 64:128] = other[48:96, 64:128]
    path = tmp_path / f"a.{CODECS[encoder][1][0]}"
    encode_as(encoder, path, without_b(encoder), frames=still)
    motion = read_motion(path)
    expected = np.zeros((144, 176), bool)
    expected[48:96, 64:128] = True
    agree = (motion.raw(3)[..., 1] >= 1.5) == expected
    assert agree[:48].all() and agree[96:].all() and agree[:, :64].all() and agree[:, 128:].all()
    assert agree[64:96, 64:128].mean() > 0.7  # the square's first blocks show content that comes from nowhere
    assert (motion.mask[3][:, -1] == INTER).all() and (motion.mask[3][-1] == INTER).all()


@pytest.mark.parametrize("tool", TOOLS)
def test_coding_tools(tmp_path, encode_as, pan, tool):
    encoder, name, options, pixels = TOOLS[tool]
    encode_as(encoder, tmp_path / name, {"bf": "0"} | options, pixels, pan(-2, 4, 8, 176, 144))
    motion = read_motion(tmp_path / name)
    assert len(motion) == 8 and motion.has_motion[1:7].all()
    for t in (1, 4, 6):
        assert np.median(inner(motion.raw(t)), axis=0).tolist() == [-2, 4]


@pytest.mark.parametrize("encoder", CODECS)
def test_last_frame_has_its_vectors(tmp_path, encode_as, pan, encoder):
    _, files, sizes = CODECS[encoder]
    encode_as(encoder, tmp_path / f"a.{files[0]}", without_b(encoder), frames=pan(2, 1, 5, *sizes[-1]))
    motion = read_motion(tmp_path / f"a.{files[0]}")
    assert len(motion) == 5 and motion.has_motion.tolist() == [False, True, True, True, True]
    assert np.median(inner(motion.raw(4)), axis=0).tolist() == [2, 1]


def decoded_side_data(path):
    """Number of frames, and of those with vectors, as PyAV alone sees them."""
    frames = vectors = 0
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.options = {"flags2": "+export_mvs"}
        for frame in container.decode(video=0):
            frames += 1
            vectors += frame.side_data.get("MOTION_VECTORS") is not None
    return frames, vectors


@pytest.mark.parametrize("encoder", SILENT)
def test_codecs_without_vectors_say_so(tmp_path, encode_as, pan, encoder):
    name, pixels, options = SILENT[encoder]
    size = (720, 576) if encoder == "dvvideo" else (128, 64)
    encode_as(encoder, tmp_path / name, options, pixels, pan(2, 1, 5, *size))
    frames, vectors = decoded_side_data(tmp_path / name)
    assert frames >= 4 and vectors == 0
    info = probe(tmp_path / name)
    assert not info.exports_motion and info.codec not in MOTION_CODECS
    with pytest.raises(VideoError, match=rf"no motion vectors from {info.codec}; .*moclip\.video\.transcode"):
        read_motion(tmp_path / name)
    transcode(tmp_path / name, tmp_path / "b.m4v", width=128, height=64)  # the call that it names helps
    assert read_motion(tmp_path / "b.m4v").has_motion[1:].all()


def painted(path):
    """Fields as a naive loop paints them: every vector into the past on the pixels of its block, in FFmpeg's order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in container.decode(stream):
            field = np.zeros((frame.height, frame.width, 2), np.float32)
            known = np.zeros((frame.height, frame.width), bool)
            vectors = frame.side_data.get("MOTION_VECTORS")
            for vector in [] if vectors is None else vectors.to_ndarray():
                if vector["source"] >= 0:
                    continue
                left, top = int(vector["dst_x"]) - int(vector["w"]) // 2, int(vector["dst_y"]) - int(vector["h"]) // 2
                block = (
                    slice(max(top, 0), max(top + int(vector["h"]), 0)),
                    slice(max(left, 0), max(left + int(vector["w"]), 0)),
                )
                field[block] = np.array([-vector["motion_x"], -vector["motion_y"]]) / vector["motion_scale"]
                known[block] = True
            yield field, known


PAINTED = {
    encoder: (encoder, f"a.{files[0]}", without_b(encoder), "yuv420p") for encoder, (_, files, _) in CODECS.items()
}
PAINTED |= {
    name: (encoder, file, {"bf": "0"} | options, pixels) for name, (encoder, file, options, pixels) in TOOLS.items()
}
PAINTED |= {f"{codec} with B-frames": (codec, "a.mkv", {"bf": "2"}, "yuv420p") for codec in ("mpeg2video", "libx264")}
del PAINTED["snow"]  # its blocks are listed in another place than they cover: see test_where_it_moves


@pytest.mark.parametrize("case", PAINTED)
def test_every_pixel_is_as_a_naive_loop_paints_it(tmp_path, encode_as, pan, case):
    encoder, name, options, pixels = PAINTED[case]
    rng = np.random.default_rng(0)  # a restless picture: many kinds of blocks, intra ones too
    frames = [np.roll(picture, rng.integers(-9, 9), 1) for picture in pan(3, -2, 8, 176, 144)]
    for picture in frames[4:]:
        picture[32:80, 40:104] = rng.integers(0, 255, (48, 64, 3))
    encode_as(encoder, tmp_path / name, options, pixels, frames)
    motion = read_motion(tmp_path / name)
    expected = list(painted(tmp_path / name))
    assert len(motion) == len(expected) == 8
    for t, (field, known) in enumerate(expected[:-1]):  # FFmpeg forgets the last frame's vectors in some codecs
        np.testing.assert_array_equal(motion.raw(t), field)
        cells = np.kron(motion.mask[t] == INTER, np.ones((motion.block_size, motion.block_size), bool))
        np.testing.assert_array_equal(cells[:144, :176], known)


@pytest.mark.skipif("MOCLIP_UCF101_ROOT" not in os.environ, reason="needs UCF101's own files")
def test_real_xvid_clips():
    clips = sorted(Path(os.environ["MOCLIP_UCF101_ROOT"]).rglob("*_g08_c01.avi"))[:5]
    assert clips
    for path in clips:
        motion = read_motion(path)
        for t, (field, _) in enumerate(islice(painted(path), 40)):
            if motion.types[t] != "B":  # see test_b_frames_of_mpeg4
                np.testing.assert_array_equal(motion.raw(t), field)
        assert motion.has_motion[:40].sum() > 9
