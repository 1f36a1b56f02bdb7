"""The same work on many files, in processes of this machine or of a Dask cluster, with a progress bar.

A file that fails is reported at the end; the other files are done. On this machine the processes are pebble's: the
standard library's pool stops all work when one worker dies, and joblib does too.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

from pebble import ProcessExpired, ProcessPool

import moclip
from moclip.errors import MoclipError
from moclip.io import keys
from moclip.io.progress import track

UNDER_WAY = 1000  # jobs submitted at once: enough for any machine, and few enough for a scheduler
LONGEST = 3600.0  # seconds for one file; a worker that needs longer hangs, and is ended
WORKER_SECONDS = 120  # a cluster that grows on demand starts its first worker late

Job = tuple[Any, ...]
Submit = Callable[[Callable[..., Any], Job], "Future[Any]"]


class ClipsError(MoclipError):
    """Some files failed; the others are done. ``failures`` holds (path, reason) pairs, ``advice`` the remedy."""

    def __init__(self, failures: Sequence[tuple[Path, str]], total: int, advice: str = "") -> None:
        self.failures = list(failures)
        listed = "\n".join(f"  {path}: {reason}" for path, reason in self.failures[:10])
        more = f"\n  ... and {len(self.failures) - 10} more" if len(self.failures) > 10 else ""
        message = f"{len(self.failures)} of {total} clips failed (the others are done and kept):\n{listed}{more}"
        super().__init__(f"{message}\n{advice}" if advice else message)


def for_each_file(
    work: Callable[..., Any],
    jobs: Sequence[Job],
    description: str,
    workers: int | None = None,
    scheduler: str | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    done: Callable[[Any, Any], None] | None = None,
) -> list[tuple[Path, str]]:
    """Call ``work(*job)`` for all jobs.

    Parameters
    ----------
    work : a function of a module, so that other processes can import it.
    jobs : the arguments of each call. The first path among them names the job in errors.
    workers : processes; one per core if None.
    scheduler : address of a Dask scheduler (``tcp://host:port``), whose workers do the work instead. They need the same
        paths (a shared file system) and the same versions of the libraries that read video.
    on_error : "raise", or "skip": failures are returned instead.
    done : called in this process with each job that succeeded and the result of the call.

    Returns
    -------
    list of (Path, str)
        With "skip", path and reason of each file that failed, sorted by path.

    Raises
    ------
    ClipsError
        With "raise", at the end: path and reason of each file that failed. A worker that dies while it reads a file is
        a failure of that file.
    RuntimeError
        No worker can start.
    MoclipError
        The Dask cluster cannot be used.
    """
    if not jobs:
        return []
    failures: list[tuple[Path, str]] = []
    with _cluster(scheduler) if scheduler else _processes(workers or len(os.sched_getaffinity(0)), len(jobs)) as submit:
        for job, future in track(_completed(submit, work, jobs), description, total=len(jobs), unit="clip"):
            try:
                result = future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    f"{description}: the worker processes cannot start. They import the main script, so its work has "
                    'to stand under `if __name__ == "__main__":`; or there was too little memory: ask for fewer workers'
                ) from error
            except Exception as error:  # any error of one file; the others are still done
                path = next(part for part in job if isinstance(part, Path))
                failures.append((path, _reason(error, path)))
            else:
                if done is not None:
                    done(job, result)
    failures.sort()
    if failures and on_error == "raise":
        raise ClipsError(failures, len(jobs))
    return failures


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, ProcessExpired):
        return f"the process that read it died (exit code {error.exitcode}; a signal if negative)"
    if isinstance(error, TimeoutError):
        return f"the process that read it did not end within {LONGEST:g} s"
    return f"{type(error).__name__}: {str(error).replace(f'{path}: ', '')}"  # the path stands beside it


def _completed(submit: Submit, work: Callable[..., Any], jobs: Sequence[Job]) -> Iterator[tuple[Job, "Future[Any]"]]:
    """Each job with its future, in the order in which they end."""
    waiting, running = iter(jobs), dict[Future[Any], Job]()
    while True:
        running |= {submit(work, job): job for job in islice(waiting, UNDER_WAY - len(running))}
        if not running:
            return
        for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
            yield running.pop(future), future


@contextmanager
def _processes(workers: int, jobs: int) -> Iterator[Submit]:
    # Not fork: the parent may hold threads (torch, FFmpeg) that a forked child would wait for.
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPool(min(workers, jobs), initializer=_end_with_the_parent, context=context)
    try:
        yield lambda work, job: pool.schedule(work, args=job, timeout=LONGEST)
    finally:
        pool.stop()
        pool.join()


def _end_with_the_parent() -> None:
    """Let a worker end when its parent is killed, also in the middle of a file."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _cluster(address: str, timeout: float = 10) -> Iterator[Submit]:
    """Connect to a Dask scheduler that has ``timeout`` seconds to answer."""
    try:
        from distributed import Client

        client = Client(address, timeout=timeout, set_as_default=False)
    except ImportError as error:
        raise MoclipError(
            f"data.scheduler={address} needs Dask: pip install 'moclip-lite[distributed]' (or leave it unset)"
        ) from error
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise MoclipError(
            f"no Dask scheduler answers at {address} within {timeout:g} s; start one with `dask scheduler` and "
            f"`dask worker {address}`, or leave data.scheduler unset ({error})"
        ) from error
    with client:
        _check_workers(client, address)
        executor = client.get_executor(pure=False)
        yield lambda work, job: executor.submit(work, *job)


def _check_workers(client: Any, address: str) -> None:
    """Raise `MoclipError` where a worker has other versions of what the stored bytes follow from.

    Dask's ``Client.get_versions`` knows nothing of av and of this package.
    """
    here = _versions()
    try:
        client.submit(_versions, pure=False).result(timeout=WORKER_SECONDS)  # makes a cluster start a worker
        workers = client.run(_versions)
    except TimeoutError as error:
        raise MoclipError(f"no worker at {address} within {WORKER_SECONDS} s: `dask worker {address}`") from error
    except ImportError as error:
        raise MoclipError(f"a worker at {address} cannot import moclip: install it there ({error})") from error
    for worker, installed in workers.items():
        if installed != here:
            raise MoclipError(
                f"worker {worker} has {installed}, this process {here}: results would differ; install the same versions"
            )


def _versions() -> dict[str, str]:
    return {"moclip": moclip.__version__, **keys.installed(("av", "numpy"))}
