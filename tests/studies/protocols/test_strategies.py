"""Choices of the published code, against what it drew and against the steps it takes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import functional as vision

from moclip.config.load import load_config
from moclip.config.strategies import STRATEGIES, strategy
from moclip.inputs.transforms import InputScale, crop_resize
from moclip.inputs.views import eval_views, to_input, train_views
from moclip.registry import check
from moclip.studies.protocols.strategies import SQUASH, reference_centres, reference_frames, reference_ranges

# --- by name --------------------------------------------------------------------------------------------------------


def test_every_strategy_is_there():
    for field, table in STRATEGIES.items():
        for name in table:
            assert check(field, table, name) == name and strategy(field, name) is not None
    config = load_config("ucf101-reference")
    chosen = {field: getattr(config.mv, field) for field in ("sampling", "crop_mode", "flip", "test_flip")}
    assert chosen == {"sampling": "reference", "crop_mode": "squash", "flip": "reference", "test_flip": "random"}
    assert config.fusion.batch_norm == "drifting"


def test_without_this_study_its_names_are_unknown(tmp_path):
    package = Path(__file__).parents[3] / "moclip"
    shutil.copytree(package, tmp_path / "moclip", ignore=shutil.ignore_patterns("protocols.py", "__pycache__"))
    shutil.rmtree(tmp_path / "moclip" / "studies" / "protocols")
    code = """
from moclip.config import ConfigError, load_config
assert load_config("quick").mv.sampling == "tsn"
for key, value in (("mv.sampling", "reference"), ("mv.crop_mode", "squash"), ("fusion.batch_norm", "drifting")):
    try:
        load_config("quick", {key: value, "fusion.train_features": "drawn"})
    except ConfigError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split("; found")[0] for line in done.stdout.splitlines()] == [
        "mv.sampling: Value error, unknown sampling 'reference'; there are: tsn, found 'reference'",
        "mv.crop_mode: Value error, unknown crop_mode 'squash'; there are: center, found 'squash'",
        "fusion.batch_norm: Value error, unknown batch_norm 'drifting'; there are: frozen, found 'drifting'",
    ]


# --- which frames ---------------------------------------------------------------------------------------------------


def test_the_reference_sampler():
    """What the published code drew, for 118 lengths and numbers of segments."""
    golden = json.loads((Path(__file__).parents[2] / "data" / "golden" / "sampler_golden.json").read_text())
    assert len(golden) == 118
    for key, expected in golden.items():
        count, segments = map(int, key.split(","))
        assert [list(part) for part in reference_ranges(count, segments)] == expected["train_ranges"], key
        assert reference_centres(count, segments) == expected["test_idx"], key


def coviar_types(count: int) -> np.ndarray:
    """A file of which CoViAR counts ``count`` frames: one more, an I-frame in twelve."""
    return np.array(["P" if t % 12 else "I" for t in range(count + 1)])


def test_reference_frames_are_what_the_published_code_drew():
    """An index beyond the clip, which it turned into zeros, is the last frame it counts."""
    golden = json.loads((Path(__file__).parents[2] / "data" / "golden" / "sampler_golden.json").read_text())
    beyond = 0
    for key, expected in golden.items():
        count, segments = map(int, key.split(","))
        types = coviar_types(count)
        wanted = [12 * gop + position for gop, position in expected["test_gop_pos"]]
        last = max(t for t in range(count) if t % 12)  # the last frame counted, or the P-frame before it
        beyond += sum(frame > last for frame in wanted)
        found = reference_frames(SimpleNamespace(types=types), segments)
        assert found.dtype == np.int64 and found.tolist() == [min(frame, last) for frame in wanted], key
        rng = np.random.default_rng(0)
        drawn = np.array([reference_frames(SimpleNamespace(types=types), segments, rng) for _ in range(200)])
        for column, (first, end) in zip(drawn.T, expected["train_ranges"], strict=True):
            allowed = {min(t, last) if t % 12 else max(t - 1, 1) for t in range(first, end)}
            assert set(column.tolist()) <= allowed, key
            assert len(allowed) > 8 or set(column.tolist()) == allowed, key
    assert beyond, "there are such cases among the golden ones"


@pytest.mark.parametrize("types", ["IP", "IPP", "IIP", "IPPI", "IPIPIP", "PPP"])
@pytest.mark.parametrize("segments", [1, 3, 25])
def test_reference_frames_carry_motion_however_short_the_clip(types, segments):
    for rng in (None, np.random.default_rng(0)):
        frames = reference_frames(SimpleNamespace(types=np.array(list(types))), segments, rng)
        assert len(frames) == segments and all(types[frame] == "P" for frame in frames)


def test_reference_sampling_draws_from_all_frames(make_motion, train_protocol, eval_protocol):
    """Twelve frames per GOP: of frames 0 (I), 1, 2 ... the published code's segments, without their I-frames."""
    motion = make_motion(frames=31)  # CoViAR counts 30
    motion.grid[:] = np.arange(31)[:, None, None, None]
    protocol = replace(train_protocol, sampling="reference", segments=3)
    views = [train_views(motion, protocol, np.random.default_rng(seed)) for seed in range(200)]
    drawn = np.stack([view.grids[0, :, 0, 0, 0] for view in views])
    for column, (first, last) in zip(drawn.T, [(1, 9), (10, 19), (20, 28)], strict=True):  # by hand: sizes 28 / 3
        assert set(column.tolist()) == set(range(first, last + 1)) - {12, 24}
    # round(29 / 3 * (s + 0.5)) + 1 = 6, 15 (a half to the even 14), 25
    views = eval_views(motion, replace(eval_protocol, sampling="reference", segments=3))
    assert views.grids[0, :, 0, 0, 0].tolist() == [6, 15, 25]


