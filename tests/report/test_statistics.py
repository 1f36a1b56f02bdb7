"""Accuracies and intervals, against scikit-learn, simulation and arithmetic."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score

from moclip.report import statistics as metrics
from moclip.report.statistics import Bootstrap

CLASSES = ["Left", "Right", "Up"]
BOOTSTRAP = Bootstrap(999, 0.95)


def table(correct, system="a", seed=0, clips_a_group=1, dataset="d", class_name="Left"):
    """Predictions from a list of right and wrong; consecutive clips share a group."""
    rows = [
        {
            "dataset": dataset,
            "system": system,
            "seed": seed,
            "video": f"clip {n:04d}",
            "class_name": class_name,
            "group": f"g{n // clips_a_group:04d}",
            "pred": class_name if right else "Other",
            "correct": bool(right),
        }
        for n, right in enumerate(correct)
    ]
    return pd.DataFrame(rows)


def three_classes(correct):
    """A row of right and wrong a class; each class has groups g0000, g0001, ... of its own."""
    parts = [table(row, class_name=name) for row, name in zip(correct, CLASSES, strict=True)]
    return pd.concat([part.assign(video=part["class_name"] + part["video"]) for part in parts])


def width(estimate):
    return estimate.high - estimate.low


def test_accuracy_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    rows = three_classes(rng.random((3, 40)) < 0.6)
    estimate = metrics.accuracy(rows, "d", "a", BOOTSTRAP)
    assert estimate.value == pytest.approx(accuracy_score(rows["class_name"], rows["pred"]))
    assert estimate.n == 120 and estimate.seeds == 1 and math.isnan(estimate.seed_sd)
    assert estimate.low < estimate.value < estimate.high


def test_the_interval_repeats():
    rows = table(np.arange(60) % 3 > 0)
    one, two = (metrics.accuracy(data, "d", "a", BOOTSTRAP) for data in (rows, rows.sample(frac=1, random_state=1)))
    assert (one.value, one.low, one.high) == (two.value, two.low, two.high)


def test_clips_of_a_group_are_not_independent():
    """Ten clips that are right or wrong together are one observation: the interval is sqrt(10) times as wide."""
    correct = np.repeat(np.random.default_rng(0).random(40) < 0.5, 10)
    alone, grouped = (
        metrics.accuracy(table(correct, clips_a_group=size), "d", "a", Bootstrap(4999, 0.95)) for size in (1, 10)
    )
    assert alone.value == grouped.value and alone.n == grouped.n == 400
    assert width(grouped) / width(alone) == pytest.approx(math.sqrt(10), rel=0.12)


def test_without_groups_the_interval_is_that_of_a_share():
    correct = np.arange(400) % 4 > 0
    estimate = metrics.accuracy(table(correct), "d", "a", Bootstrap(9999, 0.95))
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert (estimate.low, estimate.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.006)
    narrow = metrics.accuracy(table(correct), "d", "a", Bootstrap(9999, 0.5))
    assert width(narrow) == pytest.approx(2 * 0.6745 * half / 1.96, rel=0.12)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Groups of four clips that share their difficulty; the true accuracy is 0.7."""
    rng, covered, naive = np.random.default_rng(0), 0, 0
    for _ in range(150):
        difficulty = rng.beta(1.4, 0.6, size=60)
        correct = (rng.random((60, 4)) < difficulty[:, None]).ravel()
        grouped = metrics.accuracy(table(correct, clips_a_group=4), "d", "a", Bootstrap(299, 0.9))
        alone = metrics.accuracy(table(correct), "d", "a", Bootstrap(299, 0.9))
        covered += grouped.low <= 0.7 <= grouped.high
        naive += alone.low <= 0.7 <= alone.high
    assert 0.83 <= covered / 150 <= 0.97
    assert naive < covered


def test_groups_of_the_same_name_in_two_classes_are_two():
    """Every class has a g0001 of its own."""
    one = three_classes(np.random.default_rng(0).random((3, 50)) < 0.5)
    other = one.assign(group=one["class_name"] + one["group"])
    assert metrics.accuracy(one, "d", "a", BOOTSTRAP).low == metrics.accuracy(other, "d", "a", BOOTSTRAP).low


