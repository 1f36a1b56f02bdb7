"""Execute one notebook with papermill, in a kernel that is certainly this interpreter.

The user's kernels, IPython profile and matplotlib backend are not used: the kernel is described in a temporary folder
under a name of ours, which Jupyter looks up first.
"""

import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moclip.errors import MoclipError
from moclip.io.files import atomic_path
from moclip.io.progress import STATUS_VARIABLE

KERNEL = "moclip-this-interpreter"

# Environment of the kernel, in place of the user's.
_FIXED = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # a window of QtAgg would wait for a click
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning about frozen modules, into the terminal
}
# Environment of the kernel where the user has set nothing.
_DEFAULTS = {
    # glibc returns large freed blocks to the system at once and requests them again: half of the time of a convolution
    # with large activations. It reads these when a process starts, so they help a kernel and not this process.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
    "PYTHONHASHSEED": "0",  # the order of a set must not reach an artefact
    "TOKENIZERS_PARALLELISM": "false",  # else a warning at every fork
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


class NotebookError(MoclipError):
    """A notebook that failed; the message names notebook, cell and error, and says what to do next."""

    exit_code = 1


@dataclass
class Progress:
    """Where a running notebook is."""

    cell: int = 0
    cells: int = 0
    status: str = ""  # what the running cell says through the status file


def execute(
    notebook: Path, copy: Path, parameters: dict[str, Any], package: Path, report: Callable[[Progress], None]
) -> None:
    """Run a notebook with its own folder as working directory.

    Parameters
    ----------
    notebook : path of the notebook.
    copy : path of the executed copy; written after each cell, left in place on failure.
    parameters : values for its cell tagged ``parameters``.
    package : folder of the package whose checkout the notebook imports, installed or not.
    report : called about twice a second, from a thread.

    Raises
    ------
    NotebookError
        A cell raised, or the kernel died.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    progress = Progress(cells=len(cells))

    def on_cell_start(cell: Any, cell_index: int) -> None:
        injected = 1 + max(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
        progress.cell = cell_index + 1 - (cell_index >= injected)  # papermill adds a cell behind the parameters

    copy.parent.mkdir(parents=True, exist_ok=True)
    with _kernel(package) as status, _quiet("papermill", "traitlets"), _reporter(progress, status, report):
        try:
            papermill.execute_notebook(
                *(str(path.resolve()).replace("{", "{{").replace("}", "}}") for path in (notebook, copy)),
                parameters=parameters, kernel_name=KERNEL, language="python", cwd=str(notebook.parent.resolve()),
                progress_bar=False, log_output=False, on_cell_start=on_cell_start,
            )  # fmt: skip
        except PapermillExecutionError as error:
            raise NotebookError(
                _explain(notebook, copy, progress, error.source, f"{error.ename}: {error.evalue}")
            ) from None
        except Exception as error:  # the kernel died or did not start: all kinds, from four libraries
            source = "".join(cells[progress.cell - 1]["source"]) if progress.cell else ""
            what = f"{type(error).__name__}: {error}{'' if isinstance(error, OSError) else ' (killed? out of memory?)'}"
            raise NotebookError(_explain(notebook, copy, progress, source, what)) from error


def refresh(notebook: Path, copy: Path) -> None:
    """Give the executed copy of an unchanged notebook its present text; outputs stay, nothing runs."""
    if not copy.is_file():
        return
    source, executed = (json.loads(path.read_text(encoding="utf-8")) for path in (notebook, copy))
    injected = [cell for cell in executed["cells"] if "injected-parameters" in cell["metadata"].get("tags", [])]
    results = [cell for cell in executed["cells"] if cell["cell_type"] == "code" and cell not in injected]
    cells = []
    for cell in source["cells"]:
        cells.append({**results.pop(0), "source": cell["source"]} if cell["cell_type"] == "code" and results else cell)
        if "parameters" in cell["metadata"].get("tags", []):
            cells += injected
    if ["".join(cell["source"]) for cell in cells] != ["".join(cell["source"]) for cell in executed["cells"]]:
        with atomic_path(copy) as temporary:
            temporary.write_text(json.dumps({**executed, "cells": cells}, indent=1) + "\n", encoding="utf-8")


def _explain(notebook: Path, copy: Path, progress: Progress, source: str, what: str) -> str:
    lines = [line for line in source.splitlines() if line.strip()]
    return (
        f"{notebook.name} failed in cell {progress.cell} of {progress.cells}\n"
        f"    {lines[0] if lines else '(no source)'}\n"
        f"  {what}\n"
        f"  executed so far, with the traceback: {copy}\n"
        f"  next: correct it and repeat the command (finished notebooks are skipped), "
        f"or add --only {notebook.name[:2]} to run this one alone"
    )


@contextmanager
def _kernel(package: Path) -> Iterator[Path]:
    """Describe the kernel in a temporary folder, where Jupyter looks first; yields the status file's path."""
    with tempfile.TemporaryDirectory(prefix="moclip-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        status = root / "status"
        search = [str(package.parent.resolve()), os.environ.get("PYTHONPATH", "")]
        spec = {
            # the kernel's own log would run into the progress line; what cells print and raise is in the notebook
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=50"],
            "display_name": KERNEL,
            "language": "python",
            # as ipykernel's own: other users of the machine see nothing
            "metadata": {"supported_encryption": ["curve"]},
            "env": _FIXED
            | {name: value for name, value in _DEFAULTS.items() if name not in os.environ}
            | {"IPYTHONDIR": str(root / "ipython"), STATUS_VARIABLE: str(status)}
            | {"PYTHONPATH": os.pathsep.join(filter(None, search))},
        }
        where = root / "kernels" / KERNEL
        where.mkdir(parents=True)
        (where / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield status
        finally:
            del os.environ["JUPYTER_PATH"]
            os.environ.update({} if before is None else {"JUPYTER_PATH": before})


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Silence the libraries' own reports of what is reported better here."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _reporter(progress: Progress, status: Path, report: Callable[[Progress], None]) -> Iterator[None]:
    """Call `report` twice a second while the block runs."""
    end = threading.Event()

    def loop() -> None:
        while not end.wait(0.5):
            progress.status = status.read_text("utf-8", errors="replace") if status.is_file() else ""  # half written?
            report(progress)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
