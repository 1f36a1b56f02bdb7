"""The README shows what the committed tables say."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_result_table_is_the_committed_one() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = readme.split("<!-- results: from figures/quick/overview.md -->")[1].split("<!-- end of results -->")[0]
    caption, _, table = (ROOT / "figures" / "quick" / "overview.md").read_text().partition("\n\n")
    assert table.strip() in shown
    assert "synthetic" in shown and "synthetic" in caption


def test_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = [part.split(")")[0] for part in readme.split("](")[1:]]
    local = [target for target in targets if not target.startswith("http")]
    assert local and [target for target in local if not (ROOT / target).exists()] == []
