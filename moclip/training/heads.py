"""Heads on two frozen encoders: what they see in each epoch, and the training of all heads of a seed in lockstep."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric
from torch import Tensor

from moclip.config.sections import Fusion
from moclip.config.strategies import strategy
from moclip.inputs.clips import LoadedClips, shuffled
from moclip.inputs.views import EvalViews, TrainViews, to_input
from moclip.io import keys
from moclip.io.progress import track
from moclip.models.backbones import state_hash
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN
from moclip.training import loop
from moclip.training.state import TrainingFolder

# --- what heads see -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FusionData:
    """What heads see of the training and test clips of one data set.

    Attributes
    ----------
    train, test : clips: motion and labels.
    train_views, eval_views : how the motion network sees them.
    appearance, tested_appearance : float32 (N, A) and (K, A), appearance features of the training and the test clips.
    tested : float32 (K, M), motion features of the test clips under the given network, averaged over their views.
    pool : float32 (N, V, M), features of views of the training clips, in temporal order; for ``cached`` features.
    """

    train: LoadedClips
    test: LoadedClips
    train_views: TrainViews
    eval_views: EvalViews
    appearance: Tensor
    tested_appearance: Tensor
    tested: Tensor
    pool: Tensor | None = None


@dataclass
class EpochFeatures:
    """Motion features by epoch: of newly drawn segments and crops (``train_features: drawn``, as in the paper).

    The draws differ from those on which the network was trained, and from those of every other ``seed``.

    Attributes
    ----------
    settings : of the heads; ``batch_size`` clips pass the network at once.
    network : the motion network as it is now.
    facts : what the features follow from, JSON.
    """

    settings: Fusion
    network: MVTSN
    data: FusionData
    seed: int
    device: torch.device | str

    def __post_init__(self) -> None:
        self.facts: dict[str, Any] = {"kind": type(self).__name__, "network": state_hash(self.network)}
        self.facts |= {"clips": keys.digest(self.data.train.identities()), "views": asdict(self.data.train_views)}

    def __call__(self, epoch: int) -> Tensor:
        """Features of the training clips in an epoch, averaged over its segments: float32 (N, M), on the CPU."""
        self.network.to(self.device).eval()
        return self.draw(epoch, np.array_split(np.arange(len(self.data.train)), len(self.batches(epoch))))

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The batches on which heads are trained in an epoch: indices of the training clips, shuffled."""
        count = len(self.data.train)
        return shuffled(count, math.ceil(count / self.settings.batch_size), self.seed, epoch)

    @torch.no_grad()
    def draw(self, epoch: int, batches: Sequence[np.ndarray]) -> Tensor:
        """Features of the clips of an epoch, batch by batch, in the order of the clips."""
        rows = torch.empty(len(self.data.train), self.network.feature_dim)  # (N, M)
        for batch in batches:
            # Training the network has no last number.
            views = self.data.train.train_views(batch.tolist(), self.data.train_views, epoch, 1 + self.seed)
            rows[batch] = self.network.features(to_input(views, self.device)).mean(dim=1).cpu()
        return rows

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


