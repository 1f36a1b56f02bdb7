import numpy as np
import pytest

from moclip.video import VideoError, encode, read_motion, read_residual


def residual_of(path, indices, accumulated=True):
    return read_residual(path, read_motion(path), indices, accumulated)


@pytest.mark.parametrize("accumulated", [True, False])
def test_what_moves_as_the_vectors_say_leaves_little(tmp_path, pan, accumulated):
    frames = pan(3, -2)
    encode(frames, tmp_path / "a.mp4", quality=2)
    residual = residual_of(tmp_path / "a.mp4", [8], accumulated)[0]
    assert residual.shape == (64, 96, 3) and residual.dtype == np.int32
    plain = frames[8].astype(int) - frames[0 if accumulated else 7]
    seen = (slice(0, 40), slice(32, None))  # without what comes into view
    assert np.abs(residual[seen]).mean() < 0.25 * np.abs(plain[seen]).mean()


def test_channels_and_references(tmp_path, pan):
    # A still picture whose red rises by 12 a frame; I-frames at 0 and 5.
    still = pan(0, 0)[0] // 4 + np.array([30, 90, 60], np.uint8)
    frames = [still + np.array([12 * t, 0, 0], np.uint8) for t in range(10)]
    encode(frames, tmp_path / "a.m4v", quality=1, gop=5)
    indices = [3, 0, 9, 5, 3]
    medians = np.median(residual_of(tmp_path / "a.m4v", indices), axis=(1, 2))
    np.testing.assert_allclose(medians[:, 0], [36, 0, 48, 0, 36], atol=4)
    np.testing.assert_allclose(medians[:, 1:], 0, atol=4)
    medians = np.median(residual_of(tmp_path / "a.m4v", indices, accumulated=False), axis=(1, 2))
    np.testing.assert_allclose(medians[:, 0], [12, 0, 12, 0, 12], atol=4)


def test_what_is_refused(tmp_path, pan, bad_path):
    encode(pan(2, 1), tmp_path / "b.mp4", codec="libx264", b_frames=2)
    with pytest.raises(ValueError, match=r"B-frames.*moclip\.video\.transcode"):
        residual_of(tmp_path / "b.mp4", [3])
    encode(pan(2, 1), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="at least one"):
        residual_of(tmp_path / "a.mp4", [])
    for t in (-1, 14):
        with pytest.raises(IndexError):
            residual_of(tmp_path / "a.mp4", [t])
    with pytest.raises(VideoError) as caught:
        read_residual(bad_path, read_motion(tmp_path / "a.mp4"), [0])
    assert caught.value.path == bad_path
