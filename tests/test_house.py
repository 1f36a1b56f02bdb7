"""The walls of the house: which room may import which, and how large its pieces may be."""

import ast
import graphlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "moclip"
# From the ground floor up: a room imports rooms above it in this list only.
ROOMS = [
    *("errors", "registry", "config", "io", "video", "datasets", "inputs", "models", "encoders", "training"),
    *("engine", "report", "explore", "studies", "reproduce", "cli"),
]
# Tighter than the order: room -> the only things that it may import (rooms, or modules of rooms).
ONLY = {"video": ("errors", "io.files"), "models": ("errors", "registry", "io"), "encoders": ("errors", "io", "models")}
NEVER = {"report": ("torch", "moclip.engine", "moclip.training", "moclip.models", "moclip.encoders")}
LONGEST, MOST_PARAMETERS = 60, 7
MODULES = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
           for path in sorted(PACKAGE.rglob("*.py"))}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    """Full names that a file imports, at any depth; a name may be that of a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(path: Path) -> set[str]:
    """Modules of the package that a file imports."""
    known = set(MODULES.values())
    found = set()
    for name in imports(path):
        while name and name not in known:
            name = name.rpartition(".")[0]
        found |= {name} - {"", "moclip", MODULES[path]}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_rooms_import_only_what_stands_above_them():
    for path, module in MODULES.items():
        here = room(module)
        if here in ("", "__main__"):
            continue
        assert here in ROOMS, f"{path}: {here} is no room; name it in ROOMS and in DESIGN"
        for target in modules(path):
            there = room(target)
            assert there == here or ROOMS.index(there) < ROOMS.index(here), f"{path} imports {target}, which is below"
            if here in ONLY and there != here:
                inside = target.removeprefix("moclip.")
                assert any(f"{inside}.".startswith(f"{name}.") for name in ONLY[here]), f"{path} imports {target}"
            assert there != "studies" or here in ("studies", "cli"), f"{path} imports {target}: only cli/ may"


def test_a_study_imports_no_other_study():
    for path, module in MODULES.items():
        if room(module) == "studies":
            others = {t for t in modules(path) if room(t) == "studies" and t.split(".")[2:3] != module.split(".")[2:3]}
            assert not others - {"moclip.studies"}, f"{path} imports {others}"


@pytest.mark.parametrize("here", sorted(NEVER))
def test_rooms_that_keep_away_from_heavy_ones(here):
    for path, module in MODULES.items():
        if room(module) == here:
            bad = [name for name in imports(path) if any(f"{name}.".startswith(f"{no}.") for no in NEVER[here])]
            assert not bad, f"{path} imports {bad}"


def test_no_circle_between_modules():
    graph = {module: modules(path) for path, module in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_ground_floor_is_small():
    loose = [path.name for path in PACKAGE.glob("*.py")]
    assert len(loose) <= 4, f"on the ground floor: {loose}"


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}", node


def test_functions_fit_a_screen_and_take_few_parameters():
    for place, node in functions():
        doc = len((ast.get_docstring(node, clean=False) or "").splitlines())
        lines = node.end_lineno - node.lineno + 1 - doc
        assert lines <= LONGEST, f"{place} has {lines} lines"
        count = sum(map(len, (node.args.posonlyargs, node.args.args, node.args.kwonlyargs)))
        count -= node.args.args[:1] != [] and node.args.args[0].arg in ("self", "cls")
        # A command's parameters are its options, each with its declaration; a compiled kernel takes bare arrays.
        decorators = " ".join(map(ast.unparse, node.decorator_list))
        if "Annotated" not in ast.unparse(node.args) and "njit" not in decorators:
            assert count <= MOST_PARAMETERS, f"{place} takes {count} parameters"


@pytest.mark.slow
def test_the_core_runs_with_every_study_deleted(tmp_path):
    """Notebooks 00 to 06 on a copy without studies/; the names that studies register are unknown there."""
    ignored = shutil.ignore_patterns("studies", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "moclip", ignore=ignored)
    shutil.copytree(PACKAGE.parent / "notebooks", tmp_path / "notebooks")
    for path in (tmp_path / "notebooks").iterdir():
        if not path.name.startswith(("00", "01", "02", "03", "04", "05", "06")):
            path.unlink()
    # An editable installation would find in the checkout what the copy lacks.
    no_finder = (
        "import sys\nsys.meta_path[:] = [each for each in sys.meta_path if 'editable' not in repr(each).lower()]\n"
    )
    (tmp_path / "sitecustomize.py").write_text(no_finder)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MOCLIP_HOME": str(tmp_path / "home")}

    def run(*command: str) -> subprocess.CompletedProcess:
        whole = [sys.executable, *command]
        return subprocess.run(whole, env=environment, cwd=tmp_path, capture_output=True, text=True)

    done = run("-m", "moclip", "reproduce", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "home" / "runs" / "smoke" / "notebooks").glob("*.ipynb"))) == 7
    unknown = run("-m", "moclip", "reproduce", "--profile", "smoke", "-p", "protocol=reference", "--list")
    assert unknown.returncode == 2 and "reference" in unknown.stderr
    names = run("-c", "import moclip; print(*moclip.list_models())")
    assert names.stdout.split() == ["fusion", "mv_tsn"], names.stderr
