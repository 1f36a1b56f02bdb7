import dataclasses
import gc

import av
import numpy as np
import pytest

from moclip.video import FUTURE, INTER, INTRA, CoviarMotion, Motion, VideoError, encode, read_motion, transcode
from moclip.video.fields import by_integers

GOLDEN = ["pan_m4q5.mp4", "zoomrot_m4mv4qpel.mp4", "cuts_m4mv4.mp4", "hardcuts_coviar.mp4", "objs_ilace.m4v"]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_videos_as_they_are(golden, name):
    motion = read_motion(golden / name)
    coviar = CoviarMotion(motion)
    assert len(motion) == len(coviar) + 1  # the last frame is there
    assert motion.types[0] == "I" and set(motion.types) == {"I", "P"} and motion.fps == 25
    assert not motion.has_motion[motion.types == "I"].any() and motion.has_motion.any()
    t = int(np.flatnonzero(motion.has_motion)[5])
    raw, whole = motion.raw(t), coviar.raw(t)
    inside = whole.any(axis=-1)
    np.testing.assert_array_equal(np.trunc(raw)[inside], whole[inside])


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-3, 0), (0, 2), (0, -2), (2, -1), (-4, 3)])
def test_known_translation(tmp_path, pan, codec, dx, dy):
    encode(pan(dx, dy), tmp_path / "a.mp4", codec=codec)
    motion = read_motion(tmp_path / "a.mp4")
    assert "".join(motion.types) == "IPPPPPPPPPPPIP"
    raw, accumulated = motion.raw(6), motion.accumulated(6)
    assert raw.shape == accumulated.shape == (64, 96, 2) and raw.dtype == accumulated.dtype == np.float32
    assert np.median(raw, axis=(0, 1)).tolist() == [dx, dy]
    np.testing.assert_allclose(np.median(accumulated, axis=(0, 1)), [6 * dx, 6 * dy], atol=0.5)
    assert not motion.raw(0).any() and not motion.raw(12).any() and not motion.accumulated(12).any()
    np.testing.assert_allclose(np.median(motion.accumulated(13), axis=(0, 1)), [dx, dy], atol=0.5)


