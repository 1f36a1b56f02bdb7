"""Figure 1 says what it was given, and nothing of itself."""

import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from moclip.report.figures import diagram, style

PARTS = pd.DataFrame(
    [
        {"part": "image tower", "architecture": "Eye-1", "params": 1_110_000, "input": "3 x 96 x 80",
         "feature_dim": 48},
        {"part": "text tower", "architecture": "Ear-2", "params": 22_220_000, "feature_dim": 48},
        {"part": "motion network", "architecture": "Leg-3", "params": 3_330_000, "input": "2 x 64 x 56", "views": 7.0,
         "feature_dim": 24},
        {"part": "head", "architecture": "MLP", "params": 440_000, "feature_dim": 12},
        {"part": "motion network in fusion", "architecture": "Leg-3", "params": 3_330_000, "feature_dim": 24},
    ]
).set_index("part")  # fmt: skip


SETTINGS = {"prompts": "scene", "frame": "middle", "field": "raw", "average": "softmax"}


def drawn(settings=None, classes=9, **trainable):
    parts = PARTS.assign(trainable=[trainable.get(name.replace(" ", "_"), 0) for name in PARTS.index])
    return diagram.overview(parts, classes, **SETTINGS | (settings or {}))


def words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def boxes(figure):
    """Text of each box -> its colour."""
    (axes,) = figure.axes
    found = {}
    for box in (patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)):
        left, bottom, width, height = box.get_x(), box.get_y(), box.get_width(), box.get_height()
        inside = [t for t in axes.texts if left < t.get_position()[0] < left + width]
        (text,) = [t for t in inside if bottom < t.get_position()[1] < bottom + height]
        found[text.get_text()] = matplotlib.colors.to_hex(box.get_facecolor()).upper()
    return found


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_numbers_given_stand_in_it():
    text = "\n".join(words(drawn({"frame": "first", "prompts": "name", "field": "accumulated"})))
    for said in (
        "9 class names\nin prompts (name)", "first frame\n3 x 96 x 80",
        "accumulated motion\nvectors, 2 x 64 x 56\n7 views",
        "text tower\nEar-2\n22.22 M", "image tower\nEye-1\n1.11 M", "Leg-3\n3.33 M", "class embeddings\n9 x 48",
        "appearance\n48", "motion\n7 x 24", "mean of views\n48 + 24 → 12 → 9\n0.44 M",
    ):  # fmt: skip
        assert said in text
    for pathway in ("(A)\nzero-shot", "(B)\nMV-only", "(C)\nfusion"):
        assert pathway in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("trained", [(), ("head",), ("motion_network", "head"), ("image_tower", "text_tower")])
def test_frozen_and_trained_are_the_models_own(trained):
    """What is said, and the colour behind it, for every network."""
    found = boxes(drawn(**dict.fromkeys(trained, 5)))
    for part, start in (
        ("image_tower", "image tower"), ("text_tower", "text tower"), ("motion_network", "motion network"),
        ("head", "MLP head"),
    ):  # fmt: skip
        ((text, colour),) = [(text, colour) for text, colour in found.items() if text.startswith(start)]
        state = "trained" if part in trained else "frozen"
        assert colour == diagram.FILL[state]
        assert (f"{state} in (B), frozen in (C)" if part == "motion_network" else f"M, {state}") in text
    (colour,) = [colour for text, colour in found.items() if text.startswith("linear")]
    assert colour == diagram.FILL["trained" if "motion_network" in trained else "frozen"]


def test_the_motion_network_in_fusion_has_a_word_of_its_own():
    assert any("frozen in (B), trained in (C)" in text for text in words(drawn(motion_network_in_fusion=5)))


def test_the_legend_tells_the_two_colours_apart():
    figure = drawn(head=5)
    assert {"data", "frozen", "trained"} <= set(words(figure))
    assert len(set(diagram.FILL.values())) == len(diagram.FILL)


@pytest.mark.parametrize(("average", "said"), [("softmax", "mean of probabilities"), ("logit", "mean of logits")])
def test_it_says_what_is_averaged(average, said):
    text = "\n".join(words(drawn({"average": average})))
    assert f"linear on each view,\n{said}" in text


def test_no_text_leaves_its_box_and_none_is_tiny():
    """With names as long as the profiles' own."""
    parts = PARTS.assign(trainable=0)
    parts["architecture"] = ["EfficientNet-Lite0", "MiniLM + ridge regression", "tf_efficientnet_lite0", "MLP", ""]
    parts["input"] = ["3 x 224 x 224", None, "2 x 224 x 224", None, None]
    style.use_style()
    figure = diagram.overview(parts, 101, **SETTINGS | {"field": "accumulated"})
    renderer = figure.canvas.get_renderer()
    (axes,) = figure.axes
    for box in (patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)):
        around = box.get_window_extent(renderer)
        (own,) = [t for t in axes.texts if around.contains(*axes.transData.transform(t.get_position()))]
        extent = own.get_window_extent(renderer)
        assert around.width >= extent.width and around.height >= extent.height, own.get_text()
        assert own.get_fontsize() >= 6


def test_both_files_are_drawn_without_a_warning(tmp_path):
    style.use_style()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save_figure(tmp_path, "figure1", drawn(), "alt")
