"""The page of a data set: its numbers, and that it can be drawn for few and for many classes."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from moclip.datasets.base import Clip, VideoDataset
from moclip.datasets.facts import Facts
from moclip.inputs.transforms import InputScale
from moclip.studies.shortcuts import data_stats
from moclip.studies.shortcuts import figures as data_plots


def fact(lengths: list[int], distance: float = 12, b_share: float | None = 0.0, width: int = 320) -> Facts:
    common = {"sha256": "", "bytes": 1000, "codec": "mpeg4", "width": width, "height": 240, "fps": 25.0}
    return Facts(
        **common, frames=50, decoded=50, gop=None, i_share=1 / distance, b_share=b_share, scale=2, lengths=lengths
    )


@pytest.fixture
def few() -> tuple[VideoDataset, dict[str, Facts]]:
    """Two classes; one clip could not be read, one has no vectors."""
    places = [("B", "b1"), ("B", "b2"), ("A", "a1"), ("A", "a2"), ("A", "bad")]
    clips = [Clip(Path(f"{name}.avi"), "BA".index(label), label, name[0], name) for label, name in places]
    data = VideoDataset("x", "about x", ("B", "A"), train=clips[:2], test=clips[2:])
    facts = {"b1": fact([6, 0, 2]), "b2": fact([2, 0, 0, 0, 2]), "a1": fact([0, 4], 50, 0.5), "a2": fact([], 10, None)}
    return data, facts


def test_clips_and_classes(few) -> None:
    data, facts = few
    clips = data_stats.clips(data, facts, InputScale("pixels", 1.5)).set_index("video")
    assert list(clips.index) == ["b1", "b2", "a1", "a2"] and clips.loc["b2", "saturated"] == 0.5
    assert clips.loc["b1", "mean_length"] == 0.25 and clips.loc["a1", "vectors"] == 4
    assert np.isnan(clips.loc["a2", "saturated"]) and clips.loc["b1", "kbit_s"] == 4
    classes = data_stats.classes(clips.reset_index(), list(data.classes)).set_index("class_name")
    assert list(classes.index) == ["B", "A"], "the data set's order, not the alphabet's"
    assert classes["train"].tolist() == [2, 0] and classes["test"].tolist() == [0, 2]
    assert classes["saturated"].tolist() == pytest.approx([2 / 12, 0], abs=1e-6) and classes["b_clips"].tolist() == [
        0,
        0.5,
    ]
    assert classes["median_i_distance"].tolist() == pytest.approx([12, 30])


def test_vectors_are_counted_in_the_network_s_units(few) -> None:
    _, facts = few
    shares = data_stats.longer_than(facts, InputScale()).set_index("length")["share"]
    # of 16 vectors in half pixels: 8 of 0, 4 of 1 (half a pixel), 2 of 2, 2 of 4
    assert shares[0] == 0.5 and shares[0.5] == 0.25 and shares[1] == 0.125 and shares[2] == 0
    narrow = {name: replace(own, width=170) for name, own in facts.items()}  # half of 340: a pixel counts twice
    double = data_stats.longer_than(narrow, InputScale("equivalent")).set_index("length")["share"]
    assert double[1] == shares[0.5] and double[2] == shares[1] and double[3] == 0.125 and double[4] == 0
    none = data_stats.longer_than({"a2": facts["a2"]}, InputScale())
    assert none["share"].isna().all()


@pytest.mark.parametrize("count", [2, 101])
def test_the_page(count: int) -> None:
    names = [f"Class{number}" for number in range(count)]
    clips = [Clip(Path(f"{n}{k}"), names.index(n), n, f"g{k}", f"{n}-{k}") for n in names for k in range(3)]
    data = VideoDataset("x", "", names, train=clips[::2], test=[])
    facts = {clip.name: fact([5, 3, 1], distance=2 + clip.label) for clip in clips}
    table = data_stats.clips(data, facts, InputScale())
    classes, longer = data_stats.classes(table, names), data_stats.longer_than(facts, InputScale())
    figure, text = data_plots.page(table, classes, longer, 20, "a title")
    assert len(figure.axes) == 8 and all(axes.has_data() for axes in figure.axes)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (labels == names) if count == 2 else "Class7" not in labels
    bars = sum(patch.get_width() for patch in figure.axes[0].patches)
    assert bars == len(table)
    assert f"{len(table)} clips of {count} classes" in text and "0.00 % over all" in text
    figure.canvas.draw()
    plt.close(figure)


def test_a_page_without_vectors(few) -> None:
    data, facts = few
    own = {"a2": facts["a2"]}
    table = data_stats.clips(data, own, InputScale())
    figure, _ = data_plots.page(
        table, data_stats.classes(table, ["B", "A"]), data_stats.longer_than(own, InputScale()), 20, ""
    )
    figure.canvas.draw()
    plt.close(figure)


def test_bars_and_dots_of_the_audit() -> None:
    rows = [("original", "all", 0.8), ("original", "settings", 0.6), ("re-encoded", "all", 0.3)]
    audit = pd.DataFrame(rows, columns=["stream", "features", "accuracy"])
    audit = audit.assign(low=audit["accuracy"] - 0.1, high=[0.9, 0.7, np.nan], permuted=0.21, chance=0.2)
    colours = {"original": "#D55E00", "re-encoded": "#0072B2"}
    _, axes = plt.subplots()
    data_plots.shortcut_bars(axes, audit, colours)
    assert [patch.get_width() for patch in axes.patches] == pytest.approx([80, 60, 30])
    assert [label.get_text() for label in axes.get_yticklabels()][2] == "all (re-encoded)"
    assert [text.get_text() for text in axes.texts] == ["80.0", "60.0", "30.0"]
    plt.close()
    told = pd.DataFrame(
        {"stream": "original", "feature": ["gop", "fps"], "alone": [0.6, 0.2], "without": 0.5, "all": 0.7}
    )
    _, axes = plt.subplots()
    data_plots.ablation_dots(axes, told, colours)
    assert axes.lines[0].get_xdata().tolist() == [60, 20]
    assert {line.get_label() for line in axes.lines} == {"original: alone", "original: all others", "original: all"}
    plt.close()
