"""Tables I and II from what the notebooks counted and timed; no model is built here.

Two blocks stand in each: ``profile``, this run's systems with their own cost and accuracy, and ``paper``, the paper's
rows. Of those, the three that are counted here have this machine's cost and no accuracy (their weights are random);
the others have the paper's numbers only. The paper's numbers stand in columns of their own, always.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from moclip.config.sections import Config
from moclip.io.artefacts import load_json
from moclip.report import paper
from moclip.report.tables import percent

# A system is a sum of parts. ``online`` are those that run when the appearance features are there already (Table II).
SYSTEMS: dict[str, dict[str, Any]] = {
    "zero_shot": {"method": "Zero-shot", "modality": "RGB", "parts": ["image tower"], "online": []},
    "mv_only": {"method": "MV-only", "modality": "MV", "parts": ["motion network"], "online": ["motion network"]},
    "fusion": {
        "method": "MoCLIP-Lite (fusion)",
        "modality": "RGB + MV",
        "parts": ["image tower", "motion network", "head"],
        "online": ["motion network", "head"],
    },
}
# What the Markdown and LaTeX tables leave out; the caption says it.
CSV_ONLY = ["GMACs a view", "n train", "n test", "Seeds", "Protocol", "Data"]
NOTES = "Why they differ"
MEASURED, COST_ONLY, NOT_BUILT = "run here", "no weights, cost only", "the paper's numbers only"
NOT_RUN = "not run"
NO_MODEL = ("epk_clip",)  # its paper's text was not at hand


def load_costs(run: Path) -> pd.DataFrame:
    """What the parts are: a row a block and part (index), parameters, multiply-adds, views, sizes.

    Raises
    ------
    FileNotFoundError
        The notebooks that count have not run.
    """
    return _load(run, "costs").set_index(["block", "part"])


def load_timings(run: Path) -> pd.DataFrame:
    """What the parts take: a row a block, part, precision and batch; seconds a call, ``peak_mb``, device, threads.

    Raises
    ------
    FileNotFoundError
        The notebooks that time have not run.
    """
    return _load(run, "timings")


def _load(run: Path, folder: str) -> pd.DataFrame:
    files = sorted((run / folder).glob("[!.]*.csv"))
    if not files:
        raise FileNotFoundError(f"no {folder} in {run}; run `moclip reproduce --only 01,02,03` first")
    return pd.concat([pd.read_csv(path) for path in files], ignore_index=True)


def table_one(results: pd.DataFrame, costs: pd.DataFrame, rivals: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracy against cost: a row for each of this profile's systems, then the paper's eleven.

    Parameters
    ----------
    results : the rows of ``results.csv`` of the data set whose systems were counted.
    costs : `load_costs`.
    rivals : ``rivals/costs.csv``, what the other systems of the table cost, under the views that the paper counts; rows
        of those that it lacks say so. Without it, they have the paper's numbers only.
    """
    stated = paper.numbers("table1")
    own_rows = [
        {
            **_cost(name, "profile", costs),
            **_accuracy(results, name),
            **paper_columns(stated[stated["system"] == name].iloc[0]),
            NOTES: "own data, encoder and network: see the caption",
        }
        for name in SYSTEMS
    ]
    paper_rows = []
    for _, row in stated.iterrows():
        cost = _cost(row["system"], "paper", costs) if row["system"] in SYSTEMS else _rival(row["system"], rivals)
        named = {"Block": "paper", "Method": row["method"], "Modality": row["modality"]}
        named |= {"Architecture": row["architecture"]}
        paper_rows.append({**cost, **named, **paper_columns(row), NOTES: row["note"]})
    return pd.DataFrame([*own_rows, *paper_rows]).round({"Params (M)": 2, "Trainable (M)": 2, "GMACs": 3})


def _cost(system: str, block: str, costs: pd.DataFrame) -> dict[str, Any]:
    """Own columns of a system that was counted."""
    described = SYSTEMS[system]
    used = costs.loc[[(block, part) for part in described["parts"]]]
    return {
        "Block": block,
        "Method": described["method"],
        "Modality": described["modality"],
        "Architecture": " + ".join(used["architecture"]),
        "Status": MEASURED if block == "profile" else COST_ONLY,
        **totals(used),
        # What is trained for the system's last stage: the head alone in fusion, where both networks are frozen.
        "Trainable (M)": used["trainable"].iloc[-1] / 1e6,
    }


def totals(used: pd.DataFrame) -> dict[str, Any]:
    """A system's cost from the rows of its parts, not rounded."""
    return {
        "Params (M)": used["params"].sum() / 1e6,
        "Trainable (M)": used["trainable"].sum() / 1e6,
        "Views": " + ".join(f"{views:.0f}" for views in used["views"]),
        "GMACs a view": " + ".join(f"{macs / 1e9:.3g}" for macs in used["macs_per_view"]),
        "GMACs": (used["macs_per_view"] * used["views"]).sum() / 1e9,
    }


