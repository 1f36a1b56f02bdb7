"""The training loop on Lightning's Fabric: devices, precision, accumulation, a state after every epoch."""

import copy
import functools
import logging
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.utilities.rank_zero import rank_zero_module
from torch import Tensor, nn
from torch.optim import Optimizer

from moclip.config.sections import Training
from moclip.errors import MoclipError
from moclip.io.progress import track
from moclip.training.state import TrainingFolder

Batch = tuple[tuple[Tensor, ...], Tensor, *tuple[Tensor, ...]]  # (inputs of the model), labels (B,), and more
Rate = Callable[[float], float]  # share of the training that is done, 0..1 -> factor on the learning rate
ONE_PROCESS = Training()  # type: ignore[call-arg]

log = logging.getLogger(__name__)


class TrainingError(MoclipError):
    """A training that cannot be done as it is asked for; the message says what to do."""


def make_fabric(device: str = "auto", training: Training = ONE_PROCESS) -> Fabric:
    """Devices and precision. Several devices are several processes: Lightning starts this command once more for each.

    FP32 means FP32 from here on, for this process: torch would compute convolutions on a GPU in TF32, whose fractions
    have 10 bits.

    Parameters
    ----------
    device : ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
    """
    torch.backends.cudnn.allow_tf32 = False
    rank_zero_module.log.addFilter(_no_advice_to_round)
    if training.devices > 1 and hasattr(sys, "ps1"):
        raise TrainingError(
            f"a notebook is one process, training.devices={training.devices} asks for more. First `moclip train "
            f"--devices {training.devices}` with the same profile, then this notebook without training.devices: it "
            "takes the trained networks"
        )
    strategy = "ddp" if training.devices > 1 else "auto"
    fabric = Fabric(accelerator=device, devices=training.devices, strategy=strategy, precision=training.precision)
    fabric.launch()
    return fabric


def _no_advice_to_round(record: logging.LogRecord) -> bool:
    """Lightning advises TF32 on every GPU that has it; who wants speed sets ``training.precision``."""
    return "set_float32_matmul_precision" not in record.getMessage()


# --- the loop -------------------------------------------------------------------------------------------------------


def fit(
    fabric: Fabric,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Callable[[int], Iterator[Batch]],
    batches_per_epoch: int,
    epochs: int,
    rate: Rate,
    progress: str | None = None,
    objective: Callable[..., Tensor] = F.cross_entropy,
    *,
    stop: int | None = None,
    accumulate: int = 1,
    score: Callable[[int], float] | None = None,
    folder: TrainingFolder | None = None,
) -> pd.DataFrame:
    """Train ``model``, in place.

    Parameters
    ----------
    model : returns logits (B, C), or (B, S, C), which are averaged over the segments S (TSN's consensus).
    batches : makes the batches of an epoch, of this process.
    rate : learning-rate schedule.
    progress : name of the bar; no bar if None.
    objective : loss of logits (B, C), labels (B,) and what else a batch holds.
    stop : epochs after which to stop, if not all; the schedule stays that of ``epochs``.
    accumulate : batches whose mean gradient is one step.
    score : called after each epoch with its number, from 0; the model ends with the weights of the (first) epoch that
        had the highest.
    folder : keeps the state after each epoch, and goes on from a state that is there.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, lr (of the first parameter group), loss and accuracy (of the training batches, in
        training mode), and the score.
    """
    network = model  # as it was given; `model` may come to be wrapped for several processes
    model, optimizer = fabric.setup(model, optimizer)
    base = [group["lr"] for group in optimizer.param_groups]
    rows, best = _restore(fabric, network, optimizer, folder)

    def set_rate(epoch: int, step: int) -> float:
        factor = rate((epoch + step / batches_per_epoch) / epochs)
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr * factor
        return float(base[0] * factor)

    left = range(len(rows), stop or epochs)
    for epoch in track(left, progress, unit="epoch") if progress and fabric.is_global_zero else left:
        own_rate = functools.partial(set_rate, epoch)
        row = {"epoch": epoch + 1, **_epoch(fabric, model, optimizer, batches(epoch), own_rate, accumulate, objective)}
        if score:
            row["score"] = score(epoch)
            if row["score"] > max((before["score"] for before in rows), default=-1):
                best = copy.deepcopy(network.state_dict())
        rows.append(row)
        if folder and fabric.is_global_zero:
            folder.keep(_state(fabric, rows, network, optimizer, best))
    if folder and fabric.is_global_zero:
        folder.finish(rows, network.state_dict(), best)
    if best:
        network.load_state_dict(best)
    network.eval()
    return pd.DataFrame(rows)


