"""The study of the protocols, from predictions made by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from moclip.config.load import leaves, read
from moclip.report.statistics import Bootstrap
from moclip.studies.protocols import effects as protocols

VARIANTS = ("paper", "mv.views", "motion.field", "reference")


def made(right, groups=10, seeds=(0, 1), clips=2):
    """Predictions of every variant and stream: ``right(variant, group, seed)`` says which clips are."""
    rows = []
    for stream in protocols.STREAMS:
        for variant in VARIANTS:
            for seed in seeds:
                for n in range(groups * clips):
                    hit = right(variant, n // clips, seed)
                    rows.append({"system": protocols.system_name(stream, variant), "seed": seed, "video": f"v{n}"})
                    rows[-1] |= {"group": f"g{n // clips}", "class_name": "a", "correct": hit, "dataset": "d"}
    return pd.DataFrame(rows)


def share(variant, group, seed):
    """paper 50 %, views the same clips, the field 20 points more, reference 40; seed 1 misses one group more."""
    right = {"paper": 5, "mv.views": 5, "motion.field": 7, "reference": 9}[variant]
    return group < right - (seed == 1)


def test_effects_by_hand():
    table = protocols.effects(made(share), "d", VARIANTS, VARIANTS, Bootstrap(999, 0.95))
    assert list(table["variant"]) == [*VARIANTS, *VARIANTS] and set(table["stream"]) == {"mv_only", "fusion"}
    own = table[table["stream"] == "fusion"].set_index("variant")
    assert own["accuracy"].tolist() == pytest.approx([0.45, 0.45, 0.65, 0.85])
    assert own["difference"].tolist()[1:] == pytest.approx([0, 0.2, 0.4]) and np.isnan(own.loc["paper", "difference"])
    assert own.loc["mv.views", ["low", "high"]].tolist() == [0, 0]
    assert own.loc["reference", "low"] < 0.4 < own.loc["reference", "high"]
    # Each variant's two seeds differ by 0.1: variance 0.005, pooled over four with one degree of freedom each.
    noise = stats.t.ppf(0.975, 4) * np.sqrt(0.005 * 2 / 2)
    assert own["noise"].tolist()[1:] == pytest.approx([noise] * 3, abs=1e-4) and noise == pytest.approx(
        0.1963, abs=1e-4
    )
    assert own["share_of_gap"].tolist()[1:] == pytest.approx([0, 0.5, 1])
    assert own["reading"].tolist()[1:] == [protocols.UNCLEAR, protocols.UNCLEAR, "reference is better"]
    assert own.loc["motion.field", "low"] == 0, "two groups of ten: its interval reaches zero"
    assert (own["n_test"] == 20).all() and (own["seeds"] == 2).all()


def test_without_a_gap_no_share_of_it():
    table = protocols.effects(
        made(lambda variant, group, seed: group % 2 == seed % 2), "d", VARIANTS, VARIANTS, Bootstrap(99, 0.95)
    )
    assert table["share_of_gap"].isna().all() and set(table["reading"]) == {"", protocols.UNCLEAR}


@pytest.mark.parametrize(
    ("low", "high", "difference", "noise", "said"),
    [
        (0.01, 0.3, 0.2, 0.1, "x is better"),
        (-0.3, -0.01, -0.2, 0.1, "paper is better"),
        (-0.01, 0.3, 0.2, 0.1, protocols.UNCLEAR),
        (0.01, 0.3, 0.2, 0.25, protocols.UNCLEAR),
        (0.0, 0.0, 0.0, 0.0, protocols.UNCLEAR),
        (0.01, 0.3, 0.2, 0.0, "x is better"),
        (0.01, 0.3, 0.2, float("nan"), "one seed: noise of seeds unknown"),
        (float("nan"), float("nan"), 0.2, 0.1, protocols.UNCLEAR),
    ],
)
def test_readings(low, high, difference, noise, said):
    row = {"low": low, "high": high, "difference": difference, "noise": noise}
    assert protocols.reading(row, "x", "paper") == said


def test_noise_covers_what_seeds_alone_do():
    """Simulated: variants that differ in nothing but their seeds lie within it as often as it says."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        accuracy = 0.5 + 0.05 * rng.standard_normal((5, 3))  # 5 variants, 3 seeds
        rows = [
            {"dataset": "d", "system": f"s{n}", "seed": seed, "correct": accuracy[n, seed]}
            for n in range(5)
            for seed in range(3)
        ]
        noise = protocols.seed_noise(pd.DataFrame(rows), "d", [f"s{n}" for n in range(5)], 0.9)
        means = accuracy.mean(axis=1)
        inside += (abs(means[1:] - means[0]) <= noise).tolist()
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_one_seed_knows_no_noise():
    assert np.isnan(protocols.seed_noise(made(share, seeds=(0,)), "d", ["fusion@paper", "fusion@reference"], 0.95))


def test_the_protocols_side_by_side():
    files = {name: leaves(read("protocol", name)) for name in ("paper", "paper-val", "reference")}
    own = {**files["paper"], "mv.epochs": 3}
    table = protocols.side_by_side(files, own).set_index("field")
    assert set(table.index) == set(files["paper"])
    assert table.loc["mv.views"].tolist() == ["32", "32", "25 *", "32"]
    assert table.loc["mv.epochs"].tolist() == ["200", "200", "200", "3"]
    assert table.loc["data.val_fraction"].tolist() == ["0.0", "0.1 *", "0.0", "0.0"]
    assert table.loc["mv.lr_multipliers", "reference"] == "classifier 1.0, stem 0.1, rest 0.01 *"
    marked = table[["paper-val", "reference"]].apply(lambda column: column.str.endswith("*")).any(axis=1)
    assert marked.tolist() == sorted(marked, reverse=True), "what differs comes first"


def test_effects_are_drawn_as_they_are():
    table = protocols.effects(made(share), "d", VARIANTS, VARIANTS, Bootstrap(99, 0.95))
    figure, axes = plt.subplots()
    protocols.effect_dots(axes, table, "fusion")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(VARIANTS[1:])
    assert axes.lines[1].get_xdata().tolist() == pytest.approx([0, 20, 40])
    assert axes.patches[0].get_width() == pytest.approx(2 * 19.63, abs=0.01), "the band, on both sides"
    plt.close(figure)
