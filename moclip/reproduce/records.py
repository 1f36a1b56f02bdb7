"""Is a stage up to date, and if not, why: its key, and the record of its last success.

After a successful run ``runs/<run>/stages/<notebook>.json`` holds everything that the stage's key is made of and the
hash of every artefact that it made. The same file is the provenance of those artefacts: configuration, inputs, code,
versions, git commit. A stage is up to date when its key is the recorded one and its artefacts are as recorded.
"""

import ast
import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from importlib import metadata
from pathlib import Path
from typing import Any

from moclip.config.sections import Config
from moclip.io.files import atomic_path, sha256_file
from moclip.reproduce import closure
from moclip.reproduce.stages import Stage, StageError, matches

KEYED_PACKAGES = ("torch", "timm", "av", "numpy")
NOT_KEYED = {("data", "workers"), ("data", "scheduler")}  # change how fast, never what
# The user's own files: a stage that reads the section is keyed by what lies there. Generated data are made by a stage.
USERS_FILES = (("data", "root"), ("data", "annotation_path"), ("figures", "video"))
PUBLISHED = ("tables/", "figures/")  # folders of what the reader sees


@dataclass(frozen=True)
class State:
    """What a stage's key is made of now, and why it has to run (nothing: it is up to date)."""

    components: dict[str, Any]
    reasons: tuple[str, ...]


def hashes(run: Path, globs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of every file that the globs cover, by path relative to the run."""
    paths = sorted({path for glob in globs for path in matches(run, glob)})
    return {
        path.relative_to(run).as_posix(): _sha256(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths
    }


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # size and time are there to key the cache
    return sha256_file(path)


def state(stage: Stage, config: Config, run: Path, package: Path) -> State:
    """Compare what a stage stands on now with what its record says."""
    now = components(stage, config, run, package)
    record = read_record(stage, run)
    if record is None:
        return State(now, ("not run yet",))
    made = hashes(run, list(record["made"]))
    lost = [f"{path} {'was changed since' if path in made else 'is missing'}" for path in record["made"]
            if made.get(path) != record["made"][path]]  # fmt: skip
    changed = _differences(record["components"], now) if record["key"] != _digest(now) else []
    return State(now, (*changed, *lost))


def components(stage: Stage, config: Config, run: Path, package: Path) -> dict[str, Any]:
    """Everything that a stage's key is made of."""
    values = _chosen(config, stage.config)
    for section, name in NOT_KEYED:
        if section in values:
            values[section].pop(name, None)
    needs = (*stage.needs, *stage.uses)
    declared = {"needs": needs, "makes": stage.makes, "config": stage.config}
    files = closure.files([python(code, stage) for code in stage.code], package)
    return {
        "notebook": _digest([stage.code, declared]),
        "config": values,
        "files": _users_files(config, stage.config),
        "needs": hashes(run, needs),
        "modules": {path.relative_to(package.parent).as_posix(): sha256_file(path) for path in files},
        "versions": versions(KEYED_PACKAGES),
    }


def _chosen(config: Config, names: Sequence[str]) -> dict[str, Any]:
    """The named sections and fields of the configuration, by name."""
    whole = config.model_dump(mode="json")
    return {name: reduce(lambda part, key: part[key], name.split("."), whole) for name in names}


def _users_files(config: Config, sections: Sequence[str]) -> dict[str, str]:
    """A digest of names, sizes and times of each place that the user named, by its name in the configuration."""
    result = {}
    for section, name in USERS_FILES:
        place: Path | None = getattr(getattr(config, section), name)
        named = section in sections or f"{section}.{name}" in sections
        if named and place is not None and (section, config.data.name) != ("data", "moving_photos"):
            files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
            stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
            result[f"{section}.{name}"] = _digest(stats)
    return result


def python(code: str, stage: Stage) -> str:
    """A cell as plain Python: IPython's own lines (``%matplotlib inline``, ``!ls``) say nothing about imports."""
    plain = re.sub(r"(?m)^([ \t]*)[%!].*$", r"\1pass", code)
    error = None
    for text in (code, plain):
        try:
            ast.parse(text)
            return text
        except SyntaxError as problem:
            error = problem
    if code.startswith("%%"):  # another language, or free text
        return ""
    assert error is not None
    raise StageError(f"{stage.path.name}: a cell is not Python ({error.msg}): {(error.text or '').strip()}")


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions; ``absent`` where a package is not."""
    result = {}
    for package in packages:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            result[package] = "absent"
    return result


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why a key changed, in words."""
    words = ["notebook changed"] if old["notebook"] != new["notebook"] else []
    for name in _changed(old["config"], new["config"]):
        before, after = old["config"].get(name), new["config"].get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            words += [f"config {name}.{k} changed ({before.get(k)} -> {after.get(k)})" for k in _changed(before, after)]
        else:
            words.append(f"config {name} changed ({before} -> {after})")
    texts = {"needs": "upstream {} changed", "modules": "{} changed", "files": "files in {} changed"}
    for part, text in texts.items():
        words += [text.format(name) for name in _changed(old.get(part, {}), new[part])]
    both = old["versions"], new["versions"]
    return words + [f"{name} {both[0].get(name)} -> {both[1].get(name)}" for name in _changed(*both)]


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def record_path(stage: Stage, run: Path) -> Path:
    """Where the record of a stage's last success lies."""
    return run / "stages" / f"{stage.name}.json"


def read_record(stage: Stage, run: Path) -> dict[str, Any] | None:
    """The record of a stage's last success; None where there is none, or none that can be read."""
    try:
        record = json.loads(record_path(stage, run).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and {"key", "components", "made", "seconds"} <= record.keys() else None


def signatures(stage: Stage, run: Path) -> dict[Path, tuple[int, int, int]]:
    """What tells a rewritten file from an untouched one, for everything that a stage's globs cover."""
    stats = {path: path.stat() for glob in stage.makes for path in matches(run, glob)}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def check_made(stage: Stage, run: Path, before: dict[Path, tuple[int, int, int]]) -> None:
    """Raise `StageError` where a stage that just ran did not make all that it declares.

    Tables and figures have to be new: one that an earlier version of the notebook left would be published as this
    run's, so it is removed. Elsewhere presence is enough, since rooms may keep what is still valid (extracted motion).
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


def write_record(stage: Stage, run: Path, profile: str, parts: dict[str, Any], seconds: float) -> None:
    """Record a success: key and components, artefacts, time; the git commit is recorded, never keyed."""
    record = {
        "notebook": stage.path.name, "profile": profile, "run": run.name, "key": _digest(parts), "components": parts,
        "made": hashes(run, stage.makes), "seconds": round(seconds, 1), "git_commit": git_commit(stage.path.parent),
        "python": platform.python_version(), "platform": platform.platform(),
    }  # fmt: skip
    with atomic_path(record_path(stage, run)) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout, ``-dirty`` where tracked files differ from it; None outside one."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