def _epoch(
    fabric: Fabric,
    model: Any,
    optimizer: Optimizer,
    batches: Iterator[Batch],
    set_rate: Callable[[int], float],
    accumulate: int,
    objective: Callable[..., Tensor],
) -> dict[str, float]:
    """Every batch once; returns lr, loss and accuracy."""
    model.train()
    seen = []
    for step, window in enumerate(_windows(batches, accumulate)):
        optimizer.zero_grad()
        for place, (inputs, labels, *more) in enumerate(window, 1):
            lr = set_rate(step * accumulate + place - 1)
            with fabric.no_backward_sync(model, enabled=place < len(window)):
                logits = model(*inputs)
                logits = logits.mean(dim=1) if logits.dim() == 3 else logits  # (B, C)
                loss = objective(logits, labels, *more)
                fabric.backward(loss / len(window))
            seen.append((loss.detach(), (logits.argmax(dim=1) == labels).sum(), len(labels)))
        optimizer.step()
    # Read at the end: a GPU need not wait for every batch.
    loss_sum = sum(loss.item() * count for loss, _, count in seen)
    correct, count = sum(right.item() for _, right, _ in seen), sum(count for *_, count in seen)
    if fabric.world_size > 1:
        sums = torch.tensor([loss_sum, correct, count], dtype=torch.float64, device=fabric.device)
        torch.distributed.all_reduce(sums)
        loss_sum, correct, count = sums.tolist()
        for buffer in model.buffers():  # BatchNorm: each process has the statistics of its own clips
            torch.distributed.broadcast(buffer, src=0)
    return {"lr": lr, "loss": loss_sum / count, "accuracy": correct / count}


def _windows(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of ``size`` batches; the last may be shorter."""
    window = []
    for batch in batches:
        window.append(batch)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window


def _state(
    fabric: Fabric, rows: list[dict[str, float]], network: nn.Module, optimizer: Optimizer, best: dict[str, Any] | None
) -> dict[str, Any]:
    """All that an interrupted training needs. Random draws of clips follow from seed and epoch, dropout does not."""
    return {
        "rows": rows,
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state() if fabric.device.type == "cuda" else None,
        "best": best,
    }


def _restore(
    fabric: Fabric, network: nn.Module, optimizer: Optimizer, folder: TrainingFolder | None
) -> tuple[list[dict[str, float]], dict[str, Any] | None]:
    """Put back what `_state` kept; returns the rows so far and the best weights."""
    if folder is None:
        return [], None
    with fabric.rank_zero_first():
        state = folder.find()
    if state is None:
        return [], None
    network.load_state_dict(state["model"])
    if "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        torch.set_rng_state(state["random"])
        if state["cuda_random"] is not None and fabric.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"])
    return state["rows"], state["best"]


# --- which epoch ----------------------------------------------------------------------------------------------------


def fit_selected(select: str, run: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Train once, or (``val``) twice: to find the epoch, then on all clips for that many epochs.

    Parameters
    ----------
    select : ``last``, ``val`` or ``test``; see `moclip.config.sections.MV`.
    run : trains from the same start each time; its keywords are ``part`` (a name), ``hold_out`` (leave the held-out
        clips out), ``scored`` (score them after each epoch, end with the best) and ``stop``.

    Returns
    -------
    DataFrame
        The log; with ``val`` a column ``phase`` says ``select`` or ``refit``.
    """
    if select == "last":
        return run()
    if select == "test":
        log.warning("THE EPOCH IS CHOSEN ON THE TEST CLIPS (select=test): the accuracy will be too good")
        return run(scored=True)
    chosen = run(part="select", hold_out=True, scored=True)
    best = int(chosen["epoch"].iloc[chosen["score"].argmax()])
    log.info("epoch %d is best on the validation clips; training anew on all clips until then", best)
    refit = run(part="refit", stop=best)
    return pd.concat([chosen.assign(phase="select"), refit.assign(phase="refit")], ignore_index=True)


def check_held_out(select: str, held_out: object) -> None:
    """Raise `TrainingError` where clips that choose the epoch are asked for and not there."""
    if select == "val" and held_out is None:
        raise TrainingError("select=val needs validation clips: set data.val_fraction, for instance to 0.2")
    if select == "test" and held_out is None:
        raise TrainingError("select=test needs the test clips as `held_out`")


# --- schedules ------------------------------------------------------------------------------------------------------


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
