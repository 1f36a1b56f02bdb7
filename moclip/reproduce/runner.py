"""Run the numbered notebooks in the order of what they need and make, and publish what they made.

``moclip reproduce`` is the command. A stage that is up to date (`moclip.reproduce.records`) is skipped.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import typer

from moclip.config.datasets import DATASETS
from moclip.config.load import load_config, merge, nested
from moclip.config.sections import Config, ConfigError
from moclip.errors import MoclipError
from moclip.io import paths
from moclip.io.keys import PACKAGE
from moclip.reproduce.display import Display, Say, brief, clock
from moclip.reproduce.notebook import Progress, execute, refresh
from moclip.reproduce.publish import PublishError, publish_folds, publish_seeds, publishable
from moclip.reproduce.publish import publish as publish_run
from moclip.reproduce.records import USERS_FILES, State, check_made, read_record, signatures, state, write_record
from moclip.reproduce.stages import Stage, check_needs, read_stages, select, upstream

RESULTS = "tables/results.csv"
WITH_FOLDS = tuple(name for name, dataset in DATASETS.items() if dataset.has_folds)


class BusyError(MoclipError):
    """A run cannot be locked: another process holds it, or its file system has no locks."""


@dataclass(frozen=True)
class Outcome:
    """Whether a stage ran, and for which reasons."""

    stage: Stage
    ran: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A run and everything that its stages are judged by."""

    profile: str
    overrides: dict[str, Any]
    config: Config
    stages: list[Stage]
    run: Path

    def state(self, stage: Stage) -> State:
        """The state of a stage now."""
        return state(stage, self.config, self.run, PACKAGE)

    def due(self, stages: Sequence[Stage], force: bool = False) -> dict[str, float | None]:
        """The stages that will run, by name, with the seconds that each will take; None where nobody knows."""
        due: dict[str, float | None] = {}
        made: set[str] = set()
        for stage in stages:
            if force or made & {*stage.needs, *stage.uses} or self.state(stage).reasons:
                made.update(stage.makes)
                record = read_record(stage, self.run)
                due[stage.name] = record["seconds"] if record else stage.seconds.get(self.config.profile)
        return due

    def listing(self) -> list[str]:
        """One line per stage: whether it would run, why, and about how long it would take."""
        due = self.due(self.stages)
        width = max(len(stage.name) for stage in self.stages)
        lines = []
        for stage in self.stages:
            text, seconds = "up to date", due.get(stage.name)
            if stage.name in due:
                text = f"to run: {brief(self.state(stage).reasons) or 'what it needs is renewed'}"
                text += "" if seconds is None else f", about {clock(seconds)}"
            lines.append(f"{stage.name:{width}}  {text}  ({stage.title})")
        return lines


def plan(profile: str = "quick", overrides: Mapping[str, Any] | None = None, notebooks: Path | None = None) -> Job:
    """Read the configuration and the notebooks; nothing runs.

    Relative paths among the overrides are relative to the user's folder. They are made absolute here, because
    notebooks run in their own folder. `notebooks` is the checkout's folder unless given (tests).
    """
    values = nested(overrides or {})
    if Path(profile).suffix in {".yaml", ".yml"}:
        profile = str(Path(profile).expanduser().resolve())
    for field in USERS_FILES:
        section, name = field.split(".")
        if isinstance(values.get(section), dict) and isinstance(values[section].get(name), str):
            values[section][name] = str(Path(values[section][name]).expanduser().resolve())
    config = load_config(profile, values)
    config.data.check()
    stages = read_stages(notebooks or paths.notebooks_dir())
    return Job(profile, values, config, stages, paths.run_dir(config.run))


def reproduce(
    profile: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    only: str | None = None,
    force: bool = False,
    publish: bool = True,
    notebooks: Path | None = None,
    say: Say = typer.echo,
) -> list[Outcome]:
    """Run the notebooks of a profile that are not up to date, then publish tables and figures.

    Parameters
    ----------
    profile, overrides : see `moclip.config.load.load_config`.
    only : comma-separated beginnings of names (``"03,04"``): run these alone.
    force : run also what is up to date; the trainings that it stands on are set aside and done again.
    publish : copy tables and figures to ``figures/<run>/`` at the end.
    notebooks : see `plan`.
    say : takes one line for the user.

    Raises
    ------
    ConfigError, StageError, BusyError
        Before anything runs; the message says what to do.
    NotebookError
        A notebook failed.
    """
    job = plan(profile, overrides, notebooks)
    chosen = select(job.stages, only)
    if job.config.run != job.config.profile:
        say(f"run {job.config.run} (profile {job.config.profile})")
    with locked(job.run):
        outcomes = _run(job, chosen, force, say)
        if publish:
            refusal = _refusal(job)
            say(refusal) if refusal else _publish(job, say)
    return outcomes


def figures(profile: str = "quick", overrides: Mapping[str, Any] | None = None, say: Say = typer.echo) -> None:
    """Publish tables and figures of a run, without running anything.

    Raises
    ------
    PublishError
        There are none, or they belong to different states of code, configuration or data.
    """
    job = plan(profile, overrides)
    with locked(job.run) if job.run.is_dir() else nullcontext():
        if refusal := _refusal(job):
            raise PublishError(refusal)
        _publish(job, say)


