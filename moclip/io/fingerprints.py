"""SHA-256 of files, each read once: what is known is kept by path, size and times, for all runs and notebooks."""

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from moclip.io.files import sha256_file
from moclip.io.parallel import ClipsError, for_each_file
from moclip.io.paths import cache_dir

FRESH = 2 * 10**9  # nanoseconds: a file so young may change again without a change of its times
BATCH = 100  # hashes that a kill may lose

CREATE = (
    "CREATE TABLE IF NOT EXISTS files "
    "(path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT)"
)
READ = "SELECT path, size, mtime_ns, ctime_ns, sha256 FROM files"
KEEP = "REPLACE INTO files VALUES (?, ?, ?, ?, ?)"

State = tuple[str, int, int, int]  # path, bytes, mtime_ns, ctime_ns: a modification time may be set back, the last not

log = logging.getLogger(__name__)


def fingerprints(
    paths: Sequence[Path], workers: int | None = None, executor: Executor | str | None = None
) -> dict[Path, str]:
    """SHA-256 of every file, in hexadecimal, by path.

    Parameters
    ----------
    paths : files; one that stands here twice is read once.
    workers : threads (hashing lets go of the interpreter, and a script needs no main guard); all cores if None.
    executor : reads the files instead, see `moclip.io.parallel.for_each_file`.

    Raises
    ------
    ClipsError
        At the end, with every file that could not be read.
    """
    found, failures = hash_files(paths, workers, executor)
    if failures:
        raise ClipsError(failures, len(paths))
    return found


def hash_files(
    paths: Sequence[Path], workers: int | None = None, executor: Executor | str | None = None
) -> tuple[dict[Path, str], list[tuple[Path, str]]]:
    """As `fingerprints`, but what failed is returned: hashes by path, and (path, reason) of the others."""
    states: dict[Path, State] = {}
    failures = []
    for path in dict.fromkeys(paths):
        try:
            states[path] = _state(path)
        except OSError as error:
            failures.append((path, f"{type(error).__name__}: {error}"))
    known = _table(READ)
    kept = {row[:-1]: row[-1] for row in known or ()}
    found = {path: kept[state] for path, state in states.items() if state in kept}
    new: list[tuple[Any, ...]] = []

    def keep(job: tuple[Path], value: str) -> None:
        found[job[0]] = value
        if known is not None and time.time_ns() - max(states[job[0]][2:]) > FRESH:
            new.append((*states[job[0]], value))
        if len(new) >= BATCH:
            _table(KEEP, new)
            new.clear()

    missing = [(path,) for path in states if path not in found]
    try:
        with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as threads:
            pool = executor or threads
            failures += for_each_file(sha256_file, missing, "fingerprints", executor=pool, on_error="skip", done=keep)
    finally:
        if new:
            _table(KEEP, new)
    return found, sorted(failures)


def _state(path: Path) -> State:
    stat = path.stat()
    return os.path.abspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _table(statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> list[tuple[Any, ...]] | None:
    """What a statement finds in the hashes on disk, or writes there; None, and a warning, where they cannot be used."""
    try:
        path = cache_dir() / "fingerprints.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
            connection.execute(CREATE)
            return (connection.executemany(statement, rows) if rows else connection.execute(statement)).fetchall()
    except (OSError, sqlite3.Error) as error:  # no folder that can be written, a full disk, damage: only time is lost
        log.warning("fingerprints are not kept (remove the file if it is damaged): %s", error)
        return None
