"""Pictures of the coded stream: arrows to the right frames, colours that mean what the legend says."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.quiver import Quiver

from moclip.report.figures import motion as fields
from moclip.report.systems import SYSTEMS
from moclip.video import Motion


@pytest.fixture
def motion():
    """An I-frame and a P-frame of 40 x 24 pixels: 3 x 2 blocks, the last column and row cut by the image's border."""
    grid, mask = np.zeros((2, 2, 3, 2), np.int16), np.ones((2, 2, 3), np.uint8)
    mask[0] = 2
    grid[1, 0, 1] = (6, -2)  # 3 right, 1 up
    mask[1, 1, 0], mask[1, 1, 2] = 2, 0
    types, has_motion = np.array(["I", "P"]), np.array([False, True])
    return Motion(grid, mask, types, has_motion, scale=2, block_size=16, width=40, height=24, fps=25.0)


@pytest.mark.parametrize(
    ("vector", "direction"), [((5, 0), "right"), ((0, 5), "down"), ((-5, 0), "left"), ((0, -5), "up")]
)
def test_a_direction_has_its_colour(vector, direction):
    colour = fields.colour_field(np.array([[vector]], float), bound=5)[0, 0]
    expected = dict(zip(["right", "down", "left", "up"], fields.DIRECTION_COLOURS, strict=True))[direction]
    assert to_hex(colour).upper() == expected
    assert set(fields.DIRECTION_COLOURS) <= {*(system.colour for system in SYSTEMS.values()), "#F0E442"}, (
        "Okabe and Ito's"
    )


def test_between_two_directions_their_colours_are_mixed():
    angles = np.deg2rad([45, 135, 225, 315, 9, 351])
    colours = fields.colour_field(np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None], bound=1)[0]
    right, down, left, up = (np.array(to_rgb(colour)) for colour in fields.DIRECTION_COLOURS)
    expected = [(right + down) / 2, (down + left) / 2, (left + up) / 2, (up + right) / 2]
    expected += [0.9 * right + 0.1 * down, 0.9 * right + 0.1 * up]
    np.testing.assert_allclose(colours, expected, atol=1e-9)


def test_no_motion_is_white_and_the_bound_is_full():
    colours = fields.colour_field(np.array([[[4.0, 0], [2, 0], [0, 0], [400, 0], [-1e-9, -1e-30]]]), bound=4)
    right = np.array(to_rgb(fields.DIRECTION_COLOURS[0]))
    assert colours.shape == (1, 5, 3)
    np.testing.assert_allclose(colours[0], [right, (1 + right) / 2, [1, 1, 1], right, [1, 1, 1]], atol=1e-8)


def test_every_colour_is_one():
    angles = np.linspace(-np.pi, np.pi, 721)
    colours = fields.colour_field(np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None], bound=1)
    assert colours.min() >= 0 and colours.max() <= 1
    assert np.abs(np.diff(colours[0], axis=0)).max() < 0.01, "no jumps"


def test_arrows_stand_where_something_moves(axes):
    field = np.zeros((32, 48, 2))
    field[:16, 16:32] = (3, -2)
    fields.quiver(axes, np.zeros((32, 48, 3), np.uint8), field, step=16, magnify=2.0)
    (arrows,) = [child for child in axes.get_children() if isinstance(child, Quiver)]
    assert (arrows.U.tolist(), arrows.V.tolist()) == ([3], [-2])
    assert arrows.XY.tolist() == [[24, 8]] and arrows.angles == "xy"
    assert axes.yaxis_inverted(), "y grows downwards, as in the picture"


