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
from moclip.accumulate import accumulate
from moclip.config import MV, Config
from moclip.datasets.base import Clip
from moclip.fingerprints import fingerprints
from moclip.transforms import InputScale
from moclip.video import Motion, load_motion
from moclip.video.blocks import refine
from moclip.video.store import SUFFIX

IN_MEMORY = 20_000  # clips, about 1 GB: all of UCF101. The others of a larger set are read whenever they are asked for


def content_path(store: Path, fingerprint: str) -> Path:
    """Where a store keeps the motion of the video with this SHA-256, whatever it is called and whoever asks."""
    return store / fingerprint[:2] / f"{fingerprint}{SUFFIX}"


def motion_path(store: Path, clip: Clip) -> Path:
    """Where a clip's motion lies in a store; the video is read, unless its fingerprint is known."""
    return content_path(store, fingerprints([clip.path])[clip.path])


@dataclass(frozen=True)
class Geometry:
    """What all clips of a batch share: cell size and frame size, in pixels.

    ``way`` is the longest way back to an I-frame, in frames, where the device accumulates; else 0.
    """

    block: int
    height: int
    width: int
    way: int = 0


class MotionClips(Dataset):  # type: ignore[type-arg]
    """Clips with their motion, packed as on disk (20 to 90 kB for a clip of UCF101), up to `IN_MEMORY` in memory.

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
        hashes = fingerprints([clip.path for clip in self.clips])
        self.paths = [content_path(store, hashes[clip.path]) for clip in self.clips]
        self.kept = [load_motion(path) for path in self.paths[:IN_MEMORY]]
        self.labels = np.array([clip.label for clip in self.clips])
        self.candidates: list[np.ndarray] = []
        self.geometry = self._look_through()

    @classmethod
    def from_config(cls, clips: Sequence[Clip], store: Path, config: Config, flips: bool) -> "MotionClips":
        """With the configuration's units, field and sampling."""
        scale = InputScale(config.motion.units, config.motion.bound)
        return cls(clips, store, scale, config.motion.field, config.mv, flips)

    def __len__(self) -> int:
        return len(self.clips)

    def motion(self, index: int) -> Motion:
        """The motion of a clip; nothing of it is unpacked."""
        return self.kept[index] if index < len(self.kept) else load_motion(self.paths[index])

    def cells(self, index: int, frames: np.ndarray) -> np.ndarray:
        """Motion of some frames of a clip, in its own units (`factor`): int16 (S, gh, gw, 2).

        For accumulated fields (S, K, gh, gw, 2): all frames since the I-frame, behind as many zeros as are missing.
        """
        motion, geometry = self.motion(index), self.geometry
        fit = (motion.block, geometry.block, geometry.height, geometry.width)
        if self.field == "raw":
            return refine(motion.cells(frames), *fit)
        if not geometry.way:
            return np.rint(motion.fields(frames) * motion.scale).astype(np.int16)  # (S, H, W, 2)
        shape = (-(-geometry.height // geometry.block), -(-geometry.width // geometry.block), 2)
        cells = np.zeros((len(frames), geometry.way, *shape), np.int16)
        for segment, frame in enumerate(frames):
            way = motion.way(int(frame))
            cells[segment, geometry.way - len(way) :] = refine(motion.cells(way), *fit)
        return cells

    def factor(self, index: int) -> np.float32:
        """Network units a stored unit of this clip."""
        motion = self.motion(index)
        return np.float32(self.scale.factor(motion.width, motion.fps) / motion.scale)

    def __getitem__(self, key: tuple[int, ...]) -> dict[str, Any]:
        """Training sample of clip ``index`` in ``epoch``; the same whatever the number of workers.

        Parameters
        ----------
        key : (epoch, index), and perhaps more numbers (not 0) that ask for another stream of random draws.

        Returns
        -------
        dict
            ``cells`` int16 (see `cells`); ``factor`` (), ``scale`` () (units a pixel), ``box`` (4,), ``flip`` () and
            ``label`` () of all segments.
        """
        index = key[1]
        rng = np.random.default_rng([self.settings.seed, *key])
        chosen = sampling.random_segments(len(self.candidates[index]), self.settings.segments, rng)
        return {
            "cells": self.cells(index, self.candidates[index][chosen]),
            "factor": self.factor(index),
            "scale": self.motion(index).scale,
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
            "scale": torch.tensor([self.motion(index).scale for index in indices]),
            "box": torch.from_numpy(box).expand(len(frames), 4),
            "flip": torch.zeros(len(frames), dtype=torch.bool),
        }

    def to_input(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch to network input, on the batch's device: (B, S, 2, size, size) in [-0.5, 0.5]."""
        cells = batch["cells"]  # (B, S, gh, gw, 2) or (B, S, K, gh, gw, 2)
        count, segments = cells.shape[:2]
        vectors = cells.flatten(0, 1)
        block, height, width = self.geometry.block, self.geometry.height, self.geometry.width
        # One crop and one flip for all segments of a clip.
        names = ("factor", "scale", "flip", "box")
        factors, scales, flips, boxes = (batch[name].repeat_interleave(segments, 0) for name in names)
        if self.geometry.way:
            vectors = accumulate(vectors, block, height, width, scales).permute(0, 2, 3, 1)  # (N, H, W, 2)
            block = 1
        size, bound = self.settings.input_size, self.scale.bound
        inputs = transforms.to_input(vectors, factors, flips, boxes, bound, size, block, height, width)
        return inputs.unflatten(0, (count, segments))

    def saturated(self) -> float:
        """Share of all raw block vectors that the 8-bit scaling cuts off."""
        beyond = total = 0
        for path in self.paths:
            motion = load_motion(path)  # unpacked, and then forgotten
            inter = motion.mask == 1
            cells = (
                motion.cells(range(len(motion)))[inter] / motion.scale * self.scale.factor(motion.width, motion.fps)
            )  # (n, 2)
            beyond += int((np.abs(cells) > self.scale.bound).any(axis=1).sum())
            total += len(cells)
        return beyond / max(total, 1)

    def _look_through(self) -> Geometry:
        """Note the frames that may be drawn, and find what all clips share; every clip is read once."""
        sizes, blocks, ways = set(), [], []
        for index, clip in enumerate(self.clips):
            motion = self.motion(index)
            # I-frames carry no motion: only frames with vectors are drawn.
            self.candidates.append(np.flatnonzero(motion.has_motion))
            if len(self.candidates[-1]) == 0:
                raise ValueError(f"{clip.path}: no frame carries motion; a single frame, or a still cut of I-frames?")
            sizes.add((motion.height, motion.width))
            blocks.append(motion.block)
            ways.append(np.bincount(np.cumsum(motion.types == "I"), motion.has_motion).max())
        if len(sizes) != 1:
            raise ValueError(
                f"clips of {len(sizes)} frame sizes, for instance {sorted(sizes)[:3]}; "
                "re-encode them one way first (data.reencode=true)"
            )
        (height, width) = sizes.pop()
        block, way = min(blocks), int(max(ways))
        if self.field == "raw":
            return Geometry(block, height, width)
        # A way so long that its grids are larger than the field itself is better added up here.
        return Geometry(block, height, width, way) if way <= block**2 else Geometry(1, height, width)


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
