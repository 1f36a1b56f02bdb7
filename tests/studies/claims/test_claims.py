"""The claims ledger: what is written is well-formed, every rule can say yes and no, and nothing is guessed."""

import json
import shutil

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml

from moclip.config.load import load_config
from moclip.datasets.ucf101 import CLASSES
from moclip.errors import MoclipError
from moclip.io.paths import project_root
from moclip.report import paper
from moclip.studies.claims import figures
from moclip.studies.claims import ledger as claims
from moclip.studies.claims.evidence import UCF101, Artefacts, Verdict
from moclip.studies.claims.rules import RULES

FIGURES = project_root() / "figures" / "quick"
PRINTED = {"arithmetic", "larger", "apart", "front"}  # rules that need no artefact
ON_CLIPS = {"accuracy", "gain", "class_accuracy", "example", "every_class", "saturated", "clips"}
SYSTEMS = ("zero_shot", "mv_only", "fusion")


# --- a run whose numbers we know ------------------------------------------------------------------------------------


def cost(part, params, trainable, macs, views, block="paper", **more):
    return {"block": block, "part": part, "params": params, "trainable": trainable, "macs_per_view": macs,
            "views": views, **more}  # fmt: skip


def timed(part, seconds):
    return {"block": "paper", "part": part, "precision": "FP32", "batch": 1, "seconds": seconds, "device": "a card",
            "fastest": 0.9 * seconds, "slowest": 1.2 * seconds, "threads": 2}  # fmt: skip


def baseline(system, params, macs, views, own_views):
    return {"system": system, "part": system, "params": params, "trainable": params, "macs_per_view": macs,
            "views": views, "own_views": own_views}  # fmt: skip


COSTS = {
    "zero_shot": [cost("image tower", 87.85e6, 0, 4.409e9, 1, feature_dim=512)],
    "mv_only": [cost("motion network", 4.137e6, 4.137e6, 0.381e9, 32, feature_dim=1280)],
    "fusion": [
        cost("head", 969_829, 969_829, 969_216, 1, feature_dim=512),
        cost("motion network in fusion", 4e6, 0, None, None, block="profile", feature_dim=1280),
    ],
}
BASELINES = [
    baseline("x_clip", 195e6, 141e9, 12, 4),
    baseline("coviar_mv", 11.2e6, 1.774e9, 25, 250),
    baseline("emv_cnn", 90.7e6, 2.614e9, 25, 25),
    baseline("dtmv_cnn", 90.7e6, 2.614e9, 25, 25),
    baseline("two_stream", 181.3e6, 4.278e9, 25, 250),
    baseline("dtmv_rgb", 181.3e6, 4.278e9, 25, 25),
]


@pytest.fixture
def folder(tmp_path):
    """What a run on generated clips leaves, the other systems of Table I included."""
    for name in ("costs", "timings", "tables", "data", "baselines"):
        (tmp_path / name).mkdir()
    for name in ("results", "fusion_gain", "saturated", "per_class-mixed", "per_class-independent"):
        shutil.copy(FIGURES / f"{name}.csv", tmp_path / "tables")
    for name, rows in COSTS.items():
        pd.DataFrame(rows).to_csv(tmp_path / "costs" / f"{name}.csv", index=False)
    pd.DataFrame(BASELINES).to_csv(tmp_path / "baselines" / "costs.csv", index=False)
    pd.DataFrame([timed("motion network", 0.25)]).to_csv(tmp_path / "timings" / "mv_only.csv", index=False)
    pd.DataFrame([timed("head", 0.0001)]).to_csv(tmp_path / "timings" / "fusion.csv", index=False)
    steps = {"step": ["decoding", "reading vectors", "re-encoding"], "seconds": [0.010, 0.009, 0.100]}
    reading = pd.DataFrame(steps).assign(fastest=lambda t: t["seconds"] * 0.95, slowest=lambda t: t["seconds"] * 1.1)
    reading.assign(clip="a clip").to_csv(tmp_path / "tables" / "reading.csv", index=False)
    return tmp_path


