"""Every notebook runs, on a handful of clips; what they write fits together, and serves for other videos."""

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.special

from moclip.config.sections import Config, Figures
from moclip.io.paths import notebooks_dir

NOTEBOOKS = sorted(notebooks_dir().glob("[0-9][0-9]*.ipynb"))
SYSTEMS = {"zero_shot", "mv_only", "fusion", "appearance_head", "motion_head", "fusion_permuted"}
DESIGNS = {"mixed", "independent"}
THREE = ("zero_shot", "mv_only", "fusion")
KINDS = ("corrected", "degraded")
FROM_ARTEFACTS = ("04_per_class", "05_qualitative", "06_efficiency")  # no model is loaded


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
    assert len(cells) <= 24
    for cell in cells:
        assert len("".join(cell["source"]).splitlines()) <= 25, "a cell that cannot be taught from"
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
    assert set(declared.get("config", [])) <= {*Config.model_fields, *(f"figures.{n}" for n in Figures.model_fields)}
    assert {"quick", "smoke"} <= declared["seconds"].keys()
    assert notebook["metadata"]["kernelspec"]["name"] == "python3", "no one's own kernel"


@pytest.mark.parametrize("name", FROM_ARTEFACTS)
def test_notebooks_that_draw_see_to_it_that_no_network_is_loaded(name):
    """At their end: what an earlier cell loads, they find."""
    last = code_cells(read(notebooks_dir() / f"{name}.ipynb"))[-1]
    asserted = [node.test for node in ast.parse("".join(last["source"])).body if isinstance(node, ast.Assert)]
    assert "'torch' not in sys.modules" in [ast.unparse(test) for test in asserted]


# --- executed -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def run(offline, in_home):
    """The whole of ``moclip reproduce --profile smoke``, once; the encoder's text cache is there already."""
    from moclip.io.paths import figures_dir, run_dir
    from moclip.reproduce.runner import reproduce

    patch = in_home()
    try:
        lines: list[str] = []
        ran = reproduce("smoke", publish=False, say=lines.append)
        assert ran == [path.stem for path in NOTEBOOKS], lines
        assert reproduce("smoke", publish=False, say=lines.append) == [], "nothing changed, nothing runs"
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


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_no_notebook_warns(run, name):
    """Nothing on stderr (warnings, progress bars of libraries), nothing that reads like a warning elsewhere."""
    for number, cell in enumerate(code_cells(read(run / "notebooks" / f"{name}.ipynb"))):
        for output in cell["outputs"]:
            text = "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))
            assert output.get("name") != "stderr", f"{name}, code cell {number}: {text}"
            assert "Warning" not in text, f"{name}, code cell {number}: {text}"


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_every_figure_has_alt_text(run, name):
    alts = []
    for cell in code_cells(read(run / "notebooks" / f"{name}.ipynb")):
        for output in cell["outputs"]:
            for kind in (kind for kind in output.get("data", {}) if kind.startswith("image/")):
                alts.append(output["metadata"].get(kind, {}).get("alt", ""))
    assert alts and all(len(alt.split()) >= 6 for alt in alts), "a sentence each"
    assert len(set(alts)) == len(alts), "each its own"
    assert not any("nan" in alt.lower().split() for alt in alts)


def test_the_paper_s_exhibits_are_all_there(run):
    tables = ["table1", "table2", "timings", "figure3_clips", "corrected_and_degraded"]
    figures = ["figure1"]
    for design in DESIGNS:
        tables.append(f"per_class-{design}")
        assert (run / "tables" / f"confusions-{design}.csv").is_file()
        figures += [f"figure2-{design}", *(f"04_confusion-{design}-{system}" for system in THREE)]
    chosen = pd.read_csv(run / "tables" / "figure3_clips.csv", keep_default_na=False)
    assert set(zip(chosen["dataset"], chosen["kind"], strict=True)) >= {(d, k) for d in DESIGNS for k in KINDS}
    drawn = chosen[chosen["clips of the kind"] > 0]
    figures += [f"figure3-{row.dataset}-{row.kind}" for row in drawn.itertuples()]
    assert len(drawn) >= 1 and (drawn["video"] != "").all()
    for name in tables:
        assert {path.suffix for path in (run / "tables").glob(f"{name}.*")} == {".csv", ".md", ".tex"}, name
    for name in figures:
        assert {path.suffix for path in (run / "figures").glob(f"{name}.*")} == {".png", ".pdf"}, name
    found = {path.stem for path in (run / "figures").iterdir() if path.name.startswith(("figure", "04_"))}
    assert found == set(figures), "and no other that nobody names"