def test_groups_of_unequal_size_weigh_by_their_clips():
    rows = pd.concat([table([1] * 9), table([0])])
    rows["group"] = ["big"] * 9 + ["small"]
    rows["video"] = [str(n) for n in range(10)]
    estimate = metrics.accuracy(rows, "d", "a", BOOTSTRAP)
    assert estimate.value == 0.9 and (estimate.low, estimate.high) == (0.0, 1.0)


def test_one_group_says_nothing_about_others():
    estimate = metrics.accuracy(table([1, 0, 1], clips_a_group=3), "d", "a", BOOTSTRAP)
    assert estimate.value == pytest.approx(2 / 3) and math.isnan(estimate.low) and math.isnan(estimate.high)


# --- seeds ----------------------------------------------------------------------------------------------------------


def test_seeds_are_not_more_clips():
    correct = np.random.default_rng(0).random(60) < 0.6
    once = metrics.accuracy(table(correct), "d", "a", BOOTSTRAP)
    thrice = metrics.accuracy(pd.concat([table(correct, seed=seed) for seed in range(3)]), "d", "a", BOOTSTRAP)
    assert (thrice.value, thrice.low, thrice.high, thrice.n) == (once.value, once.low, once.high, 60)
    assert thrice.seeds == 3 and thrice.seed_sd == 0


def test_a_clip_counts_by_the_share_of_its_seeds():
    rows = pd.concat([table(row, seed=seed) for seed, row in enumerate([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1]])])
    shares = metrics.per_clip(rows, "d", "a")
    assert shares.to_list() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    estimate = metrics.accuracy(rows, "d", "a", BOOTSTRAP)
    assert estimate.value == pytest.approx(0.5) and estimate.seed_sd == pytest.approx(np.std([0.5, 0.25, 0.75], ddof=1))


# --- folds ----------------------------------------------------------------------------------------------------------


def in_folds(*corrects, **options):
    """Predictions of a fold each, on clips of their own."""
    parts = [table(correct, **options).assign(fold=fold) for fold, correct in enumerate(corrects, start=1)]
    return pd.concat([part.assign(group=f"f{n}" + part["group"]) for n, part in enumerate(parts)])


def test_folds_count_alike_whatever_their_size():
    rows = in_folds([1, 1, 1, 1], np.arange(12) % 2, np.arange(20) % 5 > 0)
    each = [accuracy_score(own["class_name"], own["pred"]) for _, own in rows.groupby("fold")]
    estimate = metrics.accuracy(rows, "d", "a", BOOTSTRAP)
    assert estimate.value == pytest.approx(np.mean(each)) == pytest.approx((1 + 0.5 + 0.8) / 3)
    assert estimate.fold_sd == pytest.approx(np.std(each, ddof=1)) and estimate.n == 36
    assert math.isnan(metrics.accuracy(rows[rows["fold"] == 1], "d", "a", BOOTSTRAP).fold_sd)


def test_seeds_are_averaged_within_a_fold():
    rows = pd.concat([in_folds([1, 1, 0, 0], [1, 0, 0, 0]), in_folds([1, 0, 0, 0], [0, 0, 0, 0], seed=1)])
    estimate = metrics.accuracy(rows, "d", "a", BOOTSTRAP)
    assert estimate.fold_sd == pytest.approx(np.std([0.375, 0.125], ddof=1)) and (estimate.n, estimate.seeds) == (8, 2)


def test_the_interval_over_folds_is_scipy_s_for_separate_samples():
    corrects = np.random.default_rng(0).random((3, 60)) < [[0.9], [0.6], [0.5]]
    estimate = metrics.accuracy(in_folds(*corrects, clips_a_group=2), "d", "a", Bootstrap(4999, 0.95))
    groups = [correct.reshape(30, 2).mean(axis=1) for correct in corrects]

    def mean_of_means(*samples, axis=-1):
        return sum(sample.mean(axis=axis) for sample in samples) / len(samples)

    expected = stats.bootstrap(groups, mean_of_means, n_resamples=4999, method="percentile", rng=1).confidence_interval
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_clips_tested_in_two_folds_are_not_twice_as_many():
    correct = np.random.default_rng(0).random(60) < 0.6
    once = metrics.accuracy(table(correct), "d", "a", BOOTSTRAP)
    twice = metrics.accuracy(pd.concat([table(correct).assign(fold=fold) for fold in (1, 2)]), "d", "a", BOOTSTRAP)
    assert (twice.value, twice.low, twice.high) == (once.value, once.low, once.high)


