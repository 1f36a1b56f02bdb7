"""Choices of the published code (microa/MoCLIP-Lite 4eb23fb), each with the interface of the core's own.

`moclip.config.strategies` names them; protocol ``reference`` uses them.
"""

import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from moclip.inputs.crops import Crops, place_boxes
from moclip.inputs.views import TrainViews
from moclip.video import Motion


def reference_frames(motion: Motion, segments: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Frames of a clip as its sampler takes them: int64 (S,), in presentation order (``mv.sampling: reference``).

    With ``rng``, one frame is drawn from each of `reference_ranges` (training); without it, `reference_centres` are
    taken (testing). CoViAR does not count the last frame, so it is never taken. An index beyond the clip, which that
    code turns into a field of zeros, becomes the last frame counted. I-frames have no motion: the P-frame before one
    takes its place, and at the beginning of a clip the first P-frame after it.
    """
    count = max(len(motion.types) - 1, 1)
    ranges = reference_ranges(count, segments)
    drawn = reference_centres(count, segments) if rng is None else [rng.integers(*each) for each in ranges]
    moving = np.flatnonzero(motion.types != "I")
    before = np.searchsorted(moving, np.minimum(drawn, count - 1), side="right") - 1
    return moving[np.maximum(before, 0)]


def reference_ranges(count: int, segments: int) -> list[tuple[int, int]]:
    """Where training frames are drawn: [first, last) of each segment, of ``count`` frames as CoViAR counts them."""
    size = (count - 2) / segments  # the last frame is never drawn, nor is frame 0
    edges = [round(size * segment) + 1 for segment in range(segments + 1)]  # round() takes a half to the even number
    return [(first, max(first + 1, last)) for first, last in pairwise(edges)]


def reference_centres(count: int, segments: int) -> list[int]:
    """The test frames; where ``count`` is S + 1, the last one may lie beyond the clip."""
    return [round((count - 1) / segments * (segment + 0.5)) + 1 for segment in range(segments)]


def squashed_train_boxes(height: int, width: int, protocol: TrainViews, rng: np.random.Generator) -> np.ndarray:
    """Training crops: float32 (S, 4) left, top, width, height in pixels.

    The code resizes the frame, regardless of its shape, to a square of side ``size`` / scale and cuts ``size`` x
    ``size`` pixels from it: one scale per clip, another position in each segment. In the pixels of the frame itself,
    that is a box of the frame's shape.
    """
    size, scales = protocol.size, protocol.train_scales
    room = round(size / scales[int(rng.integers(len(scales)))]) - size
    positions = rng.integers(room + 1, size=(protocol.segments, 2))
    frame = np.array([width, height])
    sides = np.broadcast_to(frame * size / (size + room), (protocol.segments, 2))
    return np.concatenate([frame * positions / (size + room), sides], axis=1).astype(np.float32)


def squashed_test_boxes(height: int, width: int, crop: float, crops: int) -> np.ndarray:
    """Test crops, shares of the frame's width and of its height: float32 (C, 4)."""
    return place_boxes(height, width, (crop * width, crop * height), crops)


SQUASH = Crops(squashed_train_boxes, squashed_test_boxes)  # ``mv.crop_mode: squash``


def flip_in_8_bit(transform: Callable[[Tensor, Tensor], Tensor], factors: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror, and replace x by 255 - x in 8 bit (``mv.flip: reference``): no motion, 128, becomes 127.

    In the network's input, 255 - x is minus x. The sign change that ``transform`` makes before the 8-bit scaling is
    undone, and made after it.
    """
    sign = torch.where(mirrored, -1.0, 1.0)
    inputs = transform(torch.stack([factors[:, 0] * sign, factors[:, 1]], dim=1), mirrored)
    inputs[:, 0] *= sign.view(-1, 1, 1)
    return inputs


def coin(seed: int, grids: np.ndarray) -> bool:
    """A coin decides whether a clip's second five test crops are mirrored (``mv.test_flip: random``).

    There it follows from no seed; here from ``seed`` and the vectors that are tested, so a clip gets the same result in
    every list.
    """
    return bool(np.random.default_rng([seed, zlib.crc32(grids.tobytes())]).random() < 0.5)
