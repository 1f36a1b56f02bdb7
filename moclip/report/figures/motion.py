"""Figures of motion: arrows and colours, the blocks of a coded stream, and the types of its frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

if TYPE_CHECKING:  # this room loads no PyAV
    from moclip.video import Motion

# Okabe and Ito's palette. I-frames and intra blocks share a colour: an I-frame has intra blocks only.
TYPE_COLOURS = {"I": "#D55E00", "P": "#0072B2", "B": "#009E73"}
KIND_COLOURS = {"vector": "#0072B2", "zero vector": "#D9E6EF", "intra": "#D55E00", "future only": "#009E73"}
_MASK_KINDS = np.array(["future only", "vector", "intra"])  # by the values of Motion.mask
# Colours of right, down, left and up, from the same palette; other directions are mixed from their two neighbours. The
# usual rainbow cannot be read by people with red-green colour blindness.
DIRECTION_COLOURS = ("#D55E00", "#F0E442", "#0072B2", "#CC79A7")
_ARROWS: dict[str, Any] = {"color": "#FFD500", "edgecolor": "black", "lw": 0.3, "angles": "xy", "scale_units": "xy"}
_GAP = 0.12  # between thumbnails, as a share of their width


def colour_field(field: np.ndarray, bound: float) -> np.ndarray:
    """A motion field as colours: the hue is the direction (`DIRECTION_COLOURS`), white is no motion.

    Parameters
    ----------
    field : (H, W, 2) pixels.
    bound : length, in pixels, of the vectors with full colour; longer ones look the same.

    Returns
    -------
    float (H, W, 3) RGB
    """
    quarter = np.arctan2(field[..., 1], field[..., 0]) / (np.pi / 2) % 4  # 0 right, 1 down, 2 left, 3 up
    first = np.floor(quarter).astype(int) % 4
    colours = np.array([to_rgb(colour) for colour in DIRECTION_COLOURS])
    share = (quarter % 1)[..., None]
    hue = (1 - share) * colours[first] + share * colours[(first + 1) % 4]
    length = np.clip(_lengths(field) / bound, 0, 1)[..., None]
    return 1 - length * (1 - hue)


def _lengths(field: np.ndarray) -> np.ndarray:
    return np.hypot(field[..., 0], field[..., 1])


def quiver(axes: Axes, image: np.ndarray, field: np.ndarray, step: int, magnify: float) -> None:
    """Motion vectors as arrows on a frame: one per ``step`` pixels, ``magnify`` times as long as the vector.

    Parameters
    ----------
    image : uint8 (H, W, 3).
    field : (H, W, 2) pixels; content moves along the arrow.
    """
    height, width = field.shape[:2]
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    vectors = field[y, x]
    moving = vectors.any(axis=-1)
    axes.imshow(image)
    axes.quiver(x[moving], y[moving], *vectors[moving].T, scale=1 / magnify, width=0.012, **_ARROWS)
    axes.set_axis_off()


def references(types: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (frame, reference) in presentation order, by the rules of MPEG-4.

    A P-frame is predicted from the I- or P-frame before it, a B-frame from those before and after it, an I-frame from
    none. H.264 allows other references; its exported vectors do not say which were used.
    """
    anchors = [index for index, kind in enumerate(types) if kind != "B"]
    pairs = []
    for index, kind in enumerate(types):
        if kind == "I":
            continue
        pairs += [(index, anchor) for anchor in anchors if anchor < index][-1:]
        if kind == "B":
            pairs += [(index, anchor) for anchor in anchors if anchor > index][:1]
    return pairs


