"""The project's own files agree with each other and with what is installed."""

import ast
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import moclip

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("av", "timm", "torch", "transformers")
ASKED_FOR = {
    "clip", "ftfy", "jupyterlab", "matplotlib", "papermill", "regex", "scikit-learn", "seaborn", "timm", "torch",
}  # fmt: skip


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def environment() -> tuple[dict[str, Requirement], list[str]]:
    """What conda is asked for, by name, and the lines of the pip section."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    return {requirement.name: requirement for requirement in conda}, pip


def environment_extras() -> set[str]:
    """The extras with which environment.yml installs this package."""
    _, pip = environment()
    (line,) = [line for line in pip if line.startswith("-e ")]
    match = re.fullmatch(r"-e \.(?:\[([\w,-]+)\])?", line)
    assert match, f"environment.yml: {line!r} is not '-e .[extras]'"
    return set(filter(None, (match[1] or "").split(",")))


def test_environment_asks_for_the_python_of_pyproject():
    conda, _ = environment()
    assert str(conda["python"].specifier) == pyproject()["requires-python"]


def test_environment_names_extras_that_exist_and_not_clip():
    extras = environment_extras()
    assert extras <= set(pyproject()["optional-dependencies"])
    assert "clip" not in extras, "clip-anytorch and OpenAI's CLIP own the same folder"


def test_environment_pins_openai_clip_to_a_full_commit():
    _, pip = environment()
    (clip,) = [Requirement(line) for line in pip if not line.startswith("-")]
    assert clip.name == "clip"
    assert clip.url == "git+https://github.com/openai/CLIP.git@d05afc436d78f1c48dc0dbf8e5980a9d471f35f6"


def test_environment_reaches_every_package_asked_for():
    project, (conda, pip) = pyproject(), environment()
    lines = [*project["dependencies"], *(line for line in pip if not line.startswith("-"))]
    for extra in environment_extras():
        lines += project["optional-dependencies"][extra]
    reached = {canonicalize_name(Requirement(line).name) for line in lines} | set(conda)
    assert reached >= ASKED_FOR, f"missing: {ASKED_FOR - reached}"
    assert "clip-anytorch" not in reached


def test_every_package_that_the_code_imports_is_declared():
    """A package that happens to be installed hides a requirement that is missing."""
    project, provided_by = pyproject(), importlib.metadata.packages_distributions()
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    for path in (ROOT / "moclip").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"moclip", "clip"}:
                owners = {canonicalize_name(owner) for owner in provided_by.get(name, [name])}
                assert owners & declared, f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not name"


def test_one_distribution_provides_clip():
    owners = set(importlib.metadata.packages_distributions().get("clip", []))
    assert len(owners) == 1, f"the folder clip/ belongs to {sorted(owners) or 'nobody'}: install exactly one"


def test_citation_names_the_paper_and_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == moclip.__version__
    paper = citation["preferred-citation"]
    assert paper["title"].startswith("MoCLIP-Lite:")
    assert [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]] == [
        "Binhua Huang",
        "Ni Wang",
        "Arjun Pakrashi",
        "Soumyabrata Dev",
    ]
    assert paper["year"] == 2025
    assert paper["url"] == "https://arxiv.org/abs/2509.17084"


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("moclip/datasets/base.py", False),
        ("moclip/config/profiles/quick.yaml", False),
        ("tests/data/clip.m4v", False),
        ("figures/quick/table1.csv", False),
        ("figures/smoke/table1.csv", True),
        ("data/clip.m4v", True),
        ("runs/quick/predictions.csv", True),
        (".venv/pyvenv.cfg", True),
    ],
)
def test_gitignore_hides_what_is_written_and_nothing_of_ours(path, ignored):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # --no-index: by the rules alone, whether or not the file is tracked. Exit status: 0 ignored, 1 not, 128 an error.
    result = subprocess.run(["git", "check-ignore", "--no-index", "-q", path], cwd=ROOT)
    assert result.returncode == (0 if ignored else 1)


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after ``code``."""
    script = f"import sys\n{code}\nsys.stderr.write('loaded:' + ' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(HEAVY) & set(result.stderr.rpartition("loaded:")[2].split())


def test_importing_moclip_loads_nothing_heavy():
    assert loaded_by("import moclip") == set()


def test_help_works_and_loads_nothing_heavy():
    subprocess.run([sys.executable, "-m", "moclip", "--help"], cwd=ROOT, check=True, capture_output=True)
    help_then_go_on = """
sys.argv = ["moclip", "--help"]
from moclip.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_by(help_then_go_on) == set()
