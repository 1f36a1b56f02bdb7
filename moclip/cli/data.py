"""``moclip data``: from a download to clips that can be trusted. Heavy imports are inside the commands."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moclip.cli.options import Override, Profile, Workers, overrides_of
from moclip.config.load import load_config
from moclip.config.sections import Config, ConfigError
from moclip.io.paths import run_dir

if TYPE_CHECKING:
    from moclip.datasets.base import VideoDataset

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fetch, re-encode and check the clips of a data set.\n\nIn this order: download, prepare, verify, stats.",
)

Prepared = Annotated[bool, typer.Option("--prepared", help="The re-encoded clips instead of the original ones.")]
Folder = Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Instead of data/reports/<data set>/.")]

Name = StrEnum("Name", ["ucf101", "hmdb51"])  # what `download` knows


@app.command()
def download(
    name: Name,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Archives, clips and lists go here.")],
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="A folder with the same files, not the authors' server.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificates to trust instead of the system's.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do not check the server's certificate: it may be anyone's file.")
    ] = False,
) -> None:
    """Fetch a data set from its authors' server and unpack it.

    Example: moclip data download ucf101 --to /data/ucf101

    A download that was cut off resumes. Then the clips are counted. No checksums are published: the SHA-256 of the
    first download is kept beside each archive, and later ones are compared with it.
    """
    from moclip.datasets.download.sources import SOURCES
    from moclip.datasets.download.sources import download as fetch

    if insecure:
        typer.echo("WARNING: --insecure checks no certificates: anyone on the way may send other files", err=True)
    fetch(name, to.expanduser(), mirror=mirror, ca_file=ca_file, insecure=insecure, say=typer.echo)
    source = SOURCES[name]
    places = f"-p data.root={to / source.root} -p data.annotation_path={to / source.annotation_path}"
    typer.echo(f"next: moclip data prepare --profile {name} {places}")


@app.command()
def prepare(
    profile: Profile = "quick",
    param: Override = None,
    original: Annotated[
        bool, typer.Option("--original", help="Keep the streams as shipped: nothing is re-encoded.")
    ] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every file, even if it looks unchanged.")] = False,
    workers: Workers = None,
) -> None:
    """Make a profile's clips ready: list, generate or re-encode, check and hash them.

    Example: moclip data prepare --profile ucf101 -p data.root=UCF-101 -p data.annotation_path=ucfTrainTestlist

    All clips are re-encoded one way; what is done already stays. The manifest runs/<run>/data/<data set>.json lists the
    clips with their SHA-256, for `moclip reproduce` and `moclip train` with the same options.

    If clips cannot be re-encoded, or have no motion vectors then, the command ends with an error that names them. With
    -p data.on_error=skip they are left out: every table counts them, and data/reports/<data set>/unreadable.txt lists
    them with their reasons. With --original the same holds for clips that cannot be read or have no vectors; without
    skip, the first command that reads their motion stops with that error.

    Original streams may reveal classes by their encoder's settings (UCF101's do). Therefore they are used only on
    request, here (--original) and in other commands (-p data.reencode=false).
    """
    from moclip.datasets.prepare import prepare as make_ready

    config = _config(profile, param, workers, reencode=False if original else None)
    folder = run_dir(config.run) / "data"
    for dataset in make_ready(config.data, folder, rehash):
        typer.echo(f"{dataset.name}: {dataset.description}")
        typer.echo(f"  {len(dataset.train)} training, {len(dataset.val)} validation, {len(dataset.test)} test clips")
        typer.echo(f"  {folder / dataset.name}.json lists them; fingerprint {dataset.fingerprint}")
    if original:
        typer.echo("original streams, nothing re-encoded; for moclip reproduce: -p data.reencode=false")


@app.command()
def verify(
    profile: Profile = "quick",
    param: Override = None,
    prepared: Prepared = False,
    workers: Workers = None,
    to: Folder = None,
) -> None:
    """Open and decode every clip; list formats and problems.

    Example: moclip data verify --profile ucf101 -p data.root=UCF-101 -p data.annotation_path=ucfTrainTestlist

    Problems are clips that cannot be read, listed clips that the folder lacks, and files that no list names. If there
    are any, the exit code is 1.
    """
    from moclip.datasets.verify import summary
    from moclip.datasets.verify import verify as check
    from moclip.io.artefacts import save_csv

    config = _config(profile, param, workers)
    problems = 0
    for dataset, root, folder in _chosen(config, prepared, to):
        table = check(dataset, root, config.data.workers)
        save_csv(folder / "clips.csv", table)
        problems += int((table["problem"] != "").sum())
        for line in (f"{dataset.name}: {dataset.description}", *summary(table), f"table: {folder / 'clips.csv'}"):
            typer.echo(line)
    raise typer.Exit(1 if problems else 0)


@app.command()
def stats(
    profile: Profile = "quick",
    param: Override = None,
    prepared: Prepared = False,
    workers: Workers = None,
    to: Folder = None,
) -> None:
    """Draw a data set on a page of plots, and write its numbers as CSV.

    Example: moclip data stats --profile ucf101 -p data.root=UCF-101 -p data.annotation_path=ucfTrainTestlist
    """
    from moclip.studies.shortcuts.data_stats import write_page

    config = _config(profile, param, workers)
    for dataset, _, folder in _chosen(config, prepared, to):
        typer.echo(write_page(dataset, config, folder))


def _config(profile: str, param: list[str] | None, workers: int | None, reencode: bool | None = None) -> Config:
    return load_config(profile, overrides_of(param, {"data.workers": workers, "data.reencode": reencode}))


def _chosen(config: Config, prepared: bool, to: Path | None) -> Iterator[tuple["VideoDataset", Path | None, Path]]:
    """The data sets to look at, the folder that should hold their clips and nothing else, the folder for reports."""
    from moclip.datasets import hash_clips
    from moclip.datasets.prepare import listed, reencoded, reports_dir

    data = config.data
    if prepared and not data.reencode:
        raise ConfigError(f"the profile {config.profile!r} re-encodes nothing (data.reencode is false): no --prepared")
    # Nothing is left out: what is short, damaged or missing is what these commands report.
    for dataset in listed(data.model_copy(update={"allow_partial": True}), generate=True):
        reports = to.expanduser() / dataset.name if to else reports_dir(dataset)
        if prepared:
            yield reencoded(hash_clips(dataset, data.workers)), None, reports / "prepared"
        else:
            yield dataset, None if data.name == "moving_photos" else data.root, reports
