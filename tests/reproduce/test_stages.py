"""Stages: declarations, order, and what makes a stage run again. No kernel is started here."""

import json
import os
from pathlib import Path

import nbformat
import pytest

from moclip.config.load import load_config
from moclip.reproduce.records import check_made, read_record, record_path, signatures, state, write_record
from moclip.reproduce.stages import StageError, check_needs, matches, read_stages, select, upstream

# A package of two floors: `training` and `drawing` stand on `video`, `lonely` on nothing.
TOY = {
    "__init__.py": '_LAZY = {"read": "toy.video", "fit": "toy.training"}\n',
    "video/__init__.py": "from toy.video.reader import read\n",
    "video/reader.py": "def read(): return 1\n",
    "video/names.txt": "a\nb\n",
    "video/README.md": "prose\n",
    "training.py": "def fit():\n    from toy.video import reader\n    return reader.read()\n",
    "drawing.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.training\nimport toy.video\n",
    "registry.py": 'MODELS = {"net": "toy.training:fit"}\n',
    "lonely.py": "X = 1\n",
    "profiles/quick.yaml": "a: 1\n",
}


def notebook(folder: Path, name: str, code: str, prose: str = "# Title", tag: str = "parameters", **declared: object):
    """Write a notebook with a parameters cell and one cell of code."""
    cells = [
        nbformat.v4.new_markdown_cell(prose),
        nbformat.v4.new_code_cell('profile = "smoke"\noverrides = {}', metadata={"tags": [tag]}),
        nbformat.v4.new_code_cell(code),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    made = nbformat.v4.new_notebook(cells=cells, metadata={"moclip": declared} if declared else {})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, folder / f"{name}.ipynb")


class World:
    """Three notebooks on the toy package; "running" one writes what it makes, without a kernel."""

    def __init__(self, root: Path):
        self.run, self.package, self.notebooks = root / "run", root / "toy", root / "notebooks"
        self.run.mkdir()
        for name, text in TOY.items():
            self.write(name, text)
        self.overrides: dict = {"data": {"seed": 0}}
        self.first("from toy import read")
        notebook(self.notebooks, "02_train", "import toy\ntoy.fit()", needs=["features/*.bin"], makes=["tables/b.csv"],
                 config=["mv"])  # fmt: skip
        notebook(self.notebooks, "03_alone", "import toy.lonely", needs=[], makes=["tables/c.csv"], config=["report"])

    def first(self, code: str, prose: str = "# Title", **more: object):
        makes = ["features/*.bin"]
        notebook(self.notebooks, "01_read", code, prose, needs=[], makes=makes, config=["data", "encoder"], **more)

    def write(self, name: str, text: str):
        path = self.package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def reasons(self) -> dict[str, tuple[str, ...]]:
        config = load_config("smoke", self.overrides)
        return {s.name: state(s, config, self.run, self.package)[1] for s in read_stages(self.notebooks)}

    def bring_up_to_date(self, content: str = "") -> list[str]:
        """Run what has to be run; artefacts differ where `content` does. Returns the names."""
        ran, config = [], load_config("smoke", self.overrides)
        for stage in read_stages(self.notebooks):
            key, reasons = state(stage, config, self.run, self.package)
            if reasons:
                for glob in stage.makes:
                    path = self.run / glob.replace("*", "one")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(stage.name + content)
                write_record(stage, self.run, "smoke", key, 1.5)
                ran.append(stage.name)
        return ran


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    assert world.bring_up_to_date() == ["01_read", "02_train", "03_alone"]
    assert world.bring_up_to_date() == []
    return world


@pytest.mark.parametrize(
    ("file", "room", "stale"),
    [
        ("video/reader.py", "video", {"01_read", "02_train"}),
        ("video/names.txt", "video", {"01_read", "02_train"}),
        ("training.py", "training", {"02_train"}),
        ("lonely.py", "lonely", {"03_alone"}),
        ("drawing.py", "drawing", set()),
        ("video/README.md", "video", set()),
        ("../README.md", "", set()),
    ],
)
def test_an_edit_reruns_what_stands_on_it_and_only_that(world, file, room, stale):
    path = world.package / file
    path.write_text((path.read_text() if path.exists() else "") + "\nedited = 1\n")
    reasons = world.reasons()
    assert {name for name, why in reasons.items() if why} == stale
    assert all(reasons[stage] == (f"code of {room} changed",) for stage in stale)


def test_prose_in_a_room_reruns_nothing(world):
    world.write("video/reader.py", '"""About this."""\n\n\ndef read():\n    """One."""\n    return 1  # or two\n')
    assert not any(world.reasons().values())


