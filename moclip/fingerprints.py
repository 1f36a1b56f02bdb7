"""SHA-256 of files, each read once: what is known is kept by path, size and times, for all runs and notebooks."""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from moclip.parallel import ClipsError, for_each_file
from moclip.paths import cache_dir, sha256_file

FRESH = 2 * 10**9  # nanoseconds: a file so young may change again without a change of its times
BATCH = 100  # hashes that a kill may lose

Times = tuple[int, int, int]  # size in bytes, mtime_ns, ctime_ns: the second may be set back, the third may not

log = logging.getLogger(__name__)


def fingerprints(
    paths: Sequence[Path], workers: int | None = None, executor: Executor | str | None = None
) -> dict[Path, str]:
    """SHA-256 of every file, in hexadecimal, by path.

    Parameters
    ----------
    paths : files; one that stands here twice is read once.
    workers : threads (hashing lets go of the interpreter, and a script needs no main guard); all cores if None.
    executor : reads the files instead, see `moclip.parallel.for_each_file`.

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
    times: dict[Path, Times] = {}
    failures = []
    for path in dict.fromkeys(paths):
        try:
            times[path] = _times(path)
        except OSError as error:
            failures.append((path, f"{type(error).__name__}: {error}"))
    with _Table.opened() as table:
        found = {path: kept for path, own in times.items() if (kept := table.get(path, own))}

        def keep(job: tuple[Path], value: str) -> None:
            found[job[0]] = value
            table.put(job[0], times[job[0]], value)

        missing = [(path,) for path in times if path not in found]
        with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as threads:
            pool = executor or threads
            failures += for_each_file(sha256_file, missing, "fingerprints", executor=pool, on_error="skip", done=keep)
    return found, sorted(failures)


def _times(path: Path) -> Times:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class _Table:
    """The hashes on disk; without a file that can be used, nothing is known and nothing kept."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self.connection = connection
        self.new: list[tuple[object, ...]] = []

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator["_Table"]:
        table = cls(_connect())
        try:
            yield table
        finally:
            table.flush()
            table.close()

    def get(self, path: Path, times: Times) -> str | None:
        if self.connection is None:
            return None
        query = "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?"
        try:
            row = self.connection.execute(query, (os.path.abspath(path), *times)).fetchone()
        except sqlite3.Error as error:  # damaged in the middle
            log.warning("kept fingerprints cannot be read (remove the file if it is damaged): %s", error)
            return None
        return row[0] if row else None

    def put(self, path: Path, times: Times, value: str) -> None:
        if time.time_ns() - max(times[1:]) > FRESH:
            self.new.append((os.path.abspath(path), *times, value))
        if len(self.new) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if self.connection is None or not self.new:
            return
        try:
            with self.connection:
                self.connection.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?)", self.new)
        except sqlite3.Error as error:  # a full disk, a lock that does not end: only time is lost
            log.warning("fingerprints are not kept: %s", error)
        self.new.clear()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


def _connect() -> sqlite3.Connection | None:
    try:
        path = cache_dir() / "fingerprints.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60)
        try:
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS files "
                    "(path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT)"
                )
            connection.execute("SELECT path, size, mtime_ns, ctime_ns, sha256 FROM files LIMIT 1")
        except sqlite3.Error:
            connection.close()
            raise
        return connection
    except (OSError, sqlite3.Error) as error:  # no checkout and no MOCLIP_HOME, a folder that cannot be written
        log.warning("fingerprints are not kept (remove the file if it is damaged): %s", error)
        return None
