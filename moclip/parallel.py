"""The same work on many files: processes, a progress bar, and nothing lost when one file fails."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path

from moclip.progress import track

Work = Callable[[Path, Path], None]  # (source, target): reads one, writes the other


class ClipsError(RuntimeError):
    """Some files could not be done; the others are. ``failures`` holds (path, reason) pairs."""

    def __init__(self, failures: Sequence[tuple[Path, str]], total: int) -> None:
        self.failures = list(failures)
        listed = "\n".join(f"  {path}: {reason}" for path, reason in self.failures[:10])
        more = f"\n  ... and {len(self.failures) - 10} more" if len(self.failures) > 10 else ""
        super().__init__(
            f"{len(self.failures)} of {total} clips failed (the others are done and kept):\n{listed}{more}"
        )


def for_each_file(
    work: Work,
    jobs: Sequence[tuple[Path, Path]],
    description: str,
    workers: int | None = None,
    executor: Executor | None = None,
) -> None:
    """Do ``work(source, target)`` for all jobs.

    Parameters
    ----------
    work : a module's function, so that other processes can import it.
    workers : processes; all cores if None. They import the main script, so a script keeps its work under
        ``if __name__ == "__main__":``.
    executor : runs the work instead, and stays open.

    Raises
    ------
    ClipsError
        At the end, with path and reason of every file that failed.
    """
    if not jobs:
        return
    # Not fork: the parent may hold threads (torch, FFmpeg) that a forked child would wait for.
    context = multiprocessing.get_context("forkserver")
    pool = executor or ProcessPoolExecutor(min(workers or os.cpu_count() or 1, len(jobs)), mp_context=context)
    failures = []
    try:
        futures = {pool.submit(work, *job): job[0] for job in jobs}
        for future in track(as_completed(futures), description, total=len(jobs), unit="clip"):
            try:
                future.result()
            except Exception as error:  # whatever one file does, the others go on
                failures.append((futures[future], f"{type(error).__name__}: {error}"))
    finally:
        if executor is None:
            pool.shutdown(cancel_futures=True)
    if failures:
        raise ClipsError(sorted(failures), len(jobs))
