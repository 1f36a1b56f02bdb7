import numpy as np
import pytest

from moclip.video.blocks import Gridder
from moclip.video.layout import FUTURE, INTER, INTRA, VECTOR, refine


def vectors(*rows, scale=2):
    """(source, w, h, dst_x, dst_y, motion_x, motion_y) a row."""
    array = np.zeros(len(rows), VECTOR)
    names = ("source", "w", "h", "dst_x", "dst_y", "motion_x", "motion_y")
    for row, values in zip(array, rows, strict=True):
        for name, value in zip(names, values, strict=True):
            row[name] = value
    array["motion_scale"] = scale
    return array


def grid_of(width, height, *frames):
    gridder = Gridder(width, height)
    for frame in frames:
        gridder.add("P", frame)
    return gridder.take()


def test_as_ffmpeg_lays_it_out():
    """AVMotionVector has 40 bytes, libavutil/motion_vector.h."""
    assert VECTOR.itemsize == 40
    places = {name: offset for name, (_, offset) in VECTOR.fields.items()}
    assert [places[name] for name in ("source", "w", "dst_x", "flags", "motion_x", "motion_scale")] == [
        0, 4, 10, 16, 24, 32
    ]  # fmt: skip


def test_sign_and_place():
    chunk = grid_of(40, 20, vectors((-1, 16, 16, 24, 8, -6, 4)))
    assert chunk.block_size == 16 and chunk.grid.shape == (1, 2, 3, 2) and chunk.grid.dtype == np.int16
    assert chunk.grid[0, 0, 1].tolist() == [6, -4]  # destination minus source
    assert chunk.mask[0].tolist() == [[INTRA, INTER, INTRA], [INTRA] * 3]
    assert np.count_nonzero(chunk.grid) == 2 and chunk.has_motion.tolist() == [True]