def test_every_pdf_holds_text(run):
    for path in (run / "figures").glob("*.pdf"):
        assert b"/Type3" not in path.read_bytes() and b"/Subject" in path.read_bytes(), path.name


def test_every_declared_artefact_is_there(run):
    for path in NOTEBOOKS:
        for glob in read(path)["metadata"]["moclip"]["makes"]:
            assert list(run.glob(glob)), f"{path.name}: {glob}"
    assert not list(run.rglob(".*.csv")), "no temporary file is left"


def test_results_have_every_system_on_both_designs(run):
    results = pd.read_csv(run / "tables" / "results.csv")
    assert set(zip(results["dataset"], results["system"], strict=True)) == {(d, s) for d in DESIGNS for s in SYSTEMS}
    assert len(results) == len(DESIGNS) * len(SYSTEMS)
    assert results["accuracy"].between(0, 1).all() and set(results["protocol"]) == {
        "paper as shortened by profile smoke"
    }
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


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_tables_of_classes_are_those_of_the_predictions(run, design):
    systems = [*THREE, "appearance_head"]
    rows = pd.concat(pd.read_csv(run / "predictions" / design / f"{system}-seed0.csv") for system in systems)
    rows["right"] = rows["pred"] == rows["class_name"]
    shares = rows.pivot_table(index="class_name", columns="system", values="right", aggfunc="mean")
    table = pd.read_csv(run / "tables" / f"per_class-{design}.csv").set_index("class_name")
    for system in systems:
        pd.testing.assert_series_equal(
            table[system].sort_index(), shares[system], atol=5.1e-5, check_names=False, check_dtype=False
        )
    right = rows.pivot(index="video", columns="system", values="right")
    alone = right[["zero_shot", "mv_only"]].any(axis=1)
    counted = pd.read_csv(run / "tables" / "corrected_and_degraded.csv").set_index(["dataset", "single streams right"])
    own = counted.loc[design]
    assert own["clips"].sum() == len(right)
    assert own.loc["neither", "fusion right"] == (right["fusion"] & ~alone).sum()
    assert own["control right"].sum() == right["appearance_head"].sum()
    assert own["fusion right, control wrong"].sum() == (right["fusion"] & ~right["appearance_head"]).sum()
    assert own["fusion wrong"].drop("neither").sum() == (~right["fusion"] & alone).sum()
    chosen = pd.read_csv(run / "tables" / "figure3_clips.csv").set_index(["dataset", "kind"]).loc[design]
    assert chosen.loc["corrected", "clips of the kind"] == own.loc["neither", "fusion right"]
    assert chosen.loc["degraded", "clips of the kind"] == own["fusion wrong"].drop("neither").sum()
    for kind, wanted in {"corrected": right["fusion"] & ~alone, "degraded": ~right["fusion"] & alone}.items():
        if wanted.any():
            assert wanted[chosen.loc[kind, "video"]], "the clip that is shown is of its kind"


def test_the_paper_s_numbers_stand_in_their_own_columns(run):
    one = pd.read_csv(run / "tables" / "table1.csv")
    own = one[one["Block"] == "profile"]
    paper = own.set_index("Method")["Paper: top-1 (%, UCF101)"]
    assert [paper[name] for name in ("Zero-shot", "MV-only", "MoCLIP-Lite (fusion)")] == [65.0, 66.5, 89.2]
    assert {"Params (M)", "Trainable (M)", "GMACs", "Views", "n test", "Protocol", "Data", "Paper: GFLOPs"} <= set(one)
    assert own["Top-1 (%)"].notna().all()
    two = pd.read_csv(run / "tables" / "table2.csv")
    two = two[two["Block"] == "profile"].set_index("Method")
    assert two.loc["MV-only", "Paper: videos/s (RTX 3090)"] == 286.85
    assert two.loc["MoCLIP-Lite (fusion)", "Paper: videos/s (RTX 3090)"] == 275.31
    for name in ("table1", "table2"):
        assert {path.suffix for path in (run / "tables").glob(f"{name}.*")} == {".csv", ".md", ".tex"}
        assert "synthetic" in (run / "tables" / f"{name}.md").read_text()


