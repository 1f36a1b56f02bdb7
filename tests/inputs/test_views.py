"""From the motion of one clip to network input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moclip.inputs import transforms
from moclip.inputs.clips import TrainingSamples
from moclip.inputs.transforms import InputScale
from moclip.inputs.views import EvalViews, TrainViews, eval_views, join, to_input, train_views
from moclip.video import encode, read_motion

ZERO = 128 / 255 - 0.5
WHOLE = torch.ones(1, dtype=torch.bool)


def level(pixels, bound=20.0):
    """What a displacement becomes: truncated toward zero, around 128 of 255."""
    return (min(max(int(pixels * 127.5 / bound) + 128, 0), 255)) / 255 - 0.5


@pytest.fixture
def protocol(eval_protocol):
    """Three middle segments, one centre crop, in pixels; the rest by keyword."""
    plain = replace(eval_protocol, segments=3, size=16, scale=InputScale("pixels"))
    return lambda **changes: replace(plain, **changes)


@pytest.fixture
def training(train_protocol):
    plain = replace(train_protocol, segments=3, size=16, scale=InputScale("pixels"))
    return lambda **changes: replace(plain, **changes)


# --- protocols ------------------------------------------------------------------------------------------------------


def test_protocols_from_sections_and_from_a_header(config):
    for kind, segments in ((TrainViews, config.mv.segments), (EvalViews, config.mv.views)):
        views = kind.from_sections(config.mv, config.motion, False)
        assert views == kind.from_sections(config.mv.model_dump(mode="json"), config.motion.model_dump(), False)
        assert views.segments == segments and not views.mirror and views.size == config.mv.input_size
        assert hash(views) != hash(replace(views, field="accumulated"))
        assert views.scale == InputScale(config.motion.units, config.motion.bound)


# --- frames ---------------------------------------------------------------------------------------------------------


def test_only_frames_with_motion_are_drawn(make_motion, protocol, training):
    for motion in (make_motion(frames=26), make_motion(frames=2)):
        for seed in range(40):
            assert (train_views(motion, training(), np.random.default_rng(seed)).grids == 3).all()
        for segments in (1, 3, 25, 60):
            assert (eval_views(motion, protocol(segments=segments)).grids == 3).all()
    still = make_motion(gop=1)
    with pytest.raises(ValueError, match="3 segments from 0 frames with motion"):
        eval_views(still, protocol())


def test_all_frames_with_motion_are_drawn(make_motion, protocol, training):
    motion = make_motion(frames=26)
    motion.grid[:] = np.arange(26)[:, None, None, None]
    views = [train_views(motion, training(), np.random.default_rng(seed)) for seed in range(150)]
    assert {int(value) for view in views for value in view.grids[0, :, 0, 0, 0]} == set(range(26)) - {0, 12, 24}
    assert eval_views(motion, protocol()).grids[0, :, 0, 0, 0].tolist() == [4, 13, 21]  # candidates 3, 11, 19 of 23


# --- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "bound", "fps", "factor"),
    [
        ("pixels", 20.0, 25.0, 1.0),
        ("equivalent", 20.0, 25.0, 340 / 160),
        ("equivalent", 20.0, 50.0, 2 * 340 / 160),
        ("pixels", 5.0, 25.0, 1.0),
    ],
)
@pytest.mark.parametrize("field", ["raw", "accumulated"])
def test_a_pan_arrives_with_its_sign_and_length(tmp_path, protocol, units, bound, fps, factor, field):
    """3 pixels per frame to the right: x positive, y none."""
    noise = np.random.default_rng(0).normal(size=(120, 400))
    smooth = sum(np.roll(noise, (i, j), (0, 1)) for i in range(-4, 5) for j in range(-4, 5))
    picture = (128 + 100 * smooth / np.abs(smooth).max()).astype(np.uint8)[..., None].repeat(3, axis=2)
    encode([picture[:, 100 - 3 * t : 260 - 3 * t] for t in range(12)], tmp_path / "pan.mp4", fps=fps)
    views = eval_views(
        read_motion(tmp_path / "pan.mp4"), protocol(scale=InputScale(units, bound), field=field, size=48, crops=10)
    )
    tensor = to_input(views).view(3, 2, 5, 2, 48, 48)[:, :, 4]  # the centre: (S, mirrored, 2, 48, 48)
    assert tensor.dtype == torch.float32
    moved = [3.0] * 3 if field == "raw" else [3.0 * frame for frame in (2, 6, 10)]  # frames since the I-frame
    for segment, pixels in enumerate(moved):
        for mirrored, sign in ((0, 1), (1, -1)):
            x, y = tensor[segment, mirrored]
            assert x.median().item() == pytest.approx(level(sign * pixels * factor, bound), abs=1e-5)
            assert y.median().item() == pytest.approx(ZERO, abs=1e-5)


def test_a_box_and_a_flip_hold_for_all_segments_of_their_clip(make_motion, training):
    motion = make_motion(width=64, height=64, value=0)
    motion.grid[motion.has_motion, :, 0] = (30, 30)  # the left column alone moves much, as in every frame
    seen = set()
    for seed in range(20):
        views = train_views(motion, training(segments=4), np.random.default_rng(seed))
        assert views.boxes.shape == (1, 4, 4) and (views.boxes == views.boxes[:, :1]).all()
        assert (views.mirrored == views.mirrored[:, :1]).all()
        seen.add(bool(views.mirrored[0, 0]))
        tensor = to_input(views)
        assert tensor.shape == (1, 4, 2, 16, 16) and (tensor == tensor[:, :1]).all(), "segments look the same"
    assert seen == {True, False}
    left, right = (
        to_input(
            replace(views, mirrored=torch.full((1, 4), flip), boxes=torch.tensor([0.0, 0, 32, 32]).expand(1, 4, 4))
        )
        for flip in (False, True)
    )
    torch.testing.assert_close(left[0, 0, 0, :, :6], torch.full((16, 6), level(15)))
    # Mirrored, the column that moves is the right one, outside the box of the left half.
    torch.testing.assert_close(right[0, 0, 0], torch.full((16, 16), ZERO))


def test_training_crops_come_from_the_protocol(make_motion, training):
    motion, protocol = make_motion(width=160, height=120), training(mirror=False)
    views = [train_views(motion, protocol, np.random.default_rng(seed)) for seed in range(60)]
    sides = {round(float(side)) for view in views for side in view.boxes[0, :, 2:].flatten()}
    assert sides == {round(120 * scale) for scale in protocol.train_scales}
    assert not any(view.mirrored.any() for view in views), "where a flip would change the class"


@pytest.mark.parametrize("field", ["raw", "accumulated"])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_many_crops_are_one_crop_many_times(make_motion, protocol, field, crop_mode):
    """Segment by segment, each with its ten crops; the second five are those of the mirrored clip."""
    motion = make_motion(frames=30, width=80, height=64, seed=0)
    plain = protocol(field=field, crop_mode=crop_mode)
    single, views = eval_views(motion, plain), eval_views(motion, replace(plain, crops=10))
    tensor = to_input(views)
    assert tensor.shape == (1, 30, 2, 16, 16)
    for crop in range(10):
        mirrored = views.mirrored[:, crop::10]
        assert mirrored.all() == mirrored.any() == (crop >= 5)
        alone = to_input(replace(single, boxes=views.boxes[:, crop::10], mirrored=mirrored))
        torch.testing.assert_close(tensor[:, crop::10], alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(tensor[:, 4::10], to_input(single), atol=1e-6, rtol=0)
    assert eval_views(motion, replace(plain, crops=3)).boxes.shape == (1, 9, 4)
    five = eval_views(motion, replace(plain, crops=10, mirror=False))
    assert five.boxes.shape == (1, 15, 4) and not five.mirrored.any()


# --- several clips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["raw", "accumulated"])
def test_a_batch_is_its_clips(make_motion, protocol, field):
    """Other block sizes (340 is no multiple of 16), units, rates and GOPs: each clip as if it were alone."""
    motions = [
        make_motion(block=16, width=340, height=252, seed=0),
        make_motion(block=8, width=340, height=252, frames=30, seed=1, scale=4),
        make_motion(block=16, width=340, height=252, frames=26, gop=4, seed=2, fps=50.0),
    ]
    parts = [eval_views(motion, protocol(field=field, scale=InputScale("equivalent"), size=32)) for motion in motions]
    batch = to_input(parts)
    assert batch.shape == (3, 3, 2, 32, 32) and torch.equal(batch, to_input(join(parts)))
    for row, part in zip(batch, parts, strict=True):
        assert torch.equal(row, to_input(part)[0])


def test_the_same_motion_in_other_units_is_the_same_tensor(make_motion, protocol):
    motions = (make_motion(value=4, scale=2), make_motion(value=8, scale=4), make_motion(value=4, scale=4, fps=50.0))
    equivalent = protocol(scale=InputScale("equivalent", 100.0), segments=2)
    tensor = to_input([eval_views(motion, equivalent) for motion in motions])
    assert torch.equal(tensor[0], tensor[1]) and torch.equal(tensor[0], tensor[2])
    assert tensor[0, 0, 0, 0, 0].item() == pytest.approx(level(2 * 340 / 32, 100.0))


def test_clips_of_two_frame_sizes_are_refused(make_motion, protocol):
    parts = [eval_views(make_motion(width=width), protocol()) for width in (32, 48)]
    with pytest.raises(ValueError, match=r"2 frame sizes.*\(32, 32\), \(32, 48\).*data.reencode"):
        to_input(parts)


@pytest.mark.parametrize("gop", [12, 200, 300])
def test_accumulated_fields_are_those_of_the_reader(make_motion, protocol, gop, monkeypatch):
    """Whether the device adds up the grids, or the field is made at once because the I-frame is far."""
    motions = [make_motion(frames=310, gop=gop, width=88, height=40, scale=scale, seed=scale) for scale in (2, 4)]
    motions.append(make_motion(frames=20, width=88, height=40, seed=9))
    fields = []
    original = transforms.by_torch
    monkeypatch.setattr("moclip.inputs.kernels.by_kernel", lambda *given: fields.append(given) or original(*given))
    parts = [eval_views(motion, protocol(field="accumulated")) for motion in motions]
    assert [part.grids.dim() for part in parts] == ([5, 5, 6] if gop == 300 else [6, 6, 6])
    to_input(parts)
    vectors, factors, *_, shape = fields[0]
    assert shape == (1, 40, 88)
    found = vectors * factors[:, None, None]  # (9, H, W, 2)
    for row in range(9):
        motion = motions[row // 3]
        candidates = np.flatnonzero(motion.has_motion)
        frame = candidates[len(candidates) * (2 * (row % 3) + 1) // 6]
        np.testing.assert_array_equal(found[row].numpy(), motion.accumulated(int(frame)))


def test_accumulated_views_are_small(make_motion, protocol):
    views = eval_views(make_motion(frames=24, width=160, height=120), protocol(field="accumulated"))
    assert views.grids.dtype == torch.int16 and views.grids.shape == (1, 3, 8, 8, 10, 2)


# --- as it was ------------------------------------------------------------------------------------------------------

# What commit 952cac9 made of eight clips of random vectors: sums over three training samples, plain and weighted, and a
# weighted sum over ten-crop views of two test clips.
BEFORE = {
    "paper": [270.153, 197.778, -224.847, -112.687, 92.548, -69.835, -842.412],
    "accumulated": [345.075, 195.114, -333.078, -96.008, 264.538, -171.7, -507.356],
    "reference": [
        220.157,
        143.339,
        92.979,
        -27.967,
        187.599,
        155.324,
        None,
    ],  # its coins followed from places in a list
}


@pytest.mark.parametrize("kind", BEFORE)
def test_views_are_what_they_were(random_clips, config, kind):
    change = {"crop_mode": "squash", "sampling": "reference", "flip": "reference"} if kind == "reference" else {}
    mv = config.mv.model_copy(update={"seed": 5, "segments": 3, "views": 5, "crops": 10, **change})
    motion = config.motion.model_copy(update={"field": "raw" if kind == "paper" else "accumulated"})
    samples = TrainingSamples(random_clips, TrainViews.from_sections(mv, motion, True))
    protocol = EvalViews.from_sections(mv, motion, True)
    tensors = [to_input(samples[key][0]) for key in ((0, [0]), (3, [5]), (7, [2]))]
    sums = []
    for tensor in (*tensors, to_input(random_clips.test_views([0, 3], protocol))):
        weights = torch.linspace(-1, 1, tensor.numel(), dtype=torch.float64).view_as(tensor)
        sums += [tensor.double().sum().item(), (tensor.double() * weights).sum().item()]
    del sums[-2]
    for found, before in zip(sums, BEFORE[kind], strict=True):
        assert before is None or found == pytest.approx(before, abs=0.01)
