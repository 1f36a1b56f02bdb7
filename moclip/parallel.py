"""The same work on many files: processes, a progress bar, and nothing lost when one file fails."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from moclip.errors import MoclipError
from moclip.progress import track


class ClipsError(MoclipError):
    """Some files could not be done; the others are. ``failures`` holds (path, reason) pairs."""

    def __init__(self, failures: Sequence[tuple[Path, str]], total: int) -> None:
        self.failures = list(failures)
        listed = "\n".join(f"  {path}: {reason}" for path, reason in self.failures[:10])
        more = f"\n  ... and {len(self.failures) - 10} more" if len(self.failures) > 10 else ""
        super().__init__(f"{len(self.failures)} of {total} clips failed (the others are done, kept):\n{listed}{more}")


def for_each_file(
    work: Callable[..., None],
    jobs: Sequence[tuple[Any, ...]],
    description: str,
    workers: int | None = None,
    executor: Executor | None = None,
    on_error: str = "raise",
) -> list[tuple[Path, str]]:
    """Do ``work(*job)`` for all jobs.

    Parameters
    ----------
    work : a module's function, so that other processes can import it.
    jobs : arguments of one call each, a path among them: the first path names the job in errors.
    workers : processes; all cores if None.
    executor : runs the work instead, and stays open.
    on_error : "raise", or "skip": failures are returned instead.

    Returns
    -------
    list of (Path, str)
        With "skip", path and reason of every file that failed, by path; the others are done.

    Raises
    ------
    ClipsError
        At the end, with path and reason of every file that failed, unless they are skipped.
    RuntimeError
        The processes died.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
    if not jobs:
        return []
    pool = executor or _process_pool(min(workers or len(os.sched_getaffinity(0)), len(jobs)))
    failures: list[tuple[Path, str]] = []
    try:
        futures = {pool.submit(work, *job): job for job in jobs}
        for future in track(as_completed(futures), description, total=len(jobs), unit="clip"):
            try:
                future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    f"{description}: the worker processes died. They import the main script, so it keeps its work "
                    'under `if __name__ == "__main__":`; or there was too little memory: ask for fewer workers'
                ) from error
            except Exception as error:  # whatever one file does, the others go on
                path = next(part for part in futures[future] if isinstance(part, Path))
                failures.append((path, f"{type(error).__name__}: {error}"))
    finally:
        if executor is None:
            pool.shutdown(cancel_futures=True)
    failures.sort()
    if failures and on_error == "raise":
        raise ClipsError(failures, len(jobs))
    return failures


def _process_pool(workers: int) -> ProcessPoolExecutor:
    # Not fork: the parent may hold threads (torch, FFmpeg) that a forked child would wait for.
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_the_parent)


def _end_with_the_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
