"""The README and the model card say what the committed tables say."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "figures" / "quick"
TABLES = [*FIGURES.glob("*.csv"), *(ROOT / "moclip" / "report" / "paper").glob("*.csv")]
# Sizes of layers and versions of things are no results.
NOT_RESULTS = {"0.5", "3.11", "2509.17084"}
pages = pytest.mark.parametrize("page", ["README.md", "MODEL_CARD.md"])


def prose(page: str) -> str:
    """A page without code, link targets and comments."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", (ROOT / page).read_text(), flags=re.DOTALL)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)


def printed(value: object) -> set[str]:
    """How a cell of a table may stand in a sentence: as it is, rounded, or in percent."""
    text = str(value)
    numbers = re.findall(r"\d+\.\d+|\d+", text) if not isinstance(value, float) else [text]
    forms = {text, *numbers}
    for number in map(float, numbers):
        forms |= {f"{abs(scaled):.{digits}f}" for scaled in (number, 100 * number) for digits in (1, 2)}
    return forms


def committed() -> set[str]:
    return {
        form
        for path in TABLES
        for column in pd.read_csv(path, keep_default_na=False).to_dict("list").values()
        for value in column
        for form in printed(_number(value))
    }


def _number(value: object) -> object:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


@pages
def test_result_table_is_the_committed_one(page: str) -> None:
    shown = (ROOT / page).read_text().split("<!-- results: from figures/quick/overview.md -->")[1]
    caption, _, table = (FIGURES / "overview.md").read_text().partition("\n\n")
    assert table.strip() in shown.split("<!-- end of results -->")[0]
    assert "synthetic" in shown and "synthetic" in caption


@pages
def test_every_decimal_number_is_in_a_committed_table(page: str) -> None:
    found = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)", prose(page))) - NOT_RESULTS
    assert found, "the page holds numbers"
    assert found - committed() == set()


def test_sentences_about_gains() -> None:
    gains = pd.read_csv(FIGURES / "fusion_gain.csv").set_index(["dataset", "minus"])["difference"]
    counts = pd.read_csv(FIGURES / "results.csv").groupby("dataset", sort=False)["n_test"].first()
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"MV-only, by {100 * gains['mixed', 'mv_only']:.1f} points" in text
    assert f"**loses** {-100 * gains['independent', 'appearance_head']:.1f} points" in text
    assert f"({counts['mixed']} and {counts['independent']} test clips)" in text
    results = pd.read_csv(FIGURES / "results.csv").set_index(["dataset", "system"])["accuracy"]
    assert results["mixed", "mv_only"] > results["mixed", "zero_shot"], "MV-only is the better single stream"


def test_the_paper_s_numbers() -> None:
    paper = pd.read_csv(ROOT / "moclip" / "report" / "paper" / "table1.csv").set_index("system")["top1"]
    stated = ", ".join(f"{paper[name]:.1f}" for name in ("zero_shot", "mv_only", "fusion"))
    assert f"({stated})" in (ROOT / "README.md").read_text()


@pages
def test_links_lead_somewhere(page: str) -> None:
    targets = [part.split(")")[0] for part in (ROOT / page).read_text().split("](")[1:]]
    local = [target for target in targets if not target.startswith("http")]
    assert local and [target for target in local if not (ROOT / target).exists()] == []


def test_figures_have_alt_text() -> None:
    images = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", (ROOT / "README.md").read_text())
    assert len(images) >= 2 and all(len(alt) > 20 for alt, _ in images)
