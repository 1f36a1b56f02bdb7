import numpy as np
import pytest

from moclip.video import VideoError, encode, read_frames


@pytest.fixture
def levels(tmp_path):
    """Grey frames, each brighter than the one before: frame t has value 10 + 15 t."""
    frames = [np.full((32, 48, 3), 10 + 15 * t, np.uint8) for t in range(14)]
    encode(frames, tmp_path / "a.mp4", quality=1, gop=5)
    return tmp_path / "a.mp4"


def test_order_and_repeats(levels):
    pictures = read_frames(levels, [9, 0, 13, 9])
    assert pictures.shape == (4, 32, 48, 3) and pictures.dtype == np.uint8
    np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), [145, 10, 205, 145], atol=3)


def test_presentation_order_with_b_frames(tmp_path, encode_as, pan):
    encode_as("libx264", tmp_path / "a.mp4", {"bf": "3", "crf": "10"})
    pictures = read_frames(tmp_path / "a.mp4", range(14)).astype(int)
    errors = np.abs(pictures[:, None] - np.stack(pan(2, 1))[None]).mean(axis=(2, 3, 4))  # (read, written)
    assert errors.argmin(axis=1).tolist() == list(range(14))


def test_channels_are_rgb(tmp_path):
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 200
    encode([red] * 2, tmp_path / "a.mp4", quality=1)
    np.testing.assert_allclose(read_frames(tmp_path / "a.mp4", [1]).mean(axis=(0, 1, 2)), [200, 0, 0], atol=6)


@pytest.mark.parametrize("indices", [[], [-1], [3, -2]])
def test_indices_that_are_none(levels, indices):
    with pytest.raises(ValueError, match="0 or more"):
        read_frames(levels, indices)


def test_beyond_the_end(levels):
    with pytest.raises(VideoError, match=r"14 frames.*frame 14"):
        read_frames(levels, [0, 14])


def test_no_video(bad_path):
    with pytest.raises(VideoError) as caught:
        read_frames(bad_path, [0])
    assert caught.value.path == bad_path


@pytest.mark.parametrize("name", ["a.avi", "a.m4v", "a.mp4"])
def test_half_a_video_is_an_error(tmp_path, pan, name):
    encode(pan(2, 1), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=name):
        read_frames(tmp_path / name, range(14))