@pytest.fixture
def quick(folder):
    return Artefacts(folder, "paper as shortened by profile quick")


@pytest.fixture
def whole(folder):
    """The same folder as a run on all of UCF101's split 1, with CLIP, as the paper has it; its numbers are met."""
    manifest = {"classes": list(CLASSES), "counts": {"train": 9537, "val": 0, "test": 3783}, "description": "UCF101"}
    (folder / "data" / f"{UCF101}.json").write_text(json.dumps(manifest))
    shares = {"zero_shot": 0.650, "mv_only": 0.665, "fusion": 0.892}
    rows = [{"dataset": UCF101, "system": name, "accuracy": share, "low": share - 0.01, "high": share + 0.01,
             "n_test": 3783, "data": "UCF101"} for name, share in shares.items()]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "tables" / "results.csv", index=False)
    others = ["zero_shot", "mv_only", "appearance_head", "fusion_permuted"]
    gains = [{"dataset": UCF101, "system": "fusion", "minus": other, "difference": 0.2, "low": 0.1, "high": 0.3,
              "n_test": 3783} for other in others]  # fmt: skip
    pd.DataFrame(gains).to_csv(folder / "tables" / "fusion_gain.csv", index=False)
    stated = paper.numbers("figure2").set_index("class_name")
    classes = []
    for name, row in stated.iterrows():
        cells = {system: float(str(row[system]).split("-")[0]) for system in SYSTEMS if str(row[system]) != "nan"}
        bounds = {f"{s}_{end}": v + shift for s, v in cells.items() for end, shift in (("low", -0.05), ("high", 0.05))}
        classes.append({"class_name": name, "n_test": 33, "adds": 0.1, **cells, **bounds})
    pd.DataFrame(classes).to_csv(folder / "tables" / f"per_class-{UCF101}.csv", index=False)
    pd.DataFrame({"clips": [f"{UCF101} train", f"{UCF101} test"], "saturated": [0.01, 0.01]}).to_csv(
        folder / "tables" / "saturated.csv", index=False
    )
    said = dict(zip(SYSTEMS, ("Nunchucks", "JugglingBalls", "Archery"), strict=True))
    (folder / "predictions" / UCF101).mkdir(parents=True)
    for name, word in said.items():
        rows = {"video": ["a", "b"], "class_name": ["Archery", "Biking"], "pred": [word, "Biking"]}
        table = pd.DataFrame(rows).assign(dataset=UCF101, system=name, seed=0)
        table.to_csv(folder / "predictions" / UCF101 / f"{name}-seed0.csv", index=False)
    return Artefacts(folder, load_config("ucf101").protocol)


WRITTEN = claims.load_claims()


def judged(run, *ids):
    """The ledger, or the rows of some claims alone."""
    return claims.ledger(run, [claim for claim in WRITTEN if claim.id in ids or not ids]).set_index("id")


def edit(path, column, value, **where):
    """Set a column of a CSV, in the rows where other columns have given values."""
    table = pd.read_csv(path)
    chosen = pd.Series(True, index=table.index)
    for name, wanted in where.items():
        chosen &= table[name] == wanted
    assert chosen.any()
    table[column] = table[column].astype(object).where(~chosen, value)
    table.to_csv(path, index=False)


@pytest.fixture
def printed(monkeypatch, tmp_path):
    """Change a number of the paper's CSVs, or of others'."""
    copies = tmp_path / "paper"
    shutil.copytree(project_root() / "moclip" / "report" / "paper", copies)
    monkeypatch.setattr(paper, "numbers", lambda exhibit: pd.read_csv(copies / f"{exhibit}.csv"))
    return copies


# --- what is written ------------------------------------------------------------------------------------------------


def test_claims_are_well_formed():
    written = claims.load_claims()
    places = yaml.safe_load(claims.CLAIMS.read_text())["places"]
    assert len(written) >= 40 and len({claim.id for claim in written}) == len(written)
    assert list(dict.fromkeys(claim.place for claim in written)) == places, "every place, in the paper's order"
    assert {claim.rule for claim in written} == set(RULES), "no rule that nobody uses"
    assert sum(bool(claim.cell) for claim in written) > 15, "their numbers are those of the paper's tables: see below"


