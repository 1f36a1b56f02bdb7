"""One clip on a card: what the encoder saw, how it moves, and what each system says of it (the paper's Figure 3)."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from moclip.report.figures import motion as fields
from moclip.report.figures import plots

if TYPE_CHECKING:  # this room loads no PyAV
    from moclip.video import Motion


def card(
    seen: np.ndarray, at: np.ndarray, motion: "Motion", t: int, scores: dict[str, pd.Series], truth: str, title: str
) -> Figure:
    """Draw it: the frame, its motion as arrows and colours with their key, and bars of the five best classes.

    Parameters
    ----------
    seen, at : uint8 (H, W, 3), the encoder's frame and frame ``t``.
    scores : system -> `moclip.report.examples.best_classes`.
    truth : true class name.
    """
    rows = -(-len(scores) // 2)  # two systems in a row
    figure = plt.figure(figsize=(7, 1.7 + 1.15 * rows))
    halves = figure.add_gridspec(2, 1, height_ratios=[1.6, 1.15 * rows])
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    top.suptitle(title, fontsize=8)
    picture, *views, key = top.subplots(1, 5, width_ratios=[1, 1, 1, 1, 0.45])
    picture.imshow(seen)
    picture.set_title("the encoder's frame")
    picture.set_axis_off()
    fields.three_views(views, at, motion, t)
    fields.colour_wheel(key)
    panels = bottom.subplots(rows, 2, squeeze=False, sharex=True).ravel()
    for unused in panels[len(scores) :]:
        unused.set_visible(False)
    for axes, (system, best) in zip(panels, scores.items(), strict=False):
        plots.score_bars(axes, best, truth, plots.COLOURS[system])
        axes.set_title(f"{plots.LABELS[system]}: {'right' if best.index[0] == truth else 'wrong'}")
        if not axes.get_subplotspec().is_last_row():
            axes.set_xlabel("")
    return figure