def test_random_weights_have_no_accuracy_and_what_was_counted_is_known(run):
    """Parameters and multiply-adds of the paper's networks, counted with other tools beforehand (millions, GMACs)."""
    one = pd.read_csv(run / "tables" / "table1.csv")
    paper = one[one["Block"] == "paper"].set_index("Method")
    assert len(paper) == 11 and paper[["Top-1 (%)", "n train", "n test"]].isna().all(axis=None)
    counted = {"CLIP-only (ours)": (87.85, 4.41), "MV-only (ours)": (4.14, 12.19), "MoCLIP-Lite (ours)": (92.96, 16.60)}
    for method, (parameters, gmacs) in counted.items():
        assert paper.loc[method, "Params (M)"] == pytest.approx(parameters, abs=0.006), method
        assert paper.loc[method, "GMACs"] == pytest.approx(gmacs, abs=0.006), method
    assert paper["GMACs"].notna().sum() == 3
    two = pd.read_csv(run / "tables" / "table2.csv")
    assert two.loc[two["Block"] == "paper", ["Top-1 (%)", "n test", "Data"]].isna().all(axis=None)
    online = two[two["Method"] != "Zero-shot"]
    assert (online[["Videos/s (batch 1)", "Videos/s (best)", "Memory (MB, batch 1)"]] > 0).all(axis=None)
    assert two.loc[two["Method"] == "Zero-shot", "Videos/s (batch 1)"].isna().all()


def test_costs_are_those_of_live_models(run, offline):
    from moclip.config.load import load_config
    from moclip.engine.profiling import parameters
    from moclip.models import create_model

    config = load_config("smoke")
    table = pd.concat([pd.read_csv(path) for path in (run / "costs").glob("*.csv")]).set_index(["block", "part"])
    encoder, _ = offline
    classes = json.loads((run / "data" / "mixed.json").read_text())["classes"]
    backbone = {"num_classes": len(classes), "backbone": config.mv.backbone, "pretrained": False}
    network = create_model("mv_tsn", **backbone)
    sizes = {"appearance_dim": encoder.feature_dim, "motion_dim": network.feature_dim, "hidden": config.fusion.hidden}
    head = create_model("fusion", num_classes=len(classes), **sizes)
    whole, tower = parameters(encoder), parameters(encoder.image_tower)
    live = {
        ("profile", "image tower"): tower,
        ("profile", "text tower"): {key: whole[key] - tower[key] for key in whole},
        ("profile", "motion network"): parameters(network),
        ("profile", "motion network in fusion"): parameters(network.requires_grad_(False)),
        ("profile", "head"): parameters(head),
    }
    for place, expected in live.items():
        assert table.loc[place, ["params", "trainable"]].to_dict() == expected, place
    trained = table["trainable"] > 0
    assert set(trained[trained].index) == {(b, p) for b in ("profile", "paper") for p in ("motion network", "head")}
    dims = table["feature_dim"]
    assert dims["profile", "image tower"] == dims["profile", "text tower"] == encoder.feature_dim
    assert dims["profile", "motion network"] == network.feature_dim and dims["profile", "head"] == config.fusion.hidden
    assert table.loc[("profile", "motion network"), "views"] == config.mv.views


def test_fusion_costs_the_sum_of_its_parts(run):
    costs = pd.concat([pd.read_csv(path) for path in (run / "costs").glob("*.csv")])
    costs = costs[costs["block"] == "profile"].set_index("part")
    macs = costs["macs_per_view"] * costs["views"]
    one = pd.read_csv(run / "tables" / "table1.csv")
    fusion = one[(one["Block"] == "profile") & (one["Method"] == "MoCLIP-Lite (fusion)")].iloc[0]
    assert fusion["GMACs"] == pytest.approx(macs[["image tower", "motion network", "head"]].sum() / 1e9, abs=1e-3)
    assert costs.loc["image tower", "trainable"] == 0


def test_the_protocols_are_compared_on_the_same_clips_and_seeds(run):
    from moclip.config.load import load_config

    config = load_config("smoke")
    effects = pd.read_csv(run / "tables" / "protocol_effects.csv")
    variants = ["paper", *config.study.fields, "reference"]
    assert effects["variant"].tolist() == 2 * variants and set(effects["stream"]) == {"mv_only", "fusion"}
    study = pd.concat(pd.read_csv(path) for path in (run / "study" / "mixed").glob("*.csv"))
    assert study.groupby(["system", "seed"])["video"].agg(lambda names: tuple(sorted(names))).nunique() == 1
    assert len(study.groupby(["system", "seed"])) == 2 * len(variants) * len(config.study.seeds)
    study["right"] = study["pred"] == study["class_name"]
    shares = study.groupby("system")["right"].mean()
    for row in effects.itertuples():
        assert row.accuracy == pytest.approx(shares[f"{row.stream}@{row.variant.replace('.', '-')}"], abs=1e-4)
        if row.variant != "paper":
            gap = row.accuracy - shares[f"{row.stream}@paper"]
            assert row.difference == pytest.approx(gap, abs=2e-4) and row.low <= row.difference <= row.high
    kept = list((run / "training").glob("study-*"))  # a study that is killed resumes
    assert kept and all(list(path.glob(f"{part}/last.safetensors")) for path in kept for part in ("network", "head-*"))
    protocols = set(study["protocol"])
    assert all(name.startswith(("paper as shortened by", "reference as shortened by")) for name in protocols)


