"""Tables I and II: sums by hand, two blocks that never mix, the paper's numbers as the paper prints them."""

import pandas as pd
import pytest

from moclip.datasets.ucf101 import CLASSES
from moclip.report import efficiency, paper, tables

OWN = ["Zero-shot", "MV-only", "MoCLIP-Lite (fusion)"]
SPEEDS = [
    "ms per video (batch 1)", "fastest-slowest (ms)", "Videos/s (batch 1)", "Videos/s (batch 1, with reading)",
    "Videos/s (best)", "Best at", "Memory (MB, batch 1)",
]  # fmt: skip


@pytest.fixture
def results():
    rows = [("fusion", 0.75, 3), ("zero_shot", 0.5, 1), ("mv_only", 0.625, 1), ("motion_head", 0.6, 3)]
    table = pd.DataFrame(rows, columns=["system", "accuracy", "seeds"])
    table["low"], table["high"] = table["accuracy"] - 0.1, table["accuracy"] + 0.1
    return table.assign(dataset="mixed", n_train=40, n_test=16, protocol="quick", data="synthetic clips")


@pytest.fixture
def costs():
    rows = [
        ("profile", "image tower", "Eye", 3_000_000, 0, 400e6, 1),
        ("profile", "text tower", "Ear", 9_000_000, 0, None, None),
        ("profile", "motion network", "Leg", 2_000_000, 2_000_000, 50e6, 8),
        ("profile", "motion network in fusion", "Leg", 2_000_000, 0, None, None),
        ("profile", "head", "MLP", 1_000_000, 1_000_000, 1e6, 1),
        ("paper", "image tower", "Eye B", 88_000_000, 0, 4.4e9, 1),
        ("paper", "motion network", "Leg B", 4_000_000, 4_000_000, 0.38e9, 32),
        ("paper", "head", "MLP", 970_000, 970_000, 1e6, 1),
    ]
    columns = ["block", "part", "architecture", "params", "trainable", "macs_per_view", "views"]
    return pd.DataFrame(rows, columns=columns).set_index(["block", "part"])


def timed(block, part, precision, batch, seconds, device="a chip", peak=1.0):
    return {"block": block, "part": part, "precision": precision, "batch": batch, "seconds": seconds,
            "fastest": seconds - 0.001, "slowest": seconds + 0.002, "peak_mb": peak, "device": device}  # fmt: skip


@pytest.fixture
def timings():
    rows = [timed(block, "image tower", "FP32", 1, 0.5, peak=90) for block in ("profile", "paper")]
    for block, factor in (("profile", 1), ("paper", 10)):
        rows += [
            timed(block, "motion network", "FP32", 1, factor * 0.040, peak=20.0),
            timed(block, "motion network", "FP32", 2, factor * 0.060, peak=35.0),
            timed(block, "motion network", "FP32", 4, factor * 0.140, peak=70.0),
            timed(block, "motion network", "bf16", 1, factor * 0.035, peak=15.0),
            timed(block, "motion network", "bf16", 2, factor * 0.050, peak=25.0),
            timed(block, "head", "FP32", 1, factor * 0.010, peak=3.0),
            timed(block, "head", "bf16", 1, factor * 0.020, peak=4.0),
        ]
    return pd.DataFrame([*rows, {**timed("profile", "reading motion", None, 1, 0.030), "peak_mb": None}])


# --- what the paper says ----------------------------------------------------------------------------------------------


