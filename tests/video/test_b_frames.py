"""B-frames: vectors into the past where FFmpeg has them, no accumulation, and the call that helps."""

import numpy as np
import pytest

from moclip.video import FUTURE, INTER, probe, read_motion, transcode

B_FRAMES = {"bf": "2", "b_strategy": "0", "refs": "1", "x264-params": "b-adapt=0:b-pyramid=0:weightb=0"}
B_FILES = [
    ("mpeg1video", "a.mpg"), ("mpeg1video", "a.mkv"), ("mpeg2video", "a.mpg"), ("mpeg2video", "a.m2v"),
    ("libx264", "a.mp4"), ("libx264", "a.mkv"), ("libx264", "a.h264"),
]  # fmt: skip
B_FILES_OF_MPEG4 = [("mpeg4", "a.avi"), ("mpeg4", "a.mp4"), ("mpeg4", "a.m4v")]


def inner(field):
    """Without the outer blocks, whose content comes from outside the picture."""
    return field[16:-16, 16:-16].reshape(-1, field.shape[-1])


@pytest.mark.parametrize(("encoder", "name"), B_FILES)
def test_b_frames_look_into_the_past(tmp_path, encode_as, pan, encoder, name):
    encode_as(encoder, tmp_path / name, B_FRAMES, frames=pan(2, 1, 11, 176, 144))
    motion = read_motion(tmp_path / name)
    assert "".join(motion.types) == "IBBPBBPBBPP"
    compared = set()
    for t in range(1, 10):
        known = np.kron(motion.mask[t] == INTER, np.ones((motion.block_size, motion.block_size)))[:144, :176]
        assert (motion.types[t] == "B") == (motion.mask[t] == FUTURE).any()  # blocks that look into the future only
        seen = inner(np.dstack([motion.raw(t), known]))
        seen = seen[seen[:, 2] == 1]
        if len(seen) > 0.04 * 112 * 144:
            compared.add(motion.types[t])
            since = 3 if motion.types[t] == "P" else t % 3  # distance of the reference frame before it
            assert np.abs(np.median(seen, axis=0)[:2] - [2 * since, since]).max() <= 0.25, t
    assert compared == {"B", "P"}


@pytest.mark.parametrize(("encoder", "name"), B_FILES_OF_MPEG4)
def test_b_frames_of_mpeg4(tmp_path, encode_as, pan, encoder, name):
    # FFmpeg keeps no vectors of MPEG-4's B-frames and lists zeros in their place: that is not "nothing moves".
    encode_as(encoder, tmp_path / name, B_FRAMES, frames=pan(2, 1, 11, 176, 144))
    motion = read_motion(tmp_path / name)
    for t in range(1, 9):
        if motion.types[t] == "B":
            assert not motion.has_motion[t] and not (motion.mask[t] == INTER).any() and not motion.raw(t).any()
        else:
            assert np.median(inner(motion.raw(t)), axis=0).tolist() == [6, 3]


@pytest.mark.parametrize(("encoder", "name"), [*B_FILES, *B_FILES_OF_MPEG4])
def test_b_frames_are_not_accumulated_until_transcoded(tmp_path, encode_as, pan, encoder, name):
    encode_as(encoder, tmp_path / name, B_FRAMES, frames=pan(2, 1, 11, 176, 144))
    assert probe(tmp_path / name).has_b_frames
    motion = read_motion(tmp_path / name)
    for t in range(11):
        with pytest.raises(ValueError, match=r"B-frames.*moclip\.video\.transcode\(src, dst\)"):
            motion.accumulated(t)
    transcode(tmp_path / name, tmp_path / "p.m4v", width=176, height=144)
    again = read_motion(tmp_path / "p.m4v")
    assert "".join(again.types) == "IPPPPPPPPPP"
    assert np.abs(np.median(inner(again.accumulated(8)), axis=0) - [16, 8]).max() <= 0.5


@pytest.mark.parametrize(
    ("encoder", "name"),
    [("mpeg4", "a.avi"), ("mpeg2video", "a.mpg"), ("libx264", "a.mp4")],
)
def test_last_frame_of_a_stream_with_b_frames(tmp_path, encode_as, pan, encoder, name):
    encode_as(encoder, tmp_path / name, B_FRAMES, frames=pan(2, 1, 11, 176, 144))
    motion = read_motion(tmp_path / name)
    assert motion.types[10] == "P" and motion.has_motion[10]
    assert np.median(inner(motion.raw(10)), axis=0).tolist() == [2, 1]
