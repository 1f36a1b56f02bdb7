"""Plots: colours that mean what they say, files that repeat; and no torch in the room."""

import colorsys
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from moclip.report import plots


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.mark.parametrize(
    ("vector", "hue"),
    [((5, 0), 0), ((0, 5), 90), ((-5, 0), 180), ((0, -5), 270), ((5, 5), 45)],  # right, down, left, up, down right
)
def test_hue_is_direction(vector, hue):
    colour = plots.colour_field(np.array([[vector]], float), bound=5)[0, 0]
    found, saturation, value = colorsys.rgb_to_hsv(*colour)
    assert 360 * found == pytest.approx(hue) and saturation == pytest.approx(1) and value == 1


def test_right_is_red_and_no_motion_is_white():
    colours = plots.colour_field(np.array([[[4.0, 0], [2, 0], [0, 0], [400, 0]]]), bound=4)
    assert colours.shape == (1, 4, 3)
    np.testing.assert_allclose(colours[0], [[1, 0, 0], [1, 0.5, 0.5], [1, 1, 1], [1, 0, 0]])


def test_figures_repeat_byte_for_byte(tmp_path):
    plots.use_style()
    for folder in ("one", "two"):
        figure, axes = plt.subplots(figsize=(2, 1))
        plots.learning_curve(axes, pd.DataFrame({"epoch": [1, 2, 3], "accuracy": [0.1, 0.5, 0.6]}), "mixed")
        plots.save_figure(tmp_path / folder, "curve", figure)
        plt.close(figure)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["curve.pdf", "curve.png"]
    for name, start in (("curve.png", b"\x89PNG"), ("curve.pdf", b"%PDF")):
        one = (tmp_path / "one" / name).read_bytes()
        assert one.startswith(start) and one == (tmp_path / "two" / name).read_bytes()
        assert b"CreationDate" not in one and b"tIME" not in one


def test_bars_stand_in_order_with_their_intervals(axes):
    rows = pd.DataFrame(
        [("fusion", 0.9, 0.85, 0.93), ("zero_shot", 0.4, 0.3, 0.5), ("mv_only", 0.6, 0.5, 0.7)],
        columns=["system", "accuracy", "low", "high"],
    )
    plots.accuracy_bars(axes, rows, {"appearance": 0.625, "motion": 1.0})
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zero-shot", "MV-only", "fusion"]
    assert [bar.get_width() for bar in axes.containers[1]] == pytest.approx([40, 60, 90])
    assert [bar.get_facecolor() for bar in axes.containers[1]] == [
        matplotlib.colors.to_rgba(plots.COLOURS[name]) for name in ("zero_shot", "mv_only", "fusion")
    ]
    (segments,) = (lines.get_segments() for lines in axes.containers[0].lines[2])
    np.testing.assert_allclose([segment[:, 0] for segment in segments], [(30, 50), (50, 70), (85, 93)])
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([62.5]), "a ceiling of 100 % is none"
    assert plots.LABELS.keys() == plots.COLOURS.keys()


def test_arrows_stand_where_something_moves(axes):
    field = np.zeros((32, 48, 2))
    field[:16, 16:32] = (3, -2)
    plots.quiver(axes, np.zeros((32, 48, 3), np.uint8), field, step=16, magnify=2.0)
    (arrows,) = [child for child in axes.get_children() if isinstance(child, matplotlib.quiver.Quiver)]
    assert (arrows.U.tolist(), arrows.V.tolist()) == ([3], [-2])
    assert arrows.XY.tolist() == [[24, 8]] and arrows.angles == "xy"
    assert axes.yaxis_inverted(), "y grows downwards, as in the picture"


def test_score_bars_mark_the_truth(axes):
    plots.score_bars(axes, ["cat", "dog"], [0.7, 0.3], truth="dog")
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == ["#BBBBBB", plots.COLOURS["fusion"]] and axes.yaxis_inverted()


def test_the_room_of_reports_loads_no_torch():
    code = """
import sys, pkgutil, importlib
import moclip.report
names = [module.name for module in pkgutil.iter_modules(moclip.report.__path__, "moclip.report.")]
assert {"moclip.report.metrics", "moclip.report.tables", "moclip.report.plots"} <= set(names)
for name in names:
    importlib.import_module(name)
print(*sorted({"torch", "timm", "av", "transformers", "clip"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == ""
