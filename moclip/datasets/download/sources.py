"""UCF101 and HMDB51 from their authors' servers: fetched, unpacked, counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from moclip.datasets import VideoDataset, load_dataset
from moclip.datasets.download.archives import unpack
from moclip.datasets.download.transfer import fetch


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and how it lies once unpacked.

    Attributes
    ----------
    archives : addresses; the last part of an address is the file's name. The last archive holds the clips.
    inner : if the last archive holds archives of the clips, the pattern of their names.
    root, annotation_path : folders of the clips and of the lists, under the folder that the user names.
    """

    archives: Sequence[str]
    root: str
    annotation_path: str
    inner: str = ""


_TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SOURCES = {name: Source(**values) for name, values in _TABLE.items()}


def download(
    name: str,
    folder: Path,
    mirror: str | None = None,
    ca_file: Path | None = None,
    insecure: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> VideoDataset:
    """Fetch, unpack and check a data set; steps that are done already are skipped.

    Parameters
    ----------
    name : a key of `SOURCES`.
    folder : archives, clips and lists go here.
    mirror : address of a folder with the same files, instead of the authors' server.
    ca_file, insecure : as `moclip.datasets.download.transfer.fetch` takes them.
    say : gets a line at each step.

    Returns
    -------
    VideoDataset
        Fold 1; all three were counted, and all their clips are there.

    Raises
    ------
    DownloadError
        An archive could not be fetched or unpacked.
    DataError, FileNotFoundError
        Counts are not the official ones, or listed clips are missing.
    """
    source = SOURCES[name]
    root = folder / source.root
    for url in source.archives:
        file_name = url.rpartition("/")[2]
        address = f"{mirror.rstrip('/')}/{file_name}" if mirror else url
        archive = folder / file_name
        say(f"{file_name}: SHA-256 {fetch(address, archive, ca_file, insecure)}")
        inner = source.inner if url == source.archives[-1] else ""
        files = unpack(archive, folder / "archives" if inner else folder)
        if inner:
            files = [file for path in files if path.match(inner) for file in unpack(path, root)]
        say(f"{file_name}: {len(files)} files unpacked")
    lists = folder / source.annotation_path
    folds = [load_dataset(name, hashes=False, root=root, annotation_path=lists, fold=fold) for fold in (1, 2, 3)]
    for number, dataset in enumerate(folds, start=1):
        say(f"fold {number}: {len(dataset.train)} training and {len(dataset.test)} test clips, all there")
    return folds[0]
