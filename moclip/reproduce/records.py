"""Is a stage up to date, and if not, why? Its key (`moclip.io.keys`), and the record of its last success.

After a successful run ``runs/<run>/stages/<notebook>.json`` holds the stage's key and the hash of every artefact that
it made, and beside them what explains these artefacts: git commit, platform, time. A stage is up to date while its key
and its artefacts are the recorded ones.
"""

import ast
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from moclip.config.load import leaves
from moclip.config.sections import Config
from moclip.config.strategies import studies
from moclip.io import keys
from moclip.io.artefacts import ArtefactError, load_json, save_json
from moclip.io.fingerprints import FileHashes, fingerprints
from moclip.reproduce.stages import Stage, StageError, matches

# No part of a key: how fast, and where the user's files lie. What lies there is an input.
NOT_KEYED = {"data": {"workers", "scheduler", "root", "annotation_path"}, "figures": {"video"}}
USERS_FILES = ("data.root", "data.annotation_path", "figures.video")
PUBLISHED = ("tables/", "figures/")  # folders of what the reader sees
_NO_VIDEOS = (".txt", ".md")  # notes among the videos


def hashes(run: Path, globs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file that the globs cover, by path relative to the run."""
    paths = sorted({path for glob in globs for path in matches(run, glob)})
    return {path.relative_to(run).as_posix(): sha256 for path, sha256 in _contents(paths, run).items()}


def _contents(paths: Sequence[Path], run: Path) -> dict[Path, str]:
    """SHA-256 of files; the run remembers them."""
    known = _known(run)
    found = fingerprints(paths, known=known)
    known.save()
    return found


@cache
def _known(run: Path) -> FileHashes:
    return FileHashes(run / "stages" / ".hashes.json")


def state(stage: Stage, config: Config, run: Path, package: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The key of a stage now, and why the stage has to run (no reasons: its record has the same key)."""
    now = stage_key(stage, config, run, package)
    record = read_record(stage, run)
    if record is None:
        return now, ("not run yet",)
    made = hashes(run, list(record["made"]))
    lost = [f"{path} {'was changed since' if path in made else 'is missing'}" for path in record["made"]
            if made.get(path) != record["made"][path]]  # fmt: skip
    return now, (*keys.differences(record["key"], now), *lost)


def stage_key(stage: Stage, config: Config, run: Path, package: Path) -> dict[str, Any]:
    """The parts of a stage's key: notebook, rooms that its code imports, libraries, configuration, inputs."""
    whole = config.model_dump(mode="json", exclude=NOT_KEYED)
    fields = whole | leaves({"figures": whole["figures"]})
    settings = {name: fields[name] for name in stage.config if name in fields}
    sources = [python(code, stage) for code in stage.code]
    rooms = sorted({*keys.rooms(sources, package), *studies(settings)})
    declared = {"needs": (*stage.needs, *stage.uses), "makes": stage.makes, "config": stage.config}
    # A semicolon at the end of a cell hides its last value.
    cells = [(keys.meaning(ast.parse(source)), source.rstrip().endswith(";")) for source in sources]
    inputs = _users_files(stage, config, run) | hashes(run, declared["needs"])
    key = keys.key_of_rooms(rooms, settings, inputs, package)
    key["code"]["this notebook"] = keys.digest([cells, declared])
    return key


def _users_files(stage: Stage, config: Config, run: Path) -> dict[str, str]:
    """A digest of names and contents of each place that the user named, where the stage reads it."""
    result = {}
    for field in USERS_FILES:
        section, name = field.split(".")
        place: Path | None = getattr(getattr(config, section), name)
        reads = field in stage.config or section in stage.config
        prepared = section == "data" and any(need.startswith("data/") for need in stage.needs)  # its manifest is keyed
        generated = section == "data" and config.data.name == "moving_photos"
        if place is None or not reads or prepared or generated:
            continue
        files = [place] if place.is_file() else [
            Path(folder) / each for folder, _, names in os.walk(place, followlinks=True)
            for each in names if not each.startswith(".")
        ]  # fmt: skip
        contents = _contents([path for path in files if name != "root" or path.suffix not in _NO_VIDEOS], run)
        relative = {os.path.relpath(path, place): sha256 for path, sha256 in contents.items()}
        result[f"files in {field}"] = keys.digest(relative)
    return result


def python(code: str, stage: Stage) -> str:
    """A cell as plain Python, also where it has IPython's own lines (``%matplotlib inline``, ``!ls``)."""
    try:
        ast.parse(code)
        return code
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        plain = TransformerManager().transform_cell(code)
    try:
        ast.parse(plain)
        return plain
    except SyntaxError as error:
        problem = f"{error.msg}): {(error.text or '').strip()}"
        raise StageError(f"{stage.path.name}: a cell is not Python ({problem}") from None


def record_path(stage: Stage, run: Path) -> Path:
    """Where the record of a stage's last success lies."""
    return run / "stages" / f"{stage.name}.json"


def read_record(stage: Stage, run: Path) -> dict[str, Any] | None:
    """The record of a stage's last success; None where there is none, or none that can be read."""
    try:
        record = load_json(record_path(stage, run))
    except (FileNotFoundError, ArtefactError):
        return None
    complete = isinstance(record, dict) and {"key", "made", "seconds"} <= record.keys()
    return record if complete and isinstance(record["key"], dict) else None


def signatures(stage: Stage, run: Path) -> dict[Path, tuple[int, int, int]]:
    """What tells a rewritten file from an untouched one, for each file that the stage's globs cover."""
    stats = {path: path.stat() for glob in stage.makes for path in matches(run, glob)}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def check_made(stage: Stage, run: Path, before: dict[Path, tuple[int, int, int]]) -> None:
    """Raise `StageError` where a stage that just ran did not make all that it declares.

    Tables and figures have to be new. One that an earlier version of the notebook left would be published as a result
    of this run, so it is removed. For other artefacts presence is enough: rooms keep what is still valid.
    """
    after = signatures(stage, run)
    for path in after:
        if before.get(path) == after[path] and path.relative_to(run).as_posix().startswith(PUBLISHED):
            path.unlink()
    for glob in stage.makes:
        if not matches(run, glob):
            raise StageError(
                f"{stage.name} ran to its end but did not make {glob!r} (declared in its `makes`) in {run}"
            )


def write_record(stage: Stage, run: Path, profile: str, key: dict[str, Any], seconds: float) -> None:
    """Record a success. The git commit is recorded, never keyed."""
    record = {
        "notebook": stage.path.name, "profile": profile, "run": run.name, "key": key, "made": hashes(run, stage.makes),
        "seconds": round(seconds, 1), "git_commit": git_commit(stage.path.parent),
        "python": platform.python_version(), "platform": platform.platform(),
    }  # fmt: skip
    save_json(record_path(stage, run), record)


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout, ``-dirty`` where tracked files differ from it; None outside one."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
