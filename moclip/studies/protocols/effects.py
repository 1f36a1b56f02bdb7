"""How much of a result is due to the protocol: the protocols side by side, and the effect of each field."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from moclip.report import statistics as metrics
from moclip.report.figures.accuracy import whiskers
from moclip.report.statistics import Bootstrap
from moclip.report.systems import SYSTEMS

STREAMS = ("mv_only", "fusion")


def system_name(stream: str, variant: str) -> str:
    """The name of a stream under a variant, as a separate system. It names files, so it has no dots."""
    return f"{stream}@{variant.replace('.', '-')}"


def side_by_side(protocols: Mapping[str, Mapping[str, Any]], this_run: Mapping[str, Any]) -> pd.DataFrame:
    """One row per field of the method; fields in which the protocols differ come first.

    Parameters
    ----------
    protocols : name -> field -> value; the others are compared with the first.
    this_run : field -> value of this run.

    Returns
    -------
    DataFrame
        Columns: field, one per protocol (``*`` marks what differs from the first), ``this run``.
    """
    first = next(iter(protocols.values()))
    rows = []
    for field in sorted(first, key=lambda field: all(values[field] == first[field] for values in protocols.values())):
        same = {name: values[field] == first[field] for name, values in protocols.items()}
        marked = {name: _text(values[field]) + ("" if same[name] else " *") for name, values in protocols.items()}
        rows.append({"field": field, **marked, "this run": _text(this_run[field])})
    return pd.DataFrame(rows)


def effects(
    predictions: pd.DataFrame, dataset: str, variants: Sequence[str], trained: Sequence[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Each variant against the first of them, on the same clips and seeds.

    Parameters
    ----------
    predictions : of systems named by `system_name`.
    trained : variants with a motion network of their own; the noise of seeds is estimated from these.
    variants : the others are compared with the first; the last is the protocol in which all fields are changed.

    Returns
    -------
    DataFrame
        One row per stream and variant: accuracy, difference with its paired group-bootstrap interval, ``noise`` (see
        `seed_noise`), ``share_of_gap`` (of the last variant's difference; empty where that is no finding), reading.
    """
    rows: list[dict[str, Any]] = []
    numbers = ["accuracy", "difference", "low", "high", "noise", "share_of_gap"]
    for stream in STREAMS:
        systems = {variant: system_name(stream, variant) for variant in variants}
        noise = seed_noise(predictions, dataset, [systems[variant] for variant in trained], bootstrap.confidence)
        part: list[dict[str, Any]] = []
        for variant, system in systems.items():
            estimate = metrics.accuracy(predictions, dataset, system, bootstrap)
            row = {"dataset": dataset, "stream": stream, "variant": variant, **dict.fromkeys(numbers, np.nan)}
            row |= {"accuracy": estimate.value, "n_test": estimate.n, "seeds": estimate.seeds, "reading": ""}
            if variant != variants[0]:
                gap = metrics.difference(predictions, dataset, system, systems[variants[0]], bootstrap)
                row |= {"difference": gap.value, "low": gap.low, "high": gap.high, "noise": noise}
                row["reading"] = reading(row, variant, variants[0])
            part.append(row)
        if part[-1]["reading"] != UNCLEAR:
            part = [row | {"share_of_gap": row["difference"] / part[-1]["difference"]} for row in part]
        rows += part
    table = pd.DataFrame(rows)
    table[numbers] = table[numbers].round(4) + 0.0  # no minus zero
    return table


UNCLEAR = "not distinguishable at this size"


def reading(row: Mapping[str, Any], variant: str, base: str) -> str:
    """A difference counts if its interval excludes zero and it is larger than the noise of the seeds."""
    if not (row["low"] > 0 or row["high"] < 0):
        return UNCLEAR
    if not abs(row["difference"]) > row["noise"]:
        return UNCLEAR if row["noise"] > 0 else "one seed: noise of seeds unknown"
    return f"{variant if row['difference'] > 0 else base} is better"


def seed_noise(predictions: pd.DataFrame, dataset: str, systems: Sequence[str], confidence: float) -> float:
    """The difference to expect, with this confidence, between two variants that differ only in their seeds.

    The variance between seeds is pooled over the systems (a few seeds of one say little), and the difference of two
    means of k seeds has twice that variance over k. Seeds are paired between variants, so this is on the wide side. NaN
    with one seed.
    """
    rows = predictions[(predictions["dataset"] == dataset) & predictions["system"].isin(systems)]
    by_seed = rows.groupby(["system", "seed"])["correct"].mean().unstack()  # (systems, k)
    seeds = by_seed.shape[1]
    freedom = len(by_seed) * (seeds - 1)  # 0 with one seed, and a t of 0 degrees of freedom is NaN
    return float(stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(by_seed.var(axis=1).mean() * 2 / seeds))


def effect_dots(axes: Axes, table: pd.DataFrame, stream: str) -> None:
    """Differences of one stream with their intervals, one row per variant; the band is the noise of the seeds.

    Parameters
    ----------
    table : what `effects` returns.
    """
    shown = table[(table["stream"] == stream) & table["difference"].notna()].reset_index(drop=True)
    noise = 100 * shown["noise"].iloc[0]
    if noise > 0:
        axes.axvspan(-noise, noise, color="#E6E6E6", lw=0, zorder=0, label="noise of the seeds")
    axes.axvline(0, color="black", lw=0.8)
    values, errors = whiskers(shown, "difference")
    system = SYSTEMS[stream]
    axes.errorbar(values, shown.index, xerr=errors, fmt=system.marker, ms=4, lw=0.9, color=system.colour)
    axes.axhline(len(shown) - 1.5, color="#999999", lw=0.6, ls=":")
    axes.set_yticks(shown.index, shown["variant"])
    axes.tick_params(axis="y", length=0)
    base = 100 * table.loc[table["stream"] == stream, "accuracy"].iloc[0]
    axes.set_title(f"{system.label}: paper {base:.1f} %")
    axes.set(ylim=(len(shown) - 0.5, -0.5), xlabel="difference (points)")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
