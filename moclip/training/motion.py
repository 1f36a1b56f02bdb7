"""Training the motion network, and its features once it is trained."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from lightning.fabric import Fabric, seed_everything
from torch import Tensor, nn

from moclip.config.sections import MV, Config
from moclip.datasets.base import Clip, VideoDataset
from moclip.inputs.clips import EpochSampler, LoadedClips, TrainingSamples, training_loader
from moclip.inputs.views import EvalViews, TrainViews, Views, to_input
from moclip.io import keys
from moclip.io.progress import track
from moclip.models.backbones import state_hash
from moclip.models.mv_tsn import MVTSN, average_views
from moclip.training import loop
from moclip.training.state import TrainingFolder


def training_and_selection_clips(dataset: VideoDataset, config: Config, select: str) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on, and clips that choose the epoch.

    After they have chosen, validation clips are trained on, too; they are the last of the training clips.

    Parameters
    ----------
    select : ``mv.select`` or ``fusion.select``.
    """
    train = [*dataset.train, *dataset.val] if config.mv.select == "val" else list(dataset.train)
    return train, {"last": [], "val": list(dataset.val), "test": list(dataset.test)}[select]


def network_arguments(config: Config, dataset: VideoDataset) -> dict[str, Any]:
    """Arguments of `MVTSN`, as a checkpoint keeps them."""
    return {"num_classes": len(dataset.classes), "backbone": config.mv.backbone, "pretrained": config.mv.pretrained}


def train_motion_network(
    config: Config, dataset: VideoDataset, clips: Mapping[str, LoadedClips], folder: Path | None = None
) -> tuple[MVTSN, pd.DataFrame]:
    """Create and train the motion network: random segments, multi-scale crops, Adam (paper, section III-A).

    First weights, order of the clips, segments and crops follow from ``mv.seed`` alone. On one CPU with the same number
    of threads the weights repeat bit for bit; across machines they do not. Several processes share each batch.

    Parameters
    ----------
    clips : ``train``, and ``val`` or ``test`` if ``mv.select`` names them. With ``val``, these clips are also the last
        of ``train``; they are left out until the epoch is known.
    folder : keeps the state after each epoch; an interrupted training resumes from it.

    Returns
    -------
    (network, log) : the network in evaluation mode; one row per epoch.
    """
    mv, training = config.mv, config.training
    held_out = clips.get(mv.select)
    if mv.select != "last" and held_out is None:
        raise loop.TrainingError(
            f"mv.select={mv.select} needs {mv.select} clips to choose the epoch; for val set data.val_fraction, for "
            "instance to 0.2"
        )
    fabric = loop.make_fabric(config.device, training)
    torch.manual_seed(mv.seed)
    network = MVTSN(**network_arguments(config, dataset)).to(fabric.device)
    if training.channels_last:
        network.to(memory_format=torch.channels_last)
    first = copy.deepcopy(network.state_dict())
    samples = TrainingSamples(clips["train"], TrainViews.from_sections(mv, config.motion, dataset.horizontal_flip))
    tested = EvalViews.from_sections(mv, config.motion, dataset.horizontal_flip)
    settings = {
        "views": asdict(samples.protocol),
        "mv": mv.training_fields(),
        "training": training.model_dump(mode="json", exclude={"devices", "workers"}),  # processes may change
    }
    inputs = {"first weights": state_hash(network)}
    inputs |= {split: keys.digest(clips[split].identities()) for split in ("train", mv.select) if split in clips}

    def run(part: str = "", hold_out: bool = False, scored: bool = False, stop: int | None = None) -> pd.DataFrame:
        seed_everything(mv.seed, verbose=False)
        network.load_state_dict(first)
        count = len(clips["train"]) - len(held_out) if hold_out and held_out else len(clips["train"])
        sampler = EpochSampler(count, mv.batch_size, mv.seed, fabric.global_rank, fabric.world_size)
        loader = training_loader(samples, sampler, training.workers)
        moving = fabric.setup_dataloaders(loader, use_distributed_sampler=False)

        def batches(epoch: int) -> Iterator[loop.Batch]:
            sampler.epoch = epoch
            for views, labels in cast(Iterable[tuple[Views, Tensor]], moving):
                yield (to_input(views, fabric.device),), labels

        def score(_: int) -> float:
            return accuracy(fabric, network, clips[mv.select], tested, mv)

        adam = torch.optim.Adam if mv.schedule == "step" else torch.optim.AdamW
        optimizer = adam(parameter_groups(network, mv), lr=mv.lr, eps=mv.eps, weight_decay=mv.weight_decay)
        rate = (
            loop.step_rate([at / mv.epochs for at in mv.milestones]) if mv.schedule == "step" else loop.one_cycle_rate
        )
        bar = f"motion network {part}".strip()
        schedule = loop.Schedule(mv.epochs, len(sampler), rate, stop, training.accumulate, progress=bar)
        kept = TrainingFolder(folder / part, {**settings, "stop": stop}, inputs) if folder else None
        return loop.fit(fabric, network, optimizer, batches, schedule, score if scored else None, kept)

    return network, loop.fit_selected(mv.select, run)


def parameter_groups(model: MVTSN, settings: MV) -> list[dict[str, Any]]:
    """Classifier, stem (which sees motion for the first time) and rest, each with a learning rate of its own.

    With ``decay_all: false``, biases and scales (all tensors of one dimension, as in timm) are separate groups without
    weight decay. The published code multiplies the rates by 1, 0.1 and 0.01, and decays all.
    """
    classifier, stem = set(model.classifier.parameters()), {*model.data_bn.parameters(), *model.stem.parameters()}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, decayed in itertools.product(("classifier", "stem", "rest"), (True, False)):
        groups[name, decayed] = []
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
def accuracy(fabric: Fabric, network: MVTSN, clips: LoadedClips, protocol: EvalViews, mv: MV) -> float:
    """Share of clips that are recognised; each counts once, regardless of the number of processes.

    A clip has as many centre views as segments in training: this guides the choice of the epoch, no table reports it.
    """
    network.eval()
    protocol = replace(protocol, segments=mv.segments, crops=1)
    share = range(fabric.global_rank, len(clips), fabric.world_size)
    right = torch.zeros((), dtype=torch.int64)
    for start in range(0, len(share), mv.batch_size):
        part = share[start : start + mv.batch_size]
        with fabric.autocast():
            logits = network(to_input(clips.test_views(part, protocol), fabric.device)).float()
        right += (average_views(logits, mv.average).argmax(dim=1).cpu() == clips.labels[part]).sum()
    return cast(Tensor, fabric.all_reduce(right.to(fabric.device), reduce_op="sum")).item() / len(clips)


@torch.no_grad()
def motion_features(
    network: MVTSN,
    clips: LoadedClips,
    protocol: EvalViews,
    device: torch.device | str = "cpu",
    views_per_batch: int = 256,
) -> Tensor:
    """Features of the test views under a frozen network: float32 (N, V, D), on the CPU; V is segments * crops."""
    network = network.to(device).eval()
    size = max(1, views_per_batch // (protocol.segments * protocol.crops))
    parts = []
    for start in track(range(0, len(clips), size), "motion features", unit="batch"):
        indices = range(start, min(start + size, len(clips)))
        parts.append(network.features(to_input(clips.test_views(indices, protocol), device)).float().cpu())
    return torch.cat(parts)
