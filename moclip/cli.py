"""The ``moclip`` command. Heavy imports are inside the commands, so that ``moclip --help`` answers at once."""

import sys
from typing import Annotated, Any, NoReturn

import typer

from moclip import __version__
from moclip.commands import data
from moclip.commands.options import Override, Profile, overrides_of
from moclip.commands.train import train
from moclip.config import load_config, merge
from moclip.errors import MoclipError
from moclip.sections import ConfigError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_GO_ON = "interrupted; the same command goes on where it stopped"

app = typer.Typer(
    name="moclip",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="MoCLIP-Lite: actions in video from a frozen image-text encoder and the motion vectors of the stream.\n\n"
    "Start with `moclip doctor`, then `moclip reproduce`.",
)

app.add_typer(data.app)
app.command()(train)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moclip {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def doctor() -> None:
    """Check this machine: Python, packages, device, weights, disk, codecs; every problem comes with its remedy.

    Example: moclip doctor
    """
    from moclip.doctor import findings

    problems = 0
    for finding in findings():
        problems += not finding.good
        typer.echo(f"{'ok  ' if finding.good else 'PROBLEM'} {finding.what}")
        if finding.remedy:
            typer.echo(f"        -> {finding.remedy}")
    typer.echo(f"{problems} problem(s)" if problems else "all well; next: moclip reproduce")
    raise typer.Exit(1 if problems else 0)


@app.command()
def reproduce(
    profile: Profile = "quick",
    param: Override = None,
    only: Annotated[str | None, typer.Option(metavar="03,04", help="Run only the notebooks that begin so.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run also what is up to date.")] = False,
    no_publish: Annotated[bool, typer.Option("--no-publish", help="Leave figures/ as it is.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show the notebooks, their state and why; run nothing.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that read videos; all cores unless set (data.workers).")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Dask scheduler whose workers read (data.scheduler).")
    ] = None,
) -> None:
    """Run the notebooks in order and publish every table and figure; what is up to date is skipped.

    Example: moclip reproduce --profile ucf101 -p data.root=/data/UCF-101 -p data.annotation_path=/data/ucfTrainTestlist

    Executed copies are left in runs/<run>/notebooks; after a failure the same command goes on where it stopped.
    """
    from moclip.reproduce import run as runner

    reading = {name: value for name, value in (("workers", workers), ("scheduler", scheduler)) if value is not None}
    overrides = merge(overrides_of(param), {"data": reading} if reading else {})
    if list_:
        for line in _states(profile, overrides):
            typer.echo(line)
    else:
        runner.reproduce(profile, overrides, only=only, force=force, publish=not no_publish)


@app.command()
def figures(profile: Profile = "quick", param: Override = None) -> None:
    """Publish the tables and figures of a finished run to figures/<run>; nothing is computed.

    Example: moclip figures --profile quick
    """
    from moclip import paths
    from moclip.reproduce.publish import publish

    run = load_config(profile, overrides_of(param)).run
    changed = publish(run)
    typer.echo(f"published to {paths.figures_dir(run)}: {', '.join(changed) if changed else 'unchanged'}")


@app.command()
def seeds(
    profile: Profile = "quick",
    param: Override = None,
    numbers: Annotated[str, typer.Option("--seeds", metavar="0,1,2", help="Seeds of the motion network.")] = "0,1,2",
) -> None:
    """Repeat the results for several seeds of the motion network: figures/<run>/motion_seeds.csv and its summary.

    Example: moclip seeds --profile quick --seeds 0,1,2
    """
    from moclip.reproduce import run as runner

    runner.seeds(profile, overrides_of(param), _whole_numbers("--seeds", numbers))


@app.command()
def folds(
    profile: Profile = "ucf101",
    param: Override = None,
    numbers: Annotated[str, typer.Option("--folds", metavar="1,2,3", help="Folds of the data set.")] = "1,2,3",
) -> None:
    """Repeat the results for several folds of the data: figures/<run>/folds.csv and their means, folds_summary.csv.

    Example: moclip folds --profile ucf101 -p data.root=/data/UCF-101 -p data.annotation_path=/data/ucfTrainTestlist
    """
    from moclip.reproduce import run as runner

    runner.folds(profile, overrides_of(param), _whole_numbers("--folds", numbers))


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return sorted({int(number) for number in text.split(",")})
    except ValueError:
        raise ConfigError(f"{option} takes whole numbers with commas (0,1,2), not {text!r}") from None


def _states(profile: str, overrides: dict[str, Any]) -> list[str]:
    """A line a notebook: its name, title, and state with reasons."""
    from moclip.reproduce.display import brief
    from moclip.reproduce.run import plan

    job = plan(profile, overrides)
    width = max(len(stage.name) for stage in job.stages)
    states = job.states()
    return [
        f"{stage.name:{width}}  {f'to run: {brief(reasons)}' if reasons else 'up to date'}  ({stage.title})"
        for stage, reasons in ((stage, states[stage.name].reasons) for stage in job.stages)
    ]


def _fail(message: object, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)


def main() -> None:
    """Entry point: what the user can mend is a message, not a traceback.

    Exit codes: 0 done, 1 a notebook failed or the doctor found problems, 2 the command or the declarations are wrong,
    130 interrupted.
    """
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        _fail(_GO_ON, _INTERRUPTED)
    except Exception as error:
        _fail(error, _code(error))
    if code == _INTERRUPTED:  # newer versions of typer turn Ctrl-C into this code without a word
        _fail(_GO_ON, _INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _code(error: Exception) -> int:
    """Exit code of an error that has a message for the user; any other is raised again, with its traceback."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's, which typer brings under a name of its own
        error.show()
        sys.exit(error.exit_code)
    if isinstance(error, MoclipError):
        return error.exit_code
    if isinstance(error, FileNotFoundError):
        return 2
    raise error


if __name__ == "__main__":
    main()
