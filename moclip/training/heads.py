"""Training the fusion head and its controls, all heads of a seed in lockstep."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from lightning.fabric import Fabric
from torch import Tensor

from moclip.config.sections import Fusion
from moclip.inputs.clips import shuffled
from moclip.io import keys
from moclip.io.progress import track
from moclip.models.fusion import FusionHead
from moclip.training.epoch_features import EpochFeatures
from moclip.training.loop import TEST_CLIPS_CHOOSE, Batch, Schedule, Trainer, log, make_fabric
from moclip.training.state import TrainingFolder


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


@dataclass(frozen=True)
class HeadData:
    """Appearance features and labels of one data set.

    Attributes
    ----------
    classes : number of classes C.
    appearance, labels : (N, A) and (N,), of the training clips.
    tested, tested_labels : (K, A) and (K,), of the test clips.
    """

    classes: int
    appearance: Tensor
    labels: Tensor
    tested: Tensor
    tested_labels: Tensor


def permuted(features: Tensor, seed: int) -> Tensor:
    """The same features, assigned to other clips at random: a control of the same size without the motion."""
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))]


def fit_heads(
    folders: Mapping[str, Path | None],
    motion: EpochFeatures,
    data: HeadData,
    settings: Fusion,
    seed: int,
    device: str = "auto",
) -> dict[str, "TrainedHead"]:
    """Train heads on the features of two frozen encoders: AdamW (paper, section III-A).

    The motion features of an epoch are made once, and every head makes its steps on them. A head has a random state of
    its own, so its weights do not depend on which other heads are trained with it.

    Parameters
    ----------
    folders : names of `HEADS`, each with the folder for its state; an interrupted training resumes from it.
    """
    fabric, scored = make_fabric(device), settings.select == "test"
    if scored:
        log.warning(TEST_CLIPS_CHOOSE)
    heads = {name: TrainedHead(fabric, HEADS[name], motion, data, settings, seed, folders[name]) for name in folders}
    least = min((head.trainer for head in heads.values()), key=lambda trainer: len(trainer.rows))
    motion.restore(least.beside)
    for epoch in track(least.epochs_left(), "heads", unit="epoch"):
        features, tested = motion(epoch), motion.tested(few=True) if scored else None
        for head in heads.values():
            if len(head.trainer.rows) == epoch:
                head.train(features, tested)
    motion.restore({})
    first = motion(0)
    under: dict[int, Tensor] = {}  # features of the test clips, by the epoch that is kept
    for head in heads.values():
        head.log = head.trainer.finish()
        epoch = int(head.log["score"].argmax()) if scored else len(head.log) - 1
        if epoch not in under:
            motion.restore(head.statistics)
            under[epoch] = motion.tested()
        head.scores = head.logits(data.tested, under[epoch])
        head.train_accuracy = _share(head.logits(data.appearance, first), data.labels)
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

    def __init__(
        self,
        fabric: Fabric,
        control: Control,
        motion: EpochFeatures,
        data: HeadData,
        settings: Fusion,
        seed: int,
        folder: Path | None,
    ) -> None:
        self.fabric, self.control, self.motion, self.data = fabric, control, motion, data
        self.settings, self.seed = settings, seed
        self.arguments: dict[str, Any] = {
            "num_classes": data.classes,
            "appearance_dim": data.appearance.shape[1] * control.appearance,
            "motion_dim": motion.network.feature_dim * control.motion,
            "hidden": settings.hidden,
            "dropout": settings.dropout,
        }
        self._random: list[Tensor] = []
        with self._random_state():
            self.head = FusionHead(**self.arguments)
            optimizer = torch.optim.AdamW(self.head.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
            schedule = Schedule(settings.epochs, math.ceil(len(data.labels) / settings.batch_size))
            self.trainer = Trainer(fabric, self.head, optimizer, schedule, self._folder(folder) if folder else None)

    @property
    def statistics(self) -> Mapping[str, Tensor]:
        return self.trainer.beside

    def train(self, features: Tensor, tested: Tensor | None) -> None:
        """One epoch, on the motion features of the training clips (N, M); those of the test clips (K, M) score it."""
        epoch, data = len(self.trainer.rows), self.data
        appearance, features, labels = self.fabric.to_device((data.appearance, self._assign(features), data.labels))

        def batches() -> Iterator[Batch]:
            for part in shuffled(len(labels), self.settings.batch_size, self.seed, epoch):
                yield (appearance[part], features[part]), labels[part]

        score = None if tested is None else lambda _: _share(self.logits(data.tested, tested), data.tested_labels)
        with self._random_state():
            self.trainer.train(batches(), score, self.motion.statistics)

    @torch.no_grad()
    def logits(self, appearance: Tensor, features: Tensor) -> Tensor:
        """Logits (K, C) for appearance (K, A) and motion features (K, M) of some clips, on the CPU."""
        return self.head.eval()(*self.fabric.to_device((appearance, self._assign(features)))).float().cpu()

    def _assign(self, features: Tensor) -> Tensor:
        return permuted(features, self.seed) if self.control.permuted else features

    @contextmanager
    def _random_state(self) -> Iterator[None]:
        """Torch's random state of this head, which begins with its seed; that of the others is left alone."""
        devices = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed)
            for put, state in zip((torch.set_rng_state, torch.cuda.set_rng_state), self._random, strict=False):
                put(state)
            yield
            self._random = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]

    def _folder(self, path: Path) -> TrainingFolder:
        data, settings = self.data, self.settings.model_dump(mode="json", exclude={"seeds"})
        inputs = {"appearance": keys.digest([data.appearance, data.labels])}
        if self.settings.select == "test":
            inputs["test clips"] = keys.digest([data.tested, data.tested_labels])
        facts = {"head": self.arguments, "permuted": self.control.permuted, "seed": self.seed}
        return TrainingFolder(path, {**facts, "motion": self.motion.settings, "fusion": settings}, inputs)


def _share(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(dim=1) == labels).float().mean().item()
