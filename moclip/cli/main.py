"""The ``moclip`` command. Heavy imports are inside the commands, so ``moclip --help`` answers at once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from moclip import __version__
from moclip.cli import data
from moclip.cli.options import Override, Profile, Workers, overrides_of
from moclip.cli.predict import predict
from moclip.cli.train import train
from moclip.config.sections import ConfigError
from moclip.errors import MoclipError

_INTERRUPTED = 130  # 128 + SIGINT, as in shells

app = typer.Typer(
    name="moclip",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="MoCLIP-Lite: action recognition from a frozen image-text encoder and the motion vectors of the stream.\n\n"
    "Start with `moclip doctor`, then `moclip reproduce`.",
)

app.add_typer(data.app)
app.command()(train)
app.command()(predict)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"moclip {__version__}")
        raise typer.Exit


@app.command()
def doctor() -> None:
    """Check this machine; every problem comes with its remedy.

    Example: moclip doctor

    It looks at Python, packages, device, weights, disk and codecs.
    """
    from moclip.cli.doctor import findings

    problems = 0
    for what, remedy in findings():
        problems += bool(remedy)
        typer.echo(f"PROBLEM {what}\n        -> {remedy}" if remedy else f"ok   {what}")
    typer.echo(f"{problems} problem(s)" if problems else "all well; next: moclip reproduce")
    raise typer.Exit(1 if problems else 0)


@app.command()
def reproduce(
    profile: Profile = "quick",
    param: Override = None,
    only: Annotated[str | None, typer.Option(metavar="03,04", help="Run only the notebooks so numbered.")] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also run what is up to date; earlier trainings are set aside and done again."),
    ] = False,
    no_publish: Annotated[bool, typer.Option("--no-publish", help="Do not change figures/.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the notebooks' states and why; run nothing.")] = False,
    workers: Workers = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="Dask scheduler whose workers read videos (data.scheduler)."),
    ] = None,
) -> None:
    """Run the notebooks in order, then publish tables and figures.

    Example: moclip reproduce --profile ucf101 -p data.root=/data/UCF-101 -p data.annotation_path=/data/ucfTrainTestlist

    Notebooks that are up to date are skipped. Executed copies are in runs/<run>/notebooks. After a failure, the same
    command resumes where it stopped.
    """
    from moclip.reproduce import runner

    overrides = overrides_of(param, {"data.workers": workers, "data.scheduler": scheduler})
    if not list_:
        runner.reproduce(profile, overrides, only=only, force=force, publish=not no_publish)
        return
    for line in runner.plan(profile, overrides).listing():
        typer.echo(line)


@app.command()
def figures(profile: Profile = "quick", param: Override = None) -> None:
    """Publish the tables and figures of a run.

    Example: moclip figures --profile quick

    Copies them from runs/<run> to figures/<run>; computes nothing. If some are out of date, nothing is copied.
    """
    from moclip.reproduce import runner

    runner.figures(profile, overrides_of(param))


@app.command()
def seeds(
    profile: Profile = "quick",
    param: Override = None,
    numbers: Annotated[str, typer.Option("--seeds", metavar="0,1,2", help="Seeds of the motion network.")] = "0,1,2",
) -> None:
    """Repeat the results for several seeds of the motion network.

    Example: moclip seeds --profile quick --seeds 0,1,2

    Writes figures/<run>/motion_seeds.csv and motion_seeds_summary.csv. Each further seed is a separate run.
    """
    from moclip.reproduce import runner

    runner.repeat("mv.seed", _whole_numbers("--seeds", numbers), profile, overrides_of(param))


@app.command()
def folds(
    profile: Profile = "ucf101",
    param: Override = None,
    numbers: Annotated[str, typer.Option("--folds", metavar="1,2,3", help="Folds of the data set.")] = "1,2,3",
) -> None:
    """Repeat the results for several folds of the data.

    Example: moclip folds --profile ucf101 -p data.root=/data/UCF-101 -p data.annotation_path=/data/ucfTrainTestlist

    Writes figures/<run>/folds.csv and folds_summary.csv (the means). Each further fold is a separate run.
    """
    from moclip.reproduce import runner

    runner.repeat("data.fold", _whole_numbers("--folds", numbers), profile, overrides_of(param))


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="NETWORK", help="In checkpoints/: mv_tsn-<data set>, or a head.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.")],
    run: Annotated[str, typer.Option(metavar="NAME", help="A run under runs/.")] = "folder",
) -> None:
    """Write a trained network for `from_pretrained`.

    Example: moclip export mv_tsn-videos exported --run folder

    Makes a folder of weights, configuration and model card, for this machine or for the Hugging Face hub.
    """
    from moclip.engine.checkpoints import save_pretrained
    from moclip.io.paths import run_dir

    save_pretrained(run_dir(run), name, folder)
    typer.echo(f"{folder}: weights, configuration, and a model card (README.md) to read before publishing")


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return sorted({int(number) for number in text.split(",")})
    except ValueError:
        raise ConfigError(f"{option} takes whole numbers separated by commas (0,1,2), not {text!r}") from None


def main() -> None:
    """Entry point. Errors that the user can correct are messages, not tracebacks.

    Exit codes: 0 done; 1 a notebook failed, or doctor, verify or predict found problems; 2 the command, a declaration
    or a file is wrong; 130 interrupted.
    """
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except (MoclipError, OSError) as error:  # OSError: a missing file, a full disk
        typer.echo(f"error: {error}", err=True)
        code = getattr(error, "exit_code", 2)
    except Exception as error:
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):  # click's errors, which typer vendors
            raise
        error.show()
        code = error.exit_code
    if code == _INTERRUPTED:  # newer versions of typer return this code after Ctrl-C, silently
        typer.echo("error: interrupted; the same command resumes where it stopped", err=True)
    sys.exit(code if isinstance(code, int) else 0)
