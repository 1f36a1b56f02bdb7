"""Table I's systems side by side: what each is, what each costs, what was published (from ``rivals/costs.csv``)."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moclip.report import paper
from moclip.report.efficiency import COST_ONLY, paper_columns, totals
from moclip.report.figures.diagram import arrow, box

# What the systems are called where they were trained here; the others are in `plots.LABELS`.
LABELS = {
    "coviar_iframe": "CoViAR, I-frames",
    "coviar_mv": "CoViAR, motion",
    "coviar_residual": "CoViAR, residuals",
    "coviar": "CoViAR, fused",
    "two_stream_spatial": "Two-Stream, spatial",
    "two_stream_temporal": "Two-Stream, temporal",
    "two_stream": "Two-Stream, averaged",
    "two_stream_svm": "Two-Stream, SVM",
    "emv_cnn": "EMV-CNN",
    "dtmv_rgb": "EMV-CNN + RGB (as DTMV+RGB-CNN)",
    "x_clip": "X-CLIP",
}
SAME = {"zero_shot": "clip_zero_shot", "mv_only": "mv_tsn"}  # rows of the paper whose system is counted under this name
SEEN = {  # `moclip.studies.baselines.systems.SEES`, in words
    "clip": "8 frames",
    "flow_stack": "10 flow fields",
    "frame": "frame",
    "iframe": "I-frame",
    "motion": "accumulated motion",
    "motion_stack": "10 vector frames",
    "residual": "residual",
}
COLOURS = {"RGB": "#CC79A7", "MV": "#E69F00", "RGB + MV": "#0072B2", "RGB + flow": "#009E73"}
SHIFT = {  # points up, of names in the plot that would stand on one another
    "CLIP (ViT-B/32)": -4,
    "CLIP-only (ours)": 4,
    "DTMV-CNN": 2,
    "EMV-CNN": -2,
    "MoCLIP-Lite (ours)": 7,
    "TextComp": 6,
}


def compare_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The paper's eleven rows in its order, then systems that it lacks: what it prints, and what was counted here.

    Parameters
    ----------
    costs : ``rivals/costs.csv``, a row a system and part.

    Returns
    -------
    DataFrame
        Parameters in millions, of all parts and of the trained ones; GMACs of a video with the views that the paper
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
    stated = paper.numbers("table1").replace({"system": SAME})
    table = []
    for _, row in stated.iterrows():
        own = counted.get(row["system"], {"Modality": row["modality"], "Status": "cited only"})
        table.append({**own, "Method": row["method"], **paper_columns(row), "Note": row["note"]})
    table += [row for system, row in counted.items() if system not in set(stated["system"])]
    return pd.DataFrame(table).drop(columns=["GMACs a view", "Paper: marks"]).round(2)


def pathways(costs: pd.DataFrame) -> Figure:
    """What every system sees, through which networks, and how its scores are joined; a lane a network.

    Parameters
    ----------
    costs : ``rivals/costs.csv``.
    """
    costs = costs[costs["part"] != "fusion"]  # the head is what joins
    lane, gap = 0.36, 0.14
    systems = costs.groupby("system", sort=False)
    height = lane * len(costs) + gap * systems.ngroups + 0.3
    figure = plt.figure(figsize=(7, height))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 7), ylim=(0, height))
    axes.set_axis_off()
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
            kind = SEEN.get(part["sees"], "motion of 1 frame")
            seen = box(axes, (1.82, bottom, 1.24, 0.3), f"{kind}\n{part['input']}", "data")
            state = "trained" if part["trainable"] else "frozen"
            size = f"{part['params'] / 1e6:.2f} M, {part['macs_per_view'] / 1e9:.3g} GMACs x {part['views']}"
            name = part["part"]
            if 0 < part["trainable"] < part["params"]:
                name += f" (trained: {part['trainable'] / 1e6:.2f} M)"
            network = box(axes, (3.36, bottom, 1.96, 0.3), f"{name}\n{size}", state)
            arrow(axes, seen, network)
            arrow(axes, network, join)
        top -= lane * count + gap
    return figure


def accuracy_against_cost(axes: Axes, table: pd.DataFrame) -> None:
    """Published accuracy on UCF101 against cost: as the paper prints it (hollow) and as counted (filled).

    Parameters
    ----------
    table : `compare_costs`. The counted cost is that of the system's own protocol.
    """
    for _, row in table.dropna(subset=["Paper: top-1 (%, UCF101)"]).iterrows():
        colour, accuracy = COLOURS[row["Modality"]], row["Paper: top-1 (%, UCF101)"]
        costs = [row["Paper: GFLOPs"], row["GMACs, own protocol"]]
        axes.plot(costs, [accuracy, accuracy], color=colour, lw=1)
        axes.plot(costs[0], accuracy, "o", ms=5, mfc="white", mec=colour)
        axes.plot(costs[1], accuracy, "o", ms=5, color=colour)
        _name(axes, row["Method"], max(pd.Series(costs).dropna()), accuracy, "black")
    for _, row in paper.numbers("published").iterrows():
        axes.plot(row["gmacs"], row["top1"], "x", ms=4, color="#777777")
        _name(axes, row["method"], row["gmacs"], row["top1"], "#777777")
    for modality, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=modality)
    axes.plot([], [], "o", mfc="white", mec="black", label="cost as the paper prints it")
    axes.plot([], [], "x", color="#777777", label="not in the paper, as published")
    axes.set_xscale("log")
    axes.set(
        xlabel="GMACs a video, own protocol", ylabel="published top-1 on UCF101 (%)", xlim=(3, 9000), ylim=(62, 100)
    )
    axes.legend(frameon=False, loc="center left")


def _name(axes: Axes, text: str, cost: float, accuracy: float, colour: str) -> None:
    """A name right of its point; a little up or down where another one stands beside it."""
    axes.annotate(
        text, (cost, accuracy), (5, SHIFT.get(text, 0)), textcoords="offset points", va="center", fontsize=6.5,
        color=colour,
    )  # fmt: skip
