import dataclasses

import numpy as np
import pytest

from moclip.video import VideoError, encode, load_motion, read_motion, save_motion


@pytest.fixture
def motion(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4", fps=12.5)
    return read_motion(tmp_path / "a.mp4")


def test_round_trip(tmp_path, motion):
    save_motion(motion, tmp_path / "new" / "m.npz", "abc123")
    back = load_motion(tmp_path / "new" / "m.npz")
    assert back.source == "abc123"
    for field in dataclasses.fields(motion):
        if field.name == "source":
            continue
        before, after = getattr(motion, field.name), getattr(back, field.name)
        assert type(before) is type(after), field.name
        np.testing.assert_array_equal(before, after)
        assert np.asarray(before).dtype == np.asarray(after).dtype
    np.testing.assert_array_equal(motion.accumulated(9), back.accumulated(9))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.npz"]


def test_compat_survives(tmp_path, golden):
    motion = read_motion(golden / "hardcuts_coviar.mp4", compat="coviar")
    save_motion(motion, tmp_path / "m.npz", "")
    back = load_motion(tmp_path / "m.npz")
    assert back.compat == "coviar" and back.raw(7).dtype == np.int32
    np.testing.assert_array_equal(back.accumulated(7), motion.accumulated(7))


def test_same_motion_gives_same_bytes(tmp_path, motion):
    save_motion(motion, tmp_path / "1.npz", "x")
    save_motion(load_motion(tmp_path / "1.npz"), tmp_path / "2.npz", "x")
    save_motion(motion, tmp_path / "3.npz", "y")
    one, two, three = ((tmp_path / f"{n}.npz").read_bytes() for n in (1, 2, 3))
    assert one == two and one != three and b"\x00\x00\x21\x00" in one  # DOS time stamp of 1980-01-01


def test_suffix(tmp_path, motion):
    with pytest.raises(ValueError, match="npz"):
        save_motion(motion, tmp_path / "m.bin", "")


@pytest.mark.parametrize("content", [None, b"", b"not a zip", "half", "flipped", "other"])
def test_bad_files(tmp_path, motion, content):
    path = tmp_path / "m.npz"
    if content in ("half", "flipped"):
        save_motion(motion, path, "")
        data = bytearray(path.read_bytes())
        data[60:90] = bytes(30)
        path.write_bytes(data if content == "flipped" else data[: len(data) // 2])
    elif content == "other":
        np.savez(path, grid=motion.grid)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=r"m\.npz"):
        load_motion(path)
