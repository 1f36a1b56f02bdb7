"""From ``runs/<run>/`` to ``figures/<run>/``: tables and figures that people see, and tables over seeds and folds.

No dates: publishing an unchanged run changes no file.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from moclip.config.sections import Report
from moclip.errors import MoclipError
from moclip.io import paths
from moclip.io.artefacts import load_json, load_predictions, save_json
from moclip.io.files import atomic_path, sha256_file
from moclip.reproduce.stages import matches

if TYPE_CHECKING:  # loaded where a table is made: what is up to date is said at once
    import pandas as pd

MANIFEST = "MANIFEST.json"
_PUBLISHED = ("tables/*.csv", "tables/*.md", "tables/*.tex", "figures/*.png", "figures/*.pdf")
# Field of which each run has another value -> column of that value, and name of the tables of all runs
REPEATED = {"mv.seed": ("motion_seed", "motion_seeds"), "data.fold": ("fold", "folds")}


def publishable(run: str) -> list[Path]:
    """Tables and figures of a run, sorted by name."""
    found = (path for glob in _PUBLISHED for path in matches(paths.run_dir(run), glob))
    return sorted(found, key=lambda path: path.name)


def publish(run: str) -> list[str]:
    """Copy tables and figures of a run to ``figures/<run>/``.

    Files of the last publication that the run no longer has are removed. Further files in the folder stay.

    Returns
    -------
    Names of the files that were written or removed.

    Raises
    ------
    ArtefactError
        The last publication's list of files is damaged.
    """
    sources = publishable(run)
    target = paths.figures_dir(run)
    manifest = {path.name: sha256_file(path) for path in sources}
    last = load_json(target / MANIFEST) if (target / MANIFEST).is_file() else {}
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
        save_json(target / MANIFEST, manifest)
    return sorted(changed + gone)


def publish_repeated(run: str, field: str, runs: Mapping[int, str], report: Report) -> list[Path]:
    """Join the results of runs that differ in one field of the configuration.

    Parameters
    ----------
    run : run under whose name the tables are published.
    field : an entry of `REPEATED`.
    runs : value of the field -> run.

    Returns
    -------
    Paths of ``motion_seeds.csv`` or ``folds.csv`` (``results.csv`` of all runs, with a column for the value) and
    ``motion_seeds_summary.csv`` or ``folds_summary.csv``. The former has mean, standard deviation over seeds and their
    number n, one row per data set and system; for the latter see `moclip.report.tables.folds`.
    """
    column, name = REPEATED[field]
    rows = _joined(column, runs)
    if field == "data.fold":
        summary = _over_folds(rows, runs, report)
    else:
        accuracy = rows.groupby(["dataset", "system"], sort=False)["accuracy"]
        summary = accuracy.agg(mean="mean", std="std", n="count").reset_index()
    tables = {paths.figures_dir(run) / f"{name}.csv": rows, paths.figures_dir(run) / f"{name}_summary.csv": summary}
    for path, table in tables.items():
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    return list(tables)


def _over_folds(rows: "pd.DataFrame", runs: Mapping[int, str], report: Report) -> "pd.DataFrame":
    """Means over the folds, from the predictions of all."""
    import pandas as pd

    from moclip.report.statistics import Bootstrap
    from moclip.report.tables import folds

    parts = []
    for fold, name in runs.items():
        datasets = list(rows.loc[rows["fold"] == fold, "dataset"].unique())
        part = load_predictions(paths.run_dir(name) / "predictions", datasets)
        # the data set's name holds the fold, and would keep the folds apart
        parts.append(part.assign(fold=fold, dataset=part["dataset"].str.removesuffix(f"-fold{fold}")))
    return folds(pd.concat(parts), Bootstrap(**report.model_dump()))


def _joined(column: str, runs: Mapping[int, str]) -> "pd.DataFrame":
    """The rows of ``tables/results.csv`` of all runs, with the seed or fold of each run in ``column``."""
    import pandas as pd

    parts = []
    for value, name in runs.items():
        source = paths.run_dir(name) / "tables" / "results.csv"
        if not source.is_file():
            raise MoclipError(f"{column} {value} made no {source}; one of the notebooks has to write it")
        table = pd.read_csv(source, dtype={"dataset": str})  # a folder of videos may be called 007
        if missing := {"dataset", "system", "accuracy"} - set(table):
            raise MoclipError(f"{source} lacks {', '.join(sorted(missing))}; it has the columns {list(table)}")
        table.insert(0, column, value)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)
