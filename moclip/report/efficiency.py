"""Tables I and II from what the notebooks counted and timed; no model is built here.

Each table has two blocks: ``profile``, this run's systems with their own cost and accuracy, and ``paper``, the paper's
rows. Of the paper's systems, the three that are counted here have this machine's cost and no accuracy (their weights
are random); the others have the paper's numbers only. The paper's numbers always stand in columns of their own.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from moclip.report import paper
from moclip.report.systems import MAIN_SYSTEMS, SYSTEMS
from moclip.report.tables import percent

# What the Markdown and LaTeX tables leave out; the caption says it.
CSV_ONLY = ["GMACs per view", "n train", "n test", "Seeds", "Protocol", "Data"]
NOTES = "Why they differ"
# Columns of the paper's tables (`moclip.report.paper`) -> ours.
NAMES = {"method": "Method", "modality": "Modality", "architecture": "Architecture"}
PRINTED = {
    "trainable_m": "Paper: trainable (M)",
    "gflops": "Paper: GFLOPs",
    "videos_per_s": "Paper: videos/s (RTX 3090)",
    "top1": "Paper: top-1 (%, UCF101)",
    "marks": "Paper: marks",
    "note": NOTES,
}
MEASURED, COST_ONLY, NOT_BUILT = "run here", "no weights, cost only", "the paper's numbers only"
NOT_RUN = "not run"
NO_MODEL = "epk_clip"  # its paper's text was not available
TABLE_ONE_ONLY = ["Modality", "Architecture", "Params (M)", "Views", "GMACs per view", "GMACs"]
TABLE_ONE_ONLY += ["n train", "Seeds", "Protocol"]
BLOCKS = (
    "Block profile: this run's systems, on the data named below. Block paper: the paper's rows; where counted here, "
    "with 101 classes at 224 px and random weights, so cost only. The paper's columns are its own numbers, on UCF101 "
    "split 1 unless marked. Of fusion, only the head counts as trainable; its motion network was trained before."
)


def load(run: Path, folder: str) -> pd.DataFrame:
    """What the parts of the systems cost, or how long they take.

    Returns
    -------
    DataFrame
        ``costs``: one row per block and part, with parameters, multiply-adds, views and sizes. ``timings``: one row per
        block, part, precision and batch, with seconds per call, ``peak_mb`` and the device.

    Raises
    ------
    FileNotFoundError
        The notebooks that count and time have not run.
    """
    files = sorted((run / folder).glob("[!.]*.csv"))
    if not files:
        raise FileNotFoundError(f"no {folder} in {run}; run `moclip reproduce --only 01,02,03` first")
    return pd.concat([pd.read_csv(path) for path in files], ignore_index=True)


def table_one(results: pd.DataFrame, costs: pd.DataFrame, baselines: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracy against cost: one row for each of this run's systems, then the paper's eleven rows.

    Parameters
    ----------
    results : the rows of ``results.csv`` of the data set whose systems were counted.
    costs : `load`, with block and part as index.
    baselines : ``baselines/costs.csv``, the cost of the table's other systems under the views that the paper counts; a
        system that it lacks is marked as not run. Without it, those systems have the paper's numbers only.
    """
    rows = []
    printed = as_printed("table1")
    for name in MAIN_SYSTEMS:
        row = {**_cost(name, "profile", costs), **_accuracy(results, name), **printed[name]}
        rows.append(row | {NOTES: "own data, encoder and network: see the caption"})
    for stated in paper.numbers("table1").to_dict("records"):
        name = stated["system"]
        if name in MAIN_SYSTEMS:
            row = _cost(name, "paper", costs)
        elif baselines is None or name == NO_MODEL:
            row = {"Status": NOT_BUILT}
        else:
            parts = baselines[baselines["system"] == name]
            row = {"Status": NOT_RUN} if parts.empty else {"Status": COST_ONLY, **totals(parts)}
        rows.append({**row, "Block": "paper", **{NAMES[field]: stated[field] for field in NAMES}, **printed[name]})
    return pd.DataFrame(rows).round({"Params (M)": 2, "Trainable (M)": 2, "GMACs": 3})


def as_printed(exhibit: str) -> dict[Any, dict[Any, Any]]:
    """The numbers and marks of the paper's ``table1`` or ``table2``, with a note on each: system -> column -> value."""
    table = paper.numbers(exhibit).set_index("system").rename(columns=PRINTED)
    table = table[[column for column in PRINTED.values() if column in table]]
    return table.fillna({"Paper: marks": ""}).to_dict("index")