def test_every_published_number_has_a_source_and_is_used():
    external = paper.numbers("external")
    assert external.notna().all(axis=None) and external["name"].is_unique
    text = claims.CLAIMS.read_text()
    assert not [name for name in external["name"] if f"external/{name}/value" not in text]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("paper", 89.3, r"'fusion-accuracy' says 89.3, but its cell table1/fusion/top1 is 89.2"),
        ("rule", "acuracy", r"unknown rule 'acuracy' \(did you mean 'accuracy'\?\)"),
        ("place", "Abstrct", r"unknown place 'Abstrct' \(did you mean 'Abstract'\?\)"),
        ("id", "mv-accuracy", "claim 'mv-accuracy': its id is used twice"),
        ("verdict", "confirmed", "'fusion-accuracy': verdict: Extra inputs"),
        ("otherwise", "wrong", "otherwise: Input should be"),
    ],
)
def test_mistakes_are_named(tmp_path, field, value, message):
    written = yaml.safe_load(claims.CLAIMS.read_text())
    written["claims"][0][field] = value
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(written))
    with pytest.raises(MoclipError, match=message):
        claims.load_claims(tmp_path / "claims.yaml")


# --- verdicts -------------------------------------------------------------------------------------------------------

CONTRADICTED = {  # and our number, by other counters or by hand
    "gain-over-mv": 22.7, "head-adds": 0.00097, "unit-of-cost": 8.82, "mv-parameters": 4.14, "mv-throughput": 8241 / 32,
    "fusion-throughput": 8241 / 32, "x-clip-cost": 571, "x-clip-counted": 564, "emv-parameters": 90.7,
    "dtmv-parameters": 90.7, "two-stream-parameters": 181.3, "two-stream-cost": 1069, "dtmv-rgb-cost": 106.9,
    "coviar-own-views": 443.5, "coviar-parameters": 11.2, "negligible-overhead": (4.409 + 0.001) / 12.19,
    "comparable-zero-shot": 7.0, "clip-on-split-1": 1794, "test-views": 250, "fewer-than-a-million": 5.11,
    "no-decoding": 0.9, "direct-reading": 10.9,
}  # fmt: skip
CONFIRMED = {
    "head-parameters": 0.9698, "coviar-cost": 44.35, "emv-cost": 65.35, "mv-cost": 12.19, "fusion-cost": 16.60,
    "clip-cost": 4.41, "fused-width": 1792, "fusion-cost-sum": 16.9, "head-negligible": 0.001 / 16.6,
    "motion-dominates": 0.9996, "same-throughput": 0.9996, "frozen-weights": 0,
}  # fmt: skip
NOT_CONFIRMED = {"mv-is-stronger": 1.5, "coviar-accuracy": 70, "two-stream-accuracy": 85.9, "gain-from-joining": 10.4}


def test_what_is_known_to_be_wrong_comes_out_wrong_and_what_is_right_right(quick):
    ledger = judged(quick)
    known = {"contradicted": CONTRADICTED, "confirmed": CONFIRMED, "not confirmed": NOT_CONFIRMED}
    for verdict, numbers in known.items():
        assert ledger.loc[list(numbers), "verdict"].eq(verdict).all(), ledger.loc[list(numbers), "verdict"]
        assert ledger.loc[list(numbers), "ours"].astype(float).to_dict() == pytest.approx(numbers, rel=0.01, abs=1e-5)


def test_sampling_error_by_hand(quick):
    """1.5 points between 66.5 and 65.0 %: 1.96 * sqrt((0.665 * 0.335 + 0.65 * 0.35) / 3783) = 2.14."""
    row = judged(quick, "mv-is-stronger").loc["mv-is-stronger"]
    assert (row["low"], row["high"]) == pytest.approx((1.5 - 2.14, 1.5 + 2.14), abs=0.01)


