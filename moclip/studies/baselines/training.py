"""The networks of Table I's other systems at work: built and trained small, tested on all views."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.fabric import seed_everything
from torch import Tensor, nn

from moclip.config.sections import Baselines
from moclip.inputs.clips import EpochSampler
from moclip.models import create_model
from moclip.studies.baselines.emv import soft_target_loss
from moclip.studies.baselines.systems import INPUT_OF, NETWORKS
from moclip.studies.baselines.x_clip import XCLIP
from moclip.training.loop import Batch, Schedule, Trainer, make_fabric, one_cycle_rate


def build(name: str, classes: Sequence[str], width: float, size: int) -> nn.Module:
    """An untrained network.

    Parameters
    ----------
    classes : what the classes are called, for a network that reads their names.
    width : factor on the widths of its paper.
    size : side of its input in pixels.
    """
    sized = {"size": size} if NETWORKS[name].sized else {}
    network = create_model(name, num_classes=len(classes), width=width, **sized)
    if isinstance(network, XCLIP):
        network.name_classes(classes)
    return network


def to_network(inputs: Tensor, kind: str) -> Tensor:
    """Scale 8 bit to -2..2, with no motion at 0: uint8 (..., C, H, W) -> float32 of the same shape.

    The mean of each field of a stack is subtracted (Simonyan & Zisserman 2014, section 3.1).
    """
    values = (inputs.float() - 128) / 64
    return values - values.mean(dim=(-2, -1), keepdim=True) if kind.endswith("stack") else values


def fit_baseline(
    name: str,
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    settings: Baselines,
    teacher: Tensor | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Train one network in place with `moclip.training.loop.Trainer`: AdamW, one-cycle learning rate.

    A step sees one view of each clip, drawn at random; CoViAR's own training averages three.

    Parameters
    ----------
    name : of the network, a key of `moclip.studies.baselines.systems.NETWORKS`.
    inputs : uint8 (N, V, C, H, W) of the training clips.
    labels : (N,).
    teacher : logits (N, V, classes) of the network's teacher, whose soft targets are then learned beside the labels.

    Returns
    -------
    DataFrame
        One row per epoch, as `moclip.training.loop.Trainer.fit` returns it.
    """
    fabric = make_fabric(device)
    seed_everything(settings.seed, verbose=False)
    count, views = inputs.shape[:2]
    sampler = EpochSampler(count, settings.batch_size, settings.seed)

    def batches(epoch: int) -> Iterator[Batch]:
        sampler.epoch = epoch
        rng = np.random.default_rng([settings.seed, epoch])
        for _, clips in sampler:
            chosen = clips, rng.integers(views, size=len(clips))
            targets = [labels[clips]] if teacher is None else [labels[clips], teacher[chosen]]
            view, *rest = fabric.to_device((to_network(inputs[chosen], INPUT_OF[name]), *targets))
            yield (view,), *rest

    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr)
    objective = F.cross_entropy if teacher is None else soft_target_loss
    schedule = Schedule(settings.epochs, len(sampler), one_cycle_rate, objective=objective, progress=name)
    return Trainer(fabric, network, optimizer, schedule).fit(batches)


@torch.no_grad()
def view_logits(name: str, network: nn.Module, inputs: Tensor, batch_size: int = 128) -> Tensor:
    """Logits of every view: uint8 (N, V, C, H, W) -> float32 (N, V, classes), on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    batches = inputs.flatten(0, 1).split(batch_size)
    logits = torch.cat([network(to_network(views.to(device), INPUT_OF[name])).cpu() for views in batches])
    return logits.unflatten(0, inputs.shape[:2])
