"""The same work on many files: processes, a progress bar, and nothing lost when one file fails."""

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from moclip.errors import MoclipError
from moclip.io.progress import track

UNDER_WAY = 1000  # jobs handed out at once: enough for any machine, and a scheduler is not buried

Job = tuple[Any, ...]


class ClipsError(MoclipError):
    """Some files could not be done; the others are. ``failures`` holds (path, reason) pairs, ``advice`` the remedy."""

    def __init__(self, failures: Sequence[tuple[Path, str]], total: int, advice: str = "") -> None:
        self.failures = list(failures)
        listed = "\n".join(f"  {path}: {reason}" for path, reason in self.failures[:10])
        more = f"\n  ... and {len(self.failures) - 10} more" if len(self.failures) > 10 else ""
        found = f"{len(self.failures)} of {total} clips failed (the others are done, kept):\n{listed}{more}"
        super().__init__(f"{found}\n{advice}" if advice else found)


def for_each_file(
    work: Callable[..., Any],
    jobs: Sequence[Job],
    description: str,
    workers: int | None = None,
    executor: Executor | str | None = None,
    on_error: str = "raise",
    done: Callable[[Any, Any], None] | None = None,
) -> list[tuple[Path, str]]:
    """Do ``work(*job)`` for all jobs.

    Parameters
    ----------
    work : a module's function, so that other processes can import it.
    jobs : arguments of one call each, a path among them: the first path names the job in errors.
    workers : processes; all cores if None.
    executor : runs the work instead, and stays open; or the address of a Dask scheduler (``tcp://host:port``).
    on_error : "raise", or "skip": failures are returned instead.
    done : called here, in this process, with every job that went well and what the work returned.

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
    SchedulerError
        The Dask cluster cannot be used.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
    if not jobs:
        return []
    failures: list[tuple[Path, str]] = []
    try:
        with _opened(executor, workers, len(jobs)) as pool:
            for job, future in track(_completed(pool, work, jobs), description, total=len(jobs), unit="clip"):
                try:
                    result = future.result()
                except BrokenProcessPool:
                    raise
                except Exception as error:  # whatever one file does, the others go on
                    path = next(part for part in job if isinstance(part, Path))
                    reason = str(error).replace(f"{path}: ", "")  # the path stands beside it
                    failures.append((path, f"{type(error).__name__}: {reason}"))
                else:
                    if done is not None:
                        done(job, result)
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"{description}: the worker processes died. They import the main script, so it keeps its work "
            'under `if __name__ == "__main__":`; or there was too little memory: ask for fewer workers'
        ) from error
    failures.sort()
    if failures and on_error == "raise":
        raise ClipsError(failures, len(jobs))
    return failures


def _completed(pool: Executor, work: Callable[..., Any], jobs: Sequence[Job]) -> Iterator[tuple[Job, "Future[Any]"]]:
    """Every job with its future, as they end."""
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    running: dict[Future[Any], Job] = {}
    waiting = iter(jobs)

    def hand_out(count: int) -> None:
        for job in islice(waiting, count):
            future = pool.submit(work, *job)
            running[future] = job
            future.add_done_callback(ended.put)

    hand_out(UNDER_WAY)
    while running:
        future = ended.get()
        yield running.pop(future), future
        hand_out(1)


@contextmanager
def _opened(executor: Executor | str | None, workers: int | None, jobs: int) -> Iterator[Executor]:
    """What runs the work; closed afterwards if it was opened here."""
    if isinstance(executor, str):
        from moclip.io.cluster import dask_executor

        with dask_executor(executor) as cluster:
            yield cluster
    elif executor is not None:
        yield executor
    else:
        pool = _process_pool(min(workers or len(os.sched_getaffinity(0)), jobs))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


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
