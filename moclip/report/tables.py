"""Tables: one data frame, written as CSV, Markdown and LaTeX."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from moclip.io.artefacts import save_csv
from moclip.io.files import atomic_path
from moclip.report import statistics as metrics


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
    caption : says what data the numbers come from; stands above the Markdown table and in the LaTeX one.
    csv_only : columns that the Markdown and LaTeX tables leave out.
    notes : a column of sentences, or several, which the LaTeX table leaves out: it would be wider than any page.
    """
    save_csv(folder / f"{name}.csv", table)
    shown = table.drop(columns=list(csv_only), errors="ignore").map(_shown)
    barred = shown.map(_bars).rename(columns=_bars)
    with atomic_path(folder / f"{name}.md") as temporary:
        temporary.write_text(f"{caption}\n\n{barred.to_markdown(index=False, disable_numparse=True)}\n")
    if notes:
        shown = shown.drop(columns=notes)
    styled = shown.rename(columns=_latex).style.format(escape="latex").hide(axis="index")
    with atomic_path(folder / f"{name}.tex") as temporary:
        temporary.write_text(styled.to_latex(hrules=True, caption=_latex(caption), label=f"tab:{name}"))


def results(predictions: pd.DataFrame, resamples: int, confidence: float) -> pd.DataFrame:
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
    for (dataset, system), own in predictions.groupby(["dataset", "system"], sort=False):
        estimate = metrics.accuracy(predictions, str(dataset), str(system), resamples, confidence)
        rows.append(
            {
                "dataset": dataset,
                "system": system,
                "accuracy": round(estimate.value, 4),
                "low": round(estimate.low, 4),
                "high": round(estimate.high, 4),
                "seed_sd": round(estimate.seed_sd, 4),
                "n_test": estimate.n,
                "n_train": own["n_train"].iloc[0],
                "views": own["views"].iloc[0],
                "seeds": estimate.seeds,
                "protocol": own["protocol"].iloc[0],
                "data": own["data"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def overview(results: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """A row a system, a column a data set, cells ``62.1 [56.0, 68.2]`` in percent.

    Parameters
    ----------
    results : what `results` returns.
    labels : system -> name to print; their order is the order of the rows.
    """
    table = pd.DataFrame({"system": [labels[name] for name in labels if name in set(results["system"])]})
    for dataset, own in results.groupby("dataset", sort=False):
        cells = {labels[row["system"]]: percent(row["accuracy"], row["low"], row["high"]) for _, row in own.iterrows()}
        table[f"{dataset} (%)"] = table["system"].map(cells)
    return table


def differences(
    predictions: pd.DataFrame, dataset: str, system: str, others: Sequence[str], resamples: int, confidence: float
) -> pd.DataFrame:
    """``system`` against each of ``others`` on the same clips: difference, interval, McNemar's p."""
    rows = []
    for other in others:
        gap = metrics.difference(predictions, dataset, system, other, resamples, confidence)
        rows.append(
            {
                "dataset": dataset,
                "system": system,
                "minus": other,
                "difference": round(gap.value, 4) + 0.0,  # no minus zero
                "low": round(gap.low, 4),
                "high": round(gap.high, 4),
                "n_test": gap.n,
                "mcnemar_p": float(f"{metrics.mcnemar(predictions, dataset, system, other):.2g}"),
            }
        )
    return pd.DataFrame(rows)


def folds(predictions: pd.DataFrame, resamples: int, confidence: float, system: str = "fusion") -> pd.DataFrame:
    """Mean over folds of every system, and of the paired difference between ``system`` and each other one.

    Parameters
    ----------
    predictions : of all folds, with a column ``fold``.

    Returns
    -------
    DataFrame
        dataset, system, folds, n_test (clips of all folds); mean over folds with interval and sd (shares; seeds are
        averaged within a fold); ``fusion minus it`` with the same; a cell in percent a fold, ``fold 1`` and on.
    """
    rows = []
    for (dataset, name), own in predictions.groupby(["dataset", "system"], sort=False):
        of = predictions[predictions["dataset"] == dataset]
        row: dict[str, Any] = {"dataset": dataset, "system": name, "folds": own["fold"].nunique()}
        estimate = metrics.accuracy(of, str(dataset), str(name), resamples, confidence)
        row |= {"n_test": estimate.n, **_with_sd("mean", estimate)}
        if name != system:
            gap = metrics.difference(of, str(dataset), system, str(name), resamples, confidence)
            row |= _with_sd(f"{system} minus it", gap)
        for fold, part in own.groupby("fold"):
            one = metrics.accuracy(part, str(dataset), str(name), resamples, confidence)
            row[f"fold {fold}"] = percent(one.value, one.low, one.high)
        rows.append(row)
    table = pd.DataFrame(rows)
    return table[sorted(table, key=lambda column: str(column).startswith("fold "))]  # means first


def _with_sd(name: str, estimate: metrics.Estimate) -> dict[str, float]:
    values = (estimate.value, estimate.low, estimate.high, estimate.fold_sd)
    words = (name, f"{name}, low", f"{name}, high", f"{name}, sd over folds")
    return {word: round(value, 4) + 0.0 for word, value in zip(words, values, strict=True)}  # no minus zero


def reading(row: Mapping[str, Any], memory: Mapping[str, float], margin: float = 0.03) -> str:
    """What a difference and its interval say, in words.

    Parameters
    ----------
    row : a row of `differences`.
    memory : accuracy of the motion head on ``training clips`` and ``test clips``, ``chance``, and ``permuted minus
        appearance``: where fusion loses to the appearance head, these say what the motion features did to it.
    margin : differences whose interval stays within it count as none.
    """
    if -margin <= row["low"] and row["high"] <= margin:
        return f"no difference beyond {100 * margin:g} points"
    if row["low"] > 0:
        return f"{row['system']} is better"
    if not row["high"] < 0:  # NaN too: one group has no interval
        return "not distinguishable at this size"
    if row["minus"] != "appearance_head":
        return f"{row['minus']} is better"
    noise = memory["permuted minus appearance"]
    return (
        f"appearance_head is better: motion dealt to wrong clips changes its accuracy by {100 * noise:+.1f} points "
        f"(inputs without information), the clips' own by {100 * (row['difference'] - noise):+.1f} more; a likely "
        f"cause, not tested here: they know the training clips (motion head {percent(memory['training clips'])} % on "
        f"training clips, {percent(memory['test clips'])} % on test clips, chance {percent(memory['chance'])} %)"
    )


def percent(value: float, low: float | None = None, high: float | None = None) -> str:
    """``62.1 [56.0, 68.2]`` from shares; blank where there is no number."""
    if pd.isna(value):
        return ""
    interval = "" if low is None or pd.isna(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"  # type: ignore[operator]
    return f"{100 * value:.1f}{interval}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.6g}"
    return "" if value is None else str(value)


def _bars(text: str) -> str:
    return text.replace("|", r"\|")


def _latex(text: str) -> str:
    return re.sub(r"[%_&#$]", r"\\\g<0>", text)