def _rival(system: str, rivals: pd.DataFrame | None) -> dict[str, Any]:
    """Own columns of another system, where it was counted."""
    if rivals is None or system in NO_MODEL:
        return {"Status": NOT_BUILT}
    used = rivals[rivals["system"] == system]
    if used.empty:
        return {"Status": NOT_RUN}
    return {"Status": COST_ONLY, **totals(used)}


def _accuracy(results: pd.DataFrame, system: str) -> dict[str, Any]:
    rows = results[results["system"] == system]
    if len(rows) != 1:
        raise ValueError(f"results have {len(rows)} rows for {system}, expected one: choose one data set")
    own = rows.iloc[0]
    return {
        "Top-1 (%)": percent(own["accuracy"], own["low"], own["high"]),
        "n train": int(own["n_train"]),
        "n test": int(own["n_test"]),
        "Seeds": int(own["seeds"]),
        "Protocol": own["protocol"],
        "Data": own["data"],
    }


def paper_columns(row: pd.Series) -> dict[str, Any]:
    """Columns with what the paper's Table I prints, from its row."""
    marks = "" if pd.isna(row["marks"]) else row["marks"]
    return {
        "Paper: trainable (M)": row["trainable_m"],
        "Paper: GFLOPs": row["gflops"],
        "Paper: top-1 (%, UCF101)": row["top1"],
        "Paper: marks": marks,
    }


def table_two(results: pd.DataFrame, costs: pd.DataFrame, timings: pd.DataFrame) -> pd.DataFrame:
    """Throughput, with appearance features computed beforehand as in the paper; arguments as `table_one`.

    Raises
    ------
    ValueError
        The parts of a system were timed on different devices.
    """
    stated = paper.numbers("table2").set_index("system")
    read = timings[timings["part"] == "reading motion"].iloc[0]
    reading = {"profile": read["seconds"]}  # of a clip of this profile; the paper's own were not read here
    rows = []
    for block in ("profile", "paper"):
        for name, described in SYSTEMS.items():
            used = timings[(timings["block"] == block) & timings["part"].isin(described["online"])]
            if used["device"].nunique() > 1:
                found = ", ".join(used["device"].unique())
                raise ValueError(f"parts timed on different devices cannot be added: {found}; run 02 and 03 again")
            accuracy = {} if block == "paper" else _accuracy(results, name)
            rows.append(
                {
                    **{key: _cost(name, block, costs)[key] for key in ("Block", "Method", "Status", "Trainable (M)")},
                    **_speeds(used, reading.get(block)),
                    **{key: accuracy.get(key) for key in ("Top-1 (%)", "n test", "Data")},
                    "Paper: trainable (M)": stated.loc[name, "trainable_m"],
                    "Paper: videos/s (RTX 3090)": stated.loc[name, "videos_per_s"],
                    "Paper: top-1 (%, UCF101)": stated.loc[name, "top1"],
                    NOTES: stated.loc[name, "note"],
                }
            )
    return pd.DataFrame(rows).round({"Trainable (M)": 2})


def _speeds(used: pd.DataFrame, reading: float | None) -> dict[str, Any]:
    """Columns of a system whose parts are timed in ``used``; blank where nothing runs online or was not measured."""
    columns = [
        "ms a video (batch 1)",
        "fastest-slowest (ms)",
        "Videos/s (batch 1)",
        "Videos/s (batch 1, with reading)",
        "Videos/s (best)",
        "Best at",
        "Memory (MB, batch 1)",
    ]
    if used.empty:
        return dict.fromkeys(columns)
    one = used[(used["precision"] == "FP32") & (used["batch"] == 1)]
    seconds = one["seconds"].sum()
    used = used.assign(a_video=used["seconds"] / used["batch"])
    best = used.loc[used.groupby("part")["a_video"].idxmin()]  # a row a part
    slow = best.sort_values("a_video").iloc[-1]  # the network: the head's batch and precision decide nothing
    values = [
        round(1000 * seconds, 2),
        f"{1000 * one['fastest'].sum():.2f}-{1000 * one['slowest'].sum():.2f}",
        round(1 / seconds, 2),
        None if reading is None else round(1 / (seconds + reading), 2),
        round(1 / best["a_video"].sum(), 2),
        f"batch {slow['batch']}, {slow['precision']}",
        round(one["peak_mb"].sum(), 1),
    ]
    return dict(zip(columns, values, strict=True))


def caption(run: Path, config: Config, results: pd.DataFrame, title: str) -> str:
    """``title`` and what the table was made from."""
    manifests = [load_json(run / "data" / f"{dataset}.json") for dataset in results["dataset"].unique()]
    counts = "; ".join(
        f"{manifest['description']} ({manifest['counts']['train']} training, {manifest['counts']['test']} test clips)"
        for manifest in manifests
    )
    return (
        f"{title} Block profile: {counts}; encoder {config.encoder.name}; motion network {config.mv.backbone} at "
        f"{config.mv.input_size} px; protocol {config.protocol}; fusion trained on {config.fusion.train_features} "
        f"features. Block paper: its rows; where counted here, with 101 classes at 224 px and random weights, so cost "
        f"only. Columns of the paper are its own numbers, UCF101 split 1 unless marked. Of fusion, the "
        f"head alone counts as trainable; its motion network was trained before."
    )
