"""From stored motion to batches: drawn segments for training, centre segments for testing.

Batches carry small int16 grids; they become pixel fields on the device that trains.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from moclip.config.sections import MV, Config
from moclip.datasets.base import NO_MOTION, REMEDY, Clip
from moclip.inputs import sampling, transforms
from moclip.inputs.accumulate import accumulate
from moclip.inputs.transforms import InputScale
from moclip.io.fingerprints import fingerprints
from moclip.io.parallel import ClipsError
from moclip.video import INTER, Motion, load_motion
from moclip.video.blocks import refine
from moclip.video.store import content_path

IN_MEMORY = 20_000  # clips, about 1 GB: all of UCF101. The others of a larger set are read whenever they are asked for


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
    store : folder that `moclip.engine.features.extract_motion` filled.
    scale : units of the network's input.
    field : ``raw`` or ``accumulated``.

    Raises
    ------
    ClipsError
        With every clip that has no motion vectors in any frame.
    ValueError
        Clips of several frame sizes.
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

    def under(self, settings: MV) -> "MotionClips":
        """The same clips, shown in another way; nothing is loaded again."""
        other = copy.copy(self)
        other.settings = settings
        return other

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
        fit = (motion.block_size, geometry.block, geometry.height, geometry.width)
        if self.field == "raw":
            return refine(motion.grids(frames), *fit)
        if not geometry.way:
            return np.rint(motion.fields(frames) * motion.scale).astype(np.int16)  # (S, H, W, 2)
        shape = (-(-geometry.height // geometry.block), -(-geometry.width // geometry.block), 2)
        cells = np.zeros((len(frames), geometry.way, *shape), np.int16)
        for segment, frame in enumerate(frames):
            way = motion.steps(int(frame))
            cells[segment, geometry.way - len(way) :] = refine(motion.grids(way), *fit)
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
            ``cells`` int16 (see `cells`); ``factor`` (), ``scale`` () (units a pixel) and ``label`` () of all segments;
            ``box`` (S, 4) and ``flip`` (S,).
        """
        index = key[1]
        rng = np.random.default_rng([self.settings.seed, *key])
        frames = self.frames(index, self.settings.segments, rng)
        frame, scales = (self.geometry.height, self.geometry.width), self.settings.train_scales
        if self.settings.resize == "keep":  # one crop for all segments of a clip
            boxes = np.tile(transforms.random_box(*frame, scales, rng), (len(frames), 1))
        else:
            boxes = transforms.squeezed_boxes(*frame, scales, self.settings.input_size, len(frames), rng)
        return {
            "cells": self.cells(index, frames),
            "factor": self.factor(index),
            "scale": self.motion(index).scale,
            "box": boxes,
            "flip": np.full(len(frames), self.flips and rng.random() < 0.5),
            "label": int(self.labels[index]),
        }

    def frames(self, index: int, segments: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """A frame of each segment of a clip: drawn, or without ``rng`` the middle ones. int64 (S,)."""
        if self.settings.sampling == "reference":
            return sampling.reference_frames(self.motion(index).types, segments, rng)
        candidates = self.candidates[index]
        if rng is None:
            return candidates[sampling.centre_segments(len(candidates), segments)]
        return candidates[sampling.random_segments(len(candidates), segments, rng)]

    def centre_views(self, indices: Sequence[int], views: int, crops: int = 1) -> dict[str, Tensor]:
        """Test batch of some clips: the centre segments. Keys as in training, V = views * crops crops a clip.

        Parameters
        ----------
        crops : 1, 3, or 10: corners and centre, and the same of the mirrored frame. Where a flip would change the
            class (``flips`` is False) 10 are 5: the other five would be the same again.
        """
        frame = (self.geometry.height, self.geometry.width)
        boxes = transforms.view_boxes(*frame, self.settings.crop, min(crops, 5), self.settings.resize == "squeeze")
        flip = np.zeros((len(indices), len(boxes)), bool)  # (B, C)
        if crops == 10 and self.flips:
            coins = [np.random.default_rng([self.settings.seed, index]).random() < 0.5 for index in indices]
            second = np.array(coins) if self.settings.test_flip == "random" else np.ones(len(indices), bool)
            boxes, flip = np.tile(boxes, (2, 1)), np.hstack([flip, flip | second[:, None]])
        cells = [self.cells(index, self.frames(index, views)) for index in indices]
        return {
            "cells": torch.from_numpy(np.stack(cells)),
            "factor": torch.from_numpy(np.stack([self.factor(index) for index in indices])),
            "scale": torch.tensor([self.motion(index).scale for index in indices]),
            "box": torch.from_numpy(boxes).repeat(views, 1).expand(len(cells), -1, -1),
            "flip": torch.from_numpy(flip).repeat(1, views),
        }

    def to_input(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch to network input, on the batch's device: (B, V, 2, size, size) in [-0.5, 0.5], V crops a clip."""
        cells = batch["cells"]  # (B, S, gh, gw, 2) or (B, S, K, gh, gw, 2)
        segments, views = cells.shape[1], batch["box"].shape[1]
        vectors = cells.flatten(0, 1)
        block, height, width = self.geometry.block, self.geometry.height, self.geometry.width
        factors, scales = (batch[name].repeat_interleave(segments, 0) for name in ("factor", "scale"))
        if self.geometry.way:
            vectors = accumulate(vectors, block, height, width, scales).permute(0, 2, 3, 1)  # (N, H, W, 2)
            block = 1
        if views > segments:  # several crops of each
            vectors, factors = (each.repeat_interleave(views // segments, 0) for each in (vectors, factors))
        flips, boxes = batch["flip"].flatten(), batch["box"].flatten(0, 1)  # (B * V,), (B * V, 4)
        factors = torch.stack([factors, factors], dim=1)  # (B * V, 2)
        late = torch.where(flips, -1.0, 1.0)
        if self.settings.flip == "reference":
            # The published flip, 255 - x in 8 bit, is minus x here: its sign comes behind the 8 bit, not before.
            factors[:, 0] *= late
        size, bound = self.settings.input_size, self.scale.bound
        inputs = transforms.to_input(vectors, factors, flips, boxes, bound, size, (block, height, width))
        if self.settings.flip == "reference":
            inputs[:, 0] *= late.view(-1, 1, 1)
        return inputs.unflatten(0, (-1, views))

    def saturated(self) -> float:
        """Share of all raw block vectors that the 8-bit scaling cuts off."""
        beyond = total = 0
        for path in self.paths:
            motion = load_motion(path)  # unpacked, and then forgotten
            inter = motion.mask == INTER
            cells = (
                motion.grids(range(len(motion)))[inter] / motion.scale * self.scale.factor(motion.width, motion.fps)
            )  # (n, 2)
            beyond += int((np.abs(cells) > self.scale.bound).any(axis=1).sum())
            total += len(cells)
        return beyond / max(total, 1)

    def _look_through(self) -> Geometry:
        """Note the frames that may be drawn, and find what all clips share; every clip is read once."""
        sizes, blocks, ways, still = set(), [], [], []
        for index, clip in enumerate(self.clips):
            motion = self.motion(index)
            # I-frames carry no motion: only frames with vectors are drawn.
            self.candidates.append(np.flatnonzero(motion.has_motion))
            if not motion.has_motion.any():
                still.append((clip.path, NO_MOTION))
            sizes.add((motion.height, motion.width))
            blocks.append(motion.block_size)
            ways.append(np.bincount(np.cumsum(motion.types == "I"), motion.has_motion).max())
        if still:
            raise ClipsError(still, len(self.clips), REMEDY)
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


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches on which a head is trained in an epoch: indices of its clips, nearly equal parts."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return np.array_split(order, math.ceil(count / batch_size))


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
