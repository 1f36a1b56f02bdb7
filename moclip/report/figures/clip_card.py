"""One clip on a card: what the encoder saw, how it moves, and what each system answers (the paper's Figure 3)."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from moclip.report.figures.accuracy import score_bars
from moclip.report.figures.motion import colour_wheel, three_views
from moclip.report.systems import SYSTEMS

if TYPE_CHECKING:  # this room loads no PyAV
    from moclip.video import Motion


def card(
    seen: np.ndarray, frame: np.ndarray, motion: "Motion", t: int, scores: dict[str, pd.Series], truth: str, title: str
) -> Figure:
    """Draw a clip: a frame, its motion as arrows and as colours with their key, and bars of the five best classes.

    Parameters
    ----------
    seen : uint8 (H, W, 3), the frame that the encoder saw.
    frame, t : uint8 (H, W, 3), the frame with index ``t``, whose motion is drawn.
    scores : system -> `moclip.report.examples.best_classes`.
    truth : true class name.
    """
    rows = -(-len(scores) // 2)  # two systems per row
    figure = plt.figure(figsize=(7, 1.7 + 1.15 * rows))
    halves = figure.add_gridspec(2, 1, height_ratios=[1.6, 1.15 * rows])
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    top.suptitle(title, fontsize=8)
    picture, *views, key = top.subplots(1, 5, width_ratios=[1, 1, 1, 1, 0.45])
    picture.imshow(seen)
    picture.set_title("the encoder's frame")
    picture.set_axis_off()
    three_views(views, frame, motion, t)
    colour_wheel(key)
    panels = bottom.subplots(rows, 2, squeeze=False, sharex=True).ravel()
    for unused in panels[len(scores) :]:
        unused.set_visible(False)
    for axes, (name, best) in zip(panels, scores.items(), strict=False):
        score_bars(axes, best, truth, SYSTEMS[name].colour)
        axes.set_title(f"{SYSTEMS[name].label}: {'right' if best.index[0] == truth else 'wrong'}")
        if not axes.get_subplotspec().is_last_row():
            axes.set_xlabel("")
    return figure