@pytest.mark.parametrize(("w", "h", "block"), [(16, 16, 16), (8, 8, 8), (16, 8, 8), (8, 4, 4), (4, 4, 4)])
def test_finest_block_decides(w, h, block):
    chunk = grid_of(32, 16, vectors((-1, 16, 16, 8, 8, 2, 2), (-1, w, h, 16 + w // 2, h // 2, -2, 0)))
    assert chunk.block_size == block
    cells = np.argwhere(chunk.grid[0, ..., 0] == 2)  # the second block
    assert len(cells) == w * h // block**2 and cells[:, 1].min() == 16 // block
    assert (chunk.mask[0, :, : 16 // block] == INTER).all()


@pytest.mark.parametrize("x", range(-24, 49, 8))
@pytest.mark.parametrize("y", range(-24, 41, 8))
def test_blocks_of_two_by_two_cells_reach_over_the_edge(x, y):
    """Cells of 8 pixels; a block of 16 pixels at every corner, most of them cut by the picture or outside of it."""
    fine = (-1, 8, 8, 4, 4, 0, 0)  # makes the cells fine
    chunk = grid_of(32, 24, vectors(fine), vectors((-1, 16, 16, x + 8, y + 8, -6, 4)))
    picture = np.zeros((24 + 96, 32 + 96), bool)
    picture[y + 48 : y + 64, x + 48 : x + 64] = True
    covered = picture[48:72, 48:80][::8, ::8]
    np.testing.assert_array_equal(chunk.mask[1], np.where(covered, INTER, INTRA))
    np.testing.assert_array_equal(chunk.grid[1], np.where(covered[..., None], [6, -4], 0))


def test_of_two_past_vectors_the_last_listed_wins():
    whole, part = (-1, 16, 16, 8, 8, 2, 2), (-1, 8, 8, 12, 4, -8, -8)
    assert grid_of(16, 16, vectors(whole, part)).grid[0, ..., 0].tolist() == [[-2, 8], [-2, -2]]
    assert grid_of(16, 16, vectors(part, whole)).grid[0, ..., 0].tolist() == [[-2, -2], [-2, -2]]


@pytest.mark.parametrize("turn", [1, -1])
def test_past_has_precedence_over_future_wherever_it_is_listed(turn):
    rows = [(-1, 16, 16, 8, 8, 2, 2), (1, 16, 16, 24, 8, 9, 9), (1, 16, 16, 8, 8, 9, 9)]
    chunk = grid_of(48, 16, vectors(*rows[::turn]))
    assert chunk.mask[0].tolist() == [[INTER, FUTURE, INTRA]] and chunk.grid[0, 0, :, 0].tolist() == [-2, 0, 0]


def test_a_zero_vector_is_no_missing_vector():
    chunk = grid_of(32, 16, vectors((-1, 16, 16, 8, 8, 0, 0)))
    assert chunk.has_motion.tolist() == [True] and chunk.mask[0].tolist() == [[INTER, INTRA]] and not chunk.grid.any()


def test_future_alone_is_no_motion():
    chunk = grid_of(16, 16, vectors((1, 16, 16, 8, 8, 2, 2)), None, vectors())
    assert chunk.has_motion.tolist() == [False] * 3 and (chunk.mask == INTRA).all() and not chunk.grid.any()


def test_blocks_beyond_the_edge_are_cut():
    edges = [(-1, 16, 16, 40, 8, 2, 2), (-1, 16, 16, -8, 8, 6, 6), (-1, 16, 16, 8, -8, 6, 6), (-1, 16, 16, 8, 40, 6, 6)]
    chunk = grid_of(20, 16, vectors(*edges, (-1, 16, 16, 8, 8, 4, 4)))
    assert chunk.grid[0, 0, :, 0].tolist() == [-4, 0]
    assert chunk.mask[0].tolist() == [[INTER, INTRA]]


def test_frames_so_far_follow_to_a_finer_grid():
    coarse, fine = vectors((-1, 16, 16, 8, 8, 2, 2)), vectors((-1, 8, 8, 4, 4, 6, 6))
    chunk = grid_of(20, 12, None, coarse, fine, coarse)
    assert chunk.block_size == 8 and chunk.grid.shape == (4, 2, 3, 2) and chunk.mask.shape == (4, 2, 3)
    assert (chunk.mask[0] == INTRA).all() and not chunk.grid[0].any()
    for t in (1, 3):
        assert chunk.grid[t, ..., 0].tolist() == [[-2, -2, 0], [-2, -2, 0]]
    assert chunk.grid[2, ..., 0].tolist() == [[-6, 0, 0], [0, 0, 0]]
    assert chunk.mask[2].tolist() == [[INTER, INTRA, INTRA], [INTRA] * 3]


def test_the_next_chunk_stays_fine():
    gridder = Gridder(20, 12)
    gridder.add("P", vectors((-1, 8, 8, 4, 4, 6, 6)))
    assert gridder.take().block_size == 8
    gridder.add("I", None)
    chunk = gridder.take()
    assert chunk.block_size == 8 and chunk.types.tolist() == ["I"] and chunk.has_motion.tolist() == [False]


@pytest.mark.parametrize("size", [(20, 12), (33, 47), (16, 16), (5, 3)])
def test_refine_keeps_every_pixel(size):
    width, height = size
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 99, (2, -(-height // 16), -(-width // 16), 2))
    for block in (16, 8, 4):
        fine = refine(coarse, 16, block, height, width)
        assert fine.shape == (2, -(-height // block), -(-width // block), 2)
        for y, x in [(0, 0), (height - 1, width - 1), (height // 2, width // 2)]:
            assert (fine[:, y // block, x // block] == coarse[:, y // 16, x // 16]).all()


def test_scales_must_agree():
    mixed = vectors((-1, 16, 16, 8, 8, 2, 2), (-1, 16, 16, 24, 8, 2, 2))
    mixed["motion_scale"][1] = 4
    with pytest.raises(ValueError, match="several scales"):
        grid_of(32, 16, mixed)
    with pytest.raises(ValueError, match="4 units per pixel after vectors of 2"):
        grid_of(32, 16, mixed[:1], mixed[1:])


def test_numbers_that_no_encoder_writes():
    """A damaged stream may say anything; nothing leaves the range of the grid."""
    wild = vectors((-1, 255, 255, 32767, 32767, 2**31 - 1, -(2**31)), (-1, 16, 16, 8, 8, -(2**31), 2**31 - 1))
    chunk = grid_of(16, 16, wild)
    assert (chunk.grid[0, 0, 0] == [32767, -32767]).all()
    with pytest.raises(ValueError, match="power of two"):
        grid_of(16, 16, vectors((-1, 16, 16, 8, 8, 2, 2), scale=0))
