"""The one rule: what an edit, a library or a setting makes stale, and what it does not."""

import ast
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
import torch

from moclip.io import keys

TABLE = Path(__file__).with_name("stale.csv")  # file that is edited -> kinds of kept files that become stale


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that may be edited; keys are made of it."""
    copy = tmp_path / "moclip"
    shutil.copytree(keys.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "PACKAGE", copy)
    return copy


def all_keys() -> dict[str, str]:
    return {what: keys.digest(keys.key(what, {})) for what in keys.STANDS_ON}


def edit(path: Path) -> None:
    """Change what a file says to a machine."""
    text = path.read_text()
    path.write_text(text + ("\nedited = 1\n" if path.suffix == ".py" else "\nedited: 1\n"))


def test_an_edit_of_a_room_makes_stale_what_stands_on_it(package):
    """The committed table is the promise of DESIGN 3; change both together."""
    table = pd.read_csv(TABLE, keep_default_na=False)
    rooms = {path.relative_to(package).parts[0] for path in package.rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert {Path(name).parts[0] for name in table["edited"]} == rooms, "one file per room, at least"
    before = all_keys()
    for name, expected in zip(table["edited"], table["stale"], strict=True):
        path = package / name
        text = path.read_text()
        edit(path)
        after = all_keys()
        stale = " ".join(what for what in sorted(after) if after[what] != before[what])
        assert stale == expected, name
        path.write_text(text)
    assert all_keys() == before


def test_prose_makes_nothing_stale(package):
    before = all_keys()
    for path in package.rglob("*.py"):
        text = path.read_text()
        doc = ast.get_docstring(ast.parse(text), clean=False)
        path.write_text((text.replace(doc, f"{doc} Another sentence.", 1) if doc else text) + "\n\n# a comment\n")
    for path in package.rglob("*.yaml"):
        path.write_text("# a comment\n" + path.read_text())
    (package / "video" / "README.md").write_text("about this room")
    (package / "video" / "__pycache__").mkdir()
    (package / "video" / "__pycache__" / "probe.pyc").write_bytes(b"1")
    assert all_keys() == before


def test_arrays_count_by_their_values():
    one, two = torch.arange(3.0), torch.arange(3.0)
    assert keys.digest(["a", one]) == keys.digest(("a", two)) == keys.digest(["a", one.numpy()])
    assert keys.digest(["a", one]) != keys.digest(["a", one + 1])


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ('def f():\n    """Text."""\n    return 1', "def f():  # text\n    return 1", True),
        ('class A:\n    "Text."\n    x = 1', "class A:\n\n    x = (1)", True),
        ("x = 1", "x = 2", False),
        ('x = "a"', 'x = "b"', False),
        ('def f():\n    x = 1\n    "no docstring"', "def f():\n    x = 1", False),
    ],
)
def test_meaning(one, two, same):
    assert (keys.meaning(ast.parse(one)) == keys.meaning(ast.parse(two))) == same


def test_other_files_count_by_their_bytes_and_yaml_by_its_values(package):
    before = keys.code(["report", "encoders"], package)
    (package / "report" / "paper" / "table1.csv").write_text("a,b\n")
    assert keys.code(["report", "encoders"], package)["report"] != before["report"]
    words = package / "encoders" / "phrases.yaml"
    words.write_text(words.read_text() + "\nedited: [1]\n")
    assert keys.code(["encoders"], package)["encoders"] != before["encoders"]


def test_differences_are_words(monkeypatch):
    old = keys.key("motion", {"mv": {"epochs": 15, "lr": 1}, "size": (1, 2)}, {"clip a": "x"})
    assert old["settings"]["size"] == [1, 2], "as JSON has it, so that a key that was read equals one that was made"
    monkeypatch.setattr(keys, "code", lambda places, package: dict.fromkeys(places, "other"))
    monkeypatch.setattr(keys, "_installed", lambda library: "99")
    new = keys.key("motion", {"mv": {"epochs": 20, "lr": 1}, "size": (1, 2)}, {"clip a": "y"}, also=["studies.claims"])
    assert keys.differences(old, old) == []
    assert keys.digest(old) != keys.digest(new) and len(keys.digest(old)) == 16
    words = keys.differences(old, new)
    assert words[:4] == [
        "code of studies.claims changed", "code of video changed", "mv.epochs 15 -> 20", "clip a changed"
    ]  # fmt: skip
    assert f"av {metadata.version('av')} -> 99" in words and "lightning None -> 99" in words
    assert keys.differences({}, {"code": {"video": "a"}}) == ["code of video changed"]


def test_every_library_that_a_room_imports_is_in_its_versions():
    """But for those that read, write and show, and compute nothing."""
    no_numbers = {"IPython", "distributed", "filelock", "huggingface_hub", "ipywidgets", "pydantic", "rarfile",
                  "safetensors", "typer", "yaml"}  # fmt: skip
    distributions = metadata.packages_distributions()
    for room, libraries in keys.LIBRARIES.items():
        known = {library.lower().replace("_", "-") for library in libraries}
        for path in (keys.PACKAGE / room).rglob("*.py"):
            for name in imported(path) - no_numbers:
                candidates = {each.lower().replace("_", "-") for each in distributions.get(name, [name])}
                assert candidates & known, f"{path} imports {name}: add it to keys.LIBRARIES[{room!r}]"


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names - set(sys.stdlib_module_names) - {"moclip"}


# --- rooms of a piece of code -----------------------------------------------------------------------------------------

TOY = {
    "__init__.py": 'LAZY = {"read": "toy.video", "fit": "toy.training:fit"}\n',
    "errors.py": "",
    "video/__init__.py": "from toy.errors import ToyError\n",
    "training/fit.py": "def f():\n    from toy.video import read\n",
    "models/registry.py": 'TABLE = {"other": "toy.studies.one:net"}\n',
    "studies/__init__.py": "",
    "studies/one/net.py": "import toy.models\n",
    "studies/two/net.py": "import toy.video\n",
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import toy.training.fit", "errors training video"),
        ("from toy import training", "errors training video"),
        ("from toy import read", "errors video"),
        ("import toy\ntoy.read(1)", "errors video"),
        ("import toy\ntoy.fit(1)", "errors training video"),
        ("import toy.models", "models"),  # a study that is registered by a string is its own matter
        ("from toy.studies import one", "models studies.one"),
        ("def f():\n    from toy.studies.two.net import x", "errors studies.two video"),
        ("import json, toyota", ""),
    ],
)
def test_rooms_of_a_source(tmp_path, source, expected):
    for name, text in TOY.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert " ".join(keys.rooms([source], tmp_path / "toy")) == expected
