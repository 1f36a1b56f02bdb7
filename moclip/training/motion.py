"""Fitting the motion network and the heads, with the loop of `moclip.training.loop`."""

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from lightning.fabric import Fabric, seed_everything
from torch import Tensor, nn

from moclip.config.sections import MV, Config, Training
from moclip.datasets.base import Clip, VideoDataset
from moclip.inputs.clips import MotionClips, training_loader
from moclip.io.progress import track
from moclip.models.backbones import state_hash
from moclip.models.mv_tsn import MVTSN, average_views
from moclip.training.loop import (
    ONE_PROCESS,
    Batch,
    Rate,
    check_held_out,
    fit,
    fit_selected,
    make_fabric,
    one_cycle_rate,
    step_rate,
)
from moclip.training.state import TrainingFolder, digest_of


def splits(dataset: VideoDataset, config: Config, select: str) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on, and those that choose the epoch.

    Validation clips are trained on in the end (after they have chosen), and then stand last among the former.

    Parameters
    ----------
    select : ``mv.select`` or ``fusion.select``.
    """
    fitted = [*dataset.train, *dataset.val] if config.mv.select == "val" else list(dataset.train)
    return fitted, {"last": [], "val": list(dataset.val), "test": list(dataset.test)}[select]


def fit_mv(
    model: MVTSN,
    clips: MotionClips,
    settings: MV,
    device: str = "auto",
    training: Training = ONE_PROCESS,
    held_out: MotionClips | None = None,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Train the motion network: random segments, multi-scale crops, Adam (paper, section III-A).

    The order of the clips, the segments and the crops follow from ``settings.seed`` alone. On one CPU with the same
    number of threads the weights repeat bit for bit; across machines they do not. Several processes share each batch.

    Parameters
    ----------
    held_out : clips that choose the epoch, where ``settings.select`` asks for some. For ``val`` they are the last of
        ``clips``, left out until the epoch is known.
    folder : where to keep the state after each epoch; a training that was killed there goes on.
    """
    check_held_out(settings.select, held_out)
    fabric = make_fabric(device, training)
    model.to(fabric.device)
    if training.channels_last:
        model.to(memory_format=torch.channels_last)
    first = copy.deepcopy(model.state_dict())
    depends = _dependencies(model, clips, held_out, settings, training) if folder else {}

    def run(part: str = "", hold_out: bool = False, scored: bool = False, stop: int | None = None) -> pd.DataFrame:
        seed_everything(settings.seed, verbose=False)
        model.load_state_dict(first)
        count = len(clips) - len(held_out) if hold_out and held_out else len(clips)
        loader = training_loader(clips, training.workers, count, fabric.global_rank, fabric.world_size)
        moving = fabric.setup_dataloaders(loader, use_distributed_sampler=False)

        def batches(epoch: int) -> Iterator[Batch]:
            loader.batch_sampler.epoch = epoch  # type: ignore[union-attr]
            for batch in cast(Iterable[dict[str, Tensor]], moving):
                yield (clips.to_input(batch),), batch["label"]

        adam = torch.optim.Adam if settings.schedule == "step" else torch.optim.AdamW
        groups = parameter_groups(model, settings)
        optimizer = adam(groups, lr=settings.lr, eps=settings.eps, weight_decay=settings.weight_decay)
        rate: Rate = one_cycle_rate
        if settings.schedule == "step":
            rate = step_rate([milestone / settings.epochs for milestone in settings.milestones])
        return fit(
            fabric,
            model,
            optimizer,
            batches,
            len(loader),
            settings.epochs,
            rate,
            f"motion network {part}".strip(),
            stop=stop,
            accumulate=training.accumulate,
            score=(lambda _: accuracy(fabric, model, held_out, settings)) if scored and held_out else None,
            folder=TrainingFolder(folder / part, {**depends, "stop": stop}) if folder else None,
        )

    return fit_selected(settings.select, run)


def parameter_groups(model: MVTSN, settings: MV) -> list[dict[str, Any]]:
    """Classifier, stem (what sees motion for the first time) and rest, each with a learning rate of its own.

    With ``decay_all: false`` biases and scales (all tensors of one dimension, as timm has it) are groups apart,
    without weight decay. The published code multiplies by 1, 0.1 and 0.01, and decays all.
    """
    stem = {*model.data_bn.parameters(), *model.stem.parameters()}
    classifier = set(model.classifier.parameters())
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name in ("classifier", "stem", "rest"):
        groups[name, True], groups[name, False] = [], []
    for parameter in model.parameters():
        name = "classifier" if parameter in classifier else "stem" if parameter in stem else "rest"
        groups[name, settings.decay_all or parameter.dim() > 1].append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.lr * getattr(settings.lr_multipliers, name),
            "weight_decay": settings.weight_decay if decayed else 0.0,
            "name": name,
        }
        for (name, decayed), parameters in groups.items()
        if parameters
    ]


@torch.no_grad()
def accuracy(fabric: Fabric, model: MVTSN, clips: MotionClips, settings: MV) -> float:
    """Share of clips that are named rightly, each counted once, whatever the number of processes.

    Every clip has as many centre views as segments in training: a guide to the epoch, not the number of a table.
    """
    model.eval()
    own = range(fabric.global_rank, len(clips), fabric.world_size)
    right: dict[str, bool] = {}
    for start in range(0, len(own), settings.batch_size):
        part = own[start : start + settings.batch_size]
        batch = fabric.to_device(clips.centre_views(part, settings.segments))
        with fabric.autocast():
            scores = average_views(model(clips.to_input(batch)).float(), settings.average).cpu()
        for index, guess in zip(part, scores.argmax(dim=1).tolist(), strict=True):
            right[clips.clips[index].name] = guess == clips.labels[index]
    if fabric.world_size > 1:
        parts: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(parts, right)
        right = {name: hit for part in parts for name, hit in part.items()}
    assert len(right) == len(clips), "every clip, by its name"
    return sum(right.values()) / len(right)


@torch.no_grad()
def motion_features(
    model: MVTSN,
    clips: MotionClips,
    views: int,
    device: torch.device | str = "cpu",
    views_a_batch: int = 256,
    crops: int = 1,
) -> Tensor:
    """Features of the centre segments under a frozen network: float32 (N, V, D), on the CPU.

    V is ``views * crops``; see `MotionClips.centre_views`.
    """
    model = model.to(device).eval()
    size = max(1, views_a_batch // (views * crops))
    parts = []
    for start in track(range(0, len(clips), size), "motion features", unit="batch"):
        indices = range(start, min(start + size, len(clips)))
        batch = {key: value.to(device) for key, value in clips.centre_views(indices, views, crops).items()}
        parts.append(model.features(clips.to_input(batch)).float().cpu())
    return torch.cat(parts)


def _dependencies(
    model: MVTSN, clips: MotionClips, held_out: MotionClips | None, settings: MV, training: Training
) -> dict[str, Any]:
    """What the weights depend on, but for the code; not the number of processes, which may change on the way."""
    named = [
        [(clip.name, clip.label, path.stem) for clip, path in zip(part.clips, part.paths, strict=True)]
        for part in (clips, held_out)
        if part
    ]
    return {
        "first weights": state_hash(model),
        "clips": digest_of(named),
        "field": [clips.field, clips.scale.units, clips.scale.bound],
        "flips": clips.flips,
        "mv": settings.training_fields(),
        "training": training.model_dump(mode="json", exclude={"devices", "workers"}),
    }
