"""Figures of a data set (balance, lengths, formats, motion, encoders) and of the shortcut audit."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moclip.report.figures.accuracy import percent_bars, stacked_bars

SPLITS = {"train": "#0072B2", "val": "#56B4E9", "test": "#E69F00"}
ONE = "#0072B2"
MANY = 30  # with more classes, names would not be readable: the classes are numbered instead


def page(
    clips: pd.DataFrame, classes: pd.DataFrame, longer: pd.DataFrame, bound: float, title: str
) -> tuple[Figure, str]:
    """A page of eight panels, and its alt text.

    Parameters
    ----------
    clips, classes, longer : the tables of `moclip.studies.shortcuts.data_stats`.
    bound : length at which the 8-bit range ends; it is marked.
    title : stands above the page and describes the data.
    """
    named = len(classes) <= MANY
    rows = len(classes) if named else 12
    figure, panels = plt.subplots(4, 2, figsize=(7.2, 5.4 + 0.34 * rows), height_ratios=[rows + 4, 12, 12, rows + 4])
    (balance, saturation), (seconds, frames), (formats, motion), (i_frames, b_frames) = panels
    for axes in (balance, saturation, i_frames, b_frames):
        if named:
            axes.set_yticks(range(len(classes)), list(classes["class_name"]))
            axes.tick_params(axis="y", length=0)
        else:
            axes.set_ylabel("class number")
        axes.set_ylim(len(classes) - 0.5, -0.5)
    splits = {split: colour for split, colour in SPLITS.items() if classes[split].any()}
    # Thin bars need no gaps.
    stacked_bars(balance, classes[list(splits)], list(splits.values()), "clips", 0.8 if named else 1.0, lw=0)
    balance.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    _class_dots(saturation, classes, 100 * classes["saturated"], f"vectors beyond {bound:g} px (%)", "#D55E00")
    _histogram(seconds, clips["seconds"], "duration (s)")
    _histogram(frames, clips["frames"], "frames")
    _formats(formats, clips)
    _motion(motion, longer, bound)
    _i_frames(i_frames, clips, classes)
    _class_dots(b_frames, classes, 100 * classes["b_clips"], "clips with B-frames (%)", "#009E73")
    figure.suptitle(title, fontsize=8)
    saturated = (clips["saturated"] * clips["vectors"]).sum() / max(clips["vectors"].sum(), 1)
    medians = clips[["seconds", "frames", "i_distance"]].median().map("{:.3g}".format)
    alt = (
        f"Eight panels on {len(clips)} clips of {len(classes)} classes. Clips per class by split. Share of vectors "
        f"beyond {bound:g} pixels per class ({100 * saturated:.2f} % over all). Durations in seconds "
        f"(median {medians['seconds']}) and frames (median {medians['frames']}). Frame sizes and rates. Share of "
        f"vectors longer than a length. Frames per I-frame of each clip by class (median {medians['i_distance']}). "
        "Share of clips with B-frames per class."
    )
    return figure, alt


def _class_dots(axes: Axes, classes: pd.DataFrame, values: pd.Series, label: str, colour: str) -> None:
    axes.plot(values, range(len(classes)), "o", ms=3.5 if len(classes) <= MANY else 2, color=colour, clip_on=False)
    axes.hlines(range(len(classes)), 0, values, color=colour, lw=0.8)
    axes.set(xlabel=label, xlim=(0, max(1.05 * values.max(), 1) if values.notna().any() else 1))


def _histogram(axes: Axes, values: pd.Series, label: str) -> None:
    axes.hist(values, bins=30, color=ONE)
    axes.axvline(values.median(), color="black", lw=0.8, ls="--", label=f"median {values.median():.4g}")
    axes.set(xlabel=label, ylabel="clips")
    axes.legend(frameon=False)


def _formats(axes: Axes, clips: pd.DataFrame) -> None:
    """Clips by codec, frame size and rate, the ten most frequent."""
    names = clips["codec"] + " " + clips["width"].astype(str) + "x" + clips["height"].astype(str)
    counted = (names + " @ " + clips["fps"].map("{:.5g}".format)).value_counts().head(10)
    axes.bar_label(axes.barh(range(len(counted)), counted, color=ONE), fmt=" %d", fontsize=7)
    axes.set_yticks(range(len(counted)), list(counted.index))
    axes.set(xlabel="clips", ylim=(max(len(counted), 4) - 0.5, -0.5), xlim=(0, 1.15 * counted.max()))
    axes.tick_params(axis="y", length=0)


def _motion(axes: Axes, longer: pd.DataFrame, bound: float) -> None:
    shown = longer[longer["share"] > 0]
    axes.plot(shown["length"], 100 * shown["share"], "o-", ms=2.5, lw=1, color=ONE)
    if len(shown):
        axes.axvline(bound, color="black", lw=0.8, ls="--", label=f"end of the 8-bit range ({bound:g} px)")
        axes.set_yscale("log")
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([0, 1, 4, 16, 64], ["0", "1", "4", "16", "64"])
        axes.minorticks_off()
        axes.set_xlim(left=-0.1)
        axes.legend(frameon=False)
    axes.set(xlabel="length (px, longer component)", ylabel="longer vectors (%)")


def _i_frames(axes: Axes, clips: pd.DataFrame, classes: pd.DataFrame) -> None:
    places = pd.Index(classes["class_name"]).get_indexer(clips["class_name"])
    axes.plot(clips["i_distance"], places, "|", ms=5, mew=0.8, color=ONE)
    low, high = clips["i_distance"].min(), clips["i_distance"].max()
    axes.set(xlabel="Frames per I-frame (one mark per clip)", xscale="log", xlim=(max(low / 1.5, 0.7), high * 1.5))
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low / 1.5 <= tick <= high * 1.5]
    ticks = ticks if len(ticks) > 1 else sorted({round(low), round(high)})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def shortcut_bars(axes: Axes, audit: pd.DataFrame, colours: dict[str, str]) -> None:
    """Accuracy from settings alone: one bar per set and stream, beside chance and permuted classes.

    Parameters
    ----------
    audit : `moclip.studies.shortcuts.audit.audit` of one data set, streams stacked.
    colours : stream -> colour.
    """
    labels = [f"{row['features']} ({row['stream']})" for row in audit.to_dict("records")]
    percent_bars(axes, audit, labels, [colours[stream] for stream in audit["stream"]])
    axes.plot(100 * audit["permuted"], range(len(audit)), "k|", ms=9, label="classes permuted (mean)")
    axes.axvline(100 * audit["chance"].iloc[0], color="black", lw=0.8, ls="--", label="chance")
    _legend_below(axes, 2)


def ablation_dots(axes: Axes, ablation: pd.DataFrame, colours: dict[str, str]) -> None:
    """Accuracy from each setting alone (filled), from all others (open) and from all settings (line), by stream."""
    features, streams = (list(dict.fromkeys(ablation[column])) for column in ("feature", "stream"))
    for offset, stream in zip(np.linspace(-0.15, 0.15, len(streams)) * (len(streams) > 1), streams, strict=True):
        table = ablation[ablation["stream"] == stream].set_index("feature").loc[features]
        places, colour = np.arange(len(features)) + offset, colours[stream]
        axes.plot(100 * table["alone"], places, "o", ms=4, color=colour, label=f"{stream}: alone", clip_on=False)
        axes.plot(100 * table["without"], places, "o", ms=4, mfc="white", color=colour, label=f"{stream}: all others")
        axes.axvline(100 * table["all"].iloc[0], color=colour, lw=0.8, label=f"{stream}: all")
    axes.set_yticks(range(len(features)), features)
    axes.set(xlabel="top-1 accuracy (%)", xlim=(0, 100), ylim=(len(features) - 0.5, -0.5))
    _legend_below(axes, len(streams))


def _legend_below(axes: Axes, columns: int) -> None:
    """A legend below the figure, regardless of its height."""
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
