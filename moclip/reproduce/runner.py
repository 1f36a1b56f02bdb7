"""Run the numbered notebooks in the order of what they need and make, and publish what they made.

The one command: ``moclip reproduce``. What is up to date is skipped and says so (`moclip.reproduce.records`).
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import typer

from moclip.config.load import load_config, merge, nested
from moclip.config.sections import Config, ConfigError
from moclip.errors import MoclipError
from moclip.io import paths
from moclip.reproduce.display import Display, Say, brief
from moclip.reproduce.notebook import Progress, execute
from moclip.reproduce.publish import publish as publish_run
from moclip.reproduce.publish import publish_folds, publish_seeds, publishable
from moclip.reproduce.records import USERS_FILES, State, check_made, read_record, signatures, state, write_record
from moclip.reproduce.stages import Stage, check_needs, read_stages, select, upstream

RESULTS = "tables/results.csv"
WITH_FOLDS = ("ucf101", "hmdb51")


class BusyError(MoclipError):
    """Another process is running the same run."""


@dataclass(frozen=True)
class Outcome:
    """What happened to a stage: ``ran`` or ``skipped``, with its reasons."""

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
    package: Path

    def states(self) -> dict[str, State]:
        """Every stage's state now, by name."""
        return {stage.name: state(stage, self.config, self.run, self.package) for stage in self.stages}


def plan(
    profile: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    notebooks: Path | None = None,
    package: Path | None = None,
) -> Job:
    """Read the configuration and the notebooks; nothing runs.

    Relative paths among the overrides are the user's: they are made absolute, since notebooks run in their own folder.
    `notebooks` and `package` are the checkout's unless given (tests).
    """
    values = nested(overrides or {})
    if Path(profile).suffix in {".yaml", ".yml"}:
        profile = str(Path(profile).expanduser().resolve())
    for section, name in USERS_FILES:
        if isinstance(values.get(section), dict) and isinstance(values[section].get(name), str):
            values[section][name] = str(Path(values[section][name]).expanduser().resolve())
    config = load_config(profile, values)
    config.data.check()
    stages = read_stages(notebooks or paths.notebooks_dir())
    package = package or Path(__file__).resolve().parent.parent
    return Job(profile, values, config, stages, paths.run_dir(config.run), package)


def reproduce(
    profile: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    only: str | None = None,
    force: bool = False,
    publish: bool = True,
    notebooks: Path | None = None,
    package: Path | None = None,
    say: Say = typer.echo,
) -> list[Outcome]:
    """Run the notebooks of a profile that are not up to date, then publish tables and figures.

    Parameters
    ----------
    profile, overrides : see `moclip.config.load.load_config`.
    only : comma-separated beginnings of names (``"03,04"``): run these alone.
    force : run also what is up to date.
    publish : copy tables and figures to ``figures/<run>/`` at the end.
    notebooks, package, say : see `plan`; `say` takes one line for the user.

    Raises
    ------
    ConfigError, StageError, BusyError
        Before anything runs; the message says what to do.
    NotebookError
        A notebook failed.
    """
    job = plan(profile, overrides, notebooks, package)
    chosen = select(job.stages, only)
    with locked(job.run):
        outcomes = _run(job, chosen, force, say)
        if publish:
            _publish(job, say)
    return outcomes


def seeds(
    profile: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    motion_seeds: Sequence[int] = (0, 1, 2),
    notebooks: Path | None = None,
    package: Path | None = None,
    say: Say = typer.echo,
) -> list[Path]:
    """Repeat what ``results.csv`` stands on for several seeds of the motion network, and publish a table of all.

    Each seed is a run of its own, ``<run>-seed<k>``; the profile's own seed is the run itself. Returns the tables'
    paths.
    """
    job = plan(profile, overrides, notebooks, package)
    runs = _repeat(job, ("mv", "seed"), motion_seeds, notebooks, say)
    return _say_published(publish_seeds(job.run.name, runs), say)


def folds(
    profile: str = "ucf101",
    overrides: Mapping[str, Any] | None = None,
    numbers: Sequence[int] = (1, 2, 3),
    notebooks: Path | None = None,
    package: Path | None = None,
    say: Say = typer.echo,
) -> list[Path]:
    """Repeat what ``results.csv`` stands on for several folds of the data, and publish their means; see `seeds`.

    Raises
    ------
    ConfigError
        The data have no folds.
    """
    job = plan(profile, overrides, notebooks, package)
    if job.config.data.name not in WITH_FOLDS:
        raise ConfigError(f"{job.config.data.name} has no folds; data sets that do: {', '.join(WITH_FOLDS)}")
    runs = _repeat(job, ("data", "fold"), numbers, notebooks, say)
    return _say_published(publish_folds(job.run.name, runs, job.config.report), say)


