"""Rows of numbers kept on disk by name, a file for every batch of them: what a killed run computed stays."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from moclip.io.artefacts import load_tensors, save_tensors

log = logging.getLogger(__name__)


def read_rows(folder: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Rows of ``folder`` by name, those that are wanted and there. A file that cannot be read counts as absent."""
    rows: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("[!.]*.safetensors")):
        try:
            tensors, header = load_tensors(path)
            found = dict(zip(header["names"], tensors["rows"], strict=True))
        except (OSError, ValueError, KeyError) as error:  # damaged, or of another kind
            log.warning("%s: cannot be read (%s); computed again", path, error)
            continue
        rows |= {name: row.copy() for name, row in found.items() if name in wanted}
    return rows


def add_rows(folder: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Write some rows, all of one length; its file is called by the names in it, so that writers do not meet."""
    names = list(rows)
    called = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    save_tensors(folder / f"{called}.safetensors", {"rows": np.stack(list(rows.values()))}, {"names": names})
