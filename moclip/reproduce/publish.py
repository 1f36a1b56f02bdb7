"""From ``runs/<run>/`` to ``figures/<run>/``: the tables and figures that people see, and the table over motion seeds.

No dates: publishing an unchanged run changes no file.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from moclip import paths
from moclip.errors import MoclipError

MANIFEST = "MANIFEST.json"
_SOURCES = {"tables": ("csv", "md", "tex"), "figures": ("png", "pdf")}


class PublishError(MoclipError):
    """Nothing to publish; the message says what to run."""


def publishable(run: str) -> list[Path]:
    """Tables and figures of a run, sorted by name."""
    folder = paths.run_dir(run)
    found = [path for sub, kinds in _SOURCES.items() for kind in kinds for path in (folder / sub).glob(f"*.{kind}")]
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)


def publish(run: str) -> list[str]:
    """Copy tables and figures of a run to ``figures/<run>/``.

    Files of the last publication that the run no longer has are removed; other files there are left alone.

    Returns
    -------
    Names of the files that were written or removed.

    Raises
    ------
    PublishError
        The run has neither tables nor figures.
    """
    sources = publishable(run)
    if not sources:
        raise PublishError(
            f"nothing to publish: no tables or figures in {paths.run_dir(run)}; run `moclip reproduce` first"
        )
    target = paths.figures_dir(run)
    manifest = {path.name: paths.sha256_file(path) for path in sources}
    gone = [name for name in _last_manifest(target) if name not in manifest and (target / name).is_file()]
    for name in gone:
        (target / name).unlink()
    changed = []
    for source in sources:
        file = target / source.name
        if not file.is_file() or paths.sha256_file(file) != manifest[source.name]:
            with paths.atomic_path(file) as temporary:
                shutil.copyfile(source, temporary)
            changed.append(source.name)
    if manifest != _last_manifest(target):
        with paths.atomic_path(target / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return sorted(changed + gone)


def _last_manifest(target: Path) -> dict[str, str]:
    path = target / MANIFEST
    names = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: sha for name, sha in names.items() if Path(name).name == name}  # never a path out of the folder


def publish_seeds(run: str, runs: Mapping[int, str]) -> list[Path]:
    """Join ``tables/results.csv`` of runs that differ in their motion seed.

    Parameters
    ----------
    run : run under whose name the tables are published.
    runs : motion seed -> run.

    Returns
    -------
    Paths of ``motion_seeds.csv`` (all rows, with a column ``motion_seed``) and ``motion_seeds_summary.csv`` (mean,
    standard deviation over seeds and their number n, a row a data set and system).
    """
    import pandas as pd

    parts = []
    for seed, name in runs.items():
        source = paths.run_dir(name) / "tables" / "results.csv"
        if not source.is_file():
            raise PublishError(f"motion seed {seed} made no {source}; one of the notebooks has to write it")
        table = pd.read_csv(source)
        table.insert(0, "motion_seed", seed)
        parts.append(table)
    rows = pd.concat(parts, ignore_index=True)
    by = [column for column in ("dataset", "system") if column in rows]
    if "accuracy" not in rows or not by:
        raise PublishError(f"results.csv has the columns {list(rows)}; 'accuracy' and 'dataset' or 'system' are needed")
    accuracy = rows.groupby(by, sort=False, dropna=False)["accuracy"]
    summary = accuracy.agg(mean="mean", std="std", n="count").reset_index()
    target = paths.figures_dir(run)
    written = []
    for name, frame in {"motion_seeds.csv": rows, "motion_seeds_summary.csv": summary}.items():
        with paths.atomic_path(target / name) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.6g")
        written.append(target / name)
    return written