def seeds(
    profile: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    motion_seeds: Sequence[int] = (0, 1, 2),
    notebooks: Path | None = None,
    say: Say = typer.echo,
) -> list[Path]:
    """Repeat what ``results.csv`` stands on for several seeds of the motion network, and publish a table of all.

    Each seed is a run of its own, ``<run>-seed<k>``; the profile's seed is the run itself. Returns the tables' paths.
    """
    job = plan(profile, overrides, notebooks)
    runs = _repeat(job, ("mv", "seed"), motion_seeds, notebooks, say)
    return _say_published(publish_seeds(job.run.name, runs), say)


def folds(
    profile: str = "ucf101",
    overrides: Mapping[str, Any] | None = None,
    numbers: Sequence[int] = (1, 2, 3),
    notebooks: Path | None = None,
    say: Say = typer.echo,
) -> list[Path]:
    """Repeat what ``results.csv`` stands on for several folds of the data, and publish their means; see `seeds`.

    Raises
    ------
    ConfigError
        The data have no folds.
    """
    job = plan(profile, overrides, notebooks)
    if job.config.data.name not in WITH_FOLDS:
        raise ConfigError(f"{job.config.data.name} has no folds; data sets that do: {', '.join(WITH_FOLDS)}")
    runs = _repeat(job, ("data", "fold"), numbers, notebooks, say)
    return _say_published(publish_folds(job.run.name, runs, job.config.report), say)


def _repeat(
    job: Job, field: tuple[str, str], values: Sequence[int], notebooks: Path | None, say: Say
) -> dict[int, str]:
    """Run what ``results.csv`` stands on with each value of a field of the configuration; value -> name of its run."""
    section, name = field
    default = getattr(getattr(job.config, section), name)
    runs = {value: job.run.name if value == default else f"{job.run.name}-{name}{value}" for value in values}
    only = ",".join(stage.name for stage in upstream(job.stages, RESULTS))
    overrides = [merge(job.overrides, {"run": run, section: {name: value}}) for value, run in runs.items()]
    for values_of_run in overrides:  # a value that does not fit is an error now, not hours later
        load_config(job.profile, values_of_run)
    for values_of_run in overrides:
        reproduce(job.profile, values_of_run, only, publish=False, notebooks=notebooks, say=say)
    return runs


def _say_published(written: list[Path], say: Say) -> list[Path]:
    say(f"published {', '.join(path.name for path in written)} to {written[0].parent}")
    return written


def _run(job: Job, chosen: Sequence[Stage], force: bool, say: Say) -> list[Outcome]:
    """Run the chosen stages one after the other."""
    outcomes = []
    display = Display(say, chosen, job.due(chosen, force))
    for stage in chosen:
        check_needs(stage, job.stages, job.run)
        now = job.state(stage)
        reasons = ("forced", *now.reasons) if force else now.reasons
        outcomes.append(Outcome(stage, bool(reasons), reasons))
        if not reasons:
            refresh(stage.path, _copy(job, stage))
            display.skipped(stage)
            continue
        if force:
            _set_trainings_aside(job, stage)
        with display.running(stage, reasons):
            _run_stage(job, stage, now, display.update)
    return outcomes


def _set_trainings_aside(job: Job, stage: Stage) -> None:
    """Otherwise a finished training would be used again."""
    from moclip.training.state import set_aside

    for folder in (folder for glob in stage.keeps for folder in sorted(job.run.glob(glob)) if folder.is_dir()):
        set_aside(folder, ["moclip reproduce --force"])


def _copy(job: Job, stage: Stage) -> Path:
    return job.run / "notebooks" / stage.path.name


def _run_stage(job: Job, stage: Stage, now: State, report: Callable[[Progress], None]) -> None:
    before = signatures(stage, job.run)
    start = time.monotonic()
    parameters = {"profile": job.profile, "overrides": job.overrides}
    execute(stage.path, _copy(job, stage), parameters, PACKAGE, report)
    check_made(stage, job.run, before)
    # The key is the one that the stage started with: an edit made while it ran gives another, and it runs again.
    write_record(stage, job.run, job.config.profile, now.key, time.monotonic() - start)


def _refusal(job: Job) -> str:
    """Why a run cannot be published, for instance since tables of different states would stand side by side; or ""."""
    if not publishable(job.run.name):
        return f"nothing to publish: no tables or figures in {job.run}; run `moclip reproduce` first"
    reasons = {stage.name: job.state(stage).reasons for stage in job.stages}
    stale = [f"{name} is out of date ({brief(why)})" for name, why in reasons.items() if why]
    return f"not published: {'; '.join(stale)}" if stale else ""


def _publish(job: Job, say: Say) -> None:
    changed = publish_run(job.run.name)
    number = f"files changed: {len(changed)}" if changed else "unchanged"
    say(f"published to {paths.figures_dir(job.run.name)} ({number})")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run. The system releases it when this process ends, in any case."""
    run.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BusyError(
            f"{run} is being written by another moclip command; wait for it, or choose another name: -p run=NAME"
        ) from None
    except (NotImplementedError, OSError) as error:  # ENOSYS, ENOLCK: some network file systems
        raise BusyError(
            f"{run} cannot be locked ({error}); if its file system has no locks, set MOCLIP_HOME to a folder that has"
        ) from error
    try:
        yield
    finally:
        lock.release()
