"""Figures of Table I's systems: their networks, and published accuracy against cost."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moclip.report import paper
from moclip.report.figures.diagram import arrow, box, canvas
from moclip.studies.baselines.systems import INPUTS

COLOURS = {"RGB": "#CC79A7", "MV": "#E69F00", "RGB + MV": "#0072B2", "RGB + flow": "#009E73"}
# Points up, for names that would overlap in the plot.
SHIFT = {"CLIP (ViT-B/32)": -4, "CLIP-only (ours)": 4, "MoCLIP-Lite (ours)": 7}
SHIFT |= {"DTMV-CNN": 2, "EMV-CNN": -2, "TextComp": 6}
NAME: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 6.5}  # to the right of its point


def pathways(costs: pd.DataFrame) -> Figure:
    """The input and the networks of every system, and how its scores are joined: one lane per network.

    Parameters
    ----------
    costs : ``baselines/costs.csv``.
    """
    costs = costs[costs["part"] != "fusion"]  # the head is what joins
    lane, gap = 0.36, 0.14
    systems = costs.groupby("system", sort=False)
    height = lane * len(costs) + gap * systems.ngroups + 0.3
    figure, axes = canvas(7, height)
    for left, kind in ((1.82, "data"), (3.36, "frozen"), (4.1, "trained")):
        box(axes, (left, height - 0.24, 0.12, 0.12), "", kind)
        axes.text(left + 0.2, height - 0.18, kind, va="center", fontsize=6.5)
    top = height - 0.34
    for _, parts in systems:
        first, count = parts.iloc[0], len(parts)
        middle = top - lane * count / 2
        axes.text(0.06, middle, first["method"], va="bottom", fontsize=7, weight="bold")
        axes.text(0.06, middle - 0.02, first["source"].split(";")[0], va="top", fontsize=5.8, color="#555555")
        join = box(axes, (5.62, middle - 0.15, 1.3, 0.3), first["join"].replace(", or", ",\nor"), "answer")
        for number, (_, part) in enumerate(parts.iterrows()):
            bottom = top - lane * (number + 1) + 0.03
            kind = INPUTS[part["kind"]].label if part["kind"] in INPUTS else "motion of 1 frame"
            view = box(axes, (1.82, bottom, 1.24, 0.3), f"{kind}\n{part['input']}", "data")
            trained = f" (trained: {part['trainable'] / 1e6:.2f} M)" if 0 < part["trainable"] < part["params"] else ""
            size = f"{part['params'] / 1e6:.2f} M, {part['macs_per_view'] / 1e9:.3g} GMACs x {part['views']}"
            state = "trained" if part["trainable"] else "frozen"
            network = box(axes, (3.36, bottom, 1.96, 0.3), f"{part['part']}{trained}\n{size}", state)
            arrow(axes, view, network)
            arrow(axes, network, join)
        top -= lane * count + gap
    return figure


def accuracy_against_cost(axes: Axes, table: pd.DataFrame) -> None:
    """Published accuracy on UCF101 against cost: as the paper prints it (hollow) and as counted (filled).

    Parameters
    ----------
    table : `moclip.studies.baselines.costs.compare_costs`. The counted cost is that of the system's own protocol.
    """
    for _, row in table.dropna(subset=["Paper: top-1 (%, UCF101)"]).iterrows():
        colour, accuracy = COLOURS[row["Modality"]], row["Paper: top-1 (%, UCF101)"]
        costs = [row["Paper: GFLOPs"], row["GMACs, own protocol"]]
        axes.plot(costs, [accuracy, accuracy], color=colour, lw=1)
        axes.plot(costs[0], accuracy, "o", ms=5, mfc="white", mec=colour)
        axes.plot(costs[1], accuracy, "o", ms=5, color=colour)
        axes.annotate(row["Method"], (np.nanmax(costs), accuracy), (5, SHIFT.get(row["Method"], 0)), **NAME)
    for _, row in paper.numbers("published").iterrows():
        axes.plot(row["gmacs"], row["top1"], "x", ms=4, color="#777777")
        place, shift = (row["gmacs"], row["top1"]), SHIFT.get(row["method"], 0)
        axes.annotate(row["method"], place, (5, shift), color="#777777", **NAME)
    for modality, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=modality)
    axes.plot([], [], "o", mfc="white", mec="black", label="cost as the paper prints it")
    axes.plot([], [], "x", color="#777777", label="not in the paper, as published")
    axes.set(xlabel="GMACs per video, own protocol", xscale="log", xlim=(3, 9000))
    axes.set(ylabel="published top-1 on UCF101 (%)", ylim=(62, 100))
    axes.legend(frameon=False, loc="center left")
