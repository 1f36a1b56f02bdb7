"""Is a stage up to date, and if not, why? Its key (`moclip.io.keys`), and the record of its last success.

After a successful run ``runs/<run>/stages/<notebook>.json`` holds the stage's key and the hash of every artefact that
it made, and beside them what explains these artefacts: git commit, platform, time. A stage is up to date while its key
and its artefacts are the recorded ones.
"""

import ast
import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from moclip.config.sections import Config
from moclip.config.strategies import studies
from moclip.io import keys
from moclip.io.files import atomic_path, sha256_file
from moclip.reproduce.stages import Stage, StageError, matches

# No part of a key: how fast, and where the user's files lie. What lies there is an input.
NOT_KEYED = ("data.workers", "data.scheduler", "data.root", "data.annotation_path", "figures.video")
USERS_FILES = ("data.root", "data.annotation_path", "figures.video")
PUBLISHED = ("tables/", "figures/")  # folders of what the reader sees
_NO_VIDEOS = (".txt", ".md")  # notes among the videos


@dataclass(frozen=True)
class State:
    """A stage's key now, and why the stage has to run (no reasons: it is up to date)."""

    key: dict[str, Any]
    reasons: tuple[str, ...]


def hashes(run: Path, globs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file that the globs cover, by path relative to the run."""
    paths = sorted({path for glob in globs for path in matches(run, glob)})
    return {
        path.relative_to(run).as_posix(): _sha256(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths
    }


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # size and time are there to key the cache
    return sha256_file(path)


def state(stage: Stage, config: Config, run: Path, package: Path) -> State:
    """Compare the key of a stage with its record."""
    now = stage_key(stage, config, run, package)
    record = read_record(stage, run)
    if record is None:
        return State(now, ("not run yet",))
    made = hashes(run, list(record["made"]))
    lost = [f"{path} {'was changed since' if path in made else 'is missing'}" for path in record["made"]
            if made.get(path) != record["made"][path]]  # fmt: skip
    return State(now, (*keys.differences(record["key"], now), *lost))


def stage_key(stage: Stage, config: Config, run: Path, package: Path) -> dict[str, Any]:
    """The parts of a stage's key: notebook, rooms that its code imports, libraries, configuration, inputs."""
    settings = _chosen(config, stage.config)
    rooms = sorted({*keys.rooms([python(code, stage) for code in stage.code], package), *studies(settings)})
    declared = {"needs": (*stage.needs, *stage.uses), "makes": stage.makes, "config": stage.config}
    cells = [_meaning(code) for code in stage.code]
    parts = {
        "code": {"this notebook": keys.digest([cells, declared]), **keys.code(rooms, package)},
        "versions": keys.versions(rooms),
        "settings": settings,
        "inputs": _users_files(stage, config, run) | hashes(run, declared["needs"]),
    }
    return json.loads(json.dumps(parts))  # type: ignore[no-any-return]


def _meaning(code: str) -> tuple[str, bool]:
    """A cell without its comments, and whether it ends in the semicolon that hides its last value."""
    try:
        return keys.meaning(code), code.rstrip().endswith(";")
    except SyntaxError:  # IPython's own lines
        return code, False


def _chosen(config: Config, names: Sequence[str]) -> dict[str, Any]:
    """The named sections and fields of the configuration that are keyed, by name."""
    whole = config.model_dump(mode="json")
    chosen = {name: reduce(lambda part, key: part[key], name.split("."), whole) for name in names}
    for field in NOT_KEYED:
        section, name = field.split(".")
        chosen.pop(field, None)
        chosen.get(section, {}).pop(name, None)
    return chosen


def _users_files(stage: Stage, config: Config, run: Path) -> dict[str, str]:
    """A digest of names and contents of each place that the user named, where the stage reads it."""
    result = {}
    for field in USERS_FILES:
        section, name = field.split(".")
        place: Path | None = getattr(getattr(config, section), name)
        reads = field in stage.config or section in stage.config
        prepared = section == "data" and any(need.startswith("data/") for need in stage.needs)  # its manifest is keyed
        if reads and place is not None and not prepared and (section, config.data.name) != ("data", "moving_photos"):
            files = [place] if place.is_file() else _walk(place)
            skipped = _NO_VIDEOS if name == "root" else ()
            memo = run / "stages" / f".{field}.stat"
            contents = _contents([path for path in files if path.suffix not in skipped], memo)
            names = {os.path.relpath(path, place): contents[path] for path in contents}
            result[f"files in {field}"] = keys.digest(names)
    return result


def _walk(place: Path) -> list[Path]:
    return sorted(
        Path(folder) / name
        for folder, _, names in os.walk(place, followlinks=True)
        for name in names
        if not name.startswith(".")
    )


def _contents(paths: Sequence[Path], memo: Path) -> dict[Path, str]:
    """SHA-256 of the user's files; one that looks as it did when it was hashed is not read again."""
    from moclip.io.fingerprints import FileHashes, fingerprints  # loads pandas

    known = FileHashes(memo)
    hashes = fingerprints(paths, known=known)
    known.save()
    return hashes


def python(code: str, stage: Stage) -> str:
    """A cell as plain Python: IPython's own lines (``%matplotlib inline``, ``!ls``) say nothing about imports."""
    plain = re.sub(r"(?m)^([ \t]*)[%!].*$", r"\1pass", code)
    for text in (code, plain):
        try:
            ast.parse(text)
            return text
        except SyntaxError as problem:
            error = problem
    if code.startswith("%%"):  # another language, or free text
        return ""
    raise StageError(f"{stage.path.name}: a cell is not Python ({error.msg}): {(error.text or '').strip()}")


def record_path(stage: Stage, run: Path) -> Path:
    """Where the record of a stage's last success lies."""
    return run / "stages" / f"{stage.name}.json"


def read_record(stage: Stage, run: Path) -> dict[str, Any] | None:
    """The record of a stage's last success; None where there is none, or none that can be read."""
    record = _read_json(record_path(stage, run))
    complete = record is not None and {"key", "made", "seconds"} <= record.keys() and isinstance(record["key"], dict)
    return record if complete else None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _write_json(path: Path, values: dict[str, Any]) -> None:  # not by io.artefacts, which loads pandas
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


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
    _write_json(record_path(stage, run), record)


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout, ``-dirty`` where tracked files differ from it; None outside one."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
