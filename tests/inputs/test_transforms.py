"""Fields to network input, against straight-line numpy and torch's own resizing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torchvision.transforms import functional as vision

from moclip.inputs.crops import random_boxes, view_boxes
from moclip.inputs.kernels import by_kernel
from moclip.inputs.transforms import GridShape, InputScale, by_torch, crop_resize, expand, flip, quantise
from moclip.video import fields as video_fields

# Quarter pixels up to 205, as streams have them: far beyond the bound of 20.
FIELDS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.just(2), st.integers(1, 5), st.integers(1, 6)),
    elements=st.integers(-820, 820).map(lambda quarter: quarter / 4),
)


def random_box(height, width, scales, rng):
    boxes = random_boxes(height, width, SimpleNamespace(train_scales=scales, segments=2), rng)
    assert boxes.shape == (2, 4) and boxes.dtype == np.float32 and (boxes[0] == boxes[1]).all()
    return boxes[0]


def straight_quantise(fields: np.ndarray, bound: float = 20.0) -> np.ndarray:
    """Section II-A in float64, value by value."""
    result = np.empty(fields.shape)
    for place, value in np.ndenumerate(fields):
        level = int(float(value) * 127.5 / bound)  # int() cuts toward zero
        result[place] = min(max(level + 128, 0), 255) / 255 - 0.5
    return result


@pytest.mark.parametrize(
    ("pixels", "level"),
    [
        (0.0, 128), (20.0, 255), (-20.0, 1), (25.0, 255), (-25.0, 0), (-20.25, 0), (1000.0, 255), (-1000.0, 0),
        (0.15, 128), (-0.15, 128), (0.25, 129), (-0.25, 127), (1.0, 134), (-1.0, 122), (10.0, 191), (-10.0, 65),
    ],
)  # fmt: skip
def test_levels_by_hand(pixels, level):
    assert quantise(torch.tensor([pixels])).item() == pytest.approx(level / 255 - 0.5, abs=1e-7)


@given(FIELDS)
def test_quantise_is_the_paper_s(fields):
    before = fields.copy()
    np.testing.assert_allclose(quantise(torch.from_numpy(fields)).numpy(), straight_quantise(fields), atol=1e-7)
    np.testing.assert_array_equal(fields, before)  # nothing in place


def test_quantise_another_bound():
    fields = np.arange(-40, 41, dtype=np.float32) / 2
    np.testing.assert_allclose(quantise(torch.from_numpy(fields), 7.5), straight_quantise(fields, 7.5), atol=1e-7)


@given(FIELDS, st.sampled_from([20.0, 7.5, 33.3]))
def test_the_reader_s_8_bit_scaling_is_this_one(fields, bound):
    expected = quantise(torch.from_numpy(fields), bound)
    levels = torch.from_numpy(video_fields.quantise(fields, bound))
    assert levels.dtype == torch.uint8 and torch.equal(levels.float() / 255 - 0.5, expected)


@given(FIELDS)
def test_flipping_twice_is_the_identity(fields):
    original = torch.from_numpy(fields)
    which = torch.ones(len(original), dtype=torch.bool)
    once = flip(original, which)
    assert torch.equal(flip(once, which), original)
    np.testing.assert_array_equal(once.numpy(), fields[..., ::-1] * np.array([-1, 1], np.float32)[:, None, None])
    assert torch.equal(quantise(flip(once, which)), quantise(original))


@given(FIELDS)
def test_flip_before_quantising_mirrors_the_levels_around_128(fields):
    original = torch.from_numpy(fields)
    which = torch.ones(len(original), dtype=torch.bool)
    levels, mirrored = (torch.round((quantise(field) + 0.5) * 255) for field in (original, flip(original, which)))
    inside = original[:, 0].flip(-1).abs() <= 20  # beyond it 0 and 255 meet: one level more lies below 128 than above
    assert torch.equal(mirrored[:, 0][inside], 256 - levels[:, 0].flip(-1)[inside])
    assert torch.equal(mirrored[:, 1], levels[:, 1].flip(-1))


def test_flip_chooses_clips():
    fields = torch.arange(16, dtype=torch.float32).view(2, 2, 2, 2)
    result = flip(fields, torch.tensor([False, True]))
    assert torch.equal(result[0], fields[0])
    assert result[1].tolist() == [[[-9, -8], [-11, -10]], [[13, 12], [15, 14]]]


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 4, 8]), st.data())
def test_expand(rows, columns, block, data):
    height = data.draw(st.integers((rows - 1) * block + 1, rows * block))
    width = data.draw(st.integers((columns - 1) * block + 1, columns * block))
    grid = np.random.default_rng(0).integers(-500, 500, (2, rows, columns, 2), np.int16)
    fields = expand(torch.from_numpy(grid), block, height, width)
    expected = np.kron(grid.transpose(0, 3, 1, 2), np.ones((block, block)))[..., :height, :width]
    assert fields.dtype == torch.float32
    np.testing.assert_array_equal(fields, expected)


def test_flip_commutes_with_expand_on_whole_blocks():
    grid = np.random.default_rng(0).integers(-500, 500, (1, 3, 4, 2), np.int16)
    mirrored = grid[:, :, ::-1] * np.array([-1, 1], np.int16)
    which = torch.tensor([True])
    one = flip(expand(torch.from_numpy(grid), 8, 24, 32), which)
    assert torch.equal(one, expand(torch.from_numpy(mirrored.copy()), 8, 24, 32))


@settings(deadline=None)
@given(st.integers(1, 30), st.data())
def test_crop_and_shrink_is_torch_s_resize_of_the_exact_crop(size, data):
    height, width = data.draw(st.integers(30, 50)), data.draw(st.integers(30, 50))
    w, h = data.draw(st.integers(size, width)), data.draw(st.integers(size, height))
    left, top = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    fields = torch.randn(2, 2, height, width, generator=torch.Generator().manual_seed(size))
    boxes = torch.tensor([[left, top, w, h], [0, 0, width, height]], dtype=torch.float32)
    result = crop_resize(fields, boxes, size)
    crops = [fields[:1, :, top : top + h, left : left + w], fields[1:]]
    expected = torch.cat([F.interpolate(crop, (size, size), mode="bilinear", align_corners=False) for crop in crops])
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_enlarging_the_whole_frame_is_pillow_s_resize():
    field = np.random.default_rng(0).normal(size=(9, 13)).astype(np.float32)
    expected = np.asarray(Image.fromarray(field).resize((40, 40), Image.Resampling.BILINEAR))
    result = crop_resize(torch.from_numpy(np.stack([field, -field])[None]), torch.tensor([[0.0, 0, 13, 9]]), 40)
    np.testing.assert_allclose(result[0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(result[0, 1], -expected, atol=1e-5)


def test_a_crop_at_its_own_size_copies_pixels():
    fields = torch.randn(1, 2, 20, 30)
    result = crop_resize(fields, torch.tensor([[7.0, 4, 12, 12]]), 12)
    torch.testing.assert_close(result, fields[:, :, 4:16, 7:19], atol=1e-5, rtol=0)


@settings(deadline=None)
@given(st.sampled_from([1, 4, 16]), st.sampled_from([np.int16, np.int32, np.float32]), st.integers(1, 40), st.data())
def test_the_compiled_pass_gives_the_bits_of_torch_s_operations(block, kind, size, data):
    height, width = data.draw(st.integers(8, 90)), data.draw(st.integers(8, 90))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = torch.from_numpy(rng.integers(-90, 91, (3, -(-height // block), -(-width // block), 2)).astype(kind))
    factors = torch.from_numpy(rng.uniform(0.1, 1.2, (3, 2)).astype(np.float32))
    boxes = torch.from_numpy(np.stack([random_box(height, width, (1.0, 0.875, 0.66), rng) for _ in range(3)]))
    arguments = vectors, factors, torch.tensor([True, False, True]), boxes, 20.0, size, GridShape(block, height, width)
    fast, plain = by_kernel(*arguments), by_torch(*arguments)
    assert fast.shape == (3, 2, size, size) and fast.dtype == torch.float32
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=0)
    if torch.backends.cpu.get_cpu_capability().startswith("AVX"):  # both fuse the same products and sums
        assert torch.equal(fast, plain)


def test_centre_crop_commutes_with_flip():
    fields, which = torch.randn(1, 2, 24, 40), torch.tensor([True])
    boxes = torch.from_numpy(view_boxes(24, 40, 0.75))
    one, two = crop_resize(flip(fields, which), boxes, 10), flip(crop_resize(fields, boxes, 10), which)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(256, 340), (340, 256), (32, 64)])
def test_ten_crops_are_torchvision_s(height, width):
    """At their own size crops copy pixels; the second five are those of the mirrored frame."""
    side = min(height, width) * 7 // 8
    frames = torch.randn(2, 2, height, width, generator=torch.Generator().manual_seed(0))
    boxes = torch.from_numpy(view_boxes(height, width, 0.875, 5))
    which = torch.tensor([True, True])
    ours = [crop_resize(f, box.expand(2, 4), side) for f in (frames, flip(frames, which)) for box in boxes]
    theirs = vision.ten_crop(frames, side)
    for n, (one, two) in enumerate(zip(ours, theirs, strict=True)):
        two = two if n < 5 else two * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
        torch.testing.assert_close(one, two, atol=1e-3, rtol=0, msg=lambda text, n=n: f"crop {n}: {text}")


def test_crops_by_hand():
    """One in the centre; three along the longer side."""
    assert view_boxes(120, 160, 1.0).tolist() == [[20, 0, 120, 120]]
    assert view_boxes(256, 340, 0.875, 3).tolist() == [[0, 16, 224, 224], [58, 16, 224, 224], [116, 16, 224, 224]]
    assert view_boxes(340, 256, 0.875, 3)[:, :2].tolist() == [[16, 0], [16, 58], [16, 116]]


@given(st.integers(8, 300), st.integers(8, 400), st.integers(0, 2**32))
def test_random_boxes_lie_in_the_frame(height, width, seed):
    scales = (1.0, 0.875, 0.75, 0.66)
    left, top, w, h = random_box(height, width, scales, np.random.default_rng(seed)).astype(float)
    assert left >= 0 and top >= 0
    assert left + w <= width + 1e-3 and top + h <= height + 1e-3
    steps = [np.argmin([abs(scale * min(height, width) - side) for scale in scales]) for side in (w, h)]
    assert [scales[step] * min(height, width) for step in steps] == pytest.approx([w, h])
    assert abs(steps[0] - steps[1]) <= 1


def test_random_boxes_reach_all_sizes_and_thirteen_places():
    rng = np.random.default_rng(0)
    boxes = np.stack([random_box(100, 200, (1.0, 0.75, 0.5), rng) for _ in range(4000)])
    assert {(w, h) for _, _, w, h in boxes.tolist()} == {
        (100, 100), (100, 75), (75, 100), (75, 75), (75, 50), (50, 75), (50, 50)
    }  # fmt: skip
    small = boxes[(boxes[:, 2:] == 50).all(axis=1)]
    assert len(np.unique(small[:, :2], axis=0)) == 13
    assert {(0, 0), (150, 0), (0, 50), (150, 50), (75, 25)} <= {(x, y) for x, y in small[:, :2].tolist()}


def test_units():
    assert InputScale().factor(160, 50.0) == 1
    assert InputScale("equivalent").factor(340, 25.0) == 1
    assert InputScale("equivalent").factor(170, 25.0) == 2  # half as wide: the same motion is half as many pixels
    assert InputScale("equivalent").factor(340, 50.0) == 2  # twice as many frames: half of it a frame
    with pytest.raises(ValueError, match="'pixels' or 'equivalent'"):
        InputScale("metres").factor(340, 25.0)


def test_a_video_of_unknown_rate_has_no_equivalent():
    """`Motion.fps` is 0.0 where the file does not say: all motion would become zero."""
    with pytest.raises(ValueError, match="rate|fps"):
        InputScale("equivalent").factor(340, 0.0)
