"""Tables: one data frame, written as CSV, Markdown and LaTeX."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from moclip.io.artefacts import save_csv
from moclip.io.files import atomic_path
from moclip.report import statistics as metrics
from moclip.report.statistics import Bootstrap
from moclip.report.systems import FUSION, SYSTEMS


def save_table(
    folder: Path,
    name: str,
    table: pd.DataFrame,
    caption: str,
    csv_only: Sequence[str] = (),
    notes: str | list[str] = "",
) -> None:
    """Write ``<name>.csv``, ``.md`` and ``.tex``.

    Parameters
    ----------
    caption : stands above the Markdown table and in the LaTeX one; `caption` makes it.
    csv_only : columns that the Markdown and LaTeX tables leave out.
    notes : one column of sentences, or several, that the LaTeX table leaves out because no page is wide enough.
    """
    save_csv(folder / f"{name}.csv", table)
    text = table.drop(columns=list(csv_only), errors="ignore").map(_text)
    barred = text.map(_bars).rename(columns=_bars)
    with atomic_path(folder / f"{name}.md") as temporary:
        temporary.write_text(f"{caption}\n\n{barred.to_markdown(index=False, disable_numparse=True)}\n")
    if notes:
        text = text.drop(columns=notes)
    styled = text.rename(columns=_latex).style.format(escape="latex").hide(axis="index")
    with atomic_path(folder / f"{name}.tex") as temporary:
        temporary.write_text(styled.to_latex(hrules=True, caption=_latex(caption), label=f"tab:{name}"))


def caption(text: str, data: Iterable[str], **settings: object) -> str:
    """``text``, then the data and the settings behind the numbers: "... Data: UCF101. Encoder offline, protocol paper."

    Parameters
    ----------
    data : descriptions of the data sets, for instance the column ``data`` of predictions; repeated ones count once.
    settings : values by name, with ``_`` for a space.
    """
    parts = [text, f"Data: {'; '.join(dict.fromkeys(data))}."]
    if settings:
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
        parts.append(f"{words[0].upper()}{words[1:]}.")
    return " ".join(parts)


def results(predictions: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Accuracy of every system on every data set.

    Parameters
    ----------
    predictions : `moclip.io.artefacts.load_predictions`.

    Returns
    -------
    DataFrame
        Columns dataset, system, accuracy, low, high (shares), seed_sd, n_test, n_train, views, seeds, protocol, data.
    """
    rows = []
    for (dataset, system), part in predictions.groupby(["dataset", "system"], sort=False):
        estimate = metrics.accuracy(predictions, str(dataset), str(system), bootstrap)
        facts = part.iloc[0]
        row = {"dataset": dataset, "system": system, **estimate.columns("accuracy")}
        row |= {"seed_sd": round(estimate.seed_sd, 4), "n_test": estimate.n, "n_train": facts["n_train"]}
        row |= {"views": facts["views"], "seeds": estimate.seeds, "protocol": facts["protocol"]}
        rows.append(row | {"data": facts["data"]})
    return pd.DataFrame(rows)


def overview(results: pd.DataFrame) -> pd.DataFrame:
    """One row per system in the order of `SYSTEMS`, one column per data set, cells ``62.1 [56.0, 68.2]`` in percent.

    Parameters
    ----------
    results : what `results` returns.
    """
    names = [name for name in SYSTEMS if name in set(results["system"])]
    table = pd.DataFrame({"system": [SYSTEMS[name].label for name in names]})
    for dataset, rows in results.groupby("dataset", sort=False):
        cells = dict(zip(rows["system"], map(percent, rows["accuracy"], rows["low"], rows["high"]), strict=True))
        table[f"{dataset} (%)"] = [cells.get(name) for name in names]
    return table


def differences(
    predictions: pd.DataFrame, dataset: str, system: str, others: Sequence[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    """``system`` against each of ``others`` on the same clips: difference, interval, McNemar's p, and `reading`."""
    rows = []
    for other in others:
        gap = metrics.difference(predictions, dataset, system, other, bootstrap)
        row = {"dataset": dataset, "system": system, "minus": other, **gap.columns("difference"), "n_test": gap.n}
        row["mcnemar_p"] = float(f"{metrics.mcnemar(predictions, dataset, system, other):.2g}")
        rows.append(row | {"reading": reading(row)})
    return pd.DataFrame(rows)


def reading(row: Mapping[str, Any], margin: float = 0.03) -> str:
    """The interval of a difference in words.

    Parameters
    ----------
    row : ``system``, ``minus``, ``low`` and ``high`` of a row of `differences`.
    margin : a difference whose interval stays within it counts as none.
    """
    if -margin <= row["low"] and row["high"] <= margin:
        return f"no difference beyond {100 * margin:g} points"
    if row["low"] > 0:
        return f"{row['system']} is better"
    if row["high"] < 0:
        return f"{row['minus']} is better"
    return "not distinguishable at this size"  # also if there is no interval (NaN): one group has none


def folds(predictions: pd.DataFrame, bootstrap: Bootstrap, system: str = FUSION) -> pd.DataFrame:
    """Mean over folds of every system, and of the paired difference between ``system`` and each other one.

    Parameters
    ----------
    predictions : of all folds, with a column ``fold``.

    Returns
    -------
    DataFrame
        dataset, system, folds, n_test (clips of all folds); the mean over folds with interval and sd (shares; seeds are
        averaged within a fold); ``fusion minus it`` with the same; ``fold 1`` and so on: the accuracy in percent.
    """
    rows = []
    for (dataset, name), part in predictions.groupby(["dataset", "system"], sort=False):
        estimate = metrics.accuracy(predictions, str(dataset), str(name), bootstrap)
        row: dict[str, Any] = {"dataset": dataset, "system": name, "folds": part["fold"].nunique()}
        row["n_test"] = estimate.n
        means = {"mean": estimate}
        if name != system:
            means[f"{system} minus it"] = metrics.difference(predictions, str(dataset), system, str(name), bootstrap)
        for what, mean in means.items():
            row |= {**mean.columns(what, f"{what}, "), f"{what}, sd over folds": round(mean.fold_sd, 4)}
        for fold, rows_of_fold in part.groupby("fold"):
            one = metrics.accuracy(rows_of_fold, str(dataset), str(name), bootstrap)
            row[f"fold {fold}"] = percent(one.value, one.low, one.high)
        rows.append(row)
    table = pd.DataFrame(rows)
    return table[sorted(table, key=lambda column: str(column).startswith("fold "))]  # means first


def percent(value: float, low: float, high: float) -> str:
    """``62.1 [56.0, 68.2]`` from shares; blank if there is no number, and without brackets if there is no interval."""
    if pd.isna(value):
        return ""
    return f"{100 * value:.1f}" + ("" if pd.isna(low) else f" [{100 * low:.1f}, {100 * high:.1f}]")


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.6g}"
    return "" if value is None else str(value)


def _bars(text: str) -> str:
    return text.replace("|", r"\|")


def _latex(text: str) -> str:
    return re.sub(r"[%_&#$]", r"\\\g<0>", text)
