"""From stored motion to batches: drawn segments for training, centre segments for testing.

Batches carry small int16 grids; they become pixel fields on the device that trains.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from moclip import sampling, transforms
from moclip.config import MV, Config
from moclip.datasets.base import Clip
from moclip.paths import safe_name
from moclip.transforms import InputScale
from moclip.video import load_motion


def motion_path(store: Path, clip: Clip) -> Path:
    """Where a clip's motion lies in a store."""
    return store / clip.class_name / f"{safe_name(clip.name)}.npz"


@dataclass(frozen=True)
class Geometry:
    """What all clips of a batch share: cell size and frame size, in pixels."""

    block: int
    height: int
    width: int


class MotionClips(Dataset):  # type: ignore[type-arg]
    """Clips with their motion in memory (about 250 kB for a clip of UCF101).

    Parameters
    ----------
    clips : the clips; their order is the order of everything computed from this object.
    store : folder that `moclip.features.extract_motion` filled.
    scale : units of the network's input.
    field : ``raw`` or ``accumulated``.
    """

    def __init__(
        self, clips: Sequence[Clip], store: Path, scale: InputScale, field: str, settings: MV, flips: bool
    ) -> None:
        self.clips = list(clips)
        self.scale, self.field, self.settings, self.flips = scale, field, settings, flips
        self.motions = [load_motion(motion_path(store, clip)) for clip in self.clips]
        self.labels = np.array([clip.label for clip in self.clips])
        # I-frames carry no motion: only frames with vectors are drawn.
        self.candidates = [np.flatnonzero(motion.has_motion) for motion in self.motions]
        for clip, candidates in zip(self.clips, self.candidates, strict=True):
            if len(candidates) == 0:
                raise ValueError(f"{clip.path}: no frame carries motion; a single frame, or a still cut of I-frames?")
        self.geometry = self._geometry()

    @classmethod
    def from_config(cls, clips: Sequence[Clip], store: Path, config: Config, flips: bool) -> "MotionClips":
        """With the configuration's units, field and sampling."""
        scale = InputScale(config.motion.units, config.motion.bound)
        return cls(clips, store, scale, config.motion.field, config.mv, flips)

    def __len__(self) -> int:
        return len(self.clips)

    def cells(self, index: int, frames: np.ndarray) -> np.ndarray:
        """Motion of some frames of a clip: int16 (S, gh, gw, 2), to be multiplied by `factor`."""
        motion = self.motions[index]
        if self.field == "accumulated":
            pixels = np.stack([motion.accumulated(int(frame)) for frame in frames])  # (S, H, W, 2)
            return np.rint(pixels * motion.scale).astype(np.int16)
        repeat = motion.block // self.geometry.block
        rows, columns = -(-motion.height // self.geometry.block), -(-motion.width // self.geometry.block)
        return motion.grid[frames].repeat(repeat, 1).repeat(repeat, 2)[:, :rows, :columns]

    def factor(self, index: int) -> np.float32:
        """Network units a stored unit of this clip."""
        motion = self.motions[index]
        return np.float32(self.scale.factor(motion.width, motion.fps) / motion.scale)

    def __getitem__(self, key: tuple[int, ...]) -> dict[str, Any]:
        """Training sample of clip ``index`` in ``epoch``; the same whatever the number of workers.

        Parameters
        ----------
        key : (epoch, index), and perhaps more numbers (not 0) that ask for another stream of random draws.

        Returns
        -------
        dict
            ``cells`` int16 (S, gh, gw, 2); ``factor`` (), ``box`` (4,), ``flip`` () and ``label`` () of all segments.
        """
        index = key[1]
        rng = np.random.default_rng([self.settings.seed, *key])
        chosen = sampling.random_segments(len(self.candidates[index]), self.settings.segments, rng)
        return {
            "cells": self.cells(index, self.candidates[index][chosen]),
            "factor": self.factor(index),
            "box": transforms.random_box(self.geometry.height, self.geometry.width, self.settings.train_scales, rng),
            "flip": bool(self.flips and rng.random() < 0.5),
            "label": int(self.labels[index]),
        }

    def centre_views(self, indices: Sequence[int], views: int) -> dict[str, Tensor]:
        """Test batch of some clips: the centre segments, the centre crop, no flip. Keys as in training."""
        frames = [
            self.candidates[index][sampling.centre_segments(len(self.candidates[index]), views)] for index in indices
        ]
        box = transforms.centre_box(self.geometry.height, self.geometry.width, self.settings.crop)
        return {
            "cells": torch.from_numpy(np.stack([self.cells(*pair) for pair in zip(indices, frames, strict=True)])),
            "factor": torch.from_numpy(np.stack([self.factor(index) for index in indices])),
            "box": torch.from_numpy(box).expand(len(frames), 4),
            "flip": torch.zeros(len(frames), dtype=torch.bool),
        }

    def to_input(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch to network input, on the batch's device: (B, S, 2, size, size) in [-0.5, 0.5]."""
        cells = batch["cells"]  # (B, S, gh, gw, 2)
        count, segments = cells.shape[:2]
        geometry = self.geometry
        fields = transforms.expand(cells.flatten(0, 1), geometry.block, geometry.height, geometry.width)
        fields = fields * batch["factor"].repeat_interleave(segments).view(-1, 1, 1, 1)
        fields = transforms.flip(fields, batch["flip"].repeat_interleave(segments))
        fields = transforms.quantise(fields, self.scale.bound)
        boxes = batch["box"].repeat_interleave(segments, 0)  # one crop and one flip for all segments of a clip
        return transforms.crop_resize(fields, boxes, self.settings.input_size).unflatten(0, (count, segments))

    def saturated(self) -> float:
        """Share of all raw block vectors that the 8-bit scaling cuts off."""
        beyond = total = 0
        for motion in self.motions:
            inter = motion.mask == 1
            cells = motion.grid[inter] / motion.scale * self.scale.factor(motion.width, motion.fps)  # (n, 2)
            beyond += int((np.abs(cells) > self.scale.bound).any(axis=1).sum())
            total += len(cells)
        return beyond / max(total, 1)

    def _geometry(self) -> Geometry:
        sizes = {(motion.height, motion.width) for motion in self.motions}
        if len(sizes) != 1:
            raise ValueError(
                f"clips of {len(sizes)} frame sizes, for instance {sorted(sizes)[:3]}; "
                "re-encode them one way first (data.reencode=true)"
            )
        (height, width) = sizes.pop()
        block = 1 if self.field == "accumulated" else min(motion.block for motion in self.motions)
        return Geometry(block, height, width)


class EpochSampler:
    """Shuffled batches of (epoch, index): the order depends on seed and epoch alone."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed, self.epoch = count, batch_size, seed, 0

    def __len__(self) -> int:
        # Never a batch of a single clip, which BatchNorm could not use.
        return max(1, min(math.ceil(self.count / self.batch_size), self.count // 2))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        for part in np.array_split(order, len(self)):
            yield [(self.epoch, int(index)) for index in part]


def training_loader(clips: MotionClips, workers: int = 0) -> DataLoader:  # type: ignore[type-arg]
    """Loader of training batches; set ``loader.batch_sampler.epoch`` before each epoch."""
    sampler = EpochSampler(len(clips), clips.settings.batch_size, clips.settings.seed)
    return DataLoader(clips, batch_sampler=sampler, num_workers=workers)  # type: ignore[arg-type]
