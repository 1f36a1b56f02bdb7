"""Figures of accuracies: numbers where they belong, labels that can be read."""

import warnings
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from moclip.report.figures import accuracy, style
from moclip.report.systems import SYSTEMS


def test_learning_curves_mark_the_last_and_the_best_epoch():
    history = pd.DataFrame({"epoch": [1, 2, 3], "accuracy": [0.1, 0.5, 0.6]})
    _, axes = plt.subplots()
    accuracy.learning_curve(axes, history, "mixed", "red")
    curve, last = axes.lines
    assert list(curve.get_ydata()) == [0.1, 0.5, 0.6] and (list(last.get_xdata()), list(last.get_ydata())) == (
        [3],
        [0.6],
    )
    _, axes = plt.subplots()
    chosen = history.assign(score=[0.3, 0.4, 0.4], phase="select")
    accuracy.learning_curve(axes, pd.concat([chosen, history[:2].assign(phase="refit")], ignore_index=True))
    curve, scores, last, best = axes.lines
    assert len(curve.get_xdata()) == 3 and list(scores.get_ydata()) == [0.3, 0.4, 0.4]
    assert (list(best.get_xdata()), list(best.get_ydata())) == ([2], [0.4]) and list(last.get_xdata()) == [3]
    assert len({line.get_color() for line in axes.lines}) == 1
    plt.close("all")


def test_bars_stand_in_order_with_their_intervals(axes):
    rows = pd.DataFrame(
        [("fusion", 0.9, 0.85, 0.93), ("zero_shot", 0.4, 0.3, 0.5), ("mv_only", 0.6, 0.5, 0.7)],
        columns=["system", "accuracy", "low", "high"],
    )
    accuracy.accuracy_bars(axes, rows, {"appearance": 0.625, "motion": 1.0})
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zero-shot", "MV-only", "fusion"]
    assert [bar.get_width() for bar in axes.containers[1]] == pytest.approx([40, 60, 90])
    assert [bar.get_facecolor() for bar in axes.containers[1]] == [
        matplotlib.colors.to_rgba(SYSTEMS[name].colour) for name in ("zero_shot", "mv_only", "fusion")
    ]
    (segments,) = (lines.get_segments() for lines in axes.containers[0].lines[2])
    np.testing.assert_allclose([segment[:, 0] for segment in segments], [(30, 50), (50, 70), (85, 93)])
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([62.5]), "a ceiling of 100 % is none"


