"""The cost of Table I's systems at the size of their papers, and beside it what was published."""

from functools import cache

import pandas as pd
import torch
from torch import nn

from moclip.engine import profiling
from moclip.models import create_model
from moclip.report import paper
from moclip.report.efficiency import COST_ONLY, as_printed, totals
from moclip.report.systems import MAIN_SYSTEMS, SYSTEMS
from moclip.studies.baselines.systems import BASELINES, INPUT_OF, INPUTS

CLASSES, SIDE = 101, 224  # UCF101, and the size of input in all of these papers


def cost_table() -> pd.DataFrame:
    """The facts and the cost of every system, counted on networks without memory (torch's meta device).

    Returns
    -------
    DataFrame
        One row per system and part: the facts of `systems.Baseline`, parameters, multiply-adds per view, views as the
        paper counts them (``views``) and as the system's own source has them (``own_views``).
    """
    rows = []
    for name, system in BASELINES.items():
        facts = system.model_dump(include={"method", "source", "modality", "join", "status", "protocol", "about"})
        for part, views, own_views in zip(system.parts, system.views, system.own_views, strict=True):
            row = {"system": name, "part": part, **count(part), "kind": INPUT_OF.get(part, ""), "views": views}
            row |= {"trainable": 0} if part in system.frozen else {}
            rows.append(row | {"own_views": own_views, **facts})
    return pd.DataFrame(rows)


@cache  # systems share networks
def count(part: str) -> profiling.Row:
    """The cost of one network at the size of its paper, per view."""
    with torch.device("meta"):
        network = create_model(part, num_classes=CLASSES, **({"pretrained": False} if part == "mv_tsn" else {})).eval()
        if part in INPUT_OF:
            return count_view(part, network, SIDE)
        # The paper's own networks: the motion network, and the head.
        inputs = [(1, 1, 2, SIDE, SIDE)] if part == "mv_tsn" else [(1, 512), (1, 1280)]
        return profiling.count(network, *map(torch.zeros, inputs))


def count_view(name: str, network: nn.Module, size: int) -> profiling.Row:
    """Cost of one view, as `profiling.count` gives it.

    Of a network with a text tower, only what runs for each video is counted: text features are computed once.
    """
    kind = INPUTS[INPUT_OF[name]]
    view = torch.zeros(1, kind.frames * kind.channels, size, size, device=next(network.parameters()).device)
    sides = [kind.frames, kind.channels, size, size]
    return {
        **profiling.parameters(network),
        "macs_per_view": profiling.macs(getattr(network, "encode_video", network), view),
        "input": " x ".join(str(side) for side in sides if side > 1),
    }


def compare_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The paper's eleven rows in its order, then the systems that it lacks: printed numbers beside counted ones.

    Parameters
    ----------
    costs : ``baselines/costs.csv``, one row per system and part.

    Returns
    -------
    DataFrame
        Parameters in millions, of all parts and of the trained ones; GMACs per video with the views that the paper
        counts (``GMACs``) and with those of the system's own protocol (``GMACs, own protocol``).
    """
    counted = {}
    for system, parts in costs.groupby("system", sort=False):
        first = parts.iloc[0]
        counted[system] = {
            "Method": first["method"],
            "Modality": first["modality"],
            "Status": COST_ONLY,  # accuracies beside it are the paper's
            **totals(parts),
            "Own protocol": first["protocol"],
            "GMACs, own protocol": totals(parts.assign(views=parts["own_views"]))["GMACs"],
        }
    counted_as = {name: SYSTEMS[name].model for name in MAIN_SYSTEMS}  # the others have one name in both tables
    printed = as_printed("table1")
    table = []
    for row in paper.numbers("table1").to_dict("records"):
        system = counted_as.get(row["system"], row["system"])
        cost = counted.get(system, {"Modality": row["modality"], "Status": "cited only"})
        table.append({**cost, "Method": row["method"], **printed[row["system"]]})
    listed = {counted_as.get(system, system) for system in printed}
    table += [row for system, row in counted.items() if system not in listed]
    return pd.DataFrame(table).drop(columns=["GMACs per view", "Paper: marks"]).round(2)