# --- drawn again ----------------------------------------------------------------------------------------------------


def test_what_is_drawn_comes_back_from_artefacts_alone(run, in_home, tmp_path):
    """Without one checkpoint or feature, and byte for byte."""
    from moclip.reproduce.runner import reproduce
    from moclip.reproduce.stages import matches, read_stages

    stages = [stage for stage in read_stages(notebooks_dir()) if stage.name in FROM_ARTEFACTS]
    made = {path: path.read_bytes() for stage in stages for glob in stage.makes for path in matches(run, glob)}
    assert {path.parent.name for path in made} == {"figures", "tables"} and len(made) > 30
    for path in made:
        path.unlink()
    hidden = [run / "checkpoints", run / "features", run.parents[1] / "cache" / "motion"]
    patch = in_home()
    try:
        for folder in hidden:
            shutil.move(folder, tmp_path / folder.name)
        lines: list[str] = []
        ran = reproduce("smoke", only="04,05,06", publish=False, say=lines.append)
    finally:
        patch.undo()
        for folder in hidden:
            shutil.move(tmp_path / folder.name, folder)
    assert ran == list(FROM_ARTEFACTS)
    reasons = [why for line in lines for text in re.findall(r": running \((.+)\)", line) for why in text.split("; ")]
    assert reasons and all(re.fullmatch(r".+ is missing|and \d+ more", why) for why in reasons)
    assert {path: path.read_bytes() for path in made if path.is_file()} == made


# --- on videos of no data set ---------------------------------------------------------------------------------------


@pytest.fixture
def clips(run, in_home):
    """Test clips of `mixed`."""
    from moclip.config.load import load_config
    from moclip.datasets.prepare import load_prepared

    patch = in_home()
    try:
        return load_prepared(load_config("smoke").data, run / "data")[0].test[:3]
    finally:
        patch.undo()


@pytest.mark.parametrize("system", ["fusion", "mv_only"])
def test_a_recogniser_says_what_the_run_said(run, clips, system):
    from moclip.engine.recogniser import load_recogniser
    from moclip.io.artefacts import load_scores

    recogniser = load_recogniser(run, "mixed", system, device="cpu")
    scores, names, classes = load_scores(run / "predictions" / "mixed" / f"{system}-seed0.safetensors")
    assert recogniser.classes == classes and recogniser.accuracy[1] == len(names)
    for clip in clips:
        wanted = scipy.special.softmax(scores[names.index(clip.name)])
        np.testing.assert_allclose(recogniser(clip.path), wanted, atol=1e-5)


def test_predict_names_classes_and_goes_on_after_a_bad_file(run, in_home, clips, tmp_path, monkeypatch, capsys):
    from moclip.cli import main as cli

    videos = [str(clips[0].path), str(tmp_path / "absent.mp4"), str(clips[1].path)]
    options = ["--run", "smoke", "--data", "mixed", "--top", "2", "--device", "cpu", "--out", str(tmp_path / "all.csv")]
    monkeypatch.setattr(sys, "argv", ["moclip", "predict", *videos, *options])
    patch = in_home()
    try:
        with pytest.raises(SystemExit) as end:
            cli.main()
    finally:
        patch.undo()
    out, err = capsys.readouterr()
    assert end.value.code == 1 and "absent.mp4: no such file" in err
    assert out.count(" %  ") == 4 and re.search(
        r"fusion of run smoke: 16 classes, .*correct for [\d.]+ % of its 16 test", out
    )
    table = pd.read_csv(tmp_path / "all.csv")
    assert table.groupby("video").size().to_dict() == {videos[0]: 16, videos[2]: 16}
    assert table.groupby("video")["probability"].sum().to_numpy() == pytest.approx([1, 1])
