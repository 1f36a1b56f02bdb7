"""Tables as CSV, Markdown and LaTeX; what a difference says in words."""

import re

import numpy as np
import pandas as pd
import pytest

from moclip.report import tables
from moclip.report.statistics import Bootstrap

CAPTION = "Data: 50 % of mixed_design & more"


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "Method": ["MV_only", "Fusion & head"],
            "Top-1 (%)": ["50.0 [40.1, 60.0]", "97.5"],
            "share": [0.123456789, np.nan],
            "n": [12, 3456],
            "paper": [None, 89.2],
        }
    )


@pytest.fixture
def written(table, tmp_path):
    tables.save_table(tmp_path, "t", table, CAPTION)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.md", "t.tex"]
    return {kind: (tmp_path / f"t.{kind}").read_text() for kind in ("csv", "md", "tex")}


def test_csv_keeps_every_digit(table, written, tmp_path):
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table, check_dtype=False)
    assert "0.123456789" in written["csv"]


def test_markdown(written):
    lines = written["md"].splitlines()
    assert lines[0] == CAPTION and lines[1] == ""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == ["Method", "Top-1 (%)", "share", "n", "paper"]
    assert cells[2:] == [
        ["MV_only", "50.0 [40.1, 60.0]", "0.123457", "12", ""],
        ["Fusion & head", "97.5", "", "3456", "89.2"],
    ]
    assert "nan" not in written["md"].lower()


def test_markdown_cells_may_hold_bars(tmp_path):
    tables.save_table(tmp_path, "t", pd.DataFrame({"a|b": ["x | y"], "c": ["z"]}), "")
    lines = (tmp_path / "t.md").read_text().splitlines()[2:]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}


def unescaped(text):
    """Characters that LaTeX would take for its own; the braces and backslashes of commands are not looked at."""
    return re.findall(r"(?<!\\)[%#$_]", text)


def test_latex(written):
    tex = written["tex"]
    assert r"\caption{Data: 50 \% of mixed\_design \& more}" in tex and r"\label{tab:t}" in tex
    assert r"\toprule" in tex and r"\bottomrule" in tex
    rows = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert rows[0] == r"Method & Top-1 (\%) & share & n & paper \\"
    assert rows[1:] == [
        r"MV\_only & 50.0 [40.1, 60.0] & 0.123457 & 12 &  \\",
        r"Fusion \& head & 97.5 &  & 3456 & 89.2 \\",
    ]
    assert unescaped(tex) == []


@pytest.mark.parametrize("place", ["caption", "header", "cell"])
def test_latex_escapes_whatever_is_special(tmp_path, place):
    special = "a#b$c%d&e_f"
    values = {"caption": "x", "header": "x", "cell": "x", place: special}
    tables.save_table(tmp_path, "t", pd.DataFrame({values["header"]: [values["cell"]]}), values["caption"])
    tex = (tmp_path / "t.tex").read_text()
    assert r"a\#b\$c\%d\&e\_f" in tex and unescaped(tex) == []


def test_bytes_repeat(table, tmp_path):
    for folder in ("one", "two"):
        tables.save_table(tmp_path / folder, "t", table, CAPTION)
    for kind in ("csv", "md", "tex"):
        assert (tmp_path / "one" / f"t.{kind}").read_bytes() == (tmp_path / "two" / f"t.{kind}").read_bytes()


def test_caption():
    text = tables.caption("Accuracy.", ["UCF101", "HMDB51", "UCF101"], encoder="offline", motion_network="a b")
    assert text == "Accuracy. Data: UCF101; HMDB51. Encoder offline, motion network a b."
    assert tables.caption("Accuracy.", ["UCF101"]) == "Accuracy. Data: UCF101."


def test_percent():
    assert tables.percent(0.621, 0.56, 0.6821) == "62.1 [56.0, 68.2]"
    assert tables.percent(0.5, float("nan"), float("nan")) == "50.0"
    assert tables.percent(float("nan"), 0.1, 0.2) == ""
    assert tables.percent(1.0, 0.0, 1.0) == "100.0 [0.0, 100.0]"


# --- results --------------------------------------------------------------------------------------------------------


