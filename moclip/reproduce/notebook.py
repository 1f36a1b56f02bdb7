"""Execute one notebook with papermill, in a kernel that is certainly this interpreter.

The user's kernels, IPython profile and matplotlib backend are not used.
"""

import json
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moclip.errors import MoclipError
from moclip.io.files import atomic_path
from moclip.io.progress import STATUS_VARIABLE

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
    """Where a running notebook is.

    Parameters
    ----------
    folder : temporary; the kernel's IPython profile, and the status file in which a running cell says how far it is.
    """

    folder: Path
    cell: int = 0
    cells: int = 0

    def __str__(self) -> str:
        """``cell 3/9 · training 2/15``."""
        file = self.folder / "status"
        status = file.read_text("utf-8", errors="replace") if file.is_file() else ""  # half written?
        return f"cell {self.cell}/{self.cells}" + (f" · {status}" if status else "")


def execute(notebook: Path, copy: Path, parameters: dict[str, Any], package: Path, progress: Progress) -> None:
    """Run a notebook with its own folder as working directory.

    Parameters
    ----------
    notebook : path of the notebook.
    copy : path of the executed copy; written after each cell, left in place on failure.
    parameters : values for its cell tagged ``parameters``.
    package : folder of the package whose checkout the notebook imports, installed or not.
    progress : updated at each cell.

    Raises
    ------
    NotebookError
        A cell raised, or the kernel died.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    injected = 1 + max(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
    progress.cells = len(cells)

    def on_cell_start(cell: Any, cell_index: int) -> None:
        progress.cell = cell_index + 1 - (cell_index >= injected)  # papermill adds a cell behind the parameters

    copy.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for logger in map(logging.getLogger, ("papermill", "traitlets")):  # what they report is reported better here
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        try:
            papermill.execute_notebook(
                *(str(path.resolve()).replace("{", "{{").replace("}", "}}") for path in (notebook, copy)),
                parameters=parameters, kernel_name="python3", kernel_manager_class=_kernel(package, progress.folder),
                language="python", cwd=str(notebook.parent.resolve()), progress_bar=False, log_output=False,
                on_cell_start=on_cell_start,
            )  # fmt: skip
        except Exception as error:  # also: the kernel died or did not start, in all kinds, from four libraries
            what = f"{type(error).__name__}: {error}{'' if isinstance(error, OSError) else ' (killed? out of memory?)'}"
            if isinstance(error, PapermillExecutionError):
                what = f"{error.ename}: {error.evalue}"
            source = "".join(cells[progress.cell - 1]["source"]) if progress.cell else ""
            raise NotebookError(
                f"{notebook.name} failed in cell {progress.cell} of {progress.cells}\n"
                f"    {next((line for line in source.splitlines() if line.strip()), '(no source)')}\n"
                f"  {what}\n"
                f"  executed so far, with the traceback: {copy}\n"
                f"  next: correct it and repeat the command (finished notebooks are skipped), "
                f"or add --only {notebook.name[:2]} to run this one alone"
            ) from error


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


def _kernel(package: Path, folder: Path) -> type:
    """A kernel manager that knows one kernel: this interpreter."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    env = {name: value for name, value in _DEFAULTS.items() if name not in os.environ} | _FIXED
    env |= {"IPYTHONDIR": str(folder / "ipython"), STATUS_VARIABLE: str(folder / "status")}
    search = [str(package.parent.resolve()), os.environ.get("PYTHONPATH", "")]
    spec = KernelSpec(
        # the kernel's own log would run into the progress line; what cells print and raise is in the notebook
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=50"],
        language="python",
        metadata={"supported_encryption": ["curve"]},  # as ipykernel's own: other users of the machine see nothing
        env=env | {"PYTHONPATH": os.pathsep.join(filter(None, search))},
    )
    return type("ThisInterpreter", (AsyncKernelManager,), {"kernel_spec": spec})
