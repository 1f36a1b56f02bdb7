"""Run the numbered notebooks in the order of what they need and make, and publish what they made.

``moclip reproduce`` is the command. A stage that is up to date (`moclip.reproduce.records`) is skipped.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from moclip.config.datasets import DATASETS
from moclip.config.load import load_config, merge, nested
from moclip.config.sections import Config, ConfigError
from moclip.errors import MoclipError
from moclip.io import paths
from moclip.io.keys import PACKAGE
from moclip.reproduce.display import Display, Say, brief, clock, echo
from moclip.reproduce.notebook import execute, refresh
from moclip.reproduce.publish import publish as publish_run
from moclip.reproduce.publish import publish_repeated, publishable
from moclip.reproduce.records import USERS_FILES, check_made, read_record, signatures, state, write_record
from moclip.reproduce.stages import Stage, check_needs, read_stages, select, upstream

RESULTS = "tables/results.csv"
WITH_FOLDS = tuple(name for name, dataset in DATASETS.items() if dataset.has_folds)


@dataclass(frozen=True)
class Job:
    """A run and everything that its stages are judged by."""

    profile: str
    overrides: dict[str, Any]
    config: Config
    stages: list[Stage]
    run: Path

    def state(self, stage: Stage) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The key of a stage now, and why it has to run, if it has to."""
        return state(stage, self.config, self.run, PACKAGE)

    def due(self, stages: Sequence[Stage], force: bool = False) -> dict[str, float | None]:
        """The stages that will run, by name, with the seconds that each will take; None where nobody knows."""
        due: dict[str, float | None] = {}
        made: set[str] = set()
        for stage in stages:
            if force or made & {*stage.needs, *stage.uses} or self.state(stage)[1]:
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
                text = f"to run: {brief(self.state(stage)[1]) or 'what it needs is renewed'}"
                text += "" if seconds is None else f", about {clock(seconds)}"
            lines.append(f"{stage.name:{width}}  {text}  ({stage.title})")
        return lines


def plan(profile: str = "quick", overrides: Mapping[str, Any] | None = None) -> Job:
    """Read the configuration and the notebooks; nothing runs.

    Relative paths among the overrides are relative to the user's folder. They are made absolute here, because
    notebooks run in their own folder.
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
    return Job(profile, values, config, read_stages(paths.notebooks_dir()), paths.run_dir(config.run))


def reproduce(
    profile: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    only: str | None = None,
    force: bool = False,
    publish: bool = True,
    say: Say = echo,
) -> list[str]:
    """Run the notebooks of a profile that are not up to date, then publish tables and figures.

    Parameters
    ----------
    profile, overrides : see `moclip.config.load.load_config`.
    only : comma-separated beginnings of names (``"03,04"``): run these alone.
    force : run also what is up to date; the trainings that it stands on are set aside and done again.
    publish : copy tables and figures to ``figures/<run>/`` at the end.
    say : takes one line for the user.

    Returns
    -------
    Names of the stages that ran.

    Raises
    ------
    MoclipError
        Before anything runs; the message says what to do.
    NotebookError
        A notebook failed.
    """
    job = plan(profile, overrides)
    chosen = select(job.stages, only)
    if job.config.run != job.config.profile:
        say(f"run {job.config.run} (profile {job.config.profile})")
    with locked(job.run):
        ran = _run(job, chosen, force, say)
        if publish:
            refusal = _refusal(job)
            say(refusal) if refusal else _publish(job, say)
    return ran


def figures(profile: str = "quick", overrides: Mapping[str, Any] | None = None, say: Say = echo) -> None:
    """Publish tables and figures of a run, without running anything.

    Raises
    ------
    MoclipError
        There are none, or they belong to different states of code, configuration or data.
    """
    job = plan(profile, overrides)
    with locked(job.run) if job.run.is_dir() else nullcontext():
        if refusal := _refusal(job):
            raise MoclipError(refusal)
        _publish(job, say)


def repeat(
    field: str, values: Sequence[int], profile: str, overrides: Mapping[str, Any] | None = None, say: Say = echo
) -> None:
    """Repeat what ``results.csv`` stands on for several values of a field, and publish a table of all.

    Each value is a run of its own, for instance ``<run>-seed<k>``; the profile's value is the run itself.

    Parameters
    ----------
    field : an entry of `moclip.reproduce.publish.REPEATED`: the seed of the motion network, or the fold of the data.

    Raises
    ------
    ConfigError
        The data have no folds, or not this one.
    """
    job = plan(profile, overrides)
    if field == "data.fold" and job.config.data.name not in WITH_FOLDS:
        raise ConfigError(f"{job.config.data.name} has no folds; data sets that do: {', '.join(WITH_FOLDS)}")
    section, name = field.split(".")
    default = getattr(getattr(job.config, section), name)
    runs = {value: job.run.name if value == default else f"{job.run.name}-{name}{value}" for value in values}
    only = ",".join(stage.name for stage in upstream(job.stages, RESULTS))
    asked = [merge(job.overrides, {"run": run, section: {name: value}}) for value, run in runs.items()]
    for each in asked:  # a value that does not fit is an error now, not hours later
        load_config(job.profile, each)
    for each in asked:
        reproduce(job.profile, each, only, publish=False, say=say)
    written = publish_repeated(job.run.name, field, runs, job.config.report)
    say(f"published {', '.join(path.name for path in written)} to {written[0].parent}")


def _run(job: Job, chosen: Sequence[Stage], force: bool, say: Say) -> list[str]:
    """Run the chosen stages one after the other; returns the names of those that were not up to date."""
    ran = []
    display = Display(say, chosen, job.due(chosen, force))
    for stage in chosen:
        check_needs(stage, job.stages, job.run)
        key, reasons = job.state(stage)
        copy = job.run / "notebooks" / stage.path.name
        if not reasons and not force:
            refresh(stage.path, copy)
            display.skipped(stage)
            continue
        if force:
            _set_trainings_aside(job, stage)
        before, start = signatures(stage, job.run), time.monotonic()
        with display.running(stage, ["forced", *reasons] if force else reasons) as progress:
            parameters = {"profile": job.profile, "overrides": job.overrides}
            execute(stage.path, copy, parameters, PACKAGE, progress)
            check_made(stage, job.run, before)
            # The key that the stage started with: after an edit made while it ran, it runs again.
            write_record(stage, job.run, job.config.profile, key, time.monotonic() - start)
        ran.append(stage.name)
    return ran


def _set_trainings_aside(job: Job, stage: Stage) -> None:
    """Otherwise a finished training would be used again."""
    from moclip.training.state import set_aside

    for folder in (folder for glob in stage.keeps for folder in sorted(job.run.glob(glob)) if folder.is_dir()):
        set_aside(folder, ["moclip reproduce --force"])


def _refusal(job: Job) -> str:
    """Why a run cannot be published, for instance since tables of different states would stand side by side; or ""."""
    if not publishable(job.run.name):
        return f"nothing to publish: no tables or figures in {job.run}; run `moclip reproduce` first"
    reasons = {stage.name: job.state(stage)[1] for stage in job.stages}
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
        held = lock.acquire()
    except filelock.Timeout:
        raise MoclipError(
            f"{run} is being written by another moclip command; wait for it, or choose another name: -p run=NAME"
        ) from None
    except (NotImplementedError, OSError) as error:  # ENOSYS, ENOLCK: some network file systems
        raise MoclipError(
            f"{run} cannot be locked ({error}); if its file system has no locks, set MOCLIP_HOME to a folder that has"
        ) from error
    with held:
        yield