@pytest.fixture
def predictions():
    rows = []
    for system, right, seeds in (("fusion", 10, (0, 1)), ("mv_only", 6, (0,))):
        for seed in seeds:
            for n in range(12):
                rows.append({"dataset": "mixed", "system": system, "seed": seed, "video": f"v{n}", "class_name": "A"})
                rows[-1] |= {"group": f"g{n // 2}", "correct": n < right - seed, "protocol": "quick", "views": 3}
                rows[-1] |= {"n_train": 7, "data": "synthetic"}
    return pd.DataFrame(rows)


def test_results(predictions):
    results = tables.results(predictions, Bootstrap(99, 0.95)).set_index("system")
    assert results.loc["fusion", "accuracy"] == pytest.approx(9.5 / 12, abs=1e-4)
    assert results.loc["mv_only", "accuracy"] == 0.5
    assert results["n_test"].to_list() == [12, 12] and results["seeds"].to_list() == [2, 1]
    assert results.loc["fusion", "seed_sd"] == pytest.approx(np.std([10 / 12, 9 / 12], ddof=1), abs=1e-4)
    assert (results["low"] <= results["accuracy"]).all() and (results["accuracy"] <= results["high"]).all()
    assert set(results["protocol"]) == {"quick"} and set(results["n_train"]) == {7} and set(results["views"]) == {3}


def test_differences(predictions):
    row = tables.differences(predictions, "mixed", "fusion", ["mv_only", "fusion"], Bootstrap(99, 0.95))
    assert row["minus"].to_list() == ["mv_only", "fusion"]
    assert row["reading"].to_list() == [tables.reading(each) for each in row.to_dict("records")]
    assert row["difference"].to_list() == pytest.approx([3.5 / 12, 0], abs=1e-4)
    assert row["mcnemar_p"].to_list() == pytest.approx(
        [2 / 2**4, 1], rel=0.05
    )  # first seeds: four corrected, none degraded
    assert row["low"][0] >= 0 == row["low"][1] and row["high"][0] > 0.3


def test_folds(predictions):
    """Fold 2 as fold 1, but fusion has two more wrong; its clips are other clips."""
    two = predictions.assign(fold=2, group="x" + predictions["group"], video="x" + predictions["video"])
    two.loc[(two["system"] == "fusion") & two["video"].isin(["xv0", "xv1"]), "correct"] = False
    both = pd.concat([predictions.assign(fold=1), two])
    table = tables.folds(both, Bootstrap(99, 0.95)).set_index("system")
    assert list(table)[-2:] == ["fold 1", "fold 2"]
    assert table["folds"].to_list() == [2, 2] and table["n_test"].to_list() == [24, 24]
    each = [9.5 / 12, 7.5 / 12]
    fusion, mv_only = table.loc["fusion"], table.loc["mv_only"]
    assert fusion["mean"] == pytest.approx(np.mean(each), abs=1e-4)
    assert fusion["mean, sd over folds"] == pytest.approx(np.std(each, ddof=1), abs=1e-4)
    assert fusion["fold 1"].startswith("79.2 [") and fusion["fold 2"].startswith("62.5 [")
    assert np.isnan(fusion["fusion minus it"]) and mv_only["mean, sd over folds"] == 0
    assert mv_only["fusion minus it"] == pytest.approx(np.mean(each) - 0.5, abs=1e-4)
    assert mv_only["fusion minus it, sd over folds"] == pytest.approx(np.std(each, ddof=1), abs=1e-4)
    assert mv_only["fusion minus it, low"] < mv_only["fusion minus it"] < mv_only["fusion minus it, high"]


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "minus", "expected"),
    [
        (0.04, 0.2, "mv_only", "fusion is better"),
        (0.01, 0.2, "appearance_head", "fusion is better"),
        (-0.2, -0.04, "mv_only", "mv_only is better"),
        (-0.2, -0.05, "appearance_head", "appearance_head is better"),
        (-0.02, 0.03, "mv_only", "no difference beyond 3 points"),
        (-0.02, 0.05, "mv_only", "not distinguishable at this size"),
        (-0.2, 0.3, "appearance_head", "not distinguishable at this size"),
        (float("nan"), float("nan"), "mv_only", "not distinguishable at this size"),
    ],
)
def test_reading(low, high, minus, expected):
    row = {"system": "fusion", "minus": minus, "low": low, "high": high}
    assert tables.reading(row) == expected
