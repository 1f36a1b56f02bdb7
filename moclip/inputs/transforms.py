"""How a motion field becomes a network's input: units, flip, 8-bit scaling, crop.

Everything works on batches, on any device. Fields are (N, 2, H, W), channel 0 is x (+ right), channel 1 is y (+ down),
value = destination minus source.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Frame = tuple[int, int, int]  # side of a cell, height, width; pixels
REFERENCE_WIDTH, REFERENCE_FPS = 340, 25  # the format for which the paper's bound of 20 pixels was chosen


@dataclass(frozen=True)
class InputScale:
    """From stored vectors to network units. It is stored in every checkpoint, and checked when one is loaded.

    Attributes
    ----------
    units : ``pixels`` of the video itself, or ``equivalent``: what the displacement would be in a video 340 pixels
        wide, in 1/25 s.
    bound : displacement that maps to the end of the 8-bit range; larger ones saturate.
    """

    units: str = "pixels"
    bound: float = 20.0

    def factor(self, width: int, fps: float) -> float:
        """What a displacement in pixels a frame is multiplied by."""
        if self.units == "pixels":
            return 1.0
        if self.units == "equivalent":
            if fps <= 0:
                raise ValueError(
                    "a video that does not say its frame rate has no equivalent units; use motion.units=pixels"
                )
            return (REFERENCE_WIDTH / width) * (fps / REFERENCE_FPS)
        raise ValueError(f"units are 'pixels' or 'equivalent', not {self.units!r}")


def to_input(
    vectors: Tensor, factors: Tensor, mirrored: Tensor, boxes: Tensor, bound: float, size: int, frame: Frame
) -> Tensor:
    """From stored vectors to the network's input: units, flip, 8 bit, crop.

    Parameters
    ----------
    vectors : (N, gh, gw, 2), numbers of any type on the cells of ``frame``.
    factors : float32 (N, 2), network units a unit of ``vectors``, for x and y.
    mirrored : bool (N,), see `flip`.
    boxes, size : see `crop_resize`.
    bound : see `quantise`.
    frame : side of a cell (1: a pixel), height and width of the video, pixels.

    Returns
    -------
    Tensor
        (N, 2, size, size) in [-0.5, 0.5], on the device of ``vectors``.
    """
    if vectors.device.type == "cpu":
        from moclip.inputs.kernels import by_kernel  # numba; about ten times as fast

        return by_kernel(vectors, factors, mirrored, boxes, bound, size, frame)
    return by_torch(vectors, factors, mirrored, boxes, bound, size, frame)


def by_torch(
    vectors: Tensor, factors: Tensor, mirrored: Tensor, boxes: Tensor, bound: float, size: int, frame: Frame
) -> Tensor:
    """`to_input` with torch's operations."""
    fields = expand(vectors * factors[:, None, None], *frame)
    return crop_resize(quantise(flip(fields, mirrored), bound), boxes, size)


def expand(grids: Tensor, block: int, height: int, width: int) -> Tensor:
    """Block grids to pixel fields: (N, gh, gw, 2) -> float32 (N, 2, height, width), a block's vector at its pixels."""
    fields = grids.permute(0, 3, 1, 2).float()
    return fields.repeat_interleave(block, 2).repeat_interleave(block, 3)[:, :, :height, :width]


def flip(fields: Tensor, which: Tensor) -> Tensor:
    """Mirror left and right where ``which`` (N,) is True: the columns change sides and x changes its sign.

    In pixel units, before quantising: there the mirror image is exact, and flipping twice changes nothing.
    """
    turned = fields.flip(-1) * fields.new_tensor([-1.0, 1.0]).view(2, 1, 1)
    return torch.where(which.view(-1, 1, 1, 1), turned, fields)


def quantise(fields: Tensor, bound: float = 20.0) -> Tensor:
    """The paper's scaling, section II-A: pixels -> 8 bit -> [-0.5, 0.5].

    v * 127.5 / bound is truncated toward zero, moved by 128 and clipped to 0..255, then divided by 255, minus 0.5. No
    motion becomes 128 / 255 - 0.5 = 0.002, not 0.
    """
    return (torch.trunc(fields * (127.5 / bound)) + 128).clamp_(0, 255) / 255 - 0.5