# --- which crops ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("crops", "name"), [(1, "center_crop"), (5, "five_crop")])
def test_squashed_crops_are_crops_of_the_squashed_frame(crops, name):
    """What the published code does in two steps: the frame to 256 x 256, then crops of 224."""
    fields = torch.randn(1, 2, 120, 340, generator=torch.Generator().manual_seed(0))
    square = F.interpolate(fields, (256, 256), mode="bilinear", align_corners=False)
    expected = getattr(vision, name)(square, 224)
    boxes = torch.from_numpy(SQUASH.test(120, 340, 0.875, crops))
    for box, crop in zip(boxes, expected if crops == 5 else [expected], strict=True):
        torch.testing.assert_close(crop_resize(fields, box[None], 224), crop, atol=1e-4, rtol=0)


def test_squashed_training_crops_are_cut_from_a_square_of_the_drawn_scale(train_protocol):
    """Against the two steps: a square of side round(size / scale), then a cut at a whole pixel."""
    protocol, size = replace(train_protocol, train_scales=(1.0, 0.875, 0.75), size=56, segments=3), 56
    fields = torch.randn(1, 2, 48, 100, generator=torch.Generator().manual_seed(0))
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        boxes = SQUASH.train(48, 100, protocol, rng)
        assert boxes.shape == (3, 4) and (boxes[:, 2:] == boxes[0, 2:]).all(), "one scale per clip"
        square = round(size * 100 / float(boxes[0, 2]))
        squashed = F.interpolate(fields, (square, square), mode="bilinear", align_corners=False)
        for box in boxes:
            left, top = (round(float(at) * square / side) for at, side in zip(box, (100, 48), strict=False))
            assert 0 <= left <= square - size and 0 <= top <= square - size
            cut = squashed[..., top : top + size, left : left + size]
            result = crop_resize(fields, torch.from_numpy(box)[None], size)
            torch.testing.assert_close(result, cut, atol=1e-3, rtol=0)
            seen.add((square, left, top))
    assert {square for square, _, _ in seen} == {56, 64, 75}, "56 / 1, 56 / 0.875, 56 / 0.75"
    assert len({place for place in seen if place[0] == 64}) > 20, "any position, not thirteen"


def test_squashed_training_crops_have_a_position_per_segment(make_motion, train_protocol):
    protocol = replace(train_protocol, crop_mode="squash", train_scales=(0.5,), size=16, segments=4)
    views = train_views(make_motion(width=80, height=64), protocol, np.random.default_rng(0))
    assert views.boxes.shape == (1, 4, 4) and len(np.unique(views.boxes[0, :, :2], axis=0)) > 1
    assert (views.boxes[0, :, 2:] == torch.tensor([40, 32])).all(), "half the width, half the height"
    assert to_input(views).shape == (1, 4, 2, 16, 16)


# --- mirrored -------------------------------------------------------------------------------------------------------


def test_a_seeded_coin_mirrors_the_second_five(make_motion, eval_protocol):
    coins = []
    for seed in range(8):
        protocol = replace(eval_protocol, segments=3, crops=10, test_flip="random", seed=seed)
        for motion in (make_motion(seed=1), make_motion(seed=2)):
            mirrored = eval_views(motion, protocol).mirrored.view(3, 2, 5)  # (S, half, crop)
            assert not mirrored[:, 0].any() and (mirrored[:, 1] == mirrored[0, 1, 0]).all(), "one coin per clip"
            assert torch.equal(eval_views(motion, protocol).mirrored.view(3, 2, 5), mirrored)
            coins.append(mirrored[0, 1, 0].item())
    assert 4 <= sum(coins) <= 12


@pytest.mark.parametrize("field", ["raw", "accumulated"])
def test_the_published_flip_is_255_minus_x(make_motion, eval_protocol, field):
    """In 8 bit, at every level: no motion (128) becomes 127. The y part is only mirrored."""
    motion = make_motion(width=256, height=64)
    motion.grid[motion.has_motion] = np.random.default_rng(0).integers(-50, 51, (11, 4, 16, 2))  # beyond 20 pixels too
    motion.grid[:, :, 6] = 0
    protocol = replace(eval_protocol, segments=11, size=64, crop=1.0, flip="reference", field=field)
    protocol = replace(protocol, scale=InputScale("pixels"))
    views = replace(eval_views(motion, protocol), boxes=torch.tensor([0.0, 0, 256, 64]).expand(1, 11, 4))
    mirrored = replace(views, mirrored=torch.ones(1, 11, dtype=torch.bool))
    if field == "raw":  # at 64 of 256 pixels a row has no value between two blocks
        plain, levels = (((to_input(each) + 0.5) * 255).round().int() for each in (views, mirrored))
        assert plain[:, :, 0].min() == 0 and plain[:, :, 0].max() == 255
        assert (levels[..., 0, :, 36:40] == 127).all() and (plain[..., 0, :, 24:28] == 128).all(), "no motion"
    plain, levels = ((to_input(each) + 0.5) * 255 for each in (views, mirrored))
    torch.testing.assert_close(levels[:, :, 0], 255 - plain[:, :, 0].flip(-1), atol=1e-2, rtol=0)
    torch.testing.assert_close(levels[:, :, 1], plain[:, :, 1].flip(-1), atol=1e-2, rtol=0)
