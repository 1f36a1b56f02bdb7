"""The motion features on which heads are trained: other segments in every epoch, from a network that is not trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moclip.config.sections import Fusion
from moclip.config.strategies import strategy
from moclip.inputs.clips import LoadedClips
from moclip.inputs.views import EvalViews, TrainViews, join, to_input, train_views
from moclip.io import keys
from moclip.models.backbones import state_hash
from moclip.models.mv_tsn import MVTSN


@dataclass(frozen=True)
class MotionData:
    """Motion of the training and test clips of one data set.

    Attributes
    ----------
    train, test : clips.
    train_views, eval_views : how the network sees them.
    tested : float32 (K, M), features of the test clips under the given network, averaged over their views.
    pool : float32 (N, V, M), features of views of the training clips, in temporal order; for ``cached`` features.
    """

    train: LoadedClips
    test: LoadedClips
    train_views: TrainViews
    eval_views: EvalViews
    tested: Tensor
    pool: Tensor | None = None


class EpochFeatures:
    """Motion features by epoch. This class is their interface, for a network that stays as it is.

    Attributes
    ----------
    network : the motion network as it is now.
    settings : what the features follow from, JSON.
    """

    def __init__(self, network: MVTSN, data: MotionData, seed: int) -> None:
        self.network, self.data, self.seed = network, data, seed
        self.settings: dict[str, Any] = {"kind": type(self).__name__, "network": state_hash(network), "seed": seed}

    def __call__(self, epoch: int) -> Tensor:
        """Features of the training clips in an epoch, averaged over its segments: float32 (N, M), on the CPU."""
        raise NotImplementedError

    def tested(self, few: bool = False) -> Tensor:
        """Features of the test clips under the network as it is now, averaged over views: float32 (K, M).

        Parameters
        ----------
        few : fewer views are enough: the features choose an epoch.
        """
        return self.data.tested

    def statistics(self) -> dict[str, Tensor]:
        """What the epochs so far have changed of the network, by name; a copy."""
        return {}

    def restore(self, statistics: Mapping[str, Tensor]) -> None:
        """Make the network what it was when `statistics` returned this; ``{}``: the network as given."""


def epoch_features(
    settings: Fusion, network: MVTSN, data: MotionData, seed: int, device: torch.device | str
) -> EpochFeatures:
    """The features that ``fusion.train_features`` and ``fusion.batch_norm`` name."""
    if settings.train_features == "cached":
        return PooledFeatures(network, data, seed)
    source: EpochFeatures = strategy("batch_norm", settings.batch_norm)(
        network, data, seed, settings.batch_size, device
    )
    return source


class PooledFeatures(EpochFeatures):
    """Features drawn from a fixed pool of views (``train_features: cached``).

    A frozen network gives a view the same feature every time. Drawing from a pool of views therefore differs from the
    paper's drawing of segments in two points only: the pool is finite, and its crops are the centre ones.
    """

    def __init__(self, network: MVTSN, data: MotionData, seed: int) -> None:
        super().__init__(network, data, seed)
        assert data.pool is not None, "cached features need a pool"
        self.pool, segments = data.pool, data.train_views.segments
        if segments > self.pool.shape[1]:
            raise ValueError(
                f"{segments} segments cannot be drawn from {self.pool.shape[1]} views: raise fusion.train_views"
            )
        self.parts = np.array_split(np.arange(self.pool.shape[1]), segments)  # one view is drawn from each
        self.settings |= {"pool": keys.digest(self.pool), "segments": segments}

    def __call__(self, epoch: int) -> Tensor:
        rng, count = np.random.default_rng([self.seed, epoch]), len(self.pool)
        columns = np.stack([part[rng.integers(len(part), size=count)] for part in self.parts], axis=1)  # (N, S)
        return self.pool[np.arange(count)[:, None], columns].mean(dim=1)


class ResampledFeatures(EpochFeatures):
    """Features of newly drawn segments and crops (``train_features: drawn``, as in the paper).

    The draws differ from those on which the network was trained, and from those of every other ``seed``.

    Parameters
    ----------
    batch_size : clips at once.
    """

    def __init__(
        self, network: MVTSN, data: MotionData, seed: int, batch_size: int, device: torch.device | str
    ) -> None:
        super().__init__(network, data, seed)
        self.batch_size, self.device = batch_size, device
        self.settings |= {"clips": keys.digest([path.name for path in data.train.paths]), "batch size": batch_size}
        self.settings |= {"views": asdict(data.train_views)}

    def __call__(self, epoch: int) -> Tensor:
        count = len(self.data.train)
        self.network.to(self.device).eval()
        return self.draw(epoch, np.array_split(np.arange(count), math.ceil(count / self.batch_size)))

    @torch.no_grad()
    def draw(self, epoch: int, batches: Sequence[np.ndarray]) -> Tensor:
        """Features of the clips of an epoch, batch by batch, in the order of the clips."""
        clips, protocol = self.data.train, self.data.train_views
        rows = torch.empty(len(clips), self.network.feature_dim)  # (N, M)
        for batch in batches:
            views = []
            for index in batch:
                rng = np.random.default_rng([protocol.seed, epoch, index, 1 + self.seed])  # training has no last number
                views.append(train_views(clips[index], protocol, rng))
            rows[batch] = self.network.features(to_input(join(views), self.device)).mean(dim=1).cpu()
        return rows
