"""Clips for Figure 3: margins against scipy, the rule and its frames by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from moclip.io.artefacts import load_predictions, save_predictions
from moclip.report import examples
from moclip.video import Motion


def coded(types, moving=None):
    """A Motion of 32 x 16 pixels, two blocks a frame; the left one goes n pixels right in frame n, where it moves."""
    count = len(types)
    moving = np.array([kind != "I" for kind in types] if moving is None else moving, bool)
    grid = np.zeros((count, 1, 2, 2), np.int16)
    grid[moving, 0, 0, 0] = 2 * np.flatnonzero(moving)
    mask = np.where(moving[:, None, None], 1, 2).astype(np.uint8) * np.ones((count, 1, 2), np.uint8)
    return Motion(grid, mask, np.array(list(types)), moving, scale=2, block_size=16, width=32, height=16, fps=25.0)


# --- the rule -------------------------------------------------------------------------------------------------------


def test_margins_are_of_probabilities():
    rng = np.random.default_rng(0)
    scores, classes = rng.normal(size=(20, 5)) * 30, list("abcde")
    names = [f"v{n}" for n in range(20)]
    truth = {name: str(rng.choice(classes)) for name in names}
    kept = scores.copy()
    found = examples.margins(scores, names, classes, truth)
    np.testing.assert_array_equal(scores, kept, "the caller's scores stay as they are")
    for name, row in zip(names, softmax(scores, axis=1), strict=True):
        column = classes.index(truth[name])
        assert found[name] == pytest.approx(row[column] - np.delete(row, column).max(), abs=1e-12)
    right = scores.argmax(axis=1) == [classes.index(truth[name]) for name in names]
    assert ((found > 0) == right).all() and right.any() and not right.all()


def test_large_scores_do_not_overflow():
    scores = np.array([[1e4, 0.0], [0.0, 1e4]], np.float32)
    found = examples.margins(scores, ["a", "b"], ["x", "y"], {"a": "x", "b": "x"})
    assert found.tolist() == [1, -1]


def test_the_median_clip():
    margins = pd.Series({"e": 0.9, "b": 0.1, "d": 0.8, "a": 0.45, "c": 0.2})
    assert examples.choose(margins, "median", 0) == "a"
    assert examples.choose(margins, "median", 7) == "a", "the seed is for the other rule"
    assert examples.choose(pd.Series({"x": 0.3}), "median", 0) == "x"


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("low", [0.1, 0.3, 1 / 3, 0.7])
def test_two_in_the_middle_are_a_tie(dtype, low):
    """Of an even number of clips two are equally far from the median; rounding must not decide between them."""
    for names in ("ab", "ba"):
        margins = pd.Series([0.0, low, low + 0.2, 1.0], index=["y", *names, "z"], dtype=dtype)
        assert examples.choose(margins, "median", 0) == "a"


def test_random_is_seeded():
    margins = pd.Series(np.linspace(-1, 1, 40), index=[f"v{n:02d}" for n in range(40)])
    drawn = [examples.choose(margins, "random", seed) for seed in range(20)]
    assert drawn == [examples.choose(margins.sample(frac=1, random_state=seed), "random", seed) for seed in range(20)]
    assert len(set(drawn)) > 5 and set(drawn) <= set(margins.index)


@pytest.mark.parametrize("rule", ["median", "random"])
def test_none_of_none(rule):
    assert examples.choose(pd.Series(dtype=float), rule, 0) is None


# --- best classes ---------------------------------------------------------------------------------------------------


def write(folder, dataset, classes, scores, seed=0):
    names = [f"v{n}" for n in range(len(scores))]
    facts = {"dataset": dataset, "protocol": "p", "views": 1, "n_train": 1, "data": "hand-made"}
    targets = [classes[0]] * len(names)
    clips = {"video": names, "group": names, "class_name": targets}
    save_predictions(
        folder / dataset, "fusion", seed, clips=clips, classes=classes, scores=np.array(scores), header=facts
    )


def test_best_classes_are_five_best_first(tmp_path):
    scores = np.random.default_rng(0).normal(size=(3, 8))
    write(tmp_path, "wide", list("abcdefgh"), scores, seed=9)
    write(tmp_path, "wide", list("abcdefgh"), -scores, seed=10)  # its file comes first
    best = examples.best_classes(load_predictions(tmp_path, ["wide"]), "wide", "fusion", "v1")
    probabilities = pd.Series(softmax(scores[1]), index=list("abcdefgh")).sort_values(ascending=False)
    assert best.index.tolist() == probabilities.index[:5].tolist(), "of the first seed"
    assert best.tolist() == pytest.approx(probabilities[:5].tolist(), abs=1e-6)


def test_best_classes_where_there_are_fewer(tmp_path):
    write(tmp_path, "narrow", ["NA", "b", "c"], [[3.0, 1, 2]])
    write(tmp_path, "wide", list("abcdefgh"), [np.arange(8.0)])
    for datasets in (["narrow"], ["narrow", "wide"], ["wide", "narrow"]):
        best = examples.best_classes(load_predictions(tmp_path, datasets), "narrow", "fusion", "v0")
        assert best.index.tolist() == ["NA", "c", "b"] and best.sum() == pytest.approx(1, abs=1e-5)


def test_best_classes_of_a_clip_that_is_not_there(tmp_path):
    write(tmp_path, "narrow", ["a", "b"], [[0.0, 1]])
    for system, video, named in (("mv_only", "v0", "'mv_only' on 'narrow'"), ("fusion", "v9", "v9")):
        with pytest.raises(KeyError, match=named):
            examples.best_classes(load_predictions(tmp_path, ["narrow"]), "narrow", system, video)


# --- the frame that is shown ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "moving", "shown"),
    [
        ("IPPPIPPPIPPP", None, 7),  # the middle is frame 6; its GOP is 4 to 7
        ("IPPPIPPPPP", None, 9),  # the last GOP goes on to the end
        ("IPPPIPPP", None, 7),  # the middle is the I-frame itself: its own GOP
        ("IPPPIPPPIPPP", "011101100111", 6),  # frame 7 stands still
        ("IPPPIPPPIPPP", "010000000100", 9),  # nothing in that GOP: 3 after is nearer than 5 before
        ("IPPPIPPPIPPP", "001000000001", 2),  # and 4 before nearer than 5 after
        ("IPPPIIPP", "01000010", 6),  # the middle's GOP is that I-frame alone
        ("IPPPPPP", "0100000", 1),
        ("PPP", None, 2),  # a stream that begins in the middle of a GOP
        ("IBPBPI", None, 4),
    ],
)
def test_shown_frame(types, moving, shown):
    motion = coded(types, None if moving is None else [digit == "1" for digit in moving])
    found = examples.shown_frame(motion)
    assert found == shown and isinstance(found, int) and motion.has_motion[found]


def test_no_motion_anywhere():
    with pytest.raises(ValueError, match="no frame of this clip has motion vectors"):
        examples.shown_frame(coded("IIII"))
