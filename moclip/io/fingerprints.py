"""SHA-256 of many files, each read again only where it no longer looks as it did when it was hashed."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

from moclip.io.artefacts import ArtefactError, load_json, save_json
from moclip.io.files import sha256_file
from moclip.io.parallel import ClipsError
from moclip.io.progress import track


class FileHashes:
    """SHA-256 of files. A file is read again where its size, times or inode differ from the remembered ones.

    Parameters
    ----------
    path : where to remember them; in this object alone if None.
    rehash : read every file.
    """

    def __init__(self, path: Path | None = None, rehash: bool = False) -> None:
        self.path = path
        self.known: dict[str, list[Any]] = {}  # path -> size, mtime_ns, ctime_ns, inode, SHA-256
        if path and not rehash:
            with suppress(OSError, ArtefactError):
                self.known = load_json(path)
        self._saved = dict(self.known)

    def of(self, paths: Sequence[Path], workers: int | None = None) -> tuple[dict[Path, str], list[tuple[Path, str]]]:
        """Hash files in threads, with a progress bar. A path that stands twice in ``paths`` is read once.

        Parameters
        ----------
        workers : threads; one per core if None.

        Returns
        -------
        (dict, list)
            SHA-256 in hexadecimal by path, and (path, reason) of each file that could not be read, sorted by path.
        """
        hashes: dict[Path, str] = {}
        failures: list[tuple[Path, str]] = []
        with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as threads:
            futures = {threads.submit(self._entry, path): path for path in dict.fromkeys(paths)}
            for future in track(as_completed(futures), "hashing files", total=len(futures), unit="file"):
                path = futures[future]
                try:
                    self.known[str(path)] = future.result()
                    hashes[path] = self.known[str(path)][-1]
                except OSError as error:
                    failures.append((path, f"{type(error).__name__}: {error.strerror}"))
        return hashes, sorted(failures)

    def _entry(self, path: Path) -> list[Any]:
        stat = path.stat()
        looks = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self.known.get(str(path))
        return known if known and known[:-1] == looks else [*looks, sha256_file(path)]

    def save(self) -> None:
        """Remember the hashes for the next process."""
        if self.path and self.known != self._saved:
            with suppress(OSError):  # a folder that cannot be written: the next look reads these files again
                save_json(self.path, self.known)


def fingerprints(paths: Sequence[Path], workers: int | None = None, known: FileHashes | None = None) -> dict[Path, str]:
    """SHA-256 of each file by path; `ClipsError` names every file that could not be read."""
    hashes, failures = (known or FileHashes()).of(paths, workers)
    if failures:
        raise ClipsError(failures, len(paths))
    return hashes