def gop_strip(axes: Axes, frames: np.ndarray, types: Sequence[str], title: str) -> None:
    """A row of thumbnails framed in the colour of their type, with an arrow from each frame to its references.

    Parameters
    ----------
    frames : uint8 (T, H, W, 3).
    types : "I", "P" or "B" of each frame.
    """
    height = frames.shape[1] / frames.shape[2]  # of a thumbnail, relative to its width
    middle = (1 + _GAP) * np.arange(len(frames)) + 0.5
    for index, (frame, kind) in enumerate(zip(frames, types, strict=True)):
        colour, left = TYPE_COLOURS[kind], middle[index] - 0.5
        axes.imshow(frame, extent=(left, left + 1, height, 0), interpolation="none")
        axes.add_patch(Rectangle((left, 0), 1, height, fill=False, edgecolor=colour, linewidth=1.5))
        axes.text(middle[index], -0.1, f"{kind}{index}", ha="center", fontsize=7, color=colour, weight="bold")
    deepest = 0
    for index, reference in references(types):
        side = np.sign(index - reference)  # the arrow comes from the right (1) or from the left of its reference
        reach = abs(index - reference)
        deepest = max(deepest, reach)
        # Arrows from near frames end farther out.
        ends = (middle[index] - 0.12 * side, middle[reference] + max(0.42 - 0.1 * reach, 0) * side)
        tail, head = ((end, height + 0.08) for end in ends)
        axes.add_patch(FancyArrowPatch(
            tail, head, connectionstyle=f"arc3,rad={-side * 0.45 / reach**0.5}", arrowstyle="->", mutation_scale=5,
            shrinkA=0, shrinkB=0, linewidth=0.7, color=TYPE_COLOURS[types[index]],
        ))  # fmt: skip
    axes.set(xlim=(-_GAP, middle[-1] + 0.5 + _GAP), ylim=(height + 0.2 + 0.14 * deepest, -0.5), aspect="equal")
    axes.set_title(title, loc="left", fontsize=7, pad=2)
    axes.set_axis_off()


def block_map(axes: Axes, frame: np.ndarray, motion: "Motion", t: int, magnify: float) -> None:
    """A frame under the grid of its blocks, with an arrow in each block, ``magnify`` times as long as the vector.

    Parameters
    ----------
    frame : uint8 (H, W, 3), frame ``t`` of the video that ``motion`` was read from.
    """
    vectors = motion.grid[t] / motion.scale * magnify  # (gh, gw, 2) pixels
    row, column = np.nonzero(vectors.any(axis=-1))
    centre = (motion.block_size - 1) / 2
    axes.imshow(frame, interpolation="none")
    x, y = column * motion.block_size + centre, row * motion.block_size + centre
    width = 0.08 * motion.block_size
    axes.quiver(x, y, *vectors[row, column].T, scale=1, pivot="mid", units="xy", width=width, **_ARROWS)
    _grid_lines(axes, motion, "white")
    axes.set_axis_off()


def three_views(axes: Sequence[Axes], frame: np.ndarray, motion: "Motion", t: int) -> None:
    """A frame with arrows, and its raw and accumulated fields as colours, each scaled by its own `reach`.

    A video with B-frames has no accumulated field; the third panel then says so.

    Parameters
    ----------
    axes : three panels.
    frame : uint8 (H, W, 3), frame ``t`` of the video that ``motion`` was read from.
    """
    raw = motion.raw(t)
    # Most arrows are one block long, none more than four.
    magnify = motion.block_size * min(1.25 / reach(raw), 4 / max(_lengths(raw).max(), 1))
    quiver(axes[0], frame, raw, motion.block_size, magnify)
    axes[0].set_title(f"frame {t} ({motion.types[t]}), arrows {magnify:.1f} times")
    shown = {"raw": raw}
    if "B" in motion.types:
        axes[2].text(0.5, 0.5, "no sum over\nB-frames", ha="center", va="center", fontsize=7)
        axes[2].set_axis_off()
    else:
        shown["accumulated"] = motion.accumulated(t)
    for place, (name, field) in zip(axes[1:], shown.items(), strict=False):
        _field(place, field, reach(field))
        place.set_title(f"{name}, colours to {reach(field):.1f} px")


def reach(field: np.ndarray) -> float:
    """Length, in pixels, that bounds the colours and arrows of a field (H, W, 2): at least 1.

    It is the 98th percentile of the moving pixels; with the longest vector, one stray block would make all others pale.
    """
    lengths = _lengths(field)
    moving = lengths[lengths > 0]
    return max(float(np.percentile(moving, 98)), 1.0) if len(moving) else 1.0