@pytest.mark.parametrize(
    ("types", "pairs"),
    [
        ("IPP", [(1, 0), (2, 1)]),
        ("IPIP", [(1, 0), (3, 2)]),
        ("IBBP", [(1, 0), (1, 3), (2, 0), (2, 3), (3, 0)]),
        ("IBPBI", [(1, 0), (1, 2), (2, 0), (3, 2), (3, 4)]),
        ("IB", [(1, 0)]),  # cut off: what it pointed forward to is gone
        ("BI", [(0, 1)]),
        ("PP", [(1, 0)]),
        ("III", []),
    ],
)
def test_frames_point_to_their_neighbours(types, pairs):
    assert fields.references(types) == pairs


def test_strip_frames_each_picture_in_the_colour_of_its_type(axes):
    frames = np.zeros((4, 28, 40, 3), np.uint8)
    fields.gop_strip(axes, frames, list("IBPI"), "a title")
    assert [text.get_text() for text in axes.texts] == ["I0", "B1", "P2", "I3"]
    borders = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [to_hex(patch.get_edgecolor()).upper() for patch in borders] == [fields.TYPE_COLOURS[k] for k in "IBPI"]
    assert len(axes.images) == 4 and axes.get_title(loc="left") == "a title"
    for image, border in zip(axes.images, borders, strict=True):
        left, right, bottom, top = image.get_extent()
        assert (left, right) == pytest.approx((border.get_x(), border.get_x() + 1))
        assert bottom - top == pytest.approx(28 / 40), "thumbnails keep their shape"


def test_arrows_go_from_a_frame_to_its_reference(axes):
    types = list("IBBPI")
    fields.gop_strip(axes, np.zeros((5, 28, 40, 3), np.uint8), types, "")
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    borders = [patch for patch in axes.patches if isinstance(patch, Rectangle)]

    def under(x):
        (index,) = [i for i, border in enumerate(borders) if border.get_x() < x < border.get_x() + 1]
        return index

    ends = [tuple(under(x) for x, _ in arrow._posA_posB) for arrow in arrows]
    assert ends == fields.references(types)
    colours = [to_hex(arrow.get_edgecolor()).upper() for arrow in arrows]
    assert colours == [fields.TYPE_COLOURS[types[index]] for index, _ in ends]
    lowest = max(arrow.get_path().vertices[:, 1].max() for arrow in arrows)
    assert lowest < axes.get_ylim()[0], "no arrow is cut off"


def test_one_arrow_a_moving_block_in_its_middle(axes, motion):
    fields.block_map(axes, np.zeros((24, 40, 3), np.uint8), motion, 1, magnify=4)
    (arrows,) = [child for child in axes.get_children() if isinstance(child, Quiver)]
    assert (arrows.U.tolist(), arrows.V.tolist()) == ([12], [-4]), "pixels times 4"
    assert arrows.XY.tolist() == [[16 + 7.5, 7.5]] and arrows.pivot == "middle"
    assert axes.yaxis_inverted(), "y grows downwards, as in the picture"
    lines = [segment for child in axes.collections if child is not arrows for segment in child.get_segments()]
    assert sorted({float(s[0, 0]) for s in lines if s[0, 0] == s[1, 0]}) == [15.5, 31.5]
    assert sorted({float(s[0, 1]) for s in lines if s[0, 1] == s[1, 1]}) == [15.5]


def test_kinds_tell_zero_from_nothing(motion):
    zero = "zero vector"
    assert fields.block_kinds(motion, 1).tolist() == [[zero, "vector", zero], ["intra", zero, "future only"]]
    assert set(fields.block_kinds(motion, 0).ravel()) == {"intra"}


def test_mask_map_colours_blocks_and_counts_them(axes, motion):
    fields.mask_map(axes, motion, 1)
    (image,) = axes.images
    for row, column in np.ndindex(2, 3):
        kind = fields.block_kinds(motion, 1)[row, column]
        assert image.get_array()[row, column].tolist() == pytest.approx(to_rgb(fields.KIND_COLOURS[kind]))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["vector (1)", "zero vector (3)", "intra (1)", "future only (1)"]
    assert image.get_extent() == [-0.5, 47.5, 31.5, -0.5], "blocks reach beyond the image"
    assert (*axes.get_xlim(), *axes.get_ylim()) == (-0.5, 39.5, 23.5, -0.5), "and are cut there"