def test_the_paper_s_first_table():
    table = paper.numbers("table1")
    columns = ["method", "architecture", "trainable_m", "gflops", "top1"]
    assert table[columns].fillna(-1).to_numpy().tolist() == [
        ["CLIP (ViT-B/32)", "ViT-B/32", 0, 4.4, 64.5],
        ["X-CLIP", "ViT-B/16", -1, 1732, 72.0],
        ["EPK-CLIP", "ViT-B/16", -1, 1732, 75.3],
        ["CLIP-only (ours)", "ViT-B/32", 0, 4.4, 65.0],
        ["CoViAR (MV branch)", "ResNet-18", 11.7, 44.5, 63.9],
        ["EMV-CNN", "ClarifaiNet", 61, 65, 79.3],
        ["DTMV-CNN", "ClarifaiNet", 61, 65, 80.3],
        ["MV-only (ours)", "EfficientNet-B0", 5.3, 12.5, 66.5],
        ["Two-Stream", "VGG-M + VGG-M", 91.2, 83, 86.2],
        ["DTMV+RGB-CNN", "ClarifaiNet x 2", 122, 83, 87.5],
        ["MoCLIP-Lite (ours)", "ViT-B/32 + EfficientNet-B0", 0.97, 16.9, 89.2],
    ]
    mean = table.loc[table["marks"].str.contains("3-split mean", na=False), "method"]
    assert mean.tolist() == ["X-CLIP", "EPK-CLIP", "DTMV+RGB-CNN"]
    estimated = table.loc[table["marks"].str.contains("GFLOPs estimated", na=False), "method"]
    assert estimated.tolist() == ["CoViAR (MV branch)", "EMV-CNN", "DTMV-CNN", "Two-Stream", "DTMV+RGB-CNN"]
    assert table["note"].notna().all(), "every difference has its line"


def test_the_paper_s_second_table():
    table = paper.numbers("table2").set_index("system")
    assert table["trainable_m"].to_dict() == {"zero_shot": 0, "mv_only": 5.3, "fusion": 0.97}
    assert table["top1"].to_dict() == {"zero_shot": 65.0, "mv_only": 66.5, "fusion": 89.2}
    assert table["videos_per_s"].fillna(-1).to_dict() == {"zero_shot": -1, "mv_only": 286.85, "fusion": 275.31}


def test_the_paper_s_classes_are_ucf101_s():
    named = paper.numbers("figure2").set_index("class_name")
    assert len(named) == 7 and set(named.index) <= set(CLASSES)
    assert named.loc["Hammering", ["zero_shot", "mv_only", "fusion"]].astype(str).tolist() == ["0.0", "0", "0.58"]
    assert named.loc["PizzaTossing", ["zero_shot", "mv_only", "fusion"]].astype(str).tolist() == [
        "0.45",
        "0.42",
        "0.82",
    ]
    led = named.drop(["Hammering", "PizzaTossing"])
    assert set(led["mv_only"]) == {"0.44-0.67"} and set(led["fusion"]) == {"0.88-1.0"} and led["zero_shot"].isna().all()
    (example,) = paper.numbers("figure3").to_dict("records")
    assert example == {
        "class_name": "Archery",
        "zero_shot": "Nunchucks",
        "mv_only": "JugglingBalls",
        "fusion": "Archery",
    }
    assert set(example.values()) <= set(CLASSES)


# --- Table I --------------------------------------------------------------------------------------------------------


def test_own_rows_sum_their_parts(results, costs):
    table = efficiency.table_one(results, costs)
    own = table[table["Block"] == "profile"].set_index("Method")
    assert own.index.tolist() == OWN
    assert own["Params (M)"].tolist() == [3, 2, 6] and own["Trainable (M)"].tolist() == [0, 2, 1]
    assert own["GMACs"].tolist() == pytest.approx([0.4, 8 * 0.05, 0.4 + 8 * 0.05 + 0.001])
    assert (
        own["Views"].tolist() == ["1", "8", "1 + 8 + 1"] and own.loc[OWN[2], "GMACs per view"] == "0.4 + 0.05 + 0.001"
    )
    assert own["Architecture"].tolist() == ["Eye", "Leg", "Eye + Leg + MLP"]
    assert own["Top-1 (%)"].tolist() == ["50.0 [40.0, 60.0]", "62.5 [52.5, 72.5]", "75.0 [65.0, 85.0]"]
    assert own["Seeds"].tolist() == [1, 1, 3] and set(own["n train"]) == {40} and set(own["n test"]) == {16}
    assert set(own["Data"]) == {"synthetic clips"} and set(own["Status"]) == {efficiency.MEASURED}
    assert own["Paper: top-1 (%, UCF101)"].tolist() == [65.0, 66.5, 89.2]


