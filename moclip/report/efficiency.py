"""Tables I and II from what the notebooks counted and timed; no model is built here."""

from pathlib import Path
from typing import Any

import pandas as pd

from moclip.artefacts import load_json
from moclip.config import Config
from moclip.report.tables import percent

# A system is a sum of parts. ``online`` are those that run when the appearance features are there already (Table II).
SYSTEMS: list[dict[str, Any]] = [
    {"system": "zero_shot", "Method": "Zero-shot", "Modality": "RGB", "parts": ["image tower"], "online": []},
    {
        "system": "mv_only",
        "Method": "MV-only",
        "Modality": "MV",
        "parts": ["motion network"],
        "online": ["motion network"],
    },
    {
        "system": "fusion",
        "Method": "MoCLIP-Lite (fusion)",
        "Modality": "RGB + MV",
        "parts": ["image tower", "motion network", "head"],
        "online": ["motion network", "head"],
    },
]
# The paper, Tables I and II: on UCF101 split 1, other networks, an RTX 3090. Never to be mixed with this run's columns.
PAPER: dict[str, dict[str, float]] = {
    "zero_shot": {"top1": 65.0, "gmacs": 4.4, "trainable": 0.0},
    "mv_only": {"top1": 66.5, "gmacs": 12.5, "trainable": 5.3, "videos": 286.85},
    "fusion": {"top1": 89.2, "gmacs": 16.9, "trainable": 0.97, "videos": 275.31},
}


def load_parts(run: Path) -> pd.DataFrame:
    """What the parts cost: a row a part, counts and seconds (one video, batch 1).

    Raises
    ------
    FileNotFoundError
        The notebooks that measure have not run.
    """
    missing = [folder for folder in ("costs", "timings") if not list((run / folder).glob("[!.]*.csv"))]
    if missing:
        raise FileNotFoundError(f"no {' and no '.join(missing)} in {run}; run `moclip reproduce --only 01,02,03` first")
    counted = pd.concat([pd.read_csv(path) for path in sorted((run / "costs").glob("[!.]*.csv"))])
    timed = pd.concat([pd.read_csv(path) for path in sorted((run / "timings").glob("[!.]*.csv"))]).drop(columns="views")
    return timed.merge(counted, on="part", how="left").set_index("part")


def table_one(results: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """Accuracy against cost, a row a system.

    Parameters
    ----------
    results : the rows of ``results.csv`` of the data set whose systems were counted.
    parts : `load_parts`.
    """
    rows = []
    for system in SYSTEMS:
        own = _row(results, system["system"])
        used = parts.loc[system["parts"]]
        # What is trained for the system's last stage: the head alone in fusion, where both networks are frozen.
        trained = parts.loc[[system["parts"][-1]], "trainable"]
        paper = PAPER[system["system"]]
        rows.append(
            {
                "Method": system["Method"],
                "Modality": system["Modality"],
                "Architecture": " + ".join(used["architecture"]),
                "Params (M)": round(used["params"].sum() / 1e6, 2),
                "Trainable (M)": round(trained.sum() / 1e6, 2),
                "Views": " + ".join(f"{int(views)}" for views in used["views"]),
                "GMACs": round((used["macs_per_view"] * used["views"]).sum() / 1e9, 3),
                "Top-1 (%)": percent(own["accuracy"], own["low"], own["high"]),
                "n train": int(own["n_train"]),
                "n test": int(own["n_test"]),
                "Seeds": int(own["seeds"]),
                "Protocol": own["protocol"],
                "Data": own["data"],
                "Paper: trainable (M)": paper["trainable"],
                "Paper: GMACs": paper["gmacs"],
                "Paper: top-1 (%, UCF101)": paper["top1"],
            }
        )
    return pd.DataFrame(rows)


def table_two(results: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """Throughput at batch 1 with appearance features computed beforehand, a row a system; arguments as `table_one`."""
    devices = parts.loc[sorted({part for system in SYSTEMS for part in system["online"]}), "device"].unique()
    if len(devices) != 1:
        raise ValueError(f"parts timed on different devices cannot be added: {', '.join(devices)}; run 02 and 03 again")
    rows = []
    for system in SYSTEMS:
        own = _row(results, system["system"])
        seconds = parts.loc[system["online"], "seconds"].sum()
        with_reading = seconds + parts.loc["reading motion", "seconds"]
        online = bool(system["online"])
        rows.append(
            {
                "Method": system["Method"],
                "Trainable (M)": round(parts.loc[system["parts"][-1], "trainable"] / 1e6, 2),
                "Videos/s (network)": round(1 / seconds, 2) if online else None,
                "Videos/s (with reading)": round(1 / with_reading, 2) if online else None,
                "Top-1 (%)": percent(own["accuracy"], own["low"], own["high"]),
                "n test": int(own["n_test"]),
                "Data": own["data"],
                "Paper: videos/s (RTX 3090)": PAPER[system["system"]].get("videos"),
                "Paper: top-1 (%, UCF101)": PAPER[system["system"]]["top1"],
            }
        )
    return pd.DataFrame(rows)


def caption(run: Path, config: Config, results: pd.DataFrame, title: str) -> str:
    """``title`` and what the table was made from."""
    manifests = [load_json(run / "data" / f"{dataset}.json") for dataset in results["dataset"].unique()]
    counts = "; ".join(
        f"{manifest['description']} ({manifest['counts']['train']} training, {manifest['counts']['test']} test clips)"
        for manifest in manifests
    )
    return (
        f"{title} Data: {counts}. Encoder {config.encoder.name}; motion network {config.mv.backbone} at "
        f"{config.mv.input_size} px; protocol {config.protocol}; fusion trained on {config.fusion.train_features} "
        f"features. The paper's columns are its own, on UCF101 split 1 with CLIP ViT-B/32 and EfficientNet-B0."
    )


def _row(results: pd.DataFrame, system: str) -> pd.Series:
    rows = results[results["system"] == system]
    if len(rows) != 1:
        raise ValueError(f"results have {len(rows)} rows for {system}, expected one: choose one data set")
    return rows.iloc[0]
