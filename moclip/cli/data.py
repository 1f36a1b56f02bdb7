"""``moclip data``: from a download to clips that can be trusted. Heavy imports are inside the commands."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moclip.cli.options import Override, Profile, Workers, overrides_of
from moclip.config.load import load_config
from moclip.config.sections import Config, ConfigError, MinFrames

if TYPE_CHECKING:
    from moclip.datasets.base import VideoDataset

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fetch, re-encode and check the clips of a data set.\n\n"
    "In this order: moclip data download, prepare, verify, stats.",
)

Prepared = Annotated[bool, typer.Option("--prepared", help="The re-encoded clips instead of the original ones.")]
Folder = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Where to write; data/reports/<data set>/ unless given.")
]


class Name(StrEnum):
    """What `download` knows."""

    ucf101 = "ucf101"
    hmdb51 = "hmdb51"


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

    It goes on where it broke off, and counts the clips. No checksum is published: the SHA-256 of the first download is
    kept beside each archive, and later ones are held against it.
    """
    from moclip.datasets.download.sources import SOURCES
    from moclip.datasets.download.sources import download as fetch

    if insecure:
        typer.echo(
            "WARNING: certificates are not checked (--insecure); anyone on the way may send other files", err=True
        )
    fetch(name, to.expanduser(), mirror=mirror, ca_file=ca_file, insecure=insecure, say=typer.echo)
    source = SOURCES[name]
    places = f"-p data.root={to / source.root} -p data.annotation_path={to / source.annotation_path}"
    typer.echo(f"next: moclip data prepare --profile {name} {places}")


@app.command()
def prepare(
    profile: Profile = "quick",
    param: Override = None,
    original: Annotated[
        bool, typer.Option("--original", help="Keep the streams as they were shipped: nothing is re-encoded.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Make a profile's clips ready: generate or re-encode them.

    Example: moclip data prepare --profile ucf101 -p data.root=UCF-101 -p data.annotation_path=ucfTrainTestlist

    All are re-encoded one way; what is done already stays. Clips that cannot be re-encoded, or have no motion vectors
    then, are an error at the end; with -p data.on_error=skip they are left out of the data set, counted in every table,
    and listed with their reasons in data/reports/<data set>/unreadable.txt. The same holds for original clips that
    cannot be read or have no vectors; without skip, the first run that reads their motion stops there.

    `moclip reproduce` with the same options finds them there. Original streams may tell classes by their encoder's
    settings (UCF101's do), so that --original has to be asked for, here and there (-p data.reencode=false).
    """
    from moclip.datasets.prepare import datasets_of, originals_of

    settings = _config(profile, param, workers).data
    for dataset in originals_of(settings) if original else datasets_of(settings):
        typer.echo(f"{dataset.name}: {dataset.description}")
        typer.echo(f"  {len(dataset.train)} training, {len(dataset.val)} validation, {len(dataset.test)} test clips")
        folders = {clip.path.parent.parent for clip in dataset.clips}
        typer.echo(f"  in {', '.join(map(str, sorted(folders)))}; fingerprint {dataset.fingerprint}")
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

    Problems are clips that cannot be read, listed clips that the folder lacks, and files that no list names; with any
    of them the exit code is 1.
    """
    from moclip.datasets.verify import summary
    from moclip.datasets.verify import verify as check
    from moclip.io.artefacts import save_csv

    config = _config(profile, param, workers)
    problems = 0
    for dataset, root in _chosen(config, prepared):
        table = check(dataset, root, config.data.workers)
        path = _report(dataset, to, prepared) / "clips.csv"
        save_csv(path, table)
        problems += int((table["problem"] != "").sum())
        typer.echo("\n".join([f"{dataset.name}: {dataset.description}", *summary(table), f"table: {path}"]))
    raise typer.Exit(1 if problems else 0)


@app.command()
def stats(
    profile: Profile = "quick",
    param: Override = None,
    prepared: Prepared = False,
    workers: Workers = None,
    to: Folder = None,
) -> None:
    """Draw a data set on a page of plots; its numbers as CSV.

    Example: moclip data stats --profile ucf101 -p data.root=UCF-101 -p data.annotation_path=ucfTrainTestlist
    """
    from moclip.studies.shortcuts.page import write_page

    config = _config(profile, param, workers)
    for dataset, _ in _chosen(config, prepared):
        typer.echo(write_page(dataset, config, _report(dataset, to, prepared)))


def _config(profile: str, param: list[str] | None, workers: int | None) -> Config:
    return load_config(profile, overrides_of(param, {"data.workers": workers}))


def _chosen(config: Config, prepared: bool) -> list[tuple["VideoDataset", Path | None]]:
    """The data sets to look at, each with the folder that should hold its clips and nothing else."""
    from moclip.datasets.prepare import in_folder, originals_of, reencoded_dir

    # Nothing is passed over: what is short or damaged is what these commands report.
    partial = config.data.model_copy(update={"allow_partial": True, "on_error": "raise", "min_frames": MinFrames()})
    datasets = originals_of(partial)
    if not prepared:
        return [(dataset, partial.root if config.data.name != "moving_photos" else None) for dataset in datasets]
    if not config.data.reencode:
        raise ConfigError(f"the profile {config.profile!r} re-encodes nothing (data.reencode is false): no --prepared")
    folder = reencoded_dir(config.data)
    return [(in_folder(dataset, folder), None) for dataset in datasets]


def _report(dataset: "VideoDataset", to: Path | None, prepared: bool) -> Path:
    from moclip.datasets.prepare import reports_dir

    folder = to.expanduser() / dataset.name if to else reports_dir(dataset)
    return folder / "prepared" if prepared else folder
