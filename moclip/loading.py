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
from moclip.video import load_motion
from moclip.video.blocks import refine
from moclip.video.store import SUFFIX


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
    """Clips with their motion in memory, packed as on disk (20 to 90 kB for a clip of UCF101).

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
        self.motions = [load_motion(content_path(store, hashes[clip.path])) for clip in self.clips]
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
        """Motion of some frames of a clip, in its own units (`factor`): int16 (S, gh, gw, 2).

        For accumulated fields (S, K, gh, gw, 2): all frames since the I-frame, behind as many zeros as are missing.
        """
        motion, geometry = self.motions[index], self.geometry
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
            ``cells`` int16 (see `cells`); ``factor`` (), ``scale`` () (units a pixel), ``box`` (4,), ``flip`` () and
            ``label`` () of all segments.
        """
        index = key[1]
        rng = np.random.default_rng([self.settings.seed, *key])
        chosen = sampling.random_segments(len(self.candidates[index]), self.settings.segments, rng)
        return {
            "cells": self.cells(index, self.candidates[index][chosen]),
            "factor": self.factor(index),
            "scale": self.motions[index].scale,
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
            "scale": torch.tensor([self.motions[index].scale for index in indices]),
            "box": torch.from_numpy(box).expand(len(frames), 4),
            "flip": torch.zeros(len(frames), dtype=torch.bool),
        }

    def to_input(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch to network input, on the batch's device: (B, S, 2, size, size) in [-0.5, 0.5]."""
        cells = batch["cells"]  # (B, S, gh, gw, 2) or (B, S, K, gh, gw, 2)
        count, segments = cells.shape[:2]
        size = (self.geometry.block, self.geometry.height, self.geometry.width)
        factors = batch["factor"].repeat_interleave(segments).view(-1, 1, 1, 1)
        which = batch["flip"].repeat_interleave(segments)
        if self.geometry.way:
            scales = batch["scale"].repeat_interleave(segments)
            fields = accumulate(cells.flatten(0, 1), *size, scales).float() * factors
            fields = transforms.quantise(transforms.flip(fields, which), self.scale.bound)
        else:
            # What is done to each vector alone is done once a block, not once a pixel; the result is the same.
            grids = transforms.negate_x(cells.flatten(0, 1) * factors, which, axis=-1)
            fields = transforms.mirror(transforms.expand(transforms.quantise(grids, self.scale.bound), *size), which)
        boxes = batch["box"].repeat_interleave(segments, 0)  # one crop and one flip for all segments of a clip
        return transforms.crop_resize(fields, boxes, self.settings.input_size).unflatten(0, (count, segments))

    def saturated(self) -> float:
        """Share of all raw block vectors that the 8-bit scaling cuts off."""
        beyond = total = 0
        for motion in self.motions:
            inter = motion.mask == 1
            cells = (
                motion.cells(range(len(motion)))[inter] / motion.scale * self.scale.factor(motion.width, motion.fps)
            )  # (n, 2)
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
        block = min(motion.block for motion in self.motions)
        if self.field == "raw":
            return Geometry(block, height, width)
        ways = [np.bincount(np.cumsum(motion.types == "I"), motion.has_motion).max() for motion in self.motions]
        way = int(max(ways))
        # A way so long that its grids are larger than the field itself is better added up here.
        return Geometry(block, height, width, way) if way <= block**2 else Geometry(1, height, width)


class EpochSampler:
    """Shuffled batches of (epoch, index): the order depends on seed and epoch alone.

    Several processes share every batch: each clip is drawn once an epoch, by one of them. Nothing is padded or dropped.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        if processes > 1 and count < 2 * processes:
            raise ValueError(f"{count} training clips are too few for {processes} processes: two each at least")
        self.count, self.batch_size, self.seed, self.epoch = count, batch_size, seed, 0
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        # Never a batch of a single clip, which BatchNorm could not use.
        return max(1, min(math.ceil(self.count / self.batch_size), self.count // (2 * self.processes)))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        for part in np.array_split(order, len(self)):
            yield [(self.epoch, int(index)) for index in part[self.rank :: self.processes]]


def training_loader(
    clips: MotionClips, workers: int = 0, count: int | None = None, rank: int = 0, processes: int = 1
) -> DataLoader:  # type: ignore[type-arg]
    """Loader of training batches; set ``loader.batch_sampler.epoch`` before each epoch.

    Parameters
    ----------
    workers : processes that load; 0: this one.
    count : the first so many clips only; all if None.
    rank, processes : which of the processes that train together this is.
    """
    settings = clips.settings
    sampler = EpochSampler(count or len(clips), settings.batch_size, settings.seed, rank, processes)
    return DataLoader(clips, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0)  # type: ignore[arg-type]