def test_the_paper_s_rows_have_no_accuracy_of_ours(results, costs):
    table = efficiency.table_one(results, costs)
    theirs = table[table["Block"] == "paper"]
    stated = paper.numbers("table1")
    assert theirs["Method"].tolist() == stated["method"].tolist()
    for column in ("Top-1 (%)", "n train", "n test", "Seeds", "Protocol", "Data"):
        assert theirs[column].isna().all(), column
    for column, source in (
        ("Paper: trainable (M)", "trainable_m"), ("Paper: GFLOPs", "gflops"), ("Paper: top-1 (%, UCF101)", "top1"),
        ("Why they differ", "note"),
    ):  # fmt: skip
        pd.testing.assert_series_equal(theirs[column].reset_index(drop=True), stated[source], check_names=False)
    counted = theirs["Status"] == efficiency.COST_ONLY
    assert theirs.loc[counted, "Method"].tolist() == ["CLIP-only (ours)", "MV-only (ours)", "MoCLIP-Lite (ours)"]
    assert theirs.loc[counted, "GMACs"].tolist() == pytest.approx([4.4, 12.16, 16.561])
    assert theirs.loc[counted, "Params (M)"].tolist() == [88, 4, 92.97]
    assert theirs.loc[~counted, ["Params (M)", "Trainable (M)", "GMACs", "Views"]].isna().all(axis=None)
    assert set(theirs.loc[~counted, "Status"]) == {efficiency.NOT_BUILT}


def test_other_systems_have_their_own_cost_or_say_that_nobody_counted_them(results, costs):
    rows = [("two_stream", 90e6, 1.5e9, 25), ("two_stream", 91e6, 2.5e9, 25), ("x_clip", 195e6, 141e9, 12)]
    baselines = pd.DataFrame(rows, columns=["system", "params", "macs_per_view", "views"])
    baselines["trainable"] = baselines["params"]
    theirs = efficiency.table_one(results, costs, baselines).query("Block == 'paper'").set_index("Method")
    row = theirs.loc["Two-Stream"]
    assert (row["Params (M)"], row["Trainable (M)"], row["Views"], row["GMACs"]) == (181, 181, "25 + 25", 100)
    assert row["Status"] == theirs.loc["X-CLIP", "Status"] == efficiency.COST_ONLY and row["Paper: GFLOPs"] == 83
    assert theirs.loc["EPK-CLIP", "Status"] == efficiency.NOT_BUILT, "no text, no model"
    assert set(theirs.index[theirs["Status"] == efficiency.NOT_RUN]) == {
        "CLIP (ViT-B/32)", "CoViAR (MV branch)", "EMV-CNN", "DTMV-CNN", "DTMV+RGB-CNN",
    }  # fmt: skip
    assert theirs["Top-1 (%)"].isna().all(), "of none an accuracy"
    without = efficiency.table_one(results, costs).set_index("Method")
    assert without.loc["Two-Stream", "Status"] == efficiency.NOT_BUILT


def test_one_data_set_at_a_time(results, costs):
    with pytest.raises(ValueError, match="results have 2 rows for zero_shot, expected one: choose one data set"):
        efficiency.table_one(pd.concat([results, results.assign(dataset="independent")]), costs)
    with pytest.raises(ValueError, match="results have 0 rows for mv_only"):
        efficiency.table_one(results[results["system"] != "mv_only"], costs)


# --- Table II -------------------------------------------------------------------------------------------------------


@pytest.fixture
def table_two(results, costs, timings):
    return efficiency.table_two(results, costs, timings).set_index(["Block", "Method"])


def test_speeds_by_hand(table_two):
    row = table_two.loc[("profile", "MV-only")]
    assert row["ms per video (batch 1)"] == 40 and row["fastest-slowest (ms)"] == "39.00-42.00"
    assert row["Videos/s (batch 1)"] == 25 and row["Memory (MB, batch 1)"] == 20
    assert row["Videos/s (batch 1, with reading)"] == pytest.approx(1 / 0.070, abs=0.005)
    assert row["Videos/s (best)"] == 40 and row["Best at"] == "batch 2, bf16", "25 ms per video, less than 30 and 35"


def test_fusion_takes_the_network_and_the_head(table_two):
    row = table_two.loc[("profile", OWN[2])]
    assert row["ms per video (batch 1)"] == 50 and row["Videos/s (batch 1)"] == 20
    assert row["fastest-slowest (ms)"] == "48.00-54.00" and row["Memory (MB, batch 1)"] == 23
    assert row["Videos/s (best)"] == pytest.approx(1 / (0.025 + 0.010), abs=0.005)
    assert row["Best at"] == "batch 2, bf16", "the network's, not the head's"
    assert table_two.loc[("paper", OWN[2]), "ms per video (batch 1)"] == 500


