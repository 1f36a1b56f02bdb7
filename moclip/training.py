"""Fitting: one loop, used for the motion network and for the heads."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric, seed_everything
from torch import Tensor, nn

from moclip.config import MV, Fusion
from moclip.loading import MotionClips, training_loader
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN
from moclip.progress import track

Batch = tuple[tuple[Tensor, ...], Tensor, *tuple[Tensor, ...]]  # (inputs of the model), labels (B,), and more
Rate = Callable[[float], float]  # share of the training that is done, 0..1 -> factor on the learning rate


def make_fabric(device: str = "auto") -> Fabric:
    """One device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``."""
    return Fabric(accelerator=device, devices=1)


def fit(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterator[Batch]],
    batches_per_epoch: int,
    epochs: int,
    rate: Rate,
    progress: str | None = None,
    objective: Callable[..., Tensor] = F.cross_entropy,
) -> pd.DataFrame:
    """Train ``model``, in place.

    Parameters
    ----------
    model : returns logits (B, C), or (B, S, C), which are averaged over the segments S (TSN's consensus).
    batches : makes the batches of an epoch.
    rate : learning-rate schedule.
    progress : name of the bar; no bar if None.
    objective : loss of logits (B, C), labels (B,) and what else a batch holds.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, lr, loss, accuracy (of the training batches, in training mode).
    """
    model, optimizer = fabric.setup(model, optimizer)
    base = [group["lr"] for group in optimizer.param_groups]
    rows = []
    for epoch in track(range(epochs), progress, unit="epoch") if progress else range(epochs):
        model.train()
        loss_sum = correct = count = 0.0
        for step, (inputs, labels, *more) in enumerate(batches(epoch)):
            factor = rate((epoch + step / batches_per_epoch) / epochs)
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * factor
            logits = model(*inputs)
            logits = logits.mean(dim=1) if logits.dim() == 3 else logits  # (B, C)
            loss = objective(logits, labels, *more)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()
            count += len(labels)
        rows.append({"epoch": epoch + 1, "lr": base[0] * factor, "loss": loss_sum / count, "accuracy": correct / count})
    model.eval()
    return pd.DataFrame(rows)


def fit_mv(model: MVTSN, clips: MotionClips, settings: MV, device: str = "auto") -> pd.DataFrame:
    """Train the motion network: random segments, multi-scale crops, Adam (paper, section III-A).

    The order of the clips, the segments and the crops follow from ``settings.seed`` alone. On one CPU with the same
    number of threads the weights repeat bit for bit; across machines they do not.
    """
    fabric = make_fabric(device)
    seed_everything(settings.seed, verbose=False)
    model.to(fabric.device)
    loader = training_loader(clips)
    moving = fabric.setup_dataloaders(loader)

    def batches(epoch: int) -> Iterator[Batch]:
        loader.batch_sampler.epoch = epoch  # type: ignore[union-attr]
        for batch in cast(Iterable[dict[str, Tensor]], moving):
            yield (clips.to_input(batch),), batch["label"]

    if settings.schedule == "step":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(
            model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        rate = step_rate([milestone / settings.epochs for milestone in settings.milestones])
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        rate = one_cycle_rate
    return fit(fabric, model, optimizer, batches, len(loader), settings.epochs, rate, "motion network")


def fit_head(
    head: FusionHead,
    appearance: Tensor,
    motion: Callable[[int], Tensor],
    labels: Tensor,
    settings: Fusion,
    seed: int,
    device: str = "auto",
) -> pd.DataFrame:
    """Train a head on the features of two frozen encoders: AdamW (paper, section III-A).

    Both encoders are frozen, so that a clip's features are all that the head ever sees of it. The motion feature
    changes from epoch to epoch, since every epoch draws other segments.

    Parameters
    ----------
    appearance : (N, A).
    motion : epoch -> (N, M), averaged over the segments of that epoch.
    labels : (N,).
    """
    fabric = make_fabric(device)
    seed_everything(seed, verbose=False)
    head.mlp.apply(lambda module: module.reset_parameters() if isinstance(module, nn.Linear) else None)
    appearance, labels = fabric.to_device((appearance, labels))
    count = math.ceil(len(labels) / settings.batch_size)

    def batches(epoch: int) -> Iterator[Batch]:
        drawn = fabric.to_device(motion(epoch))
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for part in np.array_split(order, count):
            yield (appearance[part], drawn[part]), labels[part]

    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    return fit(fabric, head, optimizer, batches, count, settings.epochs, constant_rate)


def constant_rate(done: float) -> float:
    """The same learning rate throughout."""
    return 1.0


def step_rate(milestones: list[float]) -> Rate:
    """A tenth at each milestone (shares of the training)."""
    return lambda done: 0.1 ** sum(done >= milestone for milestone in milestones)


def one_cycle_rate(done: float, warm_up: float = 0.2) -> float:
    """Linear rise over the first fifth, cosine to zero: for schedules too short for steps."""
    if done < warm_up:
        return 0.05 + 0.95 * done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))
