"""Progress of long work: a bar for a person, a status file for the program that runs the notebooks."""

import os
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

STATUS_VARIABLE = "MOCLIP_STATUS_FILE"  # set by `moclip reproduce` for the kernels that it starts


def track(items: Iterable[T], description: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Iterate over ``items`` and show how far it is.

    By hand (terminal, JupyterLab) this is a tqdm bar. Under `moclip reproduce` nothing is drawn into the notebook,
    so that executed notebooks stay readable; the state goes to the status file, which the terminal shows.
    """
    status = os.environ.get(STATUS_VARIABLE)
    if status is None:
        from tqdm.auto import tqdm

        # No bar for work that is done at once.
        yield from tqdm(items, desc=description, total=total, unit=unit, delay=0.5)
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    for count, item in enumerate(items):
        _write(status, f"{description} {count}/{total or '?'}")
        yield item
    _write(status, "")


def _write(status: str, text: str) -> None:
    with suppress(OSError):  # a full /tmp, a runner that was killed: no reason to lose the work
        Path(status).write_text(text)
