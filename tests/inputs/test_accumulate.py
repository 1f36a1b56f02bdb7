"""Accumulation in torch, against a straight loop over pixels and against the reader."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from moclip.inputs.accumulate import accumulate, by_kernel, by_torch
from moclip.video import read_motion
from moclip.video.fields import accumulate as accumulate_fields
from moclip.video.fields import quantise

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def straight(grids, block, height, width, scale):
    """One clip (K, gh, gw, 2), pixel by pixel, in Python's own integers: int32 (H, W, 2)."""
    out = np.zeros((height, width, 2), np.int32)
    for y, x in np.ndindex(height, width):
        at, sums = [x, y], [0, 0]
        for grid in grids[::-1]:
            vector = [int(part) for part in grid[at[1] // block, at[0] // block]]
            steps = [(2 * part + scale) // (2 * scale) for part in vector]
            to = [at[0] - steps[0], at[1] - steps[1]]
            if 0 <= to[0] < width and 0 <= to[1] < height:
                at, sums = to, [sums[0] + vector[0], sums[1] + vector[1]]
        out[y, x] = sums
    return out


@st.composite
def batches(draw, leads):
    """Grids with vectors of all sizes, many of them equal or zero, as streams have them."""
    block = draw(st.sampled_from([4, 8, 16]))
    height, width = draw(st.integers(1, 37)), draw(st.integers(1, 37))
    lead, length = draw(leads), draw(st.integers(0, 6))
    far = draw(st.sampled_from([3, 40, 200]))
    few = draw(st.lists(st.integers(-far, far), min_size=1, max_size=4))
    shape = (*lead, length, -(-height // block), -(-width // block), 2)
    grids = draw(hnp.arrays(np.int16, shape, elements=st.one_of(st.just(0), st.sampled_from(few))))
    return grids, block, height, width, draw(st.sampled_from([1, 2, 4, 8]))


@settings(max_examples=60, deadline=None)
@given(batches(st.just(())))
def test_three_ways_agree(batch):
    grids, *rest = batch
    expected = straight(grids, *rest)
    *size, scale = rest
    for way in (by_torch, by_kernel):
        result = way(torch.from_numpy(grids)[None], *size, torch.tensor([scale]))
        assert result.dtype == torch.int32
        np.testing.assert_array_equal(result[0].numpy(), expected)


@settings(max_examples=60, deadline=None)
@given(batches(hnp.array_shapes(min_dims=1, max_dims=1, max_side=3)))
def test_clips_of_several_scales(batch):
    grids, *size, scale = batch
    given = torch.from_numpy(grids), *size, torch.from_numpy(np.resize([scale, 2 * scale, 4], len(grids)))
    together = accumulate(*given)
    assert together.shape == (len(grids), *size[1:], 2) and together.dtype == torch.int32
    assert torch.equal(by_torch(*given), together)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@settings(max_examples=30, deadline=None)
@given(batches(st.just((3,))))
def test_a_gpu_gives_the_same(batch):
    grids, *size, scale = batch
    tensor, scales = torch.from_numpy(grids), torch.full((3,), scale)
    assert torch.equal(accumulate(tensor.cuda(), *size, scales.cuda()).cpu(), accumulate(tensor, *size, scales))


@settings(max_examples=25, deadline=None)
@given(batches(st.just((2,))), st.integers(0, 3), st.integers(0, 3))
def test_padding_with_zeros_changes_nothing(batch, before, after):
    grids, *rest = batch
    *size, scale = rest
    padded = np.pad(grids, [(0, 0), (before, after), (0, 0), (0, 0), (0, 0)])
    for way in (by_torch, by_kernel):
        long, short = (way(torch.from_numpy(part), *size, torch.tensor([scale] * 2)) for part in (padded, grids))
        assert torch.equal(long, short)


@settings(max_examples=25, deadline=None)
@given(batches(st.just(())))
def test_room_for_sums_beyond_16_bits(batch):
    """A way so long that the kernel needs wider sums gives the same field as a short one."""
    grids, block, height, width, scale = batch
    still = np.zeros((2**15, *grids.shape[1:]), np.int16)
    for kind in (np.float32, np.uint8):
        short, long = (np.empty((1, height, width, 2), kind) for _ in range(2))
        for clip, out in ((grids, short), (np.concatenate([grids, still]), long)):
            accumulate_fields(clip.__getitem__, [(0, len(clip))], out, block, scale, 20.0)
        np.testing.assert_array_equal(short, long)
        if kind == np.float32:
            expected = quantise(short, 20.0)
    np.testing.assert_array_equal(short, expected)


def test_long_sums():
    """The same vector 9,000 times: sums leave 16 bits where the step is zero."""
    grids = np.ones((9000, 1, 1, 2), np.int16)  # a quarter of a pixel, rounded to no step
    for way in (by_torch, by_kernel):
        assert (way(torch.from_numpy(grids)[None], 16, 8, 8, torch.tensor([4])) == 9000).all()
    out = np.empty((2, 8, 8, 2), np.float32)
    accumulate_fields(grids.repeat(4, 0).__getitem__, [(0, 36000), (0, 18000)], out, 16, 4)
    np.testing.assert_array_equal(out[:, 0, 0, 0], [9000, 4500])
    assert (out == out[:, :1, :1, :1]).all()


@pytest.mark.parametrize("name", ["cuts_m4mv4.mp4", "objs_ilace.m4v"])
def test_golden_accumulation(name):
    """What CoViAR's loader returned, from a padded batch of its GOPs."""
    motion = read_motion(GOLDEN / name)
    with np.load(GOLDEN / name.replace(name[-4:], ".npz")) as reference:
        points = [tuple(point) for point in reference["points"]]
        fields = dict(zip(points, reference["acc"], strict=True))
    chosen = [(gop, position) for gop, position in points if position < 12 and motion.has_motion[12 * gop + position]]
    assert len(chosen) > 5
    grids = np.zeros((len(chosen), 11, *motion.grid.shape[1:]), np.int16)
    for row, (gop, position) in enumerate(chosen):
        vectors = motion.grid[12 * gop + 1 : 12 * gop + position + 1]
        grids[row, 11 - position :] = np.trunc(vectors / motion.scale)  # its loader knows whole pixels only
    scales = torch.ones(len(chosen), dtype=torch.int64)
    for way in (by_torch, by_kernel):
        result = way(torch.from_numpy(grids), motion.block_size, motion.height, motion.width, scales)
        for row, point in enumerate(chosen):
            np.testing.assert_array_equal(result[row].numpy(), fields[point])