def test_an_artefact_that_changed_reruns_what_needs_it(world):
    world.write("video/reader.py", "def read(): return 2\n")
    world.write("training.py", "def fit(): return 2\n")  # no longer on video
    world.bring_up_to_date()
    world.write("video/reader.py", "def read(): return 3\n")
    assert world.bring_up_to_date("other bytes") == ["01_read", "02_train"]
    world.write("video/reader.py", "def read(): return 4\n")
    assert world.bring_up_to_date("other bytes") == ["01_read"], "same bytes again: nothing further on has to run"


def test_a_config_section_reruns_only_its_dependants(world):
    world.overrides = {"mv": {"epochs": 7}}
    assert world.reasons() == {"01_read": (), "02_train": ("mv.epochs 1 -> 7",), "03_alone": ()}
    world.overrides = {"data": {"seed": 5}}
    assert [name for name, why in world.reasons().items() if why] == ["01_read"]
    world.overrides = {"data": {"workers": 2, "scheduler": "tcp://127.0.0.1:8786"}, "device": "cpu"}
    assert not any(world.reasons().values()), "how fast is no part of what"


# --- the user's own files -------------------------------------------------------------------------------------------


@pytest.fixture
def own(world, tmp_path):
    """The three notebooks and one that draws, up to date with the user's own videos, lists and video."""
    videos, lists, video = tmp_path / "videos", tmp_path / "lists", tmp_path / "mine.mp4"
    for path in (videos / "Jump" / "a.mp4", videos / "Run" / "b.mp4", lists / "classInd.txt", video):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    notebook(world.notebooks, "04_draw", "import toy.lonely", needs=[], makes=["figures/d.png"], config=["figures"])
    world.overrides = {
        "data": {"name": "ucf101", "root": str(videos), "annotation_path": str(lists)},
        "figures": {"video": str(video)},
    }
    world.bring_up_to_date()
    assert not any(world.reasons().values())
    return world


def stale(world):
    return {name: why for name, why in world.reasons().items() if why}


@pytest.mark.parametrize(
    ("place", "name", "stage"),
    [
        ("data.root", "videos/Jump/a.mp4", "01_read"),
        ("data.annotation_path", "lists/classInd.txt", "01_read"),
        ("figures.video", "mine.mp4", "04_draw"),
    ],
)
def test_own_files_rerun_what_reads_them_and_only_that(own, tmp_path, place, name, stage):
    path, expected = tmp_path / name, {stage: (f"files in {place} changed",)}
    before = path.stat()
    path.write_text("other bytes")
    assert stale(own) == expected
    own.bring_up_to_date()
    path.write_text("OTHER BYTES")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 5_000_000_000))
    assert stale(own) == expected, "another file of the same size"
    own.bring_up_to_date()
    path.unlink()
    assert stale(own) == expected
    own.bring_up_to_date()
    path.write_text("back")
    assert stale(own) == expected
    own.bring_up_to_date()
    assert stale(own) == {}


@pytest.mark.parametrize("place", ["videos", "lists"])
def test_an_added_or_moved_file_reruns_too(own, tmp_path, place):
    why = {"videos": ("files in data.root changed",), "lists": ("files in data.annotation_path changed",)}[place]
    (tmp_path / place / "deeper" / "still").mkdir(parents=True)
    assert stale(own) == {}, "an empty folder holds nothing to read"
    added = tmp_path / place / "deeper" / "still" / "c.mp4"
    added.write_text("c")
    assert stale(own) == {"01_read": why}
    own.bring_up_to_date()
    added.rename(added.with_name("d.mp4"))
    assert stale(own) == {"01_read": why}, "names are classes and clips"


@pytest.mark.parametrize("place", ["videos", "lists", "mine.mp4"])
def test_files_that_moved_were_touched_or_have_notes_beside_them_are_the_same_files(own, tmp_path, place):
    (tmp_path / "videos" / "Jump" / "notes.txt").write_text("a note")
    for path in (tmp_path / place).rglob("*.*") if place != "mine.mp4" else [tmp_path / place]:
        os.utime(path, (1, 1))
    assert stale(own) == {}
    (tmp_path / place).rename(tmp_path / f"new_{place}")
    section, field = {"videos": ("data", "root"), "lists": ("data", "annotation_path")}.get(place, ("figures", "video"))
    own.overrides[section][field] = str(tmp_path / f"new_{place}")
    assert stale(own) == {}