def test_accuracies_on_other_data_are_shown_and_not_judged(quick):
    ledger = judged(quick)
    accuracies = ledger["rule"].isin(ON_CLIPS)
    there = accuracies & (ledger["verdict"] != "not run")
    assert set(ledger.index[accuracies & ~there]) == {"late-over-early"}
    assert set(ledger.loc[there, "verdict"]) == {"not testable here"}
    results = pd.read_csv(quick.run / "tables" / "results.csv").set_index(["dataset", "system"])
    row, expected = ledger.loc["fusion-accuracy"], 100 * results.loc[("mixed", "fusion"), ["accuracy", "low", "high"]]
    assert [row["ours"], row["low"], row["high"]] == pytest.approx(expected.to_list())
    assert "synthetic" in row["data"] and "tendency" in row["why"] and "independent 63.5" in row["why"]


def test_a_data_set_may_be_called_as_a_number(quick):
    tables = quick.run / "tables"
    mixed = pd.read_csv(tables / "results.csv").query("dataset == 'mixed'")
    mixed.assign(dataset="2024").to_csv(tables / "results.csv", index=False)
    (tables / "per_class-mixed.csv").rename(tables / "per_class-2024.csv")
    assert judged(quick, "consistent").loc["consistent", "evidence"] == "tables/per_class-2024.csv: adds"


def test_every_verdict_has_a_reason_and_evidence_that_is_there(quick):
    ledger = judged(quick)
    assert ledger["verdict"].isin(list(Verdict)).all()
    assert (ledger[["why", "evidence"]] != "").all(axis=None)
    decided = ledger[ledger["verdict"].isin(list(Verdict)[:3])]
    assert decided["ours"].notna().all()
    for evidence in decided["evidence"]:
        for place in evidence.split("; "):
            for name in place.partition(":")[0].split(", "):
                assert (quick.run / name).is_file() or (project_root() / name).is_file(), name


def test_an_absent_artefact_is_not_run_and_nothing_is_guessed(tmp_path):
    ledger = judged(Artefacts(tmp_path, "paper as shortened by profile quick"))
    printed_rules = ledger["rule"].isin(PRINTED)
    assert set(ledger.loc[~printed_rules, "verdict"]) == {"not run", "not testable here"}
    assert ledger.loc[~printed_rules, "ours"].isna().all()
    assert ledger.loc["emv-parameters", "evidence"] == "baselines/costs.csv"
    assert not ledger.loc[printed_rules, "verdict"].isin({"not run", "not testable here"}).any()


def test_a_part_that_was_not_counted_is_not_run(quick):
    edit(quick.run / "baselines" / "costs.csv", "system", "other", system="emv_cnn")
    edit(quick.run / "costs" / "fusion.csv", "part", "other", part="head")
    edit(quick.run / "timings" / "fusion.csv", "part", "other")
    ledger = judged(quick)
    for name in ("emv-parameters", "head-parameters", "motion-dominates"):
        assert ledger.loc[name, "verdict"] == "not run" and ledger["ours"].isna()[name]
    assert "paper, head" in ledger.loc["head-parameters", "evidence"]


def test_the_paper_s_own_run_is_judged(whole):
    ledger = judged(whole)
    assert set(ledger.loc[ledger["rule"].isin(ON_CLIPS), "verdict"]) == {"confirmed", "not run"}
    assert "not testable here" not in set(ledger["verdict"])
    assert ledger.loc["hammering", "why"].startswith("zero_shot 0.0 [-5.0, 5.0] %; mv_only 0.0")


@pytest.mark.parametrize("change", ["test clips", "order of classes", "encoder", "backbone", "protocol", "short"])
def test_another_setting_is_not_the_paper_s(whole, change):
    path = whole.run / "data" / f"{UCF101}.json"
    manifest = json.loads(path.read_text())
    if change == "test clips":
        manifest["counts"]["test"] -= 1
    if change == "order of classes":
        manifest["classes"] = sorted(manifest["classes"])
    path.write_text(json.dumps(manifest))
    overrides = {
        "encoder": {"encoder.name": "offline"},
        "backbone": {"mv.backbone": "resnet18"},
        "protocol": {"protocol": "reference"},
        "short": {"mv.epochs": 90, "mv.milestones": [30, 60]},
    }.get(change, {})
    run = Artefacts(whole.run, load_config("ucf101", overrides).protocol)
    assert judged(run, "fusion-accuracy", "above-mv-only", "hammering")["verdict"].eq("not testable here").all()