def test_legend_names_only_what_is_there(axes, motion):
    fields.mask_map(axes, motion, 0)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["intra (6)"]


def test_the_wheel_agrees_with_the_fields(axes):
    fields.colour_wheel(axes, 7.5)
    (image,) = axes.images
    colours, (left, right, bottom, top) = image.get_array(), image.get_extent()
    size = len(colours)

    def at(x, y):
        row = round((y - top) / (bottom - top) * (size - 1))
        return colours[row, round((x - left) / (right - left) * (size - 1))]

    for x, y in [(0.9, 0), (0, 0.9), (-0.9, 0), (0, -0.9), (0.5, -0.5), (0, 0)]:
        expected = fields.colour_field(7.5 * np.array([[[x, y]]]), bound=7.5)[0, 0]
        assert at(x, y).tolist() == pytest.approx([*expected, 1], abs=1e-6)
    assert at(0.9, 0.9)[3] == 0, "nothing outside the disc"
    assert axes.yaxis_inverted() and "7.5 px" in " ".join(text.get_text() for text in axes.texts)


def test_strip_of_fields_shares_its_colours():
    figure, axes = plt.subplots(1, 3)
    slow, fast = np.zeros((4, 6, 2)), np.zeros((4, 6, 2))
    slow[...], fast[...] = (2, 0), (0, 8)
    fields.field_strip(axes, [slow, fast], ["P1", "P2"], "raw")
    assert [place.get_title() for place in axes] == ["P1", "P2", ""] and axes[0].get_ylabel() == "raw"
    for place, field in zip(axes, (slow, fast), strict=False):
        np.testing.assert_array_equal(place.images[0].get_array(), fields.colour_field(field, 8))
    assert any("8.0 px" in text.get_text() for text in axes[2].texts)
    plt.close(figure)


def test_three_views_of_a_frame(motion):
    figure, axes = plt.subplots(1, 3)
    fields.three_views(axes, np.zeros((24, 40, 3), np.uint8), motion, 1)
    length = np.hypot(3, 1)
    assert axes[0].get_title() == f"frame 1 (P), arrows {20 / length:.1f} times"
    assert [place.get_title() for place in axes[1:]] == [
        f"{name}, colours to 3.2 px" for name in ("raw", "accumulated")
    ]
    for place, field in zip(axes[1:], (motion.raw(1), motion.accumulated(1)), strict=True):
        np.testing.assert_allclose(place.images[0].get_array(), fields.colour_field(field, length), atol=1e-6)
    plt.close(figure)


def test_a_stray_vector_gives_no_measure():
    field = np.zeros((20, 20, 2))
    assert fields.reach(field) == 1, "never zero"
    field[:10] = (3, -4)
    assert fields.reach(field) == 5, "what does not move does not count"
    field[0, 0] = (300, 400)
    assert fields.reach(field) == 5
    field[...] = (0.25, 0)
    assert fields.reach(field) == 1


def test_a_stray_arrow_does_not_cross_the_picture(motion):
    figure, axes = plt.subplots(1, 3)
    grid = np.full((2, 10, 10, 2), (2, 0), np.int16)  # all go 1 pixel to the right,
    grid[1, 0, 0] = (0, 96)  # but for one: 48 pixels down
    mask = np.ones((2, 10, 10), np.uint8)
    motion = dataclasses.replace(motion, grid=grid, mask=mask, width=160, height=160)
    fields.three_views(axes, np.zeros((160, 160, 3), np.uint8), motion, 1)
    (arrows,) = [child for child in axes[0].get_children() if isinstance(child, Quiver)]
    assert max(arrows.V) / arrows.scale == pytest.approx(4 * motion.block_size)
    plt.close(figure)
