"""From the motion of one clip to the input of a network: which frames, which crops, mirrored or not, in which units.

::

    protocol = EvalViews.from_sections(config.mv, config.motion, dataset.horizontal_flip)
    tensor = to_input(eval_views(motion, protocol))  # (1, V, 2, S, S)

Views hold small int16 grids. They become pixel fields on the device that uses them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moclip.config.strategies import strategy
from moclip.inputs.accumulate import accumulate
from moclip.inputs.transforms import GridShape, InputScale, by_torch
from moclip.video import Motion
from moclip.video.layout import refine

# --- what the views are ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Protocol:
    """What training and testing share.

    Attributes
    ----------
    segments : S, frames per clip.
    sampling, crop_mode, flip : names of strategies, see `moclip.config.strategies`.
    mirror : clips may be mirrored: a flip does not change the class.
    size : side of the network's input, pixels.
    field : ``raw`` or ``accumulated``.
    scale : units of the network's input.
    seed : of everything random.
    """

    SEGMENTS: ClassVar[str]

    segments: int
    sampling: str
    crop_mode: str
    flip: str
    mirror: bool
    size: int
    field: str
    scale: InputScale
    seed: int

    @classmethod
    def from_sections(cls, mv: Any, motion: Any, mirror: bool) -> Self:
        """From the sections ``mv`` and ``motion`` of a configuration, or of a checkpoint's header (dictionaries)."""
        values = dict(mv) | dict(motion)
        scale = InputScale(values["units"], values["bound"])
        values |= {"segments": values[cls.SEGMENTS], "size": values["input_size"], "mirror": mirror, "scale": scale}
        values["train_scales"] = tuple(values["train_scales"])
        return cls(**{field.name: values[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class TrainViews(_Protocol):
    """How a clip is shown in training: random segments, one random crop per clip (or per segment).

    Attributes
    ----------
    train_scales : sides of the crops, as shares of the frame's shorter side.
    """

    SEGMENTS = "segments"

    train_scales: tuple[float, ...]


@dataclass(frozen=True)
class EvalViews(_Protocol):
    """How a clip is shown in testing: the middle of each segment, V = segments * crops views.

    Attributes
    ----------
    crops : 1, 3, or 10: corners and centre, and the same mirrored. Without ``mirror``, 10 are 5: the others would
        be repeated.
    crop : side of a crop, as a share of the frame's shorter side.
    test_flip : name of a strategy: are the second five of ten crops mirrored?
    """

    SEGMENTS = "views"

    crops: int
    crop: float
    test_flip: str


@dataclass(frozen=True)
class Views:
    """Views of B clips (one, until they are joined), as `to_input` takes them.

    Attributes
    ----------
    grids : int16 (B, S, gh, gw, 2), or (B, S, K, gh, gw, 2) where the device accumulates K frames
        Vectors on the blocks of ``shape``.
    factors : float32 (B,), network units per unit of the grids.
    scales : int (B,), units of the grids per pixel.
    boxes : float32 (B, V, 4), left, top, width, height in pixels; V is S times the crops per segment.
    mirrored : bool (B, V).
    """

    shape: GridShape
    protocol: TrainViews | EvalViews
    grids: Tensor
    factors: Tensor
    scales: Tensor
    boxes: Tensor
    mirrored: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Everything that has a row per clip."""
        return self.grids, self.factors, self.scales, self.boxes, self.mirrored

    def to(self, device: str | torch.device) -> "Views":
        """The same views on another device."""
        return Views(self.shape, self.protocol, *(tensor.to(device) for tensor in self.tensors()))

    def accumulated(self) -> "Views":
        """The same views with accumulated pixel fields (blocks of one pixel) instead of the grids of K frames."""
        if self.grids.dim() == 5:
            return self
        scales = self.scales.repeat_interleave(self.grids.shape[1])
        sums = accumulate(self.grids.flatten(0, 1), *self.shape, scales)  # (B * S, H, W, 2)
        return replace(self, grids=sums.unflatten(0, self.grids.shape[:2]), shape=self.shape._replace(block_size=1))

    def refined(self, block_size: int, frames: int) -> "Views":
        """The same vectors on smaller blocks, and with zeros before them to make ``frames`` frames per segment."""
        shape = self.shape._replace(block_size=block_size)
        lead = self.grids.shape[:-3]
        fine = refine(self.grids.flatten(0, -4).numpy(), self.shape.block_size, *shape)
        grids = torch.from_numpy(fine).unflatten(0, lead)
        if grids.dim() == 6:
            grids = F.pad(grids, (0, 0, 0, 0, 0, 0, frames - grids.shape[2], 0))
        return replace(self, grids=grids, shape=shape)


# --- one clip -------------------------------------------------------------------------------------------------------


def train_views(motion: Motion, protocol: TrainViews, rng: np.random.Generator) -> Views:
    """Views of one clip for one training step: random segments, crops and flip, drawn from ``rng`` in this order.

    Raises
    ------
    ValueError
        No frame of the clip has motion vectors.
    """
    frames = strategy("sampling", protocol.sampling)(motion, protocol.segments, rng)
    boxes = strategy("crop_mode", protocol.crop_mode).train(motion.height, motion.width, protocol, rng)
    views = _views(motion, protocol, frames, boxes)
    views.mirrored[:] = protocol.mirror and rng.random() < 0.5
    return views


def eval_views(motion: Motion, protocol: EvalViews) -> Views:
    """Views of one clip for testing: segment by segment, each with its crops.

    Raises
    ------
    ValueError
        No frame of the clip has motion vectors.
    """
    frames = strategy("sampling", protocol.sampling)(motion, protocol.segments)
    crops = strategy("crop_mode", protocol.crop_mode)
    boxes = crops.test(motion.height, motion.width, protocol.crop, min(protocol.crops, 5))  # (C, 4)
    twice = protocol.crops == 10 and protocol.mirror
    views = _views(motion, protocol, frames, np.tile(boxes, (len(frames) * (1 + twice), 1)))
    if twice and strategy("test_flip", protocol.test_flip)(protocol.seed, views.grids.numpy()):
        views.mirrored.view(len(frames), 2, len(boxes))[:, 1] = True
    return views


def _views(motion: Motion, protocol: TrainViews | EvalViews, frames: np.ndarray, boxes: np.ndarray) -> Views:
    """Views of some frames (S,) with their crops (V, 4), none of them mirrored."""
    shape = GridShape(motion.block_size, motion.height, motion.width)
    steps = [] if protocol.field == "raw" else [motion.steps(int(frame)) for frame in frames]
    longest = max(map(len, steps), default=0)
    if not steps:
        grids = motion.grids(frames)  # (S, gh, gw, 2)
    elif longest > motion.block_size**2:  # the grids are larger than the field itself, which is therefore made here
        grids = np.rint(motion.fields(frames) * motion.scale).astype(np.int16)
        shape = shape._replace(block_size=1)
    else:
        grids = np.zeros((len(frames), longest, *motion.grids(frames[:1]).shape[1:]), np.int16)
        for segment, since in enumerate(steps):  # the frames since the I-frame, after zeros
            grids[segment, longest - len(since) :] = motion.grids(since)
    factor = np.float32(protocol.scale.factor(motion.width, motion.fps) / motion.scale)
    arrays = (grids, factor, motion.scale, boxes, np.zeros(len(boxes), bool))
    return Views(shape, protocol, *(torch.from_numpy(np.asarray(array)[None]) for array in arrays))


# --- a batch --------------------------------------------------------------------------------------------------------


def join(parts: Sequence[Views]) -> Views:
    """Views of several clips under one protocol as one batch, in order.

    Raises
    ------
    ValueError
        Clips of several frame sizes.
    """
    check_frame_sizes((part.shape.height, part.shape.width) for part in parts)
    if len({part.grids.dim() for part in parts}) > 1:
        parts = [part.accumulated() for part in parts]
    finest = min(part.shape.block_size for part in parts)
    longest = max(part.grids.shape[2] for part in parts)
    parts = [part.refined(finest, longest) for part in parts]
    tensors = (torch.cat(column) for column in zip(*(part.tensors() for part in parts), strict=True))
    return Views(parts[0].shape, parts[0].protocol, *tensors)


def check_frame_sizes(sizes: Iterable[tuple[int, int]]) -> None:
    """Raise ValueError unless all (height, width) are the same."""
    distinct = sorted(set(sizes))
    if len(distinct) > 1:
        raise ValueError(
            f"clips of {len(distinct)} frame sizes, for instance {distinct[:3]}; "
            "re-encode them one way first (data.reencode=true)"
        )


def to_input(views: Views | Sequence[Views], device: str | torch.device = "cpu") -> Tensor:
    """Network input of one clip or several, computed on ``device``: float32 (B, V, 2, size, size) in [-0.5, 0.5].

    Raises
    ------
    ValueError
        Clips of several frame sizes.
    """
    batch = (views if isinstance(views, Views) else join(views)).to(device).accumulated()
    protocol, segments, count = batch.protocol, batch.grids.shape[1], batch.boxes.shape[1]
    vectors, factors = batch.grids.flatten(0, 1), batch.factors.repeat_interleave(segments)
    if count > segments:  # several crops of each
        vectors, factors = (each.repeat_interleave(count // segments, 0) for each in (vectors, factors))
    boxes, mirrored = batch.boxes.flatten(0, 1), batch.mirrored.flatten()  # (B * V, 4), (B * V,)
    method = by_torch
    if vectors.device.type == "cpu":
        from moclip.inputs.kernels import by_kernel as method  # numba; about ten times as fast

    def transform(factors: Tensor, mirrored: Tensor) -> Tensor:
        return method(vectors, factors, mirrored, boxes, protocol.scale.bound, protocol.size, batch.shape)

    inputs = strategy("flip", protocol.flip)(transform, torch.stack([factors, factors], dim=1), mirrored)
    return inputs.unflatten(0, (-1, count))  # type: ignore[no-any-return]