def test_a_difference_over_folds_is_paired_within_each():
    a, b = in_folds([1, 0, 0, 0], [1, 1, 0, 0]), in_folds([1, 1, 1, 0], [1, 1, 0, 0], system="b")
    gap = metrics.difference(pd.concat([a, b]), "d", "b", "a", BOOTSTRAP)
    assert gap.value == 0.25 and gap.fold_sd == pytest.approx(np.std([0.5, 0], ddof=1))


def test_a_fold_of_a_single_group_still_has_an_interval():
    estimate = metrics.accuracy(in_folds([1, 0], [1, 1, 0, 0, 1, 0]), "d", "a", BOOTSTRAP)
    assert 0 <= estimate.low < estimate.value < estimate.high <= 1


# --- differences ----------------------------------------------------------------------------------------------------


@pytest.fixture
def two():
    """``b`` corrects eight clips of ``a`` and degrades two, of a hundred."""
    a = np.arange(100) < 60
    b = a.copy()
    b[60:68], b[:2] = True, False
    return pd.concat(
        [table(a, "a"), table(b, "b"), table(b, "b", dataset="elsewhere"), table(~a, "a", dataset="elsewhere")]
    )


def test_a_difference_has_its_sign(two):
    gap = metrics.difference(two, "d", "b", "a", BOOTSTRAP)
    back = metrics.difference(two, "d", "a", "b", BOOTSTRAP)
    assert gap.value == pytest.approx(0.06) and gap.n == 100
    assert back.value == -gap.value and (back.low, back.high) == pytest.approx((-gap.high, -gap.low))


def test_a_difference_is_paired(two):
    """Systems that err on the same clips differ by less than their own intervals would say."""
    gap = metrics.difference(two, "d", "b", "a", Bootstrap(9999, 0.95))
    half = 1.96 * math.sqrt((0.10 - 0.06**2) / 100)  # ten of a hundred clips differ
    assert (gap.low, gap.high) == pytest.approx((0.06 - half, 0.06 + half), abs=0.012)
    assert width(gap) < 0.7 * width(metrics.accuracy(two, "d", "a", BOOTSTRAP))


def test_no_difference_from_oneself(two):
    gap = metrics.difference(two, "d", "a", "a", BOOTSTRAP)
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)


def test_differences_resample_groups():
    gain = np.repeat(np.arange(20) % 4 == 0, 5)
    rows = [
        pd.concat([table(gain * 0, "a", clips_a_group=size), table(gain, "b", clips_a_group=size)]) for size in (1, 5)
    ]
    alone, grouped = (metrics.difference(data, "d", "b", "a", Bootstrap(4999, 0.95)) for data in rows)
    assert width(grouped) / width(alone) == pytest.approx(math.sqrt(5), rel=0.15)


def test_mcnemar_by_hand(two):
    """Two-sided: twice the chance of at most 2 heads in 10 throws."""
    expected = 2 * (1 + 10 + 45) / 2**10
    assert metrics.mcnemar(two, "d", "b", "a") == pytest.approx(expected)
    assert metrics.mcnemar(two, "d", "a", "b") == pytest.approx(expected)
    assert metrics.mcnemar(two, "d", "a", "a") == 1


def test_mcnemar_takes_each_system_s_first_seed(two):
    other = two[(two["system"] == "a") & (two["dataset"] == "d")].assign(seed=5, correct=False)
    assert metrics.mcnemar(pd.concat([other, two]), "d", "b", "a") == pytest.approx(112 / 1024)


def test_mcnemar_joins_by_name(two):
    shuffled = two.sample(frac=1, random_state=3)
    assert metrics.mcnemar(shuffled, "d", "b", "a") == pytest.approx(112 / 1024)


def test_a_system_that_is_not_there_is_named(two):
    with pytest.raises(KeyError, match="'fusion' on 'd'; there are: a, b"):
        metrics.accuracy(two, "d", "fusion", BOOTSTRAP)


def test_other_clips_are_not_compared(two):
    fewer = two[~((two["system"] == "b") & (two["video"] == "clip 0007"))]
    with pytest.raises(ValueError, match="clip 0007"):
        metrics.difference(fewer, "d", "b", "a", BOOTSTRAP)
