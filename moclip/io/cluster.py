"""The executor of a Dask cluster that somebody started: many machines, one file system."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import metadata

import moclip
from moclip.errors import MoclipError

WORKER_SECONDS = 120  # clusters that grow on demand start their first worker late


class SchedulerError(MoclipError):
    """The cluster cannot be used; the message says why and what to do."""


@contextmanager
def dask_executor(address: str, timeout: float = 10) -> Iterator[Executor]:
    """Connect to a Dask scheduler for the length of a ``with`` block.

    Its workers need the same paths as this process (a shared file system) and the same versions of what reads video.

    Parameters
    ----------
    address : ``tcp://host:port``.
    timeout : seconds that the scheduler has to answer.

    Raises
    ------
    SchedulerError
        Dask is not installed, nobody answers, there is no worker, or a worker has other versions.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SchedulerError(
            f"data.scheduler={address} needs Dask: pip install 'moclip-lite[distributed]' (or leave it unset)"
        ) from error
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise SchedulerError(
            f"no Dask scheduler answers at {address} within {timeout:g} s; start one with `dask scheduler` and "
            f"`dask worker {address}`, or leave data.scheduler unset ({error})"
        ) from error
    with client:
        _check_workers(client, address)
        yield client.get_executor(pure=False)


def _check_workers(client, address: str) -> None:  # type: ignore[no-untyped-def]
    own = versions()
    try:
        client.submit(versions, pure=False).result(timeout=WORKER_SECONDS)
        others = client.run(versions)
    except TimeoutError as error:
        raise SchedulerError(f"no worker at {address} within {WORKER_SECONDS} s: `dask worker {address}`") from error
    except ImportError as error:
        raise SchedulerError(f"a worker at {address} cannot import moclip: install it there ({error})") from error
    for worker, found in others.items():
        if found != own:
            raise SchedulerError(f"worker {worker} has {found}, this process {own}: results would differ; install one")


def versions() -> dict[str, str]:
    """Versions of what stored bytes follow from."""
    return {"moclip": moclip.__version__, **{name: metadata.version(name) for name in ("av", "numpy")}}
