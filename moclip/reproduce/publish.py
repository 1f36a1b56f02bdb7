"""From ``runs/<run>/`` to ``figures/<run>/``: tables and figures that people see, and tables over seeds and folds.

No dates: publishing an unchanged run changes no file.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from moclip.config.sections import Report
from moclip.errors import MoclipError
from moclip.io import paths
from moclip.io.files import atomic_path, sha256_file

if TYPE_CHECKING:  # loaded where a table is made: what is up to date is said at once
    import pandas as pd

MANIFEST = "MANIFEST.json"
_SOURCES = {"tables": ("csv", "md", "tex"), "figures": ("png", "pdf")}


class PublishError(MoclipError):
    """What cannot be published; the message says what to do."""


def publishable(run: str) -> list[Path]:
    """Tables and figures of a run, sorted by name."""
    folder = paths.run_dir(run)
    found = [path for sub, kinds in _SOURCES.items() for kind in kinds for path in (folder / sub).glob(f"*.{kind}")]
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)


def publish(run: str) -> list[str]:
    """Copy tables and figures of a run to ``figures/<run>/``.

    Files of the last publication that the run no longer has are removed. Further files in the folder stay.

    Returns
    -------
    Names of the files that were written or removed.

    Raises
    ------
    PublishError
        The last publication's list of files is damaged.
    """
    sources = publishable(run)
    target = paths.figures_dir(run)
    manifest = {path.name: sha256_file(path) for path in sources}
    last = _last_manifest(target / MANIFEST)
    safe = [name for name in last if Path(name).name == name]  # never a path out of the folder
    gone = [name for name in safe if name not in manifest and (target / name).is_file()]
    for name in gone:
        (target / name).unlink()
    changed = []
    for source in sources:
        file = target / source.name
        if not file.is_file() or sha256_file(file) != manifest[source.name]:
            with atomic_path(file) as temporary:
                shutil.copyfile(source, temporary)
            changed.append(source.name)
    if manifest != last:
        with atomic_path(target / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return sorted(changed + gone)


def _last_manifest(path: Path) -> dict[str, str]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise PublishError(f"{path} is damaged ({error}); remove it and publish again: `moclip figures`") from error


def publish_seeds(run: str, runs: Mapping[int, str]) -> list[Path]:
    """Join ``tables/results.csv`` of runs that differ in their motion seed.

    Parameters
    ----------
    run : run under whose name the tables are published.
    runs : motion seed -> run.

    Returns
    -------
    Paths of ``motion_seeds.csv`` (all rows, with a column ``motion_seed``) and ``motion_seeds_summary.csv`` (mean,
    standard deviation over seeds and their number n, one row per data set and system).
    """
    rows = _joined("motion_seed", runs)
    accuracy = rows.groupby(["dataset", "system"], sort=False)["accuracy"]
    summary = accuracy.agg(mean="mean", std="std", n="count").reset_index()
    return _write(run, {"motion_seeds.csv": rows, "motion_seeds_summary.csv": summary})


def publish_folds(run: str, runs: Mapping[int, str], report: Report) -> list[Path]:
    """Join results and predictions of runs that differ in their fold.

    Parameters
    ----------
    run : run under whose name the tables are published.
    runs : fold -> run.

    Returns
    -------
    Paths of ``folds.csv`` (``results.csv`` of all folds, with a column ``fold``) and ``folds_summary.csv``
    (`moclip.report.tables.folds`).
    """
    import pandas as pd

    from moclip.io.artefacts import load_predictions
    from moclip.report.statistics import Bootstrap
    from moclip.report.tables import folds

    rows = _joined("fold", runs)
    parts = []
    for fold, name in runs.items():
        datasets = list(rows.loc[rows["fold"] == fold, "dataset"].unique())
        part = load_predictions(paths.run_dir(name) / "predictions", datasets)
        # the data set's name holds the fold, and would keep the folds apart
        parts.append(part.assign(fold=fold, dataset=part["dataset"].str.removesuffix(f"-fold{fold}")))
    return _write(
        run, {"folds.csv": rows, "folds_summary.csv": folds(pd.concat(parts), Bootstrap(**report.model_dump()))}
    )


def _joined(column: str, runs: Mapping[int, str]) -> "pd.DataFrame":
    """The rows of ``tables/results.csv`` of all runs, with the seed or fold of each run in ``column``."""
    import pandas as pd

    parts = []
    for value, name in runs.items():
        source = paths.run_dir(name) / "tables" / "results.csv"
        if not source.is_file():
            raise PublishError(f"{column} {value} made no {source}; one of the notebooks has to write it")
        table = pd.read_csv(source, dtype={"dataset": str})  # a folder of videos may be called 007
        if missing := {"dataset", "system", "accuracy"} - set(table):
            raise PublishError(f"{source} lacks {', '.join(sorted(missing))}; it has the columns {list(table)}")
        table.insert(0, column, value)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _write(run: str, tables: "Mapping[str, pd.DataFrame]") -> list[Path]:
    target = paths.figures_dir(run)
    for name, table in tables.items():
        with atomic_path(target / name) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    return [target / name for name in tables]
