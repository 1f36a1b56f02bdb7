"""Training the motion network, and its features once it is trained."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from lightning.fabric import Fabric, seed_everything
from torch import Tensor, nn

from moclip.config.sections import MV, Config, ConfigError
from moclip.datasets.base import Clip, VideoDataset
from moclip.inputs.clips import EpochSampler, LoadedClips, TrainingSamples, training_loader
from moclip.inputs.views import EvalViews, TrainViews, to_input
from moclip.io import keys
from moclip.io.progress import track
from moclip.models.backbones import state_hash
from moclip.models.mv_tsn import MVTSN, average_views
from moclip.training import loop
from moclip.training.state import TrainingFolder


def training_clips(dataset: VideoDataset, config: Config) -> list[Clip]:
    """Clips to train on. If validation clips choose the epoch, they are trained on afterwards, too; they come last."""
    return [*dataset.train, *(dataset.val if config.mv.select == "val" else ())]


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
    mv, training, sections = config.mv, config.training, (config.mv, config.motion, dataset.horizontal_flip)
    if mv.select != "last" and mv.select not in clips:
        raise ConfigError(
            f"mv.select={mv.select} needs {mv.select} clips to choose the epoch; for val set data.val_fraction, for "
            "instance to 0.2"
        )
    chosen = loop.epoch_is_chosen(mv.select)
    fabric = loop.make_fabric(config.device, training)
    torch.manual_seed(mv.seed)
    network = MVTSN(**network_arguments(config, dataset)).to(fabric.device)
    if training.channels_last:
        network.to(memory_format=torch.channels_last)
    first = copy.deepcopy(network.state_dict())
    samples = TrainingSamples(clips["train"], TrainViews.from_sections(*sections))
    tested = EvalViews.from_sections(*sections)
    settings = {
        "views": asdict(samples.protocol),
        "mv": mv.training_fields(),
        "training": training.model_dump(mode="json", exclude={"devices", "workers"}),  # processes may change
    }
    inputs = {"first weights": state_hash(network)}
    inputs |= {split: keys.digest(clips[split].identities()) for split in ("train", mv.select) if split in clips}

    def run(part: str = "", stop: int | None = None) -> pd.DataFrame:
        """Train from the first weights; ``select`` leaves out the validation clips, ``refit`` scores no epoch."""
        seed_everything(mv.seed, verbose=False)
        network.load_state_dict(first)
        count = len(clips["train"]) - (len(clips["val"]) if part == "select" else 0)
        sampler = EpochSampler(count, mv.batch_size, mv.seed, fabric.global_rank, fabric.world_size)
        loader = training_loader(samples, sampler, training.workers)

        def batches(epoch: int) -> Iterator[loop.Batch]:
            sampler.epoch = epoch
            for views, labels in loader:
                yield (to_input(views, fabric.device),), labels.to(fabric.device)

        stepped = mv.schedule == "step"
        rate = loop.step_rate([at / mv.epochs for at in mv.milestones]) if stepped else loop.one_cycle_rate
        adam = torch.optim.Adam if stepped else torch.optim.AdamW
        optimizer = adam(parameter_groups(network, mv), lr=mv.lr, eps=mv.eps, weight_decay=mv.weight_decay)
        progress = f"motion network {part}".strip()
        schedule = loop.Schedule(mv.epochs, len(sampler), rate, stop, training.accumulate, progress=progress)
        state = TrainingFolder(folder / part, {**settings, "stop": stop}, inputs) if folder else None
        score = partial(accuracy, fabric, network, clips[mv.select], tested, mv) if chosen and part != "refit" else None
        return loop.Trainer(fabric, network, optimizer, schedule, state).fit(batches, score)

    if mv.select != "val":
        return network, run()
    log = run("select")
    best = int(log["epoch"].iloc[log["score"].argmax()])
    loop.log.info("epoch %d is best on the validation clips; training again on all clips for as many epochs", best)
    refit = run("refit", stop=best)
    return network, pd.concat([log.assign(phase="select"), refit.assign(phase="refit")], ignore_index=True)


def parameter_groups(model: MVTSN, settings: MV) -> list[dict[str, Any]]:
    """Classifier, stem (which sees motion for the first time) and rest, each with a learning rate of its own.

    With ``decay_all: false``, biases and scales (all tensors of one dimension, as in timm) are separate groups without
    weight decay. The published code multiplies the rates by 1, 0.1 and 0.01, and decays all.
    """
    parts = dict.fromkeys(model.parameters(), "rest") | dict.fromkeys(model.classifier.parameters(), "classifier")
    parts |= dict.fromkeys([*model.data_bn.parameters(), *model.stem.parameters()], "stem")
    groups: dict[tuple[str, bool], list[nn.Parameter]] = defaultdict(list)
    for parameter, name in parts.items():
        groups[name, settings.decay_all or parameter.dim() > 1].append(parameter)
    return [
        {
            "params": groups[name, decayed],
            "lr": settings.lr * getattr(settings.lr_multipliers, name),
            "weight_decay": settings.weight_decay if decayed else 0.0,
            "name": name,
        }
        for name, decayed in itertools.product(("classifier", "stem", "rest"), (True, False))
        if (name, decayed) in groups
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