def test_a_file_that_was_replaced_under_its_size_and_times_is_seen(own, tmp_path):
    path = tmp_path / "videos" / "Run" / "b.mp4"
    assert stale(own) == {}
    before = path.stat()
    path.write_text("x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert stale(own) == {"01_read": ("files in data.root changed",)}


def test_a_class_folder_behind_a_link_is_looked_into(own, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.mp4").write_text("c")
    (tmp_path / "videos" / "Walk").symlink_to(tmp_path / "elsewhere")
    own.bring_up_to_date()
    (tmp_path / "elsewhere" / "c.mp4").write_text("other bytes")
    assert stale(own) == {"01_read": ("files in data.root changed",)}


def test_files_are_hashed_once(own, monkeypatch):
    assert stale(own) == {}
    monkeypatch.setattr("moclip.io.fingerprints.sha256_file", lambda path: pytest.fail(f"{path} is read again"))
    assert stale(own) == {}


def test_what_stands_on_the_manifest_is_keyed_by_it(own, tmp_path):
    notebook(
        own.notebooks, "06_later", "import toy.lonely", needs=["data/*.json"], makes=["tables/f.csv"], config=["data"]
    )
    notebook(own.notebooks, "00_list", "import toy.lonely", needs=[], makes=["data/*.json"], config=["data"])
    own.bring_up_to_date()
    (tmp_path / "videos" / "Run" / "b.mp4").write_text("other bytes")
    assert stale(own).keys() == {"00_list", "01_read"}, "and 06_later once the manifest has changed"


def test_a_field_of_figures_reruns_only_what_names_it(own, tmp_path):
    for name, field in (("04_draw", "figures.video"), ("05_choose", "figures.seed")):
        notebook(own.notebooks, name, "import toy.lonely", needs=[], makes=[f"figures/{name}.png"], config=[field])
    own.bring_up_to_date()
    own.overrides["figures"]["seed"] = 3
    assert stale(own) == {"05_choose": ("figures.seed 0 -> 3",)}
    own.bring_up_to_date()
    (tmp_path / "mine.mp4").write_text("other bytes")
    assert stale(own) == {"04_draw": ("files in figures.video changed",)}
    own.overrides["figures"]["examples"] = "random"
    assert stale(own).keys() == {"04_draw"}, "nobody named that one"


def test_generated_data_are_not_keyed_by_their_files(world, tmp_path):
    (tmp_path / "generated").mkdir()
    world.overrides = {"data": {"root": str(tmp_path / "generated")}}
    world.bring_up_to_date()
    (tmp_path / "generated" / "clip.m4v").write_text("made by a stage")
    assert stale(world) == {}
    record = read_record(read_stages(world.notebooks)[0], world.run)
    assert record["key"]["inputs"] == {}


def test_prose_reruns_nothing_and_code_does(world):
    world.first("from toy import read", prose="# Better title", title="Another", seconds={"quick": 9})
    assert not any(world.reasons().values())
    world.first("# a comment\nfrom toy import read  # and another")
    assert not any(world.reasons().values())
    for code in ("from toy import read\nread()", "from toy import read;"):  # the second hides a value
        world.first(code)
        assert world.reasons()["01_read"] == ("code of this notebook changed",)


def test_a_package_version_reruns_what_computes_with_it(world, monkeypatch):
    monkeypatch.setattr("moclip.io.keys._installed", lambda library: "99")
    reasons = world.reasons()
    assert any(word.startswith("av ") and word.endswith("-> 99") for word in reasons["01_read"])
    assert reasons["03_alone"] == ()


def test_a_tampered_or_lost_artefact_reruns(world):
    table = world.run / "tables" / "b.csv"
    before = table.stat()
    table.write_text("0" * before.st_size)
    assert world.reasons()["02_train"] == ("tables/b.csv was changed since",)
    table.unlink()
    assert world.reasons()["02_train"] == ("tables/b.csv is missing",)
    (world.run / "features" / "one.bin").write_text("tampered")
    assert world.reasons()["01_read"] == ("features/one.bin was changed since",)
    assert "features/one.bin changed" in world.reasons()["02_train"]


def test_the_record_is_the_provenance_and_a_broken_one_counts_as_none(world):
    stage = read_stages(world.notebooks)[1]
    record = read_record(stage, world.run)
    assert set(record["key"]) == {"code", "versions", "settings", "inputs"}
    assert set(record["key"]["inputs"]) == {"features/one.bin"} and set(record["made"]) == {"tables/b.csv"}
    assert {"git_commit", "seconds", "python"} <= record.keys()
    for broken in (json.dumps(record)[:100].encode(), b"[]", b"null", b"{}", b'{"key": "\xff"}',
                   b'{"key": "of an older form", "made": {}, "seconds": 1}'):  # fmt: skip
        record_path(stage, world.run).write_bytes(broken)
        assert world.reasons()["02_train"] == ("not run yet",)


def test_ipython_lines_do_not_hide_imports(world):
    world.first("%matplotlib inline\n!ls\nfrom toy import read")
    assert world.bring_up_to_date() == ["01_read"]
    world.write("video/reader.py", "")
    assert "code of video changed" in world.reasons()["01_read"]
    world.first("%%bash\nls | not Python")
    assert "01_read" in world.bring_up_to_date()
    world.first("def broken(:")
    with pytest.raises(StageError, match="01_read.ipynb: a cell is not Python"):
        world.reasons()


def test_order_follows_needs_then_names(tmp_path):
    notebook(tmp_path, "01_last", "", needs=["b", "c"], makes=["d"])
    notebook(tmp_path, "02_first", "", needs=[], makes=["b"])
    notebook(tmp_path, "03_free", "", needs=[], makes=["c"])
    notebook(tmp_path, "04_end", "", needs=["c"], makes=["tables/e.*"])
    notebook(tmp_path, "scratch", "")  # no number: not a stage
    stages = read_stages(tmp_path)
    assert [s.name for s in stages] == ["02_first", "03_free", "01_last", "04_end"]
    assert [s.name for s in upstream(stages, "d")] == ["02_first", "03_free", "01_last"]
    assert [s.name for s in upstream(stages, "tables/e.csv")] == ["03_free", "04_end"], "by glob"
    assert upstream(stages, "made by nobody") == stages
    assert [s.name for s in select(stages, "04,02")] == ["02_first", "04_end"]
    assert select(stages, None) == select(stages, ",") == stages
    with pytest.raises(StageError, match="no notebook begins with '7'.*02_first"):
        select(stages, "7")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"needs": ["tables/a.cvs"], "makes": []}, "02_b.ipynb needs 'tables/a.cvs'.*did you mean 'tables/a.csv'"),
        ({"needs": [], "makes": ["tables/a.csv"]}, "made by two: 01_a.ipynb and 02_b.ipynb"),
        ({"needs": ["tables/a.csv"], "makes": ["x"]}, "need each other:.*01_a.*02_b|need each other:.*02_b.*01_a"),
        ({"needs": []}, "02_b.ipynb: its metadata lack"),
        ({}, "02_b.ipynb: its metadata lack"),
        ({"needs": [], "makes": [], "config": ["fusin"]}, "config section 'fusin'.*did you mean 'fusion'"),
        ({"needs": [], "makes": [], "config": ["figures.vidio"]}, "'figures.vidio'.*did you mean 'figures.video'"),
        ({"needs": [], "makes": [], "seconds": 9}, "02_b.ipynb: its 'moclip' metadata: seconds: Input should be"),
        ({"needs": [], "makes": [], "maks": []}, "unknown entry 'maks'.*did you mean 'makes'"),
    ],
)
def test_wrong_declarations_are_errors_that_name_the_notebook(tmp_path, declared, message):
    notebook(tmp_path, "01_a", "", needs=["x"] if "each other" in message else [], makes=["tables/a.csv"])
    notebook(tmp_path, "02_b", "", **declared)
    with pytest.raises(StageError, match=message):
        read_stages(tmp_path)


