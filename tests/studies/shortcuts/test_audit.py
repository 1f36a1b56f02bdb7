"""The audit finds what is planted, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest

from moclip.report import statistics as metrics
from moclip.report.statistics import Bootstrap
from moclip.studies.shortcuts import audit as shortcuts

CLASSES = ("A", "B", "C", "D")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "TREES", 20)


def make(told: bool, groups: int = 12, takes: int = 2, seed: int = 0) -> pd.DataFrame:
    """Clips whose GOP and frame rate go with the class, or are a group's own whatever the class."""
    rng = np.random.default_rng(seed)
    rows = []
    for place, name in enumerate(CLASSES):
        for group in range(groups):
            draw = place if told else rng.integers(4)
            for take in range(takes):
                rows.append(
                    {
                        "video": f"{name}-{group}-{take}", "class_name": name, "group": f"g{group}",
                        "split": "test" if group < groups // 3 else "train",
                        "gop": (12, 50, 120, 250)[draw] + rng.integers(5), "b_share": [None, 0.5][draw % 2],
                        "fps": 25.0, "width": 320, "height": 240,
                        "i_distance": rng.integers(9, 99), "frames": rng.integers(50, 300),
                        "kbit_s": rng.uniform(100, 900),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_planted_settings_are_found_and_named() -> None:
    clips = make(told=True)
    table = shortcuts.audit(clips, "x", "original", times=20, bootstrap=Bootstrap(499, 0.95)).set_index("features")
    assert table.loc["settings", "accuracy"] == 1 and table.loc["all", "accuracy"] > 0.8
    assert (table["chance"] == 0.25).all()
    assert (table.loc[["all", "settings"], "permuted_p"] == round(1 / 21, 4)).all() and table["permuted"].between(
        0.05, 0.5
    ).all()
    assert table.loc["settings", "constant"] == "fps, width, height" and (table["n_test"] == 32).all()
    assert shortcuts.reading(table.loc["settings"].to_dict()) == "they predict the class: 4.0 times chance"
    lost = shortcuts.ablation(clips, "x", "original").set_index("feature")
    assert lost.loc["gop", "alone"] == 1 and lost.loc["fps", "alone"] == 0.25
    assert lost.loc["kbit_s", "alone"] < 0.6 and lost.loc["gop", "without"] < lost.loc["gop", "all"]


def test_classes_may_be_called_as_numbers() -> None:
    clips = make(told=True)
    numbered = clips.assign(class_name=clips["class_name"].map({"A": "01", "B": "1", "C": "10", "D": "9"}))
    one, two = (shortcuts.predict(table, ["gop"], "x", "s") for table in (clips, numbered))
    assert set(two["pred"]) == {"01", "1", "10", "9"} and two["correct"].tolist() == one["correct"].tolist()


def test_nothing_is_found_where_settings_are_the_group_s_own() -> None:
    found = []
    for seed in range(4):
        clips = make(told=False, seed=seed)
        table = shortcuts.audit(clips, "x", "original", times=20, bootstrap=Bootstrap(499, 0.95)).set_index("features")
        assert table["accuracy"].max() < 0.6
        found += [shortcuts.reading(row).startswith("they predict") for row in table.to_dict("records")]
    assert sum(found) <= 2, "of twelve at the five percent level"


def test_luck_is_chance() -> None:
    luck = shortcuts.permuted(make(told=True, groups=30), ["gop"], times=30)
    assert luck.mean() == pytest.approx(0.25, abs=0.08) and luck.std() > 0


def test_groups_are_permuted_whole_and_test_clips_keep_their_class(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, seen = make(told=True, takes=3), []
    monkeypatch.setattr(shortcuts, "predict", lambda mixed, *rest: seen.append(mixed) or pd.DataFrame({"correct": [0]}))
    shortcuts.permuted(clips, ["gop"], times=5)
    for mixed in seen:
        assert mixed.loc[clips["split"] == "test", "class_name"].equals(
            clips.loc[clips["split"] == "test", "class_name"]
        )
        permuted = mixed[mixed["split"] == "train"].groupby([clips["class_name"], "group"])["class_name"]
        assert (permuted.nunique() == 1).all() and (permuted.first().value_counts() == 8).all()
    assert len({tuple(mixed["class_name"]) for mixed in seen}) == 5, "permuted differently each time"


def test_constant_settings_give_chance() -> None:
    clips = make(told=True).assign(gop=12, b_share=0.0)
    assert shortcuts.predict(clips, shortcuts.SETTINGS, "x", "s")["correct"].mean() == 0.25


def test_predictions_are_of_the_test_clips_in_the_metrics_form() -> None:
    clips = make(told=True)
    clips.loc[clips.index[-1], "split"] = "val"
    rows = shortcuts.predict(clips, ["gop"], "x", "s")
    assert list(rows["video"]) == list(clips.loc[clips["split"] == "test", "video"])
    assert metrics.accuracy(rows, "x", "s", Bootstrap(99, 0.95)).n == 32
    pd.testing.assert_frame_equal(rows, shortcuts.predict(clips, ["gop"], "x", "s"))


def as_predictions(clips: pd.DataFrame, right: np.ndarray, system: str) -> pd.DataFrame:
    test = clips[clips["split"] == "test"].reset_index(drop=True)
    return test[["video", "class_name", "group"]].assign(correct=right, dataset="x", system=system, seed=0)


def test_shared_tells_common_from_independent_knowledge() -> None:
    clips = make(told=True, groups=36)
    count = int((clips["split"] == "test").sum())
    rng = np.random.default_rng(0)
    group = rng.random(count // 2).repeat(2)  # both takes of a group are right or wrong together
    forest = as_predictions(clips, group < 0.5, "settings")
    same = shortcuts.shared(as_predictions(clips, group < 0.5, "mv_only"), forest, "mv_only", Bootstrap(999, 0.95))
    other = shortcuts.shared(
        as_predictions(clips, rng.random(count // 2).repeat(2) < 0.5, "mv_only"),
        forest,
        "mv_only",
        Bootstrap(999, 0.95),
    )
    assert same["excess"] > 0.2 and same["low"] > 0.15 and same["where_settings_fail"] == 0
    assert other["low"] < 0 < other["high"] and 0.3 < other["where_settings_fail"] < 0.7
    for row in (same, other):
        assert row["excess"] == pytest.approx(row["both"] - row["expected"], abs=2e-4)


def test_a_class_easy_for_both_is_no_excess() -> None:
    clips = make(told=True, groups=24)
    easy = (clips.loc[clips["split"] == "test", "class_name"] == "A").to_numpy()
    row = shortcuts.shared(
        as_predictions(clips, easy, "mv_only"), as_predictions(clips, easy, "settings"), "mv_only", Bootstrap(99, 0.95)
    )
    assert row["both"] == 0.25 and row["excess"] == 0 and row["n_fail"] == 48


def test_other_clips_are_refused() -> None:
    clips = make(told=True)
    rows = as_predictions(clips, np.ones(32, bool), "settings")
    with pytest.raises(ValueError, match="not tested on the same clips"):
        shortcuts.shared(rows.assign(system="mv_only")[:-1], rows, "mv_only", Bootstrap(99, 0.95))