def _cost(name: str, block: str, costs: pd.DataFrame) -> dict[str, Any]:
    """Names and cost of one of the paper's systems, from its parts."""
    system = SYSTEMS[name]
    parts = costs.loc[[(block, part) for part in system.parts]]
    return {
        "Block": block,
        "Method": system.method,
        "Modality": system.modality,
        "Architecture": " + ".join(parts["architecture"]),
        "Status": MEASURED if block == "profile" else COST_ONLY,
        **totals(parts),
        # What is trained in the system's last stage: in fusion, where both networks are frozen, the head alone.
        "Trainable (M)": parts["trainable"].iloc[-1] / 1e6,
    }


def totals(parts: pd.DataFrame) -> dict[str, Any]:
    """A system's cost from the rows of its parts, not rounded."""
    return {
        "Params (M)": parts["params"].sum() / 1e6,
        "Trainable (M)": parts["trainable"].sum() / 1e6,
        "Views": " + ".join(f"{views:.0f}" for views in parts["views"]),
        "GMACs per view": " + ".join(f"{macs / 1e9:.3g}" for macs in parts["macs_per_view"]),
        "GMACs": (parts["macs_per_view"] * parts["views"]).sum() / 1e9,
    }


def _accuracy(results: pd.DataFrame, name: str) -> dict[str, Any]:
    rows = results[results["system"] == name]
    if len(rows) != 1:
        raise ValueError(f"results have {len(rows)} rows for {name}, expected one: choose one data set")
    row = rows.iloc[0]
    columns = {"n_train": "n train", "n_test": "n test", "seeds": "Seeds", "protocol": "Protocol", "data": "Data"}
    accuracy = percent(row["accuracy"], row["low"], row["high"])
    return {"Top-1 (%)": accuracy, **{column: row[field] for field, column in columns.items()}}


def table_two(results: pd.DataFrame, costs: pd.DataFrame, timings: pd.DataFrame) -> pd.DataFrame:
    """Throughput, with appearance features computed beforehand as in the paper; arguments as in `table_one`.

    Raises
    ------
    ValueError
        The parts of a system were timed on different devices.
    """
    printed = as_printed("table2")
    read = timings.loc[timings["part"] == "reading motion", "seconds"].iloc[0]
    rows = []
    for block, reading in (("profile", read), ("paper", None)):  # the paper's own clips were not read here
        for name in MAIN_SYSTEMS:
            used = timings[(timings["block"] == block) & timings["part"].isin(SYSTEMS[name].online)]
            if used["device"].nunique() > 1:
                devices = ", ".join(used["device"].unique())
                raise ValueError(f"parts timed on different devices cannot be added: {devices}; run 02 and 03 again")
            accuracy = _accuracy(results, name) if block == "profile" else {}
            rows.append({**_cost(name, block, costs), **_speeds(used, reading), **accuracy, **printed[name]})
    return pd.DataFrame(rows).drop(columns=TABLE_ONE_ONLY).round({"Trainable (M)": 2})


def _speeds(used: pd.DataFrame, reading: float | None) -> dict[str, Any]:
    """Speed of a system whose parts are timed in ``used``: NaN where nothing runs online or nothing was measured.

    ``reading`` is the time, in seconds, to read the vectors of one clip.
    """
    one = used[(used["precision"] == "FP32") & (used["batch"] == 1)].sum(numeric_only=True, min_count=1)
    seconds = one["seconds"]
    used = used.assign(per_video=used["seconds"] / used["batch"])
    best = used.loc[used.groupby("part")["per_video"].idxmin()].sort_values("per_video")  # one row per part
    network = best.iloc[-1:]  # the slowest part: batch and precision of the head decide nothing
    return {
        "ms per video (batch 1)": round(1000 * seconds, 2),
        "fastest-slowest (ms)": f"{1000 * one['fastest']:.2f}-{1000 * one['slowest']:.2f}" if len(used) else None,
        "Videos/s (batch 1)": round(1 / seconds, 2),
        "Videos/s (batch 1, with reading)": round(1 / (seconds + reading), 2) if reading else None,
        "Videos/s (best)": round(1 / best["per_video"].sum(min_count=1), 2),
        "Best at": next((f"batch {row.batch}, {row.precision}" for row in network.itertuples()), None),
        "Memory (MB, batch 1)": round(one["peak_mb"], 1),
    }
