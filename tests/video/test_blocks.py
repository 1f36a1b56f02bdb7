import numpy as np
import pytest

from moclip.video.blocks import INTER, INTRA, NONE, stack, to_blocks

FIELDS = [
    ("source", "i4"),
    ("w", "u1"),
    ("h", "u1"),
    ("dst_x", "i2"),
    ("dst_y", "i2"),
    ("motion_x", "i4"),
    ("motion_y", "i4"),
    ("motion_scale", "u2"),
]


def vectors(*rows):
    """(source, w, h, dst_x, dst_y, motion_x, motion_y) a row, half-pixel units."""
    return np.array([(*row, 2) for row in rows], FIELDS)


def test_sign_and_place():
    field = to_blocks(vectors((-1, 16, 16, 24, 8, -6, 4)), 40, 20)
    assert field.block == 16 and field.scale == 2 and field.grid.shape == (2, 3, 2)
    assert field.grid[0, 1].tolist() == [6, -4]  # destination minus source
    assert field.mask.tolist() == [[INTRA, INTER, INTRA], [INTRA] * 3]
    assert np.count_nonzero(field.grid) == 2


@pytest.mark.parametrize(("w", "h", "block"), [(16, 16, 16), (8, 8, 8), (16, 8, 8), (8, 4, 4), (4, 4, 4)])
def test_finest_block_decides(w, h, block):
    field = to_blocks(vectors((-1, 16, 16, 8, 8, 2, 2), (-1, w, h, 16 + w // 2, h // 2, -2, 0)), 32, 16)
    assert field.block == block
    cells = np.argwhere(field.grid[..., 0] == 2)  # the second block
    assert len(cells) == w * h // block**2 and cells[:, 1].min() == 16 // block


def test_last_listed_wins():
    field = to_blocks(vectors((-1, 16, 16, 8, 8, 2, 2), (-1, 8, 8, 12, 4, -8, -8)), 16, 16)
    assert field.grid[..., 0].tolist() == [[-2, 8], [-2, -2]]
    field = to_blocks(vectors((-1, 8, 8, 12, 4, -8, -8), (-1, 16, 16, 8, 8, 2, 2)), 16, 16)
    assert field.grid[..., 0].tolist() == [[-2, -2], [-2, -2]]


def test_future_only_is_no_vector():
    field = to_blocks(vectors((-1, 16, 16, 8, 8, 2, 2), (1, 16, 16, 24, 8, 9, 9), (1, 16, 16, 8, 8, 9, 9)), 48, 16)
    assert field.mask.tolist() == [[INTER, NONE, INTRA]] and field.grid[0, :, 0].tolist() == [-2, 0, 0]
    assert to_blocks(vectors((1, 16, 16, 8, 8, 2, 2)), 16, 16) is None


def test_blocks_beyond_the_edge_are_cut():
    field = to_blocks(vectors((-1, 16, 16, 40, 8, 2, 2), (-1, 16, 16, 8, 8, 4, 4)), 20, 16)
    assert field.grid[0, :, 0].tolist() == [-4, 0]


def test_stack_on_the_finest_grid():
    coarse = to_blocks(vectors((-1, 16, 16, 8, 8, 2, 2)), 20, 12)
    fine = to_blocks(vectors((-1, 8, 8, 4, 4, 6, 6)), 20, 12)
    grid, mask, block = stack([None, coarse, fine], 20, 12)
    assert block == 8 and grid.shape == (3, 2, 3, 2) and grid.dtype == np.int16
    assert (mask[0] == INTRA).all() and not grid[0].any()
    assert grid[1, ..., 0].tolist() == [[-2, -2, 0], [-2, -2, 0]]
    assert grid[2, ..., 0].tolist() == [[-6, 0, 0], [0, 0, 0]]


def test_scales_must_agree():
    mixed = vectors((-1, 16, 16, 8, 8, 2, 2), (-1, 16, 16, 24, 8, 2, 2))
    mixed["motion_scale"][1] = 4
    with pytest.raises(ValueError, match="scales"):
        to_blocks(mixed, 32, 16)
