"""Clips with their stored motion: samples for training, batches of views for testing."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from moclip.datasets.base import NO_MOTION, REMEDY, Clip
from moclip.inputs.transforms import InputScale
from moclip.inputs.views import EvalViews, TrainViews, Views, check_frame_sizes, eval_views, join, train_views
from moclip.io.parallel import ClipsError
from moclip.video import INTER, Motion, load_motion
from moclip.video.store import content_path

Batch = tuple[int, Sequence[int]]  # epoch, indices of clips
IN_MEMORY = 20_000  # clips, about 1 GB: all of UCF101. The other clips of a larger set are read on each use


class LoadedClips(Sequence[Motion]):
    """The motion of clips, packed as on disk (20 to 90 kB for a clip of UCF101), up to `IN_MEMORY` in memory.

    Parameters
    ----------
    clips : with their hashes; their order is the order of everything computed from this object.
    store : folder that `moclip.engine.features.extract_motion` filled.

    Attributes
    ----------
    labels : int64 (N,)
    paths : files of the store, named by the hash of the video.

    Raises
    ------
    ClipsError
        With every clip that has no motion vectors in any frame.
    ValueError
        Clips of several frame sizes.
    """

    def __init__(self, clips: Sequence[Clip], store: Path) -> None:
        self.clips = list(clips)
        self.paths = [content_path(store, clip.sha256) for clip in self.clips]
        self._motions = [load_motion(path) for path in self.paths[:IN_MEMORY]]
        self.labels = torch.tensor([clip.label for clip in self.clips])
        looks = [(motion.has_motion.any(), (motion.height, motion.width)) for motion in self]
        if still := [(clip.path, NO_MOTION) for clip, (moves, _) in zip(self.clips, looks, strict=True) if not moves]:
            raise ClipsError(still, len(self.clips), REMEDY)
        check_frame_sizes(size for _, size in looks)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: Any) -> Any:
        """The motion of a clip; nothing of it is unpacked."""
        return self._motions[index] if index < len(self._motions) else load_motion(self.paths[index])

    def identities(self) -> list[tuple[str, int, str]]:
        """Name, label and hash of each video."""
        return [(clip.name, clip.label, clip.sha256) for clip in self.clips]

    def train_views(self, indices: Sequence[int], protocol: TrainViews, epoch: int, *stream: int) -> Views:
        """Training views of some clips as one batch.

        They follow from the protocol's seed, the epoch, the clip's index and ``stream``: () for the motion network.
        """
        seeds = [[protocol.seed, epoch, index, *stream] for index in indices]
        drawn = zip(indices, map(np.random.default_rng, seeds), strict=True)
        return join([train_views(self[index], protocol, rng) for index, rng in drawn])

    def test_views(self, indices: Sequence[int], protocol: EvalViews) -> Views:
        """Test views of some clips as one batch."""
        return join([eval_views(self[index], protocol) for index in indices])

    def saturated(self, scale: InputScale) -> float:
        """Share of all raw block vectors that the 8-bit scaling cuts off."""
        beyond = total = 0
        for path in self.paths:
            motion = load_motion(path)  # a copy, because unpacking would stay in memory
            pixels = motion.grids(range(len(motion)))[motion.mask == INTER] / motion.scale  # (n, 2)
            vectors = pixels * scale.factor(motion.width, motion.fps)
            beyond += int((np.abs(vectors) > scale.bound).any(axis=1).sum())
            total += len(vectors)
        return beyond / max(total, 1)


class TrainingSamples(Dataset):  # type: ignore[type-arg]
    """Training batches of clips, by (epoch, indices): views and labels. They do not depend on the number of workers."""

    def __init__(self, clips: LoadedClips, protocol: TrainViews) -> None:
        self.clips, self.protocol = clips, protocol

    def __getitem__(self, batch: Batch) -> tuple[Views, Tensor]:
        epoch, indices = batch
        return self.clips.train_views(indices, self.protocol, epoch), self.clips.labels[indices]


def shuffled(count: int, parts: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: indices of the clips, shuffled, in nearly equal parts."""
    return np.array_split(np.random.default_rng([seed, epoch]).permutation(count), parts)


class EpochSampler(Sampler[Batch]):
    """Shuffled batches (epoch, indices): the order depends on seed and epoch alone.

    Several processes share every batch: in each epoch, one of them draws each clip once. Nothing is padded or dropped.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        if processes > 1 and count < 2 * processes:
            raise ValueError(f"{count} training clips are too few for {processes} processes: each needs at least two")
        self.count, self.batch_size, self.seed, self.epoch = count, batch_size, seed, 0
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        # No batch has a single clip: BatchNorm could not use it.
        return max(1, min(math.ceil(self.count / self.batch_size), self.count // (2 * self.processes)))

    def __iter__(self) -> Iterator[Batch]:
        for part in shuffled(self.count, len(self), self.seed, self.epoch):
            yield self.epoch, part[self.rank :: self.processes].tolist()


def training_loader(samples: TrainingSamples, sampler: EpochSampler, workers: int = 0) -> DataLoader:  # type: ignore[type-arg]
    """Loader of training batches: (views, labels). Set ``sampler.epoch`` before each epoch.

    Parameters
    ----------
    workers : processes that load; 0: this one.
    """
    return DataLoader(samples, None, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