@pytest.mark.parametrize(("width", "height"), [(97, 65), (95, 63), (48, 31), (17, 15), (96, 64)])
def test_odd_sizes(tmp_path, pan, width, height):
    encode(pan(2, 1), tmp_path / "a.mp4", quality=2)
    transcode(tmp_path / "a.mp4", tmp_path / "b.m4v", width=width, height=height)
    motion = read_motion(tmp_path / "b.m4v")
    assert (motion.width, motion.height) == (width, height)
    assert motion.raw(5).shape == motion.accumulated(5).shape == (height, width, 2)
    assert motion.grid.shape[1:3] == (-(-height // motion.block_size), -(-width // motion.block_size))
    if width > 90:
        np.testing.assert_allclose(np.median(motion.raw(5), axis=(0, 1)), [2, 1], atol=0.5)


def test_attributes_agree(tmp_path, pan):
    encode(pan(-3, 2), tmp_path / "a.mp4", fps=12.5)
    motion = read_motion(tmp_path / "a.mp4")
    count = len(motion)
    assert count == 14 and motion.grid.shape[0] == len(motion.types) == len(motion.has_motion) == count
    assert (motion.grid.dtype, motion.mask.dtype, motion.has_motion.dtype) == (np.int16, np.uint8, bool)
    assert motion.fps == 12.5 and motion.scale == 2
    assert (motion.mask[motion.types == "I"] == INTRA).all()
    assert set(np.unique(motion.mask[1])) <= {INTER, INTRA} and (motion.mask[1] == INTER).any()
    assert not motion.grid[motion.mask != INTER].any()
    np.testing.assert_array_equal(motion.raw(1)[::16, ::16], motion.grid[1] / motion.scale)
    with pytest.raises(dataclasses.FrozenInstanceError):
        motion.scale = 4


def still(grid, scale=2, types="IPP", **kwargs):
    """A Motion made by hand."""
    grid = np.array(grid, np.int16)
    kinds = np.array(list(types[: len(grid)]))
    mask = np.where(kinds[:, None, None] == "I", INTRA, np.ones(grid.shape[:3])).astype(np.uint8)
    size = {"width": grid.shape[2] * 16, "height": grid.shape[1] * 16, "block_size": 16, "fps": 25.0}
    return Motion(grid, mask, kinds, kinds != "I", scale=scale, **(size | kwargs))


def test_accumulation_by_hand():
    # Two blocks side by side. Frame 1: the left one moved by 2 px, the right one by 5. Frame 2: both by 4.5.
    motion = still([[[[0, 0], [0, 0]]], [[[4, 0], [10, 0]]], [[[9, 0], [9, 0]]]])
    row = motion.accumulated(2)[0, :, 0]
    expected = np.empty(32)
    for x in range(32):
        total, at = 0.0, x
        if at - 5 >= 0:  # 4.5 is looked up at 5 pixels, added as 4.5
            total, at = total + 4.5, at - 5
        step = 5 if at >= 16 else 2
        if at - step >= 0:
            total += step
        expected[x] = total
    np.testing.assert_array_equal(row, expected)


def test_fields_are_those_of_single_frames(tmp_path, pan):
    encode(pan(3, -2), tmp_path / "a.mp4", gop=5)
    motion = read_motion(tmp_path / "a.mp4")
    frames = [9, 0, 3, 3, 13, 8, 5]
    for field, one in (("accumulated", motion.accumulated), ("raw", motion.raw)):
        together = motion.fields(frames, field)
        np.testing.assert_array_equal(together, np.stack([one(t) for t in frames]))
        in_bytes = motion.fields(np.array(frames), field, bound=5.0)
        assert in_bytes.dtype == np.uint8
        expected = np.trunc(together.astype(float) * 127.5 / 5) + 128
        np.testing.assert_array_equal(in_bytes, np.clip(expected, 0, 255))
        assert set(np.unique(in_bytes)) > {128} and (in_bytes.max() == 255 or field == "raw")
    assert motion.fields([]).shape == (0, 64, 96, 2)
    with pytest.raises(IndexError):
        motion.fields([3, 14])
    with pytest.raises(ValueError, match="accumulated"):
        motion.fields([3], "summed")
    for bound in (0.0, -20.0, float("nan")):
        with pytest.raises(ValueError, match="more than 0"):
            motion.fields([3], bound=bound)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("bound", [20.0, 8.0, 5.0, 1.0, 0.5, 19.7, 33.3, 1000.0])
def test_8_bit_of_every_vector(scale, bound):
    """By small integers where that is the same, else by float32 (`by_integers`): a column of cells a vector."""
    units = np.arange(-200, 201)
    grid = np.zeros((2, 28, len(units), 2), np.int16)
    grid[1, :, :, 1] = units
    levels = still(grid, scale, types="IP").fields([1], bound=bound)[
        0, 224, ::16
    ]  # in the middle, none comes from outside
    assert (levels[:, 0] == 128).all()
    expected = np.trunc((units / scale).astype(np.float32) * np.float32(127.5 / bound)) + 128
    np.testing.assert_array_equal(levels[:, 1], np.clip(expected, 0, 255))


def test_which_bounds_take_integers():
    taken = [bound for bound in (20.0, 16.0, 10.0, 5.0, 1.0, 19.7) if by_integers(np.float32(127.5 / bound / 2))[1]]
    assert taken == [20.0, 16.0, 10.0, 5.0, 1.0]
    with pytest.raises(ValueError, match="power of two"):
        still(np.zeros((2, 1, 1, 2)), scale=3).accumulated(1)


def test_reading_up_to_a_frame(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4", gop=5)
    whole, part = read_motion(tmp_path / "a.mp4"), read_motion(tmp_path / "a.mp4", until=7)
    assert len(part) == 8 and part.scale == whole.scale
    np.testing.assert_array_equal(part.accumulated(7), whole.accumulated(7))
    np.testing.assert_array_equal(part.types, whole.types[:8])
    np.testing.assert_array_equal(part.fields([7, 2]), whole.fields([7, 2]))
    with pytest.raises(VideoError, match=r"14 frames.*frame 14"):
        read_motion(tmp_path / "a.mp4", until=14)


def test_pictures_do_not_pile_up(golden):
    """Frames and their side data hold each other; with the garbage collector off, nothing else would let them go."""
    gc.collect()
    gc.disable()
    try:
        read_motion(golden / "pan_m4q5.mp4")
        left = [thing for thing in gc.get_objects() if isinstance(thing, av.VideoFrame)]
        assert len(left) < 5
    finally:
        gc.enable()


def test_negative_halves_round_up():
    motion = still([[[[0, 0], [0, 0]]], [[[-3, 0], [-3, 0]]]])  # -1.5 px: looked up one pixel further, not two
    row = motion.accumulated(1)[0, :, 0]
    assert row[30] == -1.5 and row[31] == 0


def test_accumulation_starts_at_the_last_i_frame():
    grid = np.zeros((4, 1, 2, 2), np.int16)
    grid[1:, ..., 0] = 2
    grid[2] = 0
    motion = still(grid, types="IPIP")
    assert motion.accumulated(3)[0, 20].tolist() == [1, 0]


def test_index_is_checked(tmp_path, pan):
    encode(pan(1, 1), tmp_path / "a.mp4")
    motion = read_motion(tmp_path / "a.mp4")
    for t in (-1, 14):
        for read in (motion.raw, motion.accumulated):
            with pytest.raises(IndexError, match=r"0\.\.13"):
                read(t)


@pytest.mark.parametrize(("codec", "name"), [("mpeg4", "a.avi"), ("libx264", "a.mp4")])
def test_b_frames(tmp_path, encode_as, codec, name):
    encode_as(codec, tmp_path / name, {"bf": "2"})
    motion = read_motion(tmp_path / name)
    assert len(motion) == 14 and "B" in motion.types
    assert (motion.mask[motion.types == "P"] != FUTURE).all()  # only B-frames look into the future
    t = int(np.flatnonzero(motion.types == "P")[0])
    distance = t - 0  # the first P-frame looks back at the I-frame
    np.testing.assert_allclose(np.median(motion.raw(t), axis=(0, 1)), [2 * distance, distance], atol=0.5)
    with pytest.raises(ValueError, match=r"moclip\.video\.transcode"):
        motion.accumulated(t)


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libvpx-vp9", "a.webm", {"cpu-used": "8"}),
        ("libx265", "a.mp4", {"x265-params": "log-level=none"}),
        ("ffv1", "a.avi", {}),
    ],
)
def test_codecs_without_vectors(tmp_path, encode_as, codec, name, options):
    encode_as(codec, tmp_path / name, options)
    with pytest.raises(VideoError, match=r"no motion vectors from \w+.*moclip\.video\.transcode"):
        read_motion(tmp_path / name)


@pytest.mark.parametrize("codec", ["mpeg2video", "msmpeg4", "flv", "wmv2"])
def test_other_codecs_with_vectors(tmp_path, encode_as, codec):
    path = tmp_path / {"mpeg2video": "a.mpg", "flv": "a.flv"}.get(codec, "a.avi")
    encode_as(codec, path, {"bf": "0"} if codec == "mpeg2video" else None)
    motion = read_motion(path)
    assert len(motion) == 14
    np.testing.assert_allclose(np.median(motion.raw(5), axis=(0, 1)), [2, 1], atol=0.5)


def test_no_video(bad_path):
    with pytest.raises(VideoError) as caught:
        read_motion(bad_path)
    assert caught.value.path == bad_path


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".m4v"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_file_that_breaks_off(tmp_path, pan, codec, suffix, share):
    if suffix == ".m4v" and codec != "mpeg4":
        return
    encode(pan(2, 1), tmp_path / f"a{suffix}", codec=codec)
    data = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: int(share * len(data))])
    with pytest.raises(VideoError, match=f"cut{suffix}"):
        read_motion(tmp_path / f"cut{suffix}")


@pytest.mark.parametrize("name", GOLDEN)
def test_damage_in_the_middle(golden, name, tmp_path):
    data = bytearray((golden / name).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VideoError, match="damaged"):
        read_motion(tmp_path / name)
