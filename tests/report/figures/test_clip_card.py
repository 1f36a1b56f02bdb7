"""A clip on a card: its pictures, its motion, and what the systems say, for all kinds of streams."""

import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

from moclip.report.figures import motion as fields
from moclip.report.figures import style
from moclip.report.figures.clip_card import card
from moclip.report.systems import SYSTEMS
from moclip.video import Motion


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def scores():
    return {
        "zero_shot": pd.Series([0.6, 0.4], index=["Bowling", "Archery"]),
        "mv_only": pd.Series([0.5, 0.3, 0.2], index=["Chess", "Diving", "Bowling"]),
        "fusion": pd.Series([0.9, 0.1], index=["Archery", "Bowling"]),
        "appearance_head": pd.Series([0.8, 0.2], index=["Archery", "Chess"]),
    }


def coded(types, vectors=None):
    """A Motion of 160 x 160 pixels; all blocks of a P- or B-frame go ``vectors`` (half pixels), else 3 pixels right."""
    count, moving = len(types), np.array([kind != "I" for kind in types])
    grid = np.zeros((count, 10, 10, 2), np.int16)
    grid[moving] = (6, 0) if vectors is None else np.reshape(vectors, (10, 10, 2))
    mask = np.where(moving[:, None, None], 1, 2) * np.ones((count, 10, 10), int)
    return Motion(grid, mask.astype(np.uint8), np.array(list(types)), moving, 2, 16, 160, 160, 25.0)


def drawn(motion, t, scores):
    seen, at = np.full((160, 160, 3), 10, np.uint8), np.full((160, 160, 3), 200, np.uint8)
    figure = card(seen, at, motion, t, scores, "Archery", "a title")
    top, bottom = figure.subfigs
    assert top.get_suptitle() == "a title"
    return figure, top.axes, bottom.axes, seen, at


def arrows(axes):
    (found,) = [child for child in axes.get_children() if isinstance(child, Quiver)]
    return found


def test_pictures_and_motion(scores):
    motion = coded("IPPP")
    _, (picture, frame, raw, accumulated, key), _, seen, at = drawn(motion, 3, scores)
    np.testing.assert_array_equal(picture.images[0].get_array(), seen)
    np.testing.assert_array_equal(frame.images[0].get_array(), at)
    assert set(arrows(frame).U) == {3} and set(arrows(frame).V) == {0} and "frame 3" in frame.get_title()
    np.testing.assert_allclose(raw.images[0].get_array(), fields.colour_field(motion.raw(3), 3), atol=1e-6)
    sums = motion.accumulated(3)
    assert sums[80, 80].tolist() == [9, 0], "three steps of three pixels"
    np.testing.assert_allclose(accumulated.images[0].get_array(), fields.colour_field(sums, 9), atol=1e-6)
    assert "raw" in raw.get_title() and "3.0 px" in raw.get_title()
    assert "accumulated" in accumulated.get_title() and "9.0 px" in accumulated.get_title()
    assert {"left", "up", "down"} <= {text.get_text() for text in key.texts}, "a key to the colours, of no length"


def test_bars_of_each_system_in_its_colour(scores):
    _, _, bars, _, _ = drawn(coded("IP"), 1, scores)
    assert [axes.get_title() for axes in bars] == [
        "zero-shot: wrong", "MV-only: wrong", "fusion: right", "appearance head: right",
    ]  # fmt: skip
    for axes, (system, best) in zip(bars, scores.items(), strict=True):
        assert [bar.get_width() for bar in axes.patches] == best.tolist()
        assert [label.get_text() for label in axes.get_yticklabels()] == list(best.index)
        true = [to_hex(bar.get_facecolor()).upper() == SYSTEMS[system].colour for bar in axes.patches]
        assert true == [name == "Archery" for name in best.index]


@pytest.mark.parametrize(
    "motion",
    [
        coded("IPPP"),
        coded("IBPBP"),
        coded("IP", [(0, 0)] * 100),  # vectors, all of them zero
        coded("IP", [(0, 1)] + [(0, 0)] * 99),
        coded("IP", [(400, 0)] + [(0, 8)] * 99),
    ],
    ids=["I and P", "with B", "still", "hardly", "wild"],
)
def test_it_draws_without_a_warning(scores, motion, tmp_path):
    style.use_style()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure, *_ = drawn(motion, len(motion) - 1, scores)
        style.save_figure(tmp_path, "card", figure, "alt")


def test_with_b_frames_there_is_nothing_to_add_up(scores):
    _, (_, frame, raw, accumulated, _), _, _, _ = drawn(coded("IBPBP"), 4, scores)
    assert arrows(frame).N == 100 and raw.images and not accumulated.images
    (text,) = accumulated.texts
    assert "B-frames" in text.get_text()


@pytest.mark.parametrize(
    ("vectors", "bound"),
    [
        ([(400, 0)] + [(0, 8)] * 99, "4.0 px"),  # one wild vector does not set the scale,
        ([(0, 8)] + [(0, 0)] * 99, "4.0 px"),  # nor do blocks that stand still,
        ([(0, 1)] + [(0, 0)] * 99, "1.0 px"),  # and half a pixel does not fill the picture
    ],
)
def test_the_scale_is_that_of_most_that_moves(scores, vectors, bound):
    motion = coded("IP", vectors)
    _, (_, frame, raw, _, _), _, _, _ = drawn(motion, 1, scores)
    assert bound in raw.get_title()
    assert np.hypot(arrows(frame).U, arrows(frame).V).max() / arrows(frame).scale <= 4 * motion.block_size + 1e-6
