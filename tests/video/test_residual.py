import numpy as np
import pytest

from moclip.video import VideoError, encode, read_motion
from moclip.video.residual import read_residual

ROWS = slice(96, 144)
WRITTEN = 336  # CoViAR's scaler writes whole groups of eight columns; the rest of its 340 is whatever was in memory


@pytest.mark.parametrize("name", ["pan_m4q5", "zoomrot_m4mv4qpel"])
@pytest.mark.parametrize("kind", ["acc", "raw"])
def test_golden_residuals(golden, name, kind):
    with np.load(golden / "residual_rows.npz") as file:
        points, expected = file[f"{name}_points"], file[f"{name}_residual_{kind}"]
    indices = [12 * gop + position for gop, position in points]
    residuals = read_residual(golden / f"{name}.mp4", indices, accumulated=kind == "acc", compat="coviar")
    assert residuals.dtype == np.int32 and residuals.shape == (3, 256, 340, 3)
    motion = read_motion(golden / f"{name}.mp4", compat="coviar")
    columns = np.arange(340)
    for t, ours, theirs in zip(indices, residuals[:, ROWS], expected, strict=True):
        field = (motion.accumulated if kind == "acc" else motion.raw)(t)[ROWS]
        compared = (columns < WRITTEN) & (columns - field[..., 0] < WRITTEN)
        assert compared.mean() > 0.88
        difference = np.abs(ours - theirs)[compared]
        # Measured: 0 everywhere, on all rows too. Other builds of the scaler may round another way.
        assert difference.max() <= 2 and difference.mean() <= 0.1


def test_coviars_zeros(golden, tmp_path, pan):
    name = golden / "pan_m4q5.mp4"
    assert not read_residual(name, [0, 12, 24], compat="coviar").any()  # I-frames
    with pytest.raises(IndexError):
        read_residual(name, [12 * 1000], compat="coviar")
    encode(pan(2, 1), tmp_path / "a.m4v", gop=5)
    residuals = read_residual(
        tmp_path / "a.m4v", [4, 5, 16], compat="coviar"
    )  # GOPs of 5: position 5 is beyond the end
    assert residuals[0].any() and not residuals[1].any() and residuals[2].any()


@pytest.mark.parametrize("accumulated", [True, False])
def test_what_moves_as_the_vectors_say_leaves_little(tmp_path, pan, accumulated):
    frames = pan(3, -2)
    encode(frames, tmp_path / "a.mp4", quality=2)
    residual = read_residual(tmp_path / "a.mp4", [8], accumulated)[0]
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
    medians = np.median(read_residual(tmp_path / "a.m4v", indices), axis=(1, 2))
    np.testing.assert_allclose(medians[:, 0], [36, 0, 48, 0, 36], atol=4)
    np.testing.assert_allclose(medians[:, 1:], 0, atol=4)
    medians = np.median(read_residual(tmp_path / "a.m4v", indices, accumulated=False), axis=(1, 2))
    np.testing.assert_allclose(medians[:, 0], [12, 0, 12, 0, 12], atol=4)
    coviar = np.median(read_residual(tmp_path / "a.m4v", [3, 12 + 3], compat="coviar"), axis=(1, 2))
    np.testing.assert_allclose(coviar[:, 2], [36, 36], atol=4)  # BGR
    np.testing.assert_allclose(coviar[:, :2], 0, atol=4)


def test_what_is_refused(tmp_path, pan, bad_path):
    encode(pan(2, 1), tmp_path / "b.mp4", codec="libx264", b_frames=2)
    with pytest.raises(ValueError, match=r"B-frames.*moclip\.video\.transcode"):
        read_residual(tmp_path / "b.mp4", [3])
    encode(pan(2, 1), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="at least one"):
        read_residual(tmp_path / "a.mp4", [])
    for t in (-1, 14):
        with pytest.raises(IndexError):
            read_residual(tmp_path / "a.mp4", [t])
    with pytest.raises(VideoError) as caught:
        read_residual(bad_path, [0])
    assert caught.value.path == bad_path
