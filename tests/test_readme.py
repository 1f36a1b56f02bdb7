"""The README and the model card say what the committed tables say."""

import re
from pathlib import Path

import pandas as pd
import pytest

from moclip.datasets.moving_photos.dataset import ceilings, class_graph
from moclip.report.paper import numbers

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "figures" / "quick"
NOT_RESULTS = {"0.5", "3.11", "3.13", "2509.17084"}  # a layer's, a version, an address
pages = pytest.mark.parametrize("page", ["README.md", "MODEL_CARD.md"])


def prose(page: str) -> str:
    """A page without code, link targets and comments."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", (ROOT / page).read_text(), flags=re.DOTALL)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)


def results() -> pd.Series:
    return pd.read_csv(FIGURES / "results.csv").set_index(["dataset", "system"])["accuracy"]


def gains() -> pd.Series:
    return pd.read_csv(FIGURES / "fusion_gain.csv").set_index(["dataset", "minus"])["difference"]


@pages
def test_result_table_is_the_committed_one(page: str) -> None:
    shown = (ROOT / page).read_text().split("<!-- results: from figures/quick/overview.md -->")[1]
    caption, _, table = (FIGURES / "overview.md").read_text().partition("\n\n")
    assert table.strip() in shown.split("<!-- end of results -->")[0]
    assert "synthetic" in shown and "synthetic" in caption


@pages
def test_every_decimal_number_is_in_the_committed_tables(page: str) -> None:
    """Those of the result table, and in the README those of the sentences below; no other number may stand there."""
    shown = "".join((FIGURES / "overview.md").read_text().partition("\n\n")[2])
    allowed = set(re.findall(r"\d+\.\d+", shown)) | NOT_RESULTS
    if page == "README.md":
        allowed |= {number for sentence in sentences() for number in re.findall(r"\d+\.\d+", sentence)}
    found = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)", prose(page)))
    assert found and found - allowed == set()


def sentences() -> list[str]:
    """Pieces of the README, with their numbers from the tables."""
    gain, accuracy = gains(), results()
    counts = pd.read_csv(FIGURES / "results.csv").groupby("dataset", sort=False)["n_test"].first()
    paper = numbers("table1").set_index("system")["top1"]
    ceiling = ceilings(class_graph("mixed"))["motion"]
    noise = accuracy["independent", "fusion_permuted"] - accuracy["independent", "appearance_head"]
    return [
        f"({counts['mixed']} and {counts['independent']} test clips)",
        f"is right in at most {100 * ceiling:.1f} % of the clips",
        f"adds {100 * gain['mixed', 'appearance_head']:.1f} points to the same head on appearance alone",
        f"and {100 * gain['mixed', 'motion_head']:.1f} to the same head on motion alone",
        f"passes its ceiling ({100 * accuracy['mixed', 'motion_head']:.1f} %)",
        f"**loses** {-100 * gain['independent', 'appearance_head']:.1f} points to the same head on appearance alone",
        f"costs {-100 * noise:.1f} of them",
        f"({', '.join(f'{paper[name]:.1f}' for name in ('zero_shot', 'mv_only', 'fusion'))})",
    ]


def test_sentences_with_numbers() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    assert [sentence for sentence in sentences() if sentence not in text] == []


def test_sentences_about_classes() -> None:
    """In `independent`, fusion is above both single streams and below the control, in every class."""
    table = pd.read_csv(FIGURES / "per_class-independent.csv")
    assert (table["adds"] > 0).all() and (table["over_control"] < 0).all()
    assert results()["mixed", "motion_head"] > ceilings(class_graph("mixed"))["motion"]


@pages
def test_links_lead_somewhere(page: str) -> None:
    targets = [part.split(")")[0] for part in (ROOT / page).read_text().split("](")[1:]]
    local = [target for target in targets if not target.startswith("http")]
    assert local and [target for target in local if not (ROOT / target).exists()] == []


def test_figures_have_alt_text() -> None:
    images = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", (ROOT / "README.md").read_text())
    assert len(images) >= 2 and all(len(alt) > 20 for alt, _ in images)
