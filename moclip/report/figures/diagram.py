"""Figure 1: the three pathways, drawn from what was counted on the live models (``costs/*.csv``)."""

from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

FILL = {"frozen": "#CFE3F2", "trained": "#F9D9A8", "data": "#F2F2F2", "answer": "#FFFFFF"}
Box = tuple[float, float, float, float]  # left, bottom, width, height; inches


def overview(parts: pd.DataFrame, classes: int, prompts: str, frame: str, field: str, average: str) -> Figure:
    """Pathways A, B and C with sizes, parameter counts, and the state of each network: frozen or trained.

    Parameters
    ----------
    parts : rows of `moclip.report.efficiency.load` of one block, by part.
    classes : number of classes C.
    prompts, frame, field, average : fields of the configuration: the set of prompts, the frame that the encoder sees,
        the kind of motion field, and what is averaged over views (``softmax`` or ``logit``).
    """
    millions = (parts["params"] / 1e6).map("{:.2f} M".format)
    parts = parts.assign(size=millions, state=np.where(parts["trainable"] > 0, "trained", "frozen"))
    part: dict[Any, Any] = parts.to_dict("index")
    image, text, motion, head = (part[name] for name in ("image tower", "text tower", "motion network", "head"))
    dim, motion_dim, hidden = int(image["feature_dim"]), int(motion["feature_dim"]), int(head["feature_dim"])
    views = int(motion["views"])
    figure, axes = canvas(7, 3.5)
    axes.add_patch(Rectangle((0.04, 1.72), 4.66, 1.74, fill=False, ls="--", lw=0.8, ec="#555555"))
    axes.text(4.64, 3.42, "offline: once per video or class", ha="right", va="top", fontsize=6.5, style="italic")
    axes.add_patch(Rectangle((0.04, 0.06), 6.92, 1.6, fill=False, ls="-", lw=0.8, ec="#555555"))
    axes.text(6.9, 0.1, "online", ha="right", va="bottom", fontsize=6.5, style="italic")

    names = box(axes, (0.12, 2.72, 1.1, 0.46), f"{classes} class names\nin prompts ({prompts})", "data")
    picture = box(axes, (0.12, 1.84, 1.1, 0.46), f"{frame} frame\n{image['input']}", "data")
    seen = f"{field} motion\nvectors, {motion['input']}\n{motion['views']:.0f} views"
    vectors = box(axes, (0.12, 0.72, 1.1, 0.56), seen, "data")
    what = f"text tower\n{text['architecture']}\n{text['size']}, {text['state']}"
    text_box = box(axes, (1.56, 2.68, 1.62, 0.54), what, text["state"])
    what = f"image tower\n{image['architecture']}\n{image['size']}, {image['state']}"
    image_box = box(axes, (1.56, 1.8, 1.62, 0.54), what, image["state"])
    what = f"motion network, TSN\n{motion['architecture']}\n{motion['size']}\n{motion['state']} in (B), "
    what += f"{part['motion network in fusion']['state']} in (C)"
    motion_box = box(axes, (1.56, 0.6, 1.62, 0.8), what, motion["state"])
    embedded = box(axes, (3.5, 2.72, 1.1, 0.46), f"class embeddings\n{classes} x {dim}", "data")
    feature = box(axes, (3.5, 1.84, 1.1, 0.46), f"appearance\n{dim}", "data")
    moved = box(axes, (3.5, 0.77, 1.1, 0.46), f"motion\n{views} x {motion_dim}", "data")
    cosine = box(axes, (4.94, 2.28, 0.72, 0.4), "cosine", "data")
    sizes = f"{dim} + {motion_dim} → {hidden} → {classes}"
    mlp = f"MLP head, mean of views\n{sizes}\n{head['size']}, {head['state']}"
    head_box = box(axes, (4.94, 1.06, 1.2, 0.54), mlp, head["state"])
    each = f"linear on each view,\nmean of {'probabilities' if average == 'softmax' else 'logits'}"
    linear = box(axes, (4.94, 0.3, 1.2, 0.44), each, motion["state"])
    zero = box(axes, (6.3, 2.28, 0.6, 0.4), "(A)\nzero-shot", "answer")
    fusion = box(axes, (6.3, 1.13, 0.6, 0.4), "(C)\nfusion", "answer")
    alone = box(axes, (6.3, 0.34, 0.6, 0.4), "(B)\nMV-only", "answer")
    for path in (
        (names, text_box, embedded, cosine, zero),
        (picture, image_box, feature, cosine),
        (feature, head_box, fusion),
        (vectors, motion_box, moved, head_box),
        (moved, linear, alone),
    ):
        for one, other in pairwise(path):
            arrow(axes, one, other)
    for place, state in ((5.0, "data"), (5.62, "frozen"), (6.3, "trained")):
        axes.add_patch(Rectangle((place, 3.14), 0.12, 0.12, fc=FILL[state], ec="#333333", lw=0.6))
        axes.text(place + 0.18, 3.2, state, va="center", fontsize=6.5)
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure whose coordinates are inches, (0, 0) at the bottom left."""
    figure = plt.figure(figsize=(width, height))
    figure.set_layout_engine("none")  # layout="none" would hold for the first file only: savefig restores the style's
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def box(axes: Axes, place: Box, text: str, kind: str) -> Box:
    """Draw a box with text, coloured by ``kind`` (a key of `FILL`), and return its place."""
    left, bottom, width, height = place
    style = "round,pad=0,rounding_size=0.06" if kind in ("frozen", "trained") else "square,pad=0"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=style, fc=FILL[kind], ec="#333333", lw=0.7))
    axes.text(left + width / 2, bottom + height / 2, text, ha="center", va="center", fontsize=6.3, linespacing=1.15)
    return place


def arrow(axes: Axes, one: Box, other: Box) -> None:
    """Draw an arrow from the right side of one box to the left side of another."""
    start = (one[0] + one[2], one[1] + one[3] / 2)
    end = (other[0], other[1] + other[3] / 2)
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=7, lw=0.8, color="#333333", shrinkA=0))
