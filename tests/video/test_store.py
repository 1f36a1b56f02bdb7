import dataclasses
import pickle
import zlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from moclip.io.files import sha256_file
from moclip.video import Motion, VideoError, encode, load_motion, read_motion, save_motion
from moclip.video.store import content_path, is_stored, store_motion


@pytest.fixture
def motion(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4", fps=12.5)
    return read_motion(tmp_path / "a.mp4")


def test_round_trip(tmp_path, motion):
    save_motion(motion, tmp_path / "new" / "m.safetensors", "abc123")
    back = load_motion(tmp_path / "new" / "m.safetensors")
    assert back.source == "abc123"
    for field in dataclasses.fields(motion):
        if field.name == "source":
            continue
        before, after = getattr(motion, field.name), getattr(back, field.name)
        assert type(before) is type(after), field.name
        np.testing.assert_array_equal(before, after)
        assert np.asarray(before).dtype == np.asarray(after).dtype
    np.testing.assert_array_equal(motion.accumulated(9), back.accumulated(9))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.safetensors"]


def test_same_motion_gives_same_bytes(tmp_path, motion):
    save_motion(motion, tmp_path / "1.safetensors", "x")
    save_motion(load_motion(tmp_path / "1.safetensors"), tmp_path / "2.safetensors", "x")
    save_motion(motion, tmp_path / "3.safetensors", "y")
    one, two, three = ((tmp_path / f"{n}.safetensors").read_bytes() for n in (1, 2, 3))
    assert one == two and one != three


@pytest.fixture
def mixed():
    """Runs with and without I-frames, cells of several sizes, cut at the edge, from numbers drawn at random."""
    rng = np.random.default_rng(0)
    types = np.array(list("I" + 40 * "P" + "IPPI" + 70 * "P" + "II" + 3 * "P"))
    grid = np.zeros((len(types), 9, 12, 2), np.int16)  # 4-pixel cells of 45 x 34
    mask = np.full(grid.shape[:3], 2, np.uint8)
    for t in np.flatnonzero(types == "P"):
        side = (1, 2, 4)[t // 10 % 3]
        cells = rng.integers(-300, 300, (9, 12, 2)) * rng.integers(0, 2, (9, 12, 1))
        cells[0, :2] = (32767, -32767), (-1, 256)  # the ends, and both bytes
        grid[t] = np.repeat(np.repeat(cells[::side, ::side], side, 0), side, 1)[:9, :12]
        mask[t] = np.repeat(np.repeat(rng.integers(0, 3, (9, 12))[::side, ::side], side, 0), side, 1)[:9, :12]
    grid[mask != 1] = 0
    return Motion(grid, mask.astype(np.uint8), types, types == "P", 4, 4, 45, 34, 25.0, codec="h264", container="mp4")


def test_any_frame_alone(tmp_path, mixed):
    save_motion(mixed, tmp_path / "m.safetensors", "")
    for t in np.random.default_rng(1).permutation(len(mixed))[:40]:
        back = load_motion(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(back.raw(t), mixed.raw(t))
        np.testing.assert_array_equal(back.accumulated(t), mixed.accumulated(t))
        assert "grid" not in vars(back) and "mask" not in vars(back)  # nothing else was unpacked for it
    frames = [80, 3, 3, 118, 0, 43]
    np.testing.assert_array_equal(back.grids(frames), mixed.grid[frames])
    np.testing.assert_array_equal(back.fields(frames, bound=20.0), mixed.fields(frames, bound=20.0))
    np.testing.assert_array_equal(back.grid, mixed.grid)
    np.testing.assert_array_equal(back.mask, mixed.mask)
    np.testing.assert_array_equal(back.grids(frames), mixed.grid[frames])  # from the grid, now that it is there
    for motion in (mixed, load_motion(tmp_path / "m.safetensors")):
        for read in (motion.raw, lambda t, motion=motion: motion.grids([0, t])):
            for t in (len(mixed), -1):
                with pytest.raises(IndexError, match=r"0\.\.119"):
                    read(t)


def test_only_the_chunks_that_are_needed_are_unpacked(tmp_path, mixed, monkeypatch):
    save_motion(mixed, tmp_path / "m.safetensors", "")
    back = load_motion(tmp_path / "m.safetensors")
    unpacked = []
    unpack = type(back)._unpack
    monkeypatch.setattr(type(back), "_unpack", lambda self, chunk: unpacked.append(chunk) or unpack(self, chunk))
    back.raw(50)
    assert len(unpacked) == 1
    back.accumulated(43)
    assert unpacked[1:] == [2]  # frames 41 to 43; 0 to 31 and 32 to 40 before them


def test_a_chunk_of_another_length_is_not_read_beyond_its_end(tmp_path, mixed):
    save_motion(mixed, tmp_path / "m.safetensors", "")
    back = load_motion(tmp_path / "m.safetensors")
    vars(back)["_arrays"] = {**back._arrays, "blocks": np.full_like(back._arrays["blocks"], 2)}
    with pytest.raises(ValueError, match="cannot reshape"):
        back.grids([0])


def test_a_stored_motion_crosses_processes(tmp_path, mixed):
    save_motion(mixed, tmp_path / "m.safetensors", "abc")
    back = pickle.loads(pickle.dumps(load_motion(tmp_path / "m.safetensors")))
    np.testing.assert_array_equal(back.accumulated(44), mixed.accumulated(44))
    assert back.source == "abc" and len(back) == len(mixed)


@pytest.mark.parametrize("name", ["zoomrot_m4mv4qpel.mp4", "cuts_m4mv4.mp4", "pan_m4q5.mp4"])
def test_straight_to_disk_gives_the_same_bytes(golden, tmp_path, name):
    store_motion(golden / name, tmp_path / "1.safetensors")
    save_motion(read_motion(golden / name), tmp_path / "2.safetensors", sha256_file(golden / name))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_what_is_stored(golden, tmp_path):
    path, sha256 = content_path(tmp_path, "abcd"), sha256_file(golden / "pan_m4q5.mp4")
    assert path == tmp_path / "ab" / "abcd.safetensors" and not is_stored(path, sha256)
    store_motion(golden / "pan_m4q5.mp4", path)
    assert is_stored(path, sha256) and not is_stored(path, sha256, "code 2") and not is_stored(path, "another")
    store_motion(golden / "pan_m4q5.mp4", path, "code 2")
    assert is_stored(path, sha256, "code 2") and not is_stored(path, sha256)
    assert load_motion(path).source == sha256
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_stored(path, sha256, "code 2")


def test_others_can_open_it(tmp_path, motion):
    """A safetensors file; the packing is a zlib stream of planes of bytes, unpacked here by hand."""
    save_motion(motion, tmp_path / "m.safetensors", "")
    arrays = load_file(tmp_path / "m.safetensors")
    assert arrays["types"].tobytes().decode("ascii") == "".join(motion.types)
    assert arrays["starts"].tolist() == [0, 12, 14] and arrays["blocks"].tolist() == [16, 16]
    planes = zlib.decompress(arrays["packed"][arrays["offsets"][0] : arrays["offsets"][1]].tobytes())
    cells = 12 * 4 * 6
    low, high, mask = (
        planes[at : at + length] for at, length in ((0, 2 * cells), (2 * cells, 2 * cells), (4 * cells, cells))
    )
    folded = [a + 256 * b for a, b in zip(low, high, strict=True)]
    values = [number // 2 if number % 2 == 0 else -(number + 1) // 2 for number in folded]
    np.testing.assert_array_equal(np.array(values).reshape(2, 12, 4, 6), np.moveaxis(motion.grid[:12], -1, 0))
    np.testing.assert_array_equal(np.frombuffer(mask, np.uint8).reshape(12, 4, 6), motion.mask[:12])


def test_flipped_bits_are_found(tmp_path, motion):
    save_motion(motion, tmp_path / "m.safetensors", "abc")
    data = (tmp_path / "m.safetensors").read_bytes()
    for place in range(0, len(data), 7):
        wrong = bytearray(data)
        wrong[place] ^= 1 << place % 8
        (tmp_path / "m.safetensors").write_bytes(wrong)
        with pytest.raises(VideoError, match="extract it again"):
            load_motion(tmp_path / "m.safetensors")


def test_another_layout(tmp_path, motion, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("moclip.video.store._FACTS", ("scale", "block_size", "width", "height", "fps", "codec"))
        save_motion(motion, tmp_path / "m.safetensors", "")
    with pytest.raises(VideoError, match="another layout.*extract it again"):
        load_motion(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "content", [None, b"", b"no motion at all", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "half", "flipped", "other"]
)
def test_bad_files(tmp_path, motion, content):
    path = tmp_path / "m.safetensors"
    if content in ("half", "flipped"):
        save_motion(motion, path, "")
        data = bytearray(path.read_bytes())
        data[60:90] = bytes(30)
        path.write_bytes(data if content == "flipped" else data[: len(data) // 2])
    elif content == "other":
        np.savez(path, grid=motion.grid)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=r"m\.safetensors"):
        load_motion(path)