@pytest.mark.parametrize("block", ["profile", "paper"])
def test_nothing_runs_online_for_zero_shot(table_two, block):
    assert table_two.loc[(block, "Zero-shot"), SPEEDS].isna().all(), "its features are there beforehand"
    timed = table_two.loc[(block, "MV-only"), SPEEDS]
    blank = {"Videos/s (batch 1, with reading)"} if block == "paper" else set()
    assert set(timed.index[timed.isna()]) == blank, "the paper's clips were not read here"


def test_the_second_table_s_blocks_do_not_mix(table_two):
    assert table_two.index.tolist() == [(block, name) for block in ("profile", "paper") for name in OWN]
    own, theirs = table_two.loc["profile"], table_two.loc["paper"]
    assert own["Top-1 (%)"].tolist() == ["50.0 [40.0, 60.0]", "62.5 [52.5, 72.5]", "75.0 [65.0, 85.0]"]
    assert theirs[["Top-1 (%)", "n test", "Data"]].isna().all(axis=None), "random weights have no accuracy"
    for block in (own, theirs):
        assert block["Paper: videos/s (RTX 3090)"].fillna(-1).tolist() == [-1, 286.85, 275.31]
        assert block["Paper: top-1 (%, UCF101)"].tolist() == [65.0, 66.5, 89.2]
        assert block["Paper: trainable (M)"].tolist() == [0, 5.3, 0.97]
    assert own["Trainable (M)"].tolist() == [0, 2, 1] and theirs["Trainable (M)"].tolist() == [0, 4, 0.97]


def test_times_of_two_devices_are_not_added(results, costs, timings):
    timings.loc[(timings["block"] == "paper") & (timings["part"] == "head"), "device"] = "another chip"
    with pytest.raises(ValueError, match="different devices cannot be added: a chip, another chip; run 02 and 03"):
        efficiency.table_two(results, costs, timings)
    timings.loc[timings["block"] == "paper", "device"] = "another chip"
    assert len(efficiency.table_two(results, costs, timings)) == 6, "a block a device is no sum"


# --- files ----------------------------------------------------------------------------------------------------------


def test_csv_has_all_columns_and_the_others_what_fits(results, costs, timings, tmp_path):
    for name, table in (
        ("one", efficiency.table_one(results, costs)),
        ("two", efficiency.table_two(results, costs, timings)),
    ):
        tables.save_table(tmp_path, name, table, "caption", efficiency.CSV_ONLY, efficiency.NOTES)
        assert pd.read_csv(tmp_path / f"{name}.csv").columns.tolist() == table.columns.tolist()
        header = (tmp_path / f"{name}.md").read_text().splitlines()[2]
        shown = [cell.strip() for cell in header.strip("|").split("|")]
        assert shown == [column for column in table if column not in efficiency.CSV_ONLY]
        (header,) = [line for line in (tmp_path / f"{name}.tex").read_text().splitlines() if "Paper: top-1" in line]
        assert [cell.strip() for cell in header.removesuffix(r"\\").replace(r"\%", "%").split("&")] == shown[:-1]
        assert shown[-1] == efficiency.NOTES, "sentences: wider than a page"
    assert set(efficiency.CSV_ONLY) <= set(efficiency.table_one(results, costs)) | set(
        efficiency.table_two(results, costs, timings)
    ), "no name that no table has"


@pytest.mark.parametrize("folder", ["costs", "timings"])
def test_files_of_all_notebooks_are_read(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=f"no {folder} in .*; run `moclip reproduce --only 01,02,03` first"):
        efficiency.load(tmp_path, folder)
    (tmp_path / folder).mkdir()
    for name in ("zero_shot", "fusion", ".half-written"):
        rows = pd.DataFrame([{"block": "profile", "part": name, "params": 1, "seconds": 2.0}])
        rows.to_csv(tmp_path / folder / f"{name}.csv", index=False)
    found = efficiency.load(tmp_path, folder)
    assert found["part"].tolist() == ["fusion", "zero_shot"] and found["params"].tolist() == [1, 1]
