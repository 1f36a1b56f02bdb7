"""How a motion field becomes a network's input: units, flip, 8-bit scaling, crop.

Everything works on batches, on any device. Fields are (N, 2, H, W), channel 0 is x (+ right), channel 1 is y (+ down),
value = destination minus source.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

REFERENCE_WIDTH, REFERENCE_FPS = 340, 25  # the format for which the paper's bound of 20 pixels was chosen


class GridShape(NamedTuple):
    """What block grids cover: the side of a block (1: a pixel) and the size of the frame, in pixels."""

    block_size: int
    height: int
    width: int


@dataclass(frozen=True)
class InputScale:
    """From stored vectors to network units. Every checkpoint stores it, and loading one checks it.

    Attributes
    ----------
    units : ``pixels`` of the video itself, or ``equivalent``: what the displacement would be in a video 340 pixels
        wide, in 1/25 s.
    bound : displacement that maps to the end of the 8-bit range; larger ones saturate.
    """

    units: str = "pixels"
    bound: float = 20.0

    def factor(self, width: int, fps: float) -> float:
        """The factor on a displacement in pixels per frame."""
        if self.units == "pixels":
            return 1.0
        if self.units == "equivalent":
            if fps <= 0:
                raise ValueError(
                    "this video does not state its frame rate, so it has no equivalent units; use motion.units=pixels"
                )
            return (REFERENCE_WIDTH / width) * (fps / REFERENCE_FPS)
        raise ValueError(f"units are 'pixels' or 'equivalent', not {self.units!r}")


def by_torch(
    vectors: Tensor, factors: Tensor, mirrored: Tensor, boxes: Tensor, bound: float, size: int, shape: GridShape
) -> Tensor:
    """From stored vectors to the network's input: units, flip, 8 bit, crop.

    Parameters
    ----------
    vectors : (N, gh, gw, 2), numbers of any type on the blocks of ``shape``.
    factors : float32 (N, 2), network units per unit of ``vectors``, for x and y.
    mirrored : bool (N,), see `flip`.
    boxes, size : see `crop_resize`.
    bound : see `quantise`.

    Returns
    -------
    Tensor
        (N, 2, size, size) in [-0.5, 0.5], on the device of ``vectors``.
    """
    fields = expand(vectors * factors[:, None, None], *shape)
    return crop_resize(quantise(flip(fields, mirrored), bound), boxes, size)


def expand(grids: Tensor, block_size: int, height: int, width: int) -> Tensor:
    """Block grids to pixel fields: (N, gh, gw, 2) -> float32 (N, 2, height, width), a block's vector at its pixels."""
    fields = grids.permute(0, 3, 1, 2).float()
    return fields.repeat_interleave(block_size, 2).repeat_interleave(block_size, 3)[:, :, :height, :width]


def flip(fields: Tensor, which: Tensor) -> Tensor:
    """Mirror left and right where ``which`` (N,) is True: the columns change sides and x changes its sign.

    This happens in pixel units, before quantising. The mirror image is exact there: flipping twice is the identity.
    """
    mirrored = fields.flip(-1) * fields.new_tensor([-1.0, 1.0]).view(2, 1, 1)
    return torch.where(which.view(-1, 1, 1, 1), mirrored, fields)


def quantise(fields: Tensor, bound: float = 20.0) -> Tensor:
    """The paper's scaling, section II-A: pixels -> 8 bit -> [-0.5, 0.5]. This is THE definition.

    v * 127.5 / bound is truncated toward zero, 128 is added, and the result is clipped to 0..255, then divided by 255,
    minus 0.5. No motion becomes 128 / 255 - 0.5 = 0.002, not 0. `moclip.inputs.kernels` and `moclip.video.fields` hold
    compiled forms of the same scaling; tests compare them with this one bit for bit.
    """
    return (torch.trunc(fields * (127.5 / bound)) + 128).clamp_(0, 255) / 255 - 0.5


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