class PooledFeatures(EpochFeatures):
    """Features drawn from a fixed pool of views (``train_features: cached``).

    A frozen network gives a view the same feature every time. Drawing from a pool of views therefore differs from the
    paper's drawing of segments in two points only: the pool is finite, and its crops are the centre ones.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.data.pool is not None, "cached features need a pool"
        self.pool, segments = self.data.pool, self.data.train_views.segments
        views = self.pool.shape[1]
        if segments > views:
            raise ValueError(f"{segments} segments cannot be drawn from {views} views: raise fusion.train_views")
        self.parts = np.array_split(np.arange(views), segments)  # one view is drawn from each
        self.facts["pool"] = keys.digest(self.pool)

    def __call__(self, epoch: int) -> Tensor:
        rng, count = np.random.default_rng([self.seed, epoch]), len(self.pool)
        columns = np.stack([part[rng.integers(len(part), size=count)] for part in self.parts], axis=1)  # (N, S)
        return self.pool[np.arange(count)[:, None], columns].mean(dim=1)


def epoch_features(
    settings: Fusion, network: MVTSN, data: FusionData, seed: int, device: torch.device | str
) -> EpochFeatures:
    """The features that ``fusion.train_features`` and ``fusion.batch_norm`` name."""
    cached = settings.train_features == "cached"
    kind: type[EpochFeatures] = PooledFeatures if cached else strategy("batch_norm", settings.batch_norm)
    return kind(settings, network, data, seed, device)


# --- heads ----------------------------------------------------------------------------------------------------------


class Control(NamedTuple):
    """What a head sees: which streams, and whether each clip has the motion of another clip."""

    appearance: bool
    motion: bool
    permuted: bool = False


HEADS = {
    "fusion": Control(appearance=True, motion=True),
    "appearance_head": Control(appearance=True, motion=False),
    "motion_head": Control(appearance=False, motion=True),
    "fusion_permuted": Control(appearance=True, motion=True, permuted=True),
}


def permuted(features: Tensor, seed: int) -> Tensor:
    """The same features, assigned to other clips at random: a control of the same size without the motion."""
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))]


def fit_heads(source: EpochFeatures, folders: Mapping[str, Path | None]) -> dict[str, "TrainedHead"]:
    """Train heads on the features of two frozen encoders: AdamW (paper, section III-A).

    The motion features of an epoch are made once, and every head makes its steps on them. A head has a random state of
    its own, so its weights do not depend on which other heads are trained with it.

    Parameters
    ----------
    source : the features, with data, settings and seed.
    folders : names of `HEADS`, each with the folder for its state; an interrupted training resumes from it.
    """
    fabric, data = loop.make_fabric(torch.device(source.device).type), source.data
    scored = loop.epoch_is_chosen(source.settings.select)
    heads = {name: TrainedHead(fabric, HEADS[name], source, folder) for name, folder in folders.items()}
    least = min((head.trainer for head in heads.values()), key=lambda trainer: len(trainer.rows))
    source.restore(least.beside)
    for epoch in track(least.epochs_left(), "heads", unit="epoch"):
        features, tested = source(epoch), source.tested(few=True) if scored else None
        for head in heads.values():
            if len(head.trainer.rows) == epoch:
                head.train(features, tested)
    source.restore({})
    first = source(0)
    under: dict[int, Tensor] = {}  # features of the test clips, by the epoch that is kept
    for head in heads.values():
        head.log = head.trainer.finish()
        epoch = int(head.log["score"].argmax()) if scored else len(head.log) - 1
        if epoch not in under:
            source.restore(head.statistics)
            under[epoch] = source.tested()
        head.scores = head.logits(under[epoch], data.tested_appearance)
        head.train_accuracy = head.accuracy(first, data.appearance, data.train.labels)
    return heads


class TrainedHead:
    """One head: in training, then as `fit_heads` returns it.

    Attributes
    ----------
    head, arguments : the `FusionHead`, and its arguments as a checkpoint keeps them.
    log : one row per epoch.
    statistics : see `EpochFeatures.restore`; gives the motion network that belongs to this head.
    scores : float32 (K, C), logits of the test clips.
    train_accuracy : share of the training clips that the head recognises, with the motion features of the first epoch.
    """

    log: pd.DataFrame
    scores: Tensor
    train_accuracy: float

    def __init__(self, fabric: Fabric, control: Control, source: EpochFeatures, path: Path | None) -> None:
        self.fabric, self.control, self.source = fabric, control, source
        data, settings, network = source.data, source.settings, source.network
        self.arguments: dict[str, Any] = {
            "num_classes": network.classifier.out_features,
            "appearance_dim": data.appearance.shape[1] * control.appearance,
            "motion_dim": network.feature_dim * control.motion,
            "hidden": settings.hidden,
            "dropout": settings.dropout,
        }
        facts = {"head": self.arguments, "permuted": control.permuted, "seed": source.seed, "motion": source.facts}
        facts["fusion"] = settings.model_dump(mode="json", exclude={"seeds"})
        inputs = {"appearance": keys.digest(data.appearance)}
        if settings.select == "test":
            inputs["test clips"] = keys.digest([data.tested_appearance, data.test.labels])
        folder = TrainingFolder(path, facts, inputs) if path else None
        self._random: list[Tensor] = []
        with self._random_state():
            self.head = FusionHead(**self.arguments)
            optimizer = torch.optim.AdamW(self.head.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
            schedule = loop.Schedule(settings.epochs, len(source.batches(0)))
            self.trainer = loop.Trainer(fabric, self.head, optimizer, schedule, folder)

    @property
    def statistics(self) -> Mapping[str, Tensor]:
        return self.trainer.beside

    def train(self, features: Tensor, tested: Tensor | None) -> None:
        """One epoch, on the motion features of the training clips (N, M); those of the test clips (K, M) score it."""
        data = self.source.data
        inputs = self.fabric.to_device((data.appearance, self._assign(features), data.train.labels))

        def batches() -> Iterator[loop.Batch]:
            for part in self.source.batches(len(self.trainer.rows)):
                appearance, motion, labels = (tensor[part] for tensor in inputs)
                yield (appearance, motion), labels

        test = data.tested_appearance, data.test.labels
        score = None if tested is None else partial(self.accuracy, tested, *test)
        with self._random_state():
            self.trainer.train(batches(), score, self.source.statistics)

    def accuracy(self, features: Tensor, appearance: Tensor, labels: Tensor) -> float:
        """Share of some clips that are recognised; see `logits`."""
        return (self.logits(features, appearance).argmax(dim=1) == labels).float().mean().item()

    @torch.no_grad()
    def logits(self, features: Tensor, appearance: Tensor) -> Tensor:
        """Logits (K, C) for motion features (K, M) and appearance (K, A) of some clips, on the CPU."""
        return self.head.eval()(*self.fabric.to_device((appearance, self._assign(features)))).float().cpu()

    def _assign(self, features: Tensor) -> Tensor:
        return permuted(features, self.source.seed) if self.control.permuted else features

    @contextmanager
    def _random_state(self) -> Iterator[None]:
        """Torch's random state of this head, which begins with its seed; that of the others is left alone."""
        with torch.random.fork_rng([self.fabric.device] if self.fabric.device.type == "cuda" else []):
            torch.manual_seed(self.source.seed)
            loop.set_random_state(self._random)
            yield
            self._random = loop.random_state(self.fabric)
