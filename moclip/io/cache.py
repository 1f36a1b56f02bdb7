"""Rows of numbers that are computed once for all runs, kept by the content hash of the file that they come from."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moclip.io import keys
from moclip.io.artefacts import load_tensors, save_tensors
from moclip.io.paths import cache_dir

Rows = dict[str, np.ndarray]  # content hash -> row
Missing = dict[str, list[str]]  # content hash -> kinds of rows that are not kept yet
Keep = Callable[[Mapping[str, Rows]], None]  # takes content hash -> kind -> row

log = logging.getLogger(__name__)


def cached_rows(
    what: str,
    key: Mapping[str, Any],
    kinds: Sequence[str],
    names: Sequence[str],
    compute: Callable[[Missing, Keep], None],
    at_once: int = 1024,
) -> dict[str, np.ndarray]:
    """Rows of every kind for ``names``, from the cache where they are kept, computed where not.

    Files lie in ``cache/<what>/<digest of key>/<kind>/`` and hold the key. A call that is killed loses at most
    ``at_once`` rows, and the next call computes the rest.

    Parameters
    ----------
    what : folder of the cache, for instance ``appearance``.
    key : see `moclip.io.keys.key`.
    kinds : of the rows that belong to a name; rows of one kind have one shape.
    names : content hashes, in the order of the result; a name may stand there twice.
    compute : called once with the missing names in their order, unless nothing is missing, and with the function that
        takes the computed rows, a batch per call. What it raises is raised here, after the rows so far were written.
    at_once : rows per file, at least.

    Returns
    -------
    dict
        kind -> array (N, ...): the rows in the order of ``names``.
    """
    folders = {kind: cache_dir() / what / keys.digest(key) / kind for kind in kinds}
    rows = {kind: _read(folder, set(names)) for kind, folder in folders.items()}
    unwritten: dict[str, Rows] = {kind: {} for kind in kinds}

    def write(least: int) -> None:
        for kind, new in unwritten.items():
            if len(new) >= least:
                members = sorted(new)  # the file is named by its rows, so that two writers do not meet
                path = folders[kind] / f"{keys.digest(members)}.safetensors"
                save_tensors(path, {"rows": np.stack([new[name] for name in members])}, {"names": members, "key": key})
                rows[kind] |= new
                unwritten[kind] = {}

    def keep(batch: Mapping[str, Rows]) -> None:
        for name, computed in batch.items():
            for kind, row in computed.items():
                unwritten[kind][name] = row
        write(at_once)

    lacking = {name: [kind for kind in kinds if name not in rows[kind]] for name in dict.fromkeys(names)}
    if missing := {name: lacks for name, lacks in lacking.items() if lacks}:
        try:
            compute(missing, keep)
        finally:
            write(1)
    return {kind: np.stack([rows[kind][name] for name in names]) for kind in kinds}


def _read(folder: Path, names: set[str]) -> Rows:
    """The rows of ``names`` that a folder holds. A file that cannot be read counts as absent."""
    rows: Rows = {}
    for path in sorted(folder.glob("[!.]*.safetensors")):
        try:
            tensors, header = load_tensors(path)
            held = dict(zip(header["names"], tensors["rows"], strict=True))
        except (OSError, ValueError, KeyError) as error:  # damaged, or of another kind
            log.warning("%s: cannot be read (%s); its rows are computed again", path, error)
            continue
        rows |= {name: row.copy() for name, row in held.items() if name in names}
    return rows
