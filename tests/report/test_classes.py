"""Class by class: intervals, confusions and counts, against scipy, scikit-learn and counting by hand."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, recall_score

from moclip.report import classes

NAMES = ["Archery", "Bowling", "Chess", "Diving"]
THREE = ["zero_shot", "mv_only", "fusion"]
FOUR = [*THREE, "appearance_head"]


def answers(system, truth, preds, seed=0, groups=None, dataset="d"):
    """Predictions of a system: clip n is of class ``truth[n]`` and is taken for ``preds[n]``."""
    rows = pd.DataFrame({"class_name": list(truth), "pred": list(preds)})
    rows["video"] = [f"v{n:03d}" for n in range(len(rows))]
    rows["group"] = groups if groups is not None else rows["video"]
    rows["correct"] = rows["class_name"] == rows["pred"]
    return rows.assign(dataset=dataset, system=system, seed=seed)


@pytest.fixture
def drawn():
    """Four systems on 120 clips of four classes, 4 clips a group, 2 seeds of the heads; drawn at random."""
    rng = np.random.default_rng(0)
    truth = np.repeat(NAMES, 30)
    groups = [f"g{n // 4}" for n in range(120)]
    parts = [answers("zero_shot", truth, np.where(rng.random(120) < 0.5, truth, rng.choice(NAMES, 120)), 0, groups)]
    parts += [answers("mv_only", truth, np.where(rng.random(120) < 0.3, truth, rng.choice(NAMES, 120)), 3, groups)]
    for system, share in (("fusion", 0.7), ("appearance_head", 0.6)):
        for seed in (0, 1):
            preds = np.where(rng.random(120) < share, truth, rng.choice(NAMES, 120))
            parts.append(answers(system, truth, preds, seed, groups))
    rows = pd.concat(parts, ignore_index=True)
    other = rows.assign(dataset="elsewhere", pred=NAMES[0])  # has to be left out everywhere
    return pd.concat([rows, other.assign(correct=other["class_name"] == NAMES[0])], ignore_index=True)


# --- a table of classes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_are_scipy_s(confidence):
    """Where every clip is a group of its own."""
    right = {"Archery": (0, 5), "Bowling": (3, 7), "Chess": (20, 20), "Diving": (1, 1)}
    truth = [name for name, (_, n) in right.items() for _ in range(n)]
    preds = [name if i < k else "Other" for name, (k, n) in right.items() for i in range(n)]
    rows = pd.concat([answers(system, truth, preds) for system in FOUR])
    table = classes.per_class(rows, "d", FOUR, confidence).set_index("class_name")
    for name, (k, n) in right.items():
        interval = binomtest(k, n).proportion_ci(confidence, method="wilson")
        found = table.loc[name, ["mv_only_low", "mv_only", "mv_only_high"]].tolist()
        assert found == pytest.approx([interval.low, k / n, interval.high], abs=5.1e-5), name
        assert table.loc[name, "n_test"] == table.loc[name, "groups"] == n


def test_clips_of_a_group_are_one_observation():
    truth = ["Archery"] * 12
    rows = pd.concat([answers(s, truth, ["Archery"] * 9 + ["Other"] * 3, groups=list("aaabbbcccddd")) for s in FOUR])
    (row,) = classes.per_class(rows, "d", FOUR, 0.95).to_dict("records")
    interval = binomtest(3, 4).proportion_ci(0.95, method="wilson")
    assert (row["n_test"], row["groups"], row["fusion"]) == (12, 4, 0.75)
    assert (row["fusion_low"], row["fusion_high"]) == pytest.approx((interval.low, interval.high), abs=5.1e-5)


def test_accuracies_are_recalls(drawn):
    table = classes.per_class(drawn, "d", FOUR, 0.95).set_index("class_name")
    here = drawn[drawn["dataset"] == "d"]
    for system in FOUR:
        own = here[here["system"] == system]
        recalls = [
            recall_score(rows["class_name"], rows["pred"], labels=NAMES, average=None)
            for _, rows in own.groupby("seed")
        ]
        assert table.loc[NAMES, system].tolist() == pytest.approx(np.mean(recalls, axis=0).tolist(), abs=5.1e-5)
    assert set(table["n_test"]) == {30}, "seeds are not more clips"
    assert table["groups"].to_dict() == {"Archery": 8, "Bowling": 8, "Chess": 8, "Diving": 8}


def test_sorted_by_what_fusion_adds_to_the_better_stream():
    truth = np.repeat(["Zebra", *NAMES], 4)
    right = {  # of four clips a class
        "zero_shot": [0, 0, 4, 1, 1],
        "mv_only": [2, 1, 0, 3, 3],
        "fusion": [3, 2, 3, 2, 4],
        "appearance_head": [3, 4, 1, 2, 1],
        "motion_head": [4, 4, 4, 4, 4],
    }
    rows = pd.concat(
        [
            answers(system, truth, [name if n % 4 < right_ones[n // 4] else "?" for n, name in enumerate(truth)])
            for system, right_ones in right.items()
        ]
    )
    table = classes.per_class(rows, "d", [*FOUR, "motion_head"], 0.95)
    assert dict(zip(table["class_name"], table["adds"], strict=True)) == {
        "Archery": 0.25, "Diving": 0.25, "Zebra": 0.25, "Bowling": -0.25, "Chess": -0.25,
    }  # fmt: skip
    assert table["class_name"].tolist() == ["Archery", "Diving", "Zebra", "Bowling", "Chess"], "ties by name"
    assert table["over_control"].tolist() == [-0.5, 0.75, 0, 0.5, 0], "fusion minus the head without motion"
    assert table.columns[:5].tolist() == ["class_name", "n_test", "groups", "adds", "over_control"]
    assert set(table["motion_head"]) == {1.0}, "stands beside them and changes no order"


# --- corrected and degraded ------------------------------------------------------------------------------------------

# zero-shot, MV-only, fusion and the appearance head: every case of the three, and two of them twice.
CASES = [
    (1, 1, 1, 1), (1, 1, 0, 0), (1, 0, 1, 1), (1, 0, 0, 1), (0, 1, 1, 0),
    (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 1, 1), (1, 0, 0, 0),
]  # fmt: skip


@pytest.fixture
def cases():
    parts = []
    for column, system in enumerate(FOUR):
        preds = ["Archery" if case[column] else "Bowling" for case in CASES]
        parts.append(answers(system, ["Archery"] * len(CASES), preds, seed=2))
        parts.append(answers(system, ["Archery"] * len(CASES), ["Bowling"] * len(CASES), seed=5))  # not the first
    return pd.concat(parts).sample(frac=1, random_state=0, ignore_index=True)


def test_outcomes_take_first_seeds(cases):
    table = classes.outcomes(cases, "d")
    assert table.columns.tolist() == ["video", "class_name", *FOUR]
    assert table["video"].tolist() == [f"v{n:03d}" for n in range(len(CASES))]
    assert [tuple(row) for row in table[FOUR].astype(int).to_numpy()] == CASES
    assert set(table["class_name"]) == {"Archery"}


def test_corrected_and_degraded(cases):
    table = classes.outcomes(cases, "d")
    assert classes.corrected(table).tolist() == [case[:3] == (0, 0, 1) for case in CASES]
    assert classes.degraded(table).tolist() == [case[:3] in {(1, 1, 0), (1, 0, 0), (0, 1, 0)} for case in CASES]


def test_changes_count_every_clip_once(cases):
    table = classes.changes(classes.outcomes(cases, "d"))
    assert table.columns.tolist() == [
        "single streams right", "clips", "fusion right", "fusion wrong", "control right", "fusion right, control wrong",
    ]  # fmt: skip
    assert table.to_numpy().tolist() == [
        ["both", 2, 1, 1, 1, 0], ["MV-only", 2, 1, 1, 0, 1], ["zero-shot", 3, 1, 2, 2, 0], ["neither", 3, 2, 1, 2, 1],
    ]  # fmt: skip


def test_changes_keep_rows_without_clips():
    rows = pd.concat([answers(system, ["Archery"] * 3, ["Archery"] * 3) for system in FOUR])
    table = classes.changes(classes.outcomes(rows, "d")).set_index("single streams right")
    assert table.loc["both"].tolist() == [3, 3, 0, 3, 0] and table.loc["neither"].tolist() == [0] * 5
    assert len(table) == 4


@pytest.mark.parametrize("system", FOUR)
def test_systems_on_other_clips_are_refused(cases, system):
    lacking = cases[~((cases["system"] == system) & (cases["video"] == "v003"))]
    with pytest.raises(ValueError, match="zero_shot, mv_only, fusion, .* were not tested on the same clips of d"):
        classes.outcomes(lacking, "d")


# --- confusions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", THREE)
def test_confusions_are_scikit_learn_s(drawn, system):
    own = drawn[(drawn["dataset"] == "d") & (drawn["system"] == system)]
    order = NAMES[::-1]
    expected = confusion_matrix(own["class_name"], own["pred"], labels=order, normalize="true")
    np.testing.assert_allclose(classes.confusions(drawn, "d", order, system), expected)


def test_a_class_without_test_clips_has_no_shares():
    rows = answers("fusion", ["Archery", "Archery", "Chess"], ["Archery", "Bowling", "Chess"])
    shares = classes.confusions(rows, "d", NAMES, "fusion")
    np.testing.assert_array_equal(
        shares, [[0.5, 0.5, 0, 0], [np.nan] * 4, [0, 0, 1, 0], [np.nan] * 4]
    )  # NaN equals NaN here
    assert sorted(classes.clustered(shares)) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_clustered_puts_pairs_side_by_side(seed):
    """Five pairs that are taken for each other and for nothing else, in a random order."""
    places = np.random.default_rng(seed).permutation(10)
    shares = 0.9 * np.eye(10)
    for one, other in places.reshape(5, 2):
        shares[one, other] = 0.1  # one direction is enough
    order = classes.clustered(shares)
    assert sorted(order) == list(range(10))
    for one, other in places.reshape(5, 2):
        assert abs(order.index(one) - order.index(other)) == 1


def test_clustered_orders_a_chain():
    """Each class is taken for its neighbours in a chain: the leaves come in the chain's order, or in its reverse."""
    chain = np.random.default_rng(1).permutation(8)
    shares = 0.2 * np.eye(8)
    for step, (one, other) in enumerate(pairwise(chain)):
        shares[one, other] = shares[other, one] = 0.3 + 0.01 * step
    order = classes.clustered(shares)
    assert order in (chain.tolist(), chain[::-1].tolist())


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_classes_keep_their_order(count):
    assert classes.clustered(np.eye(count)) == list(range(count))


def test_changed_confusions():
    truth = ["Archery", "Archery", "Archery", "Bowling", "Bowling", "Chess"]
    said = {
        "zero_shot": ["Bowling", "Bowling", "Archery", "Bowling", "Chess", "Chess"],
        "mv_only": ["Bowling", "Chess", "Archery", "Bowling", "Bowling", "Chess"],
        "fusion": ["Archery", "Bowling", "Archery", "Chess", "Chess", "Chess"],
    }
    rows = pd.concat([answers(system, truth, preds, seed=1) for system, preds in said.items()])
    rows = pd.concat([rows, answers("fusion", truth, ["Diving"] * 6, seed=2)])
    table = classes.changed_confusions(rows, "d")
    assert table.columns.tolist() == ["stream", "class_name", "taken_for", "by_stream", "by_fusion", "change"]
    assert table.to_numpy().tolist() == [
        ["mv_only", "Archery", "Chess", 1, 0, -1],
        ["zero_shot", "Archery", "Bowling", 2, 1, -1],
        ["mv_only", "Archery", "Bowling", 1, 1, 0],
        ["zero_shot", "Bowling", "Chess", 1, 2, 1],
        ["mv_only", "Bowling", "Chess", 0, 2, 2],
    ]