# Places of the crops in testing: left and top, in halves of the room that the crop leaves.
CENTRE = ((1, 1),)
FIVE = ((0, 0), (2, 0), (0, 2), (2, 2), (1, 1))


def view_boxes(height: int, width: int, crop: float, crops: int = 1, squeeze: bool = False) -> np.ndarray:
    """The crops of a test view: float32 (C, 4) left, top, width, height in pixels.

    Parameters
    ----------
    crop : side of the crop, as a share of the frame's shorter side.
    crops : 1 is the centre; 3 lie along the longer side (start, middle, end); 5 are the corners and the centre.
    squeeze : the frame is made a square first: crops are shares of its width and of its height.
    """
    wide, high = (crop * width, crop * height) if squeeze else (crop * min(height, width),) * 2
    along = ((0, 1), (1, 1), (2, 1)) if width >= height else ((1, 0), (1, 1), (1, 2))
    places = {1: CENTRE, 3: along, 5: FIVE}[crops]
    return np.array([((width - wide) * x / 2, (height - high) * y / 2, wide, high) for x, y in places], np.float32)


def centre_box(height: int, width: int, crop: float) -> np.ndarray:
    """The centre crop: float32 (4,) left, top, width, height in pixels; its side is ``crop`` times the shorter side."""
    return view_boxes(height, width, crop)[0]


def random_box(height: int, width: int, scales: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """TSN's multi-scale crop: float32 (4,) left, top, width, height in pixels.

    Width and height are drawn from ``scales`` times the shorter side, at most one step apart in the list; the place is
    one of 13 fixed ones (corners, middles of the edges and quarters, centre).
    """
    first = int(rng.integers(len(scales)))
    second = int(rng.integers(max(first - 1, 0), min(first + 2, len(scales))))
    box_width, box_height = (scales[step] * min(height, width) for step in (first, second))
    places = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    across, down = places[int(rng.integers(len(places)))]
    return np.array(
        [(width - box_width) * across / 4, (height - box_height) * down / 4, box_width, box_height], np.float32
    )


def squeezed_boxes(
    height: int, width: int, scales: tuple[float, ...], size: int, segments: int, rng: np.random.Generator
) -> np.ndarray:
    """The published code's training crops: float32 (S, 4) left, top, width, height in pixels.

    It resizes the frame, whatever its shape, to a square of side ``size`` / scale and cuts ``size`` x ``size`` pixels
    from it: one scale a clip, any place, drawn anew in each segment. In the frame's own pixels that is a box of the
    frame's shape.

    Parameters
    ----------
    size : side of the network's input.
    """
    room = round(size / scales[int(rng.integers(len(scales)))]) - size
    places = rng.integers(room + 1, size=(segments, 2))
    frame = np.array([width, height])
    sides = np.broadcast_to(frame * size / (size + room), (segments, 2))
    return np.concatenate([frame * places / (size + room), sides], axis=1).astype(np.float32)


def crop_resize(fields: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box from each field and resize it, bilinearly.

    Parameters
    ----------
    fields : (N, 2, H, W).
    boxes : (N, 4) left, top, width, height in pixels.
    size : side of the result. Magnitudes are not rescaled, as in TSN.

    Returns
    -------
    Tensor
        (N, 2, size, size).
    """
    height, width = fields.shape[-2:]
    left, top, box_width, box_height = boxes.to(fields.dtype).unbind(1)
    theta = fields.new_zeros(len(fields), 2, 3)
    theta[:, 0, 0] = box_width / width
    theta[:, 0, 2] = (2 * left + box_width) / width - 1
    theta[:, 1, 1] = box_height / height
    theta[:, 1, 2] = (2 * top + box_height) / height - 1
    where = F.affine_grid(theta, [len(fields), 2, size, size], align_corners=False)
    return F.grid_sample(fields, where, mode="bilinear", padding_mode="border", align_corners=False)
