"""Which part of a frame the network sees: boxes (left, top, width, height) in pixels, and the mirrored crops."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor


class Crops(NamedTuple):
    """A way to crop (``mv.crop_mode``).

    ``train(height, width, protocol, rng)`` gives the boxes of the segments of one training sample, float32 (S, 4);
    ``protocol`` is a `moclip.inputs.views.TrainViews`. ``test(height, width, crop, crops)`` gives the boxes of every
    test segment, float32 (C, 4), see `view_boxes`.
    """

    train: Callable[..., np.ndarray]
    test: Callable[[int, int, float, int], np.ndarray]


def view_boxes(height: int, width: int, crop: float, crops: int = 1) -> np.ndarray:
    """The crops of a test segment: float32 (C, 4).

    Parameters
    ----------
    crop : side of the crop, as a share of the frame's shorter side.
    crops : 1 is the centre; 3 lie along the longer side (start, middle, end); 5 are the corners and the centre.
    """
    side = crop * min(height, width)
    return place_boxes(height, width, (side, side), crops)


def place_boxes(height: int, width: int, sides: tuple[float, float], crops: int) -> np.ndarray:
    """Boxes of one size (width, height) at the test positions: float32 (C, 4)."""
    along = ((0, 1), (1, 1), (2, 1)) if width >= height else ((1, 0), (1, 1), (1, 2))
    # (x, y) in half-steps of the free space: 0 is left or top, 1 the centre, 2 right or bottom.
    positions = {1: ((1, 1),), 3: along, 5: ((0, 0), (2, 0), (0, 2), (2, 2), (1, 1))}[crops]
    wide, high = sides
    return np.array([((width - wide) * x / 2, (height - high) * y / 2, wide, high) for x, y in positions], np.float32)


def random_boxes(height: int, width: int, protocol: Any, rng: np.random.Generator) -> np.ndarray:
    """TSN's multi-scale crop of the frame as it is, one for all segments of a training sample: float32 (S, 4).

    Width and height are drawn from ``train_scales`` times the shorter side, at most one step apart in the list; the
    position is one of 13 fixed ones (corners, middles of the edges and quarters, centre).
    """
    scales = protocol.train_scales
    first = int(rng.integers(len(scales)))
    second = int(rng.integers(max(first - 1, 0), min(first + 2, len(scales))))
    box_width, box_height = (scales[step] * min(height, width) for step in (first, second))
    positions = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2)]
    positions += [(2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    across, down = positions[int(rng.integers(len(positions)))]
    box = (width - box_width) * across / 4, (height - box_height) * down / 4, box_width, box_height
    return np.tile(np.array(box, np.float32), (protocol.segments, 1))


CENTER = Crops(random_boxes, view_boxes)  # ``mv.crop_mode: center``


def exact_flip(transform: Callable[[Tensor, Tensor], Tensor], factors: Tensor, mirrored: Tensor) -> Tensor:
    """The mirror image, made in pixel units (``mv.flip: exact``)."""
    return transform(factors, mirrored)


def always(seed: int, grids: np.ndarray) -> bool:
    """The second five of ten test crops are mirrored (``mv.test_flip: always``)."""
    return True