def _field(axes: Axes, field: np.ndarray, bound: float) -> None:
    """A motion field as colours, with an outline because a field without motion is white."""
    axes.imshow(colour_field(field, bound), interpolation="none")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4, color="#888888")


def block_kinds(motion: "Motion", t: int) -> np.ndarray:
    """Kind of each block of a frame: "vector", "zero vector", "intra", or "future only" (B-frames).

    Returns
    -------
    str (gh, gw)
    """
    kinds = _MASK_KINDS[motion.mask[t]]
    still = (kinds == "vector") & ~motion.grid[t].any(axis=-1)
    return np.where(still, "zero vector", kinds)  # (gh, gw)


def mask_map(axes: Axes, motion: "Motion", t: int) -> None:
    """The kind of each block of a frame as a colour, with a legend that counts the blocks."""
    kinds = block_kinds(motion, t)
    colours = np.array([[to_rgb(KIND_COLOURS[kind]) for kind in row] for row in kinds])  # (gh, gw, 3)
    height, width = np.multiply(kinds.shape, motion.block_size)
    axes.imshow(colours, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="none")
    _grid_lines(axes, motion, "#9AA5AD")
    patches = [
        Patch(facecolor=colour, edgecolor="#888888", linewidth=0.4, label=f"{kind} ({(kinds == kind).sum()})")
        for kind, colour in KIND_COLOURS.items()
        if kind in kinds
    ]
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, handlelength=1.2)
    axes.set(xlim=(-0.5, motion.width - 0.5), ylim=(motion.height - 0.5, -0.5))
    axes.set_axis_off()


def field_strip(axes: Sequence[Axes], motion_fields: Sequence[np.ndarray], labels: Sequence[str], name: str) -> None:
    """A row of motion fields on one colour scale, with its key in the last panel.

    Parameters
    ----------
    axes : one panel per field, and one for the key.
    motion_fields : (H, W, 2) pixels each.
    labels : one per field.
    name : of the row.
    """
    bound = max(reach(field) for field in motion_fields)
    for place, field, label in zip(axes, motion_fields, labels, strict=False):
        _field(place, field, bound)
        place.set_title(label, fontsize=7, pad=2)
    axes[0].set_ylabel(name, fontsize=7)
    colour_wheel(axes[-1], bound)


def colour_wheel(axes: Axes, bound: float | None = None) -> None:
    """Key of `colour_field`: a point of the disc has the colour of the vector from the centre to that point.

    Parameters
    ----------
    bound : length in pixels at the rim, written below the disc; longer vectors have the colours of the rim.
    """
    y, x = np.mgrid[-1:1:201j, -1:1:201j]
    colours = colour_field(np.stack([x, y], axis=-1), 1)  # (201, 201, 3)
    inside = np.hypot(x, y) <= 1
    axes.imshow(np.dstack([colours, inside]), extent=(-1, 1, 1, -1))
    axes.text(1.15, 0, "right", ha="left", va="center", fontsize=6)
    axes.text(-1.15, 0, "left", ha="right", va="center", fontsize=6)
    axes.text(0, -1.1, "up", ha="center", va="bottom", fontsize=6)
    axes.text(0, 1.1, "down" if bound is None else f"down, {bound:.1f} px", ha="center", va="top", fontsize=6)
    axes.set(xlim=(-2.4, 2.4), ylim=(1.8, -1.8), aspect="equal")
    axes.set_axis_off()


def _grid_lines(axes: Axes, motion: "Motion", colour: str) -> None:
    """Borders of the blocks, at half coordinates: the centres of pixels have whole ones."""
    columns = np.arange(motion.block_size, motion.width, motion.block_size) - 0.5
    rows = np.arange(motion.block_size, motion.height, motion.block_size) - 0.5
    axes.vlines(columns, -0.5, motion.height - 0.5, colors=colour, linewidth=0.4, alpha=0.7)
    axes.hlines(rows, -0.5, motion.width - 0.5, colors=colour, linewidth=0.4, alpha=0.7)
