"""A numbered notebook is a stage: what it needs, what it makes, and whether it has to run.

A notebook's metadata declare it, with globs relative to ``runs/<run>/``::

    "moclip": {"title": "Zero-shot", "needs": [], "makes": ["predictions/zero_shot.csv"],
               "config": ["data", "encoder"], "seconds": {"quick": 40}}

- ``config`` names the parts of the configuration that the notebook depends on: sections, or fields of ``figures``.
  Without it the notebook depends on all of it.
- ``seconds`` is a first guess at its time, by profile.
- ``uses`` (optional) lists globs for optional inputs: the notebook runs without them, and again when they appear.
- ``keeps`` (optional) lists folders of trainings. They are no artefacts; ``--force`` sets them aside.

Whether a stage is up to date is decided by `moclip.reproduce.records`.
"""

import fnmatch
import graphlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moclip.config.load import explain
from moclip.config.sections import Config, Figures
from moclip.errors import MoclipError, nearest


class StageError(MoclipError):
    """Declarations of notebooks do not fit together, or a stage cannot run; the message says what to do."""


class Stage(BaseModel):
    """One notebook and what it declares."""

    model_config = ConfigDict(frozen=True)

    path: Path
    code: tuple[str, ...] = Field(repr=False)
    title: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    uses: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    config: tuple[str, ...] = tuple(Config.model_fields)
    seconds: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The notebook's name without ``.ipynb``."""
        return self.path.stem


def read_stages(folder: Path) -> list[Stage]:
    """The numbered notebooks of a folder, in the order in which they have to run.

    Raises
    ------
    StageError
        A notebook without the metadata or without its parameters cell, an artefact that nobody or two notebooks make,
        notebooks that need each other.
    """
    stages = [_read(path) for path in sorted(folder.glob("[0-9][0-9]*.ipynb"))]
    if not stages:
        raise StageError(f"no numbered notebooks (01_name.ipynb) in {folder}")
    return order(stages)


def _read(path: Path) -> Stage:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        declared = notebook["metadata"].get("moclip")
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(
            f"{path}: not a notebook of the present format ({type(error).__name__}: {error}); "
            f"`git checkout {path.name}` there brings the committed one back"
        ) from error
    if not isinstance(declared, dict) or not {"needs", "makes"} <= declared.keys():
        raise StageError(f"{path.name}: its metadata lack 'moclip' with 'needs' and 'makes' (lists of globs)")
    entries = sorted(Stage.model_fields.keys() - {"path", "code"})
    sections = [*Config.model_fields, *(f"figures.{name}" for name in Figures.model_fields)]
    for what, words, known in (("entry", declared, entries), ("config section", declared.get("config", ()), sections)):
        for word in words:
            if word not in known:
                raise StageError(
                    f"{path.name}: unknown {what} {word!r} in its 'moclip' metadata{nearest(word, known)}; "
                    f"there are: {', '.join(known)}"
                )
    if not any("parameters" in cell["metadata"].get("tags", []) for cell in cells):
        raise StageError(f"{path.name}: no code cell is tagged 'parameters' (it sets `profile` and `overrides`)")
    try:
        return Stage(path=path, code=["".join(cell["source"]) for cell in cells], **{"title": path.stem, **declared})
    except ValidationError as error:
        raise StageError(f"{path.name}: its 'moclip' metadata: {explain(error)}") from None


def order(stages: Sequence[Stage]) -> list[Stage]:
    """Stages sorted so that each comes after those that make what it needs; ties by file name."""
    makers = _makers(stages)
    by_name = {stage.name: stage for stage in stages}
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for stage in stages:
        for need in stage.needs:
            if need not in makers:
                raise StageError(
                    f"{stage.path.name} needs {need!r}, which no notebook makes{nearest(need, list(makers))}; "
                    "an entry of `needs` has to equal an entry of another notebook's `makes`"
                )
        before = [*stage.needs, *(use for use in stage.uses if use in makers)]
        sorter.add(stage.name, *(makers[need].name for need in before))
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        raise StageError(f"notebooks that need each other: {' -> '.join(error.args[1])}") from None
    result: list[Stage] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        result.append(by_name[ready.pop(0)])
        sorter.done(result[-1].name)
    return result


def _makers(stages: Sequence[Stage]) -> dict[str, Stage]:
    makers: dict[str, Stage] = {}
    for stage in stages:
        for artefact in stage.makes:
            if artefact in makers:
                raise StageError(f"{artefact!r} is made by two: {makers[artefact].path.name} and {stage.path.name}")
            makers[artefact] = stage
    return makers


def select(stages: Sequence[Stage], only: str | None) -> list[Stage]:
    """Stages whose names begin with one of the comma-separated prefixes; all of them without."""
    prefixes = [prefix.strip() for prefix in (only or "").split(",") if prefix.strip()] or [""]
    for prefix in prefixes:
        if not any(stage.name.startswith(prefix) for stage in stages):
            raise StageError(f"no notebook begins with {prefix!r}; there are: {', '.join(s.name for s in stages)}")
    return [stage for stage in stages if stage.name.startswith(tuple(prefixes))]


def upstream(stages: Sequence[Stage], artefact: str) -> list[Stage]:
    """The stages that `artefact` stands on, its maker included; all of them where none declares it."""
    makers = _makers(stages)
    waiting = [stage for glob, stage in makers.items() if fnmatch.fnmatch(artefact, glob)]
    if not waiting:
        return list(stages)
    wanted = set()
    while waiting:
        stage = waiting.pop()
        wanted.add(stage.name)
        waiting += [makers[need] for need in stage.needs]
    return [stage for stage in stages if stage.name in wanted]


def check_needs(stage: Stage, stages: Sequence[Stage], run: Path) -> None:
    """Raise `StageError` where something that `stage` needs is absent, naming it and the notebook that makes it."""
    for need in stage.needs:
        if not matches(run, need):
            maker = _makers(stages)[need]
            raise StageError(
                f"{stage.name} needs {need!r}, which is not in {run}; {maker.name} makes it: "
                f"run it first (--only {maker.name[:2]}, or without --only)"
            )


def matches(run: Path, glob: str) -> list[Path]:
    """Files of a run that a glob covers; names that begin with a dot are being written and do not count."""
    return sorted(path for path in run.glob(glob) if path.is_file() and not path.name.startswith("."))