def test_no_parameters_cell_and_no_notebooks(tmp_path):
    with pytest.raises(StageError, match="no numbered notebooks"):
        read_stages(tmp_path)
    notebook(tmp_path, "01_a", "", tag="other", needs=[], makes=[])
    with pytest.raises(StageError, match=r"01_a.ipynb: no code cell is tagged 'parameters'"):
        read_stages(tmp_path)


@pytest.mark.parametrize(
    "text", ["", '{"cells": [', "<<<<<<< HEAD\n{}", "{}", "[]", '{"metadata": {}, "worksheets": []}']
)
def test_a_notebook_that_cannot_be_read_is_named(tmp_path, text):
    notebook(tmp_path, "01_a", "", needs=[], makes=[])
    (tmp_path / "02_b.ipynb").write_text(text)
    with pytest.raises(StageError, match=r"02_b.ipynb: not a notebook of the present format .*git checkout"):
        read_stages(tmp_path)


def test_absent_needs_name_artefact_and_maker(world):
    stages = read_stages(world.notebooks)
    check_needs(stages[1], stages, world.run)
    os.rename(world.run / "features" / "one.bin", world.run / "features" / ".one.bin")  # as if being written
    assert matches(world.run, "features/*.bin") == []
    with pytest.raises(StageError, match=r"02_train needs 'features/\*.bin'.*01_read makes it.*--only 01"):
        check_needs(stages[1], stages, world.run)


def test_a_table_left_by_an_earlier_run_does_not_count_as_made(world):
    stages = read_stages(world.notebooks)
    for stage, path in (stages[0], "features/one.bin"), (stages[1], "tables/b.csv"):
        before = signatures(stage, world.run)
        (world.run / path).write_text("again")
        check_made(stage, world.run, before)
    check_made(stages[0], world.run, signatures(stages[0], world.run))  # features: presence is enough
    with pytest.raises(StageError, match=r"02_train ran to its end but did not make 'tables/b.csv'"):
        check_made(stages[1], world.run, signatures(stages[1], world.run))