def _repeat(
    job: Job, field: tuple[str, str], values: Sequence[int], notebooks: Path | None, say: Say
) -> dict[int, str]:
    """Run what ``results.csv`` stands on with each value of a field of the configuration; value -> name of its run."""
    section, name = field
    own = getattr(getattr(job.config, section), name)
    runs = {value: job.run.name if value == own else f"{job.run.name}-{name}{value}" for value in values}
    only = ",".join(stage.name for stage in upstream(job.stages, RESULTS))
    changed = {run: merge(job.overrides, {"run": run, section: {name: value}}) for value, run in runs.items()}
    for overrides in changed.values():  # a value that does not fit is an error now, not hours later
        load_config(job.profile, overrides)
    for run, overrides in changed.items():
        say(f"{section}.{name} {overrides[section][name]}: run {run}")
        reproduce(job.profile, overrides, only, publish=False, notebooks=notebooks, package=job.package, say=say)
    return runs


def _say_published(written: list[Path], say: Say) -> list[Path]:
    say(f"published {', '.join(path.name for path in written)} to {written[0].parent}")
    return written


def _run(job: Job, chosen: Sequence[Stage], force: bool, say: Say) -> list[Outcome]:
    """Run the chosen stages one after the other."""
    outcomes = []
    display = Display(say, chosen, _expected(job, chosen, force))
    for stage in chosen:
        check_needs(stage, job.stages, job.run)
        now = state(stage, job.config, job.run, job.package)
        reasons = ("forced", *now.reasons) if force else now.reasons
        outcomes.append(Outcome(stage, bool(reasons), reasons))
        if not reasons:
            display.skipped(stage)
            continue
        if force:  # a training that is kept would not be done again
            for folder in (folder for glob in stage.keeps for folder in job.run.glob(glob)):
                shutil.rmtree(folder)
        with display.running(stage, reasons):
            _run_stage(job, stage, now, display.update)
    return outcomes


def _run_stage(job: Job, stage: Stage, now: State, report: Callable[[Progress], None]) -> None:
    copy = job.run / "notebooks" / stage.path.name
    before = signatures(stage, job.run)
    start = time.monotonic()
    execute(stage.path, copy, {"profile": job.profile, "overrides": job.overrides}, job.package, report)
    check_made(stage, job.run, before)
    # Recorded is what the stage was started with: an edit made while it ran gives another key, so that it runs again.
    write_record(stage, job.run, job.config.profile, now.components, time.monotonic() - start)


def _expected(job: Job, chosen: Sequence[Stage], force: bool) -> dict[str, float | None]:
    """Seconds that each chosen stage will take: 0 where it will be skipped, None where nobody knows."""
    states = job.states()
    expected: dict[str, float | None] = {}
    made_anew: set[str] = set()
    for stage in chosen:
        expected[stage.name] = 0.0
        if force or states[stage.name].reasons or made_anew & {*stage.needs, *stage.uses}:
            made_anew.update(stage.makes)
            record = read_record(stage, job.run)
            expected[stage.name] = record["seconds"] if record else stage.seconds.get(job.config.profile)
    return expected


def _publish(job: Job, say: Say) -> None:
    """Publish, unless that would put tables of different states of the code side by side."""
    stale = {name: now.reasons for name, now in job.states().items() if now.reasons}
    if stale:
        say(f"not published: {'; '.join(f'{name} is out of date ({brief(why)})' for name, why in stale.items())}")
    elif not publishable(job.run.name):
        say("nothing to publish: the notebooks made no tables or figures")
    else:
        changed = publish_run(job.run.name)
        number = f"files changed: {len(changed)}" if changed else "unchanged"
        say(f"published to {paths.figures_dir(job.run.name)} ({number})")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run; the system lets go of it when this process ends, however it ends."""
    run.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BusyError(
            f"{run} is being written by another moclip command; wait for it, or choose another name: -p run=NAME"
        ) from None
    try:
        yield
    finally:
        lock.release()