# --- every rule can say the other thing -----------------------------------------------------------------------------

T, C = "tables", "costs"
FLIPS = [  # rule, claim, file (of the run, or of the paper's numbers), column, value, where, verdict
    ("arithmetic", "gain-over-mv", "paper/table2.csv", "top1", 88.6, {"system": "fusion"}, "confirmed"),
    ("arithmetic", "fusion-cost-sum", "paper/table1.csv", "gflops", 13.0, {"system": "mv_only"}, "contradicted"),
    ("larger", "older-more-accurate", "paper/table1.csv", "top1", 80.0, {"system": "mv_only"}, "contradicted"),
    ("larger", "most-accurate", "paper/external.csv", "value", 90.0, {"name": "two_stream_svm"}, "not confirmed"),
    ("apart", "mv-is-stronger", "paper/table2.csv", "top1", 62.0, {"system": "zero_shot"}, "confirmed"),
    ("apart", "comparable-zero-shot", "paper/table1.csv", "top1", 66.0, {"system": "x_clip"}, "confirmed"),
    ("front", "best-trade-off", "paper/published.csv", "gmacs", 16.0, {"method": "MussNet-LF"}, "contradicted"),
    ("throughput", "mv-throughput", "paper/external.csv", "value", 9999, {"unit": "views/s"}, "not testable here"),
    ("counted", "head-adds", f"{C}/fusion.csv", "macs_per_view", 0.05e9, {"part": "head"}, "confirmed"),
    ("counted", "older-heavy", "baselines/costs.csv", "params", 9e6, {"system": "emv_cnn"}, "contradicted"),
    ("counted", "coviar-own-views", "baselines/costs.csv", "own_views", 25, {"system": "coviar_mv"}, "confirmed"),
    ("counted", "fewer-than-a-million", f"{C}/mv_only.csv", "trainable", 1e4, {}, "confirmed"),
    ("counted", "frozen-weights", f"{C}/fusion.csv", "trainable", 7, {"block": "profile"}, "contradicted"),
    ("negligible", "negligible-overhead", f"{C}/zero_shot.csv", "macs_per_view", 1e7, {}, "confirmed"),
    ("negligible", "head-negligible", f"{C}/fusion.csv", "macs_per_view", 1e9, {"part": "head"}, "contradicted"),
    ("share_of_time", "same-throughput", "timings/fusion.csv", "seconds", 0.1, {}, "contradicted"),
    ("reading", "no-decoding", f"{T}/reading.csv", "fastest", 0.001, {"step": "reading vectors"}, "not confirmed"),
    ("saturated", "typical-range", f"{T}/saturated.csv", "saturated", 0.06, {}, "contradicted"),
    ("accuracy", "fusion-accuracy", f"{T}/results.csv", "high", 0.891, {"system": "fusion"}, "not confirmed"),
    ("gain", "complementary", f"{T}/fusion_gain.csv", "low", -0.1, {"minus": "appearance_head"}, "not confirmed"),
    ("gain", "complementary", f"{T}/fusion_gain.csv", "high", -0.1, {"minus": "appearance_head"}, "contradicted"),
    ("class_accuracy", "wall-pushups", f"{T}/per_class-{UCF101}.csv", "mv_only_low", 0.7,
     {"class_name": "WallPushups"}, "not confirmed"),
    ("class_accuracy", "hammering", f"{T}/per_class-{UCF101}.csv", "zero_shot_low", 0.1,
     {"class_name": "Hammering"}, "not confirmed"),
    ("example", "archery", f"predictions/{UCF101}/mv_only-seed0.csv", "pred", "Fencing", {}, "not confirmed"),
    ("every_class", "consistent", f"{T}/per_class-{UCF101}.csv", "adds", -0.1, {"n_test": 33}, "not confirmed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "claim", "file", "column", "value", "where", "verdict"),
    FLIPS,
    ids=[f"{flip[1]}-{flip[-1]}" for flip in FLIPS],
)
def test_every_rule_can_turn(whole, printed, rule, claim, file, column, value, where, verdict):
    before = judged(whole, claim).loc[claim]
    assert before["rule"] == rule and before["verdict"] != verdict
    if rule == "gain" and column == "high":
        edit(whole.run / file, "low", value - 0.1, **where)
    for bound in ("fastest", "slowest") if rule == "share_of_time" else ():
        edit(whole.run / file, bound, value, **where)
    edit(whole.run / file, column, value, **where)
    assert judged(Artefacts(whole.run, whole.protocol), claim).loc[claim, "verdict"] == verdict


def test_a_missing_clip_of_ucf101_is_counted(whole):
    path = whole.run / "data" / f"{UCF101}.json"
    path.write_text(path.read_text().replace("9537", "9536"))
    row = judged(whole, "training-clips").loc["training-clips"]
    assert (row["ours"], row["verdict"]) == (9536, "contradicted")


def test_all_rules_are_turned():
    assert {flip[0] for flip in FLIPS} | {"clips"} == set(RULES)


def test_reading_is_judged_by_its_bounds(quick):
    path = quick.run / "tables" / "reading.csv"
    row = judged(quick, "no-decoding").loc["no-decoding"]
    assert (row["low"], row["high"]) == pytest.approx((0.9 * 0.95 / 1.1, 0.9 * 1.1 / 0.95), abs=0.001)
    for column in ("seconds", "fastest", "slowest"):
        edit(path, column, 0.002, step="reading vectors")
    assert judged(quick, "no-decoding").loc["no-decoding", "verdict"] == "confirmed"


# --- the page -------------------------------------------------------------------------------------------------------


def test_counts_and_bars(quick, axes):
    ledger = claims.ledger(quick, WRITTEN)
    counts = claims.counts(ledger)
    assert counts.to_numpy().sum() == len(ledger) and list(counts) == list(Verdict)
    assert counts.loc["Figure 2", "not testable here"] == 7 and counts.index[0] == "Abstract"
    figures.verdict_bars(axes, counts)
    widths = [sum(bar.get_width() for bar in bars) for bars in axes.containers]
    assert widths == counts.sum().to_list()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"{name} ({number})" for name, number in counts.sum().items()]
    ends = [max(bars[row].get_x() + bars[row].get_width() for bars in axes.containers) for row in range(len(counts))]
    assert ends == counts.sum(axis=1).to_list(), "stacked"
    plt.close("all")


def test_the_page_has_intervals_where_there_are_some(quick):
    ledger = claims.ledger(quick, WRITTEN)
    page = claims.page(ledger).set_axis(ledger["id"])
    assert page.loc["fusion-accuracy", "ours"] == "98.83 [97.01, 99.87]"
    assert page.loc["gain-over-mv", "ours"] == "22.7" and page.loc["hammering", "ours"] == ""
    assert not page.astype(str).apply(lambda column: column.str.contains("nan")).any(axis=None)


def test_the_published_ledger_is_the_one_that_its_tables_give(quick):
    """Where it is published: the rows that need only printed numbers and the published tables."""
    if not (FIGURES / "claims.csv").is_file():
        pytest.skip("figures/quick/claims.csv is not published yet")
    published = pd.read_csv(FIGURES / "claims.csv", keep_default_na=False).set_index("id")
    ledger = judged(quick)
    same = ledger.index[ledger["rule"].isin(PRINTED | {"accuracy", "gain", "saturated", "every_class"})]
    assert published.loc[same, "verdict"].equals(ledger.loc[same, "verdict"])
    assert published.loc[same, "why"].equals(ledger.loc[same, "why"])
