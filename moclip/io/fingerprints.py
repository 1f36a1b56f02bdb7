"""SHA-256 of many files."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from moclip.io.files import sha256_file
from moclip.io.parallel import ClipsError
from moclip.io.progress import track


def sha256_of(paths: Sequence[Path], workers: int | None = None) -> tuple[dict[Path, str], list[tuple[Path, str]]]:
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
        futures = {threads.submit(sha256_file, path): path for path in dict.fromkeys(paths)}
        for future in track(as_completed(futures), "hashing files", total=len(futures), unit="file"):
            try:
                hashes[futures[future]] = future.result()
            except OSError as error:
                failures.append((futures[future], f"{type(error).__name__}: {error}"))
    return hashes, sorted(failures)


def fingerprints(paths: Sequence[Path], workers: int | None = None) -> dict[Path, str]:
    """SHA-256 of each file by path; `ClipsError` names every file that could not be read."""
    hashes, failures = sha256_of(paths, workers)
    if failures:
        raise ClipsError(failures, len(paths))
    return hashes