def test_score_bars_mark_the_truth(axes):
    accuracy.score_bars(axes, pd.Series([0.7, 0.3], index=["cat", "dog"]), truth="dog")
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == ["#BBBBBB", SYSTEMS["fusion"].colour] and axes.yaxis_inverted()
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.3] and axes.get_xlim() == (0, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    accuracy.score_bars(axes, pd.Series([1.0], index=["dog"]), "dog", "#123456")
    assert matplotlib.colors.to_hex(axes.patches[-1].get_facecolor()) == "#123456"


def test_prompts_of_the_true_class_are_marked(axes):
    cosines = pd.Series([0.3, 0.2, 0.1], index=["a cat.", "a cat bed.", "the cat."])
    accuracy.score_bars(axes, cosines, ["the cat.", "a cat."], xlabel="cosine")
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == [SYSTEMS["fusion"].colour, "#BBBBBB", SYSTEMS["fusion"].colour]
    assert axes.get_xlabel() == "cosine" and axes.get_xlim()[1] < 0.4, "no scale of probabilities"


def of_classes(count):
    """A table as `moclip.report.classes.per_class` gives it: class n has n/count, between 0.8 and 1.1 times that."""
    table = pd.DataFrame({"class_name": [f"Class{n:03d}" for n in range(count)]})
    for system, factor in (("zero_shot", 0.25), ("mv_only", 0.5), ("fusion", 0.9), ("appearance_head", 0.8)):
        value = factor * np.arange(count) / count
        table = table.assign(**{system: value, f"{system}_low": 0.8 * value, f"{system}_high": 1.1 * value})
    return table


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 1), (40, 1), (41, 2), (42, 2), (101, 2)])
def test_class_dots_show_every_class_once_and_in_order(count, columns):
    style.use_style()
    table, systems = of_classes(count), ["zero_shot", "mv_only", "fusion"]
    figure = accuracy.class_dots(table, systems, ["Class001", "Class040", "NotHere"])
    assert len(figure.axes) == columns
    labels = [label.get_text() for panel in figure.axes for label in panel.get_yticklabels()]
    starred = ["★ " * (n in (1, 40)) + f"Class{n:03d}" for n in range(count)]
    assert labels == starred
    for index, system in enumerate(systems):
        dots = [panel.containers[1 + index] for panel in figure.axes]
        values = np.concatenate([each.lines[0].get_xdata(orig=False) for each in dots])
        np.testing.assert_allclose(values, 100 * table[system].to_numpy())
        ends = np.concatenate([np.array(each.lines[2][0].get_segments())[:, :, 0] for each in dots])
        np.testing.assert_allclose(ends, 100 * table[[f"{system}_low", f"{system}_high"]].to_numpy())
        heights = np.concatenate([each.lines[0].get_ydata(orig=False) for each in dots])
        rows = np.concatenate([np.arange(len(each.lines[0].get_ydata(orig=False))) for each in dots])
        assert (np.abs(heights - rows) < 0.5).all(), "in the row of its class"
        assert {each.lines[0].get_color() for each in dots} == {SYSTEMS[system].colour}
    assert all(panel.yaxis_inverted() and panel.get_xlim() == pytest.approx((0, 100), abs=3) for panel in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["zero-shot", "MV-only", "fusion"]
    plt.close(figure)


@pytest.mark.parametrize("count", [16, 101])
def test_class_dots_can_be_read_in_print(count, tmp_path):
    style.use_style()
    table = of_classes(count)
    table["class_name"] = ["HandstandPushups"] * count  # as long as UCF101's get
    figure = accuracy.class_dots(table, ["zero_shot", "mv_only", "fusion", "appearance_head"], ["HandstandPushups"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a star that the font lacks
        style.save_figure(tmp_path, "dots", figure, "alt")
    assert figure.get_figwidth() <= 7.1
    labels = [label for panel in figure.axes for label in panel.get_yticklabels()]
    assert min(label.get_fontsize() for label in labels) >= 6
    extents = [label.get_window_extent() for label in labels[:20]]
    assert all(one.y0 >= two.y1 for one, two in pairwise(extents)), "labels do not overlap"
    (legend,) = figure.legends
    names = [text.get_window_extent() for text in legend.get_texts()]
    assert len(names) == 4 and np.ptp([name.y0 for name in names]) < 3, "one line"
    assert legend.get_window_extent().width <= figure.bbox.width


def drawn_confusion(shares, inches):
    figure, axes = plt.subplots(figsize=(inches + 1, inches + 1))
    names = [f"C{n}" for n in range(len(shares))]
    accuracy.confusion(axes, np.array(shares, float), names, "a title", inches)
    return figure, axes, names


def test_confusion_says_percent_of_the_row(tmp_path):
    figure, axes, names = drawn_confusion([[0.6, 0.4, 0], [0.004, 0.25, 0.746], [np.nan] * 3], 2.6)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in ticks] == names
    numbers = {(text.get_position()[1] - 0.5, text.get_position()[0] - 0.5): text for text in axes.texts}
    assert {place: text.get_text() for place, text in numbers.items()} == {
        (0, 0): "60", (0, 1): "40", (1, 1): "25", (1, 2): "75",
    }, "row, then column; nothing where there is next to nothing, or no clip"  # fmt: skip
    assert numbers[0, 0].get_color() == "white" and numbers[1, 1].get_color() == "black"
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("taken for", "true class", "a title")
    (mesh,) = axes.collections
    np.testing.assert_allclose(mesh.get_array()[:2], [[60, 40, 0], [0.4, 25, 74.6]])
    assert mesh.get_clim() == (0, 100) and len(figure.axes) == 1, "numbers need no colour bar"
    plt.close(figure)


@pytest.mark.parametrize(
    ("count", "inches", "numbers"), [(16, 2.6, True), (17, 2.6, True), (18, 2.6, False), (101, 6.2, False)]
)
def test_confusion_writes_numbers_only_where_there_is_room(count, inches, numbers):
    figure, axes, names = drawn_confusion(np.full((count, count), 1 / count), inches)
    assert bool(axes.texts) == numbers and (len(figure.axes) == 2) == (not numbers), "a colour bar instead"
    assert [label.get_text() for label in axes.get_xticklabels()] == names, "labels always"
    size = axes.get_yticklabels()[0].get_fontsize()
    assert size <= 72 * inches / count, "no higher than their rows"
    plt.close(figure)
