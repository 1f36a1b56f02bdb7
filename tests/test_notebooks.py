"""Every notebook runs, on a handful of clips, and what they write fits together."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest

from moclip.config import Config
from moclip.paths import notebooks_dir

NOTEBOOKS = sorted(notebooks_dir().glob("[0-9][0-9]*.ipynb"))
SYSTEMS = {"zero_shot", "mv_only", "fusion", "appearance_head", "motion_head", "fusion_permuted"}
DESIGNS = {"mixed", "independent"}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


# --- as committed ---------------------------------------------------------------------------------------------------


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 4 and sorted(notebooks_dir().glob("*.ipynb")) == NOTEBOOKS


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return read(request.param)


def test_no_outputs_are_committed(notebook):
    for cell in code_cells(notebook):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags"}


def test_exactly_two_parameters(notebook):
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and tagged[0] is code_cells(notebook)[0]
    names = [target.id for node in ast.parse("".join(tagged[0]["source"])).body for target in node.targets]
    assert names == ["profile", "overrides"]


def test_thin_enough_to_read(notebook):
    cells = code_cells(notebook)
    assert len(cells) <= 18
    for cell in cells:
        tree = ast.parse("".join(cell["source"]))
        nodes = list(ast.walk(tree))
        assert not any(isinstance(node, ast.ClassDef) for node in nodes), "classes live in moclip/"
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        assert all(node.end_lineno - node.lineno < 15 for node in functions), "so do long functions"


def test_opens_with_prose(notebook):
    first = notebook["cells"][0]
    assert first["cell_type"] == "markdown" and "".join(first["source"]).startswith("# ")


def test_declares_what_it_needs_and_makes(notebook):
    declared = notebook["metadata"]["moclip"]
    assert declared["makes"] and isinstance(declared["needs"], list) and declared["title"]
    assert set(declared.get("config", [])) <= set(Config.model_fields)
    assert {"quick", "smoke"} <= declared["seconds"].keys()
    assert notebook["metadata"]["kernelspec"]["name"] == "python3", "no one's own kernel"


# --- executed -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def run(offline, in_home):
    """The whole of ``moclip reproduce --profile smoke``, once; the encoder's text cache is there already."""
    from moclip.paths import figures_dir, run_dir
    from moclip.reproduce.run import reproduce

    patch = in_home()
    try:
        lines: list[str] = []
        outcomes = reproduce("smoke", publish=False, say=lines.append)
        assert [outcome.stage.name for outcome in outcomes if outcome.ran] == [path.stem for path in NOTEBOOKS], lines
        again = reproduce("smoke", publish=False, say=lines.append)
        assert not any(outcome.ran for outcome in again), "nothing changed, nothing runs"
        assert not figures_dir("smoke").exists()
        return run_dir("smoke")
    finally:
        patch.undo()


def test_every_notebook_ran_to_its_end(run):
    for path in NOTEBOOKS:
        executed = read(run / "notebooks" / path.name)
        assert all(cell["execution_count"] for cell in code_cells(executed)), path.name
        outputs = [output for cell in code_cells(executed) for output in cell["outputs"]]
        assert outputs and not [output for output in outputs if output["output_type"] == "error"]
        assert "Traceback" not in json.dumps(outputs), path.name


def test_every_declared_artefact_is_there(run):
    for path in NOTEBOOKS:
        for glob in read(path)["metadata"]["moclip"]["makes"]:
            assert list(run.glob(glob)), f"{path.name}: {glob}"
    assert not list(run.rglob(".*.csv")), "no temporary file is left"


def test_results_have_every_system_on_both_designs(run):
    results = pd.read_csv(run / "tables" / "results.csv")
    assert set(zip(results["dataset"], results["system"], strict=True)) == {(d, s) for d in DESIGNS for s in SYSTEMS}
    assert len(results) == len(DESIGNS) * len(SYSTEMS)
    assert results["accuracy"].between(0, 1).all() and set(results["protocol"]) == {"quick"}
    assert set(results.loc[results["system"] == "zero_shot", "n_train"]) == {0}
    assert results["data"].str.contains("synthetic").all()


@pytest.mark.parametrize("design", sorted(DESIGNS))
@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_predictions_are_of_the_test_clips(run, design, system):
    manifest = json.loads((run / "data" / f"{design}.json").read_text())
    tested = {clip["name"]: clip for clip in manifest["clips"] if clip["split"] == "test"}
    rows = pd.read_csv(run / "predictions" / design / f"{system}-seed0.csv")
    assert sorted(rows["video"]) == sorted(tested) and len(tested) == manifest["counts"]["test"]
    assert {row.video: (row.class_name, row.group) for row in rows.itertuples()} == {
        name: (clip["class_name"], clip["group"]) for name, clip in tested.items()
    }
    assert set(rows["pred"]) <= set(manifest["classes"])
    result = pd.read_csv(run / "tables" / "results.csv").set_index(["dataset", "system"]).loc[(design, system)]
    assert result["accuracy"] == pytest.approx((rows["pred"] == rows["class_name"]).mean(), abs=1e-4)
    assert result["n_test"] == len(rows)


def test_the_paper_s_numbers_stand_in_their_own_columns(run):
    one = pd.read_csv(run / "tables" / "table1.csv")
    own = one[~one["Top-1 (%)"].isna()] if "Top-1 (%)" in one else one
    paper = own.set_index("Method")["Paper: top-1 (%, UCF101)"]
    assert [paper[name] for name in ("Zero-shot", "MV-only", "MoCLIP-Lite (fusion)")] == [65.0, 66.5, 89.2]
    assert {"Params (M)", "Trainable (M)", "GMACs", "Views", "n test", "Protocol", "Data", "Paper: GMACs"} <= set(one)
    two = pd.read_csv(run / "tables" / "table2.csv").set_index("Method")
    assert two.loc["MV-only", "Paper: videos/s (RTX 3090)"] == 286.85
    assert two.loc["MoCLIP-Lite (fusion)", "Paper: videos/s (RTX 3090)"] == 275.31
    for name in ("table1", "table2"):
        assert {path.suffix for path in (run / "tables").glob(f"{name}.*")} == {".csv", ".md", ".tex"}
        assert "synthetic" in (run / "tables" / f"{name}.md").read_text()


def test_fusion_costs_the_sum_of_its_parts(run):
    costs = pd.concat([pd.read_csv(path) for path in (run / "costs").glob("*.csv")]).set_index("part")
    macs = costs["macs_per_view"] * costs["views"]
    one = pd.read_csv(run / "tables" / "table1.csv")
    fusion = one[one["Method"] == "MoCLIP-Lite (fusion)"].iloc[0]
    assert fusion["GMACs"] == pytest.approx(macs[["image tower", "motion network", "head"]].sum() / 1e9, abs=1e-3)
    assert costs.loc["image tower", "trainable"] == 0
