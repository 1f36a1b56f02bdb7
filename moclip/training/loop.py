"""The training loop on Lightning's Fabric: devices, precision, accumulation, a state after each epoch."""

import copy
import itertools
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.utilities.rank_zero import rank_zero_module
from torch import Tensor, nn
from torch.optim import Optimizer

from moclip.config.sections import ConfigError, Training
from moclip.io.progress import track
from moclip.training.state import TrainingFolder

Batch = tuple[tuple[Tensor, ...], Tensor, *tuple[Tensor, ...]]  # (inputs of the model), labels (B,), and more
Rate = Callable[[float], float]  # completed share of the training, 0..1 -> factor on the learning rate
ONE_PROCESS = Training()  # type: ignore[call-arg]

log = logging.getLogger(__name__)


def epoch_is_chosen(select: str) -> bool:
    """Whether clips choose the epoch that is kept (``mv.select``, ``fusion.select``); warns if these are test clips."""
    if select == "test":
        log.warning("THE EPOCH IS CHOSEN ON THE TEST CLIPS (select=test): the accuracy will be too good")
    return select != "last"


def make_fabric(device: str = "auto", training: Training = ONE_PROCESS) -> Fabric:
    """Devices and precision. With several devices, Lightning starts this command again for each of them.

    From here on, FP32 means FP32 in this process: by default, torch computes convolutions on a GPU in TF32, whose
    fractions have 10 bits.

    Parameters
    ----------
    device : ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
    """
    torch.backends.cudnn.allow_tf32 = False
    rank_zero_module.log.addFilter(_no_advice_to_round)
    if training.devices > 1 and hasattr(sys, "ps1"):
        raise ConfigError(
            f"a notebook is one process, but training.devices={training.devices}. First run `moclip train --devices "
            f"{training.devices}` with the same profile, then this notebook without training.devices: it uses the "
            "trained networks"
        )
    strategy = "ddp" if training.devices > 1 else "auto"
    fabric = Fabric(accelerator=device, devices=training.devices, strategy=strategy, precision=training.precision)
    fabric.launch()
    return fabric


def _no_advice_to_round(record: logging.LogRecord) -> bool:
    """Lightning advises TF32 on every GPU that has it; here ``training.precision`` decides."""
    return "set_float32_matmul_precision" not in record.getMessage()


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


# --- the loop -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained, how fast, and for what.

    Attributes
    ----------
    epochs : length of the whole training.
    batches : batches per epoch, in this process.
    rate : learning-rate schedule.
    stop : epochs after which to stop, if not all; the rates stay those of ``epochs``.
    accumulate : batches whose mean gradient is one step.
    objective : loss of logits (B, C), labels (B,) and what else a batch holds.
    progress : name of the progress bar.
    """

    epochs: int
    batches: int
    rate: Rate = constant_rate
    stop: int | None = None
    accumulate: int = 1
    objective: Callable[..., Tensor] = F.cross_entropy
    progress: str = "training"


@dataclass
class Trainer:
    """A network in training, one epoch at a time.

    Parameters
    ----------
    network : returns logits (B, C), or (B, S, C), which are averaged over the segments S (TSN's consensus).
    folder : keeps the state after each epoch; training resumes from the state found there.

    Attributes
    ----------
    rows : log so far, one row per epoch: epoch, lr (of the first parameter group), loss and accuracy (of the training
        batches, in training mode), and the score.
    beside : tensors that belong to the weights and are kept with them, see `train`.
    """

    fabric: Fabric
    network: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    folder: TrainingFolder | None = None

    def __post_init__(self) -> None:
        self.model, self.optimizer = self.fabric.setup(self.network, self.optimizer)  # wrapped in several processes
        self.base = [group["lr"] for group in self.optimizer.param_groups]
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.beside: Mapping[str, Tensor] = {}
        with self.fabric.rank_zero_first():
            state = (self.folder.find() if self.folder else None) or {}
        if state:
            self._load(state["model"])
            self.rows, self.best = state["rows"], state["best"] or {}
        if "optimizer" in state:  # not of a training that is finished
            self.optimizer.load_state_dict(state["optimizer"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            set_random_state(state["random"])

    def fit(self, batches: Callable[[int], Iterator[Batch]], score: Callable[[], float] | None = None) -> pd.DataFrame:
        """Train the epochs that are left, and return the log.

        Parameters
        ----------
        batches : makes the batches of an epoch.
        score : see `train`.
        """
        left = self.epochs_left()
        for epoch in track(left, self.schedule.progress, unit="epoch") if self.fabric.is_global_zero else left:
            self.train(batches(epoch), score)
        return self.finish()

    def epochs_left(self) -> range:
        """Numbers of the epochs that are still to be trained, from 0."""
        return range(len(self.rows), self.schedule.stop or self.schedule.epochs)

    def train(
        self,
        batches: Iterator[Batch],
        score: Callable[[], float] | None = None,
        beside: Callable[[], Mapping[str, Tensor]] = dict,
    ) -> None:
        """Train one epoch.

        Parameters
        ----------
        batches : of this process.
        score : called after the epoch; training ends with the weights of the (first) epoch that had the highest score.
        beside : called after the epoch; the tensors that it returns are kept with the weights.
        """
        row = {"epoch": len(self.rows) + 1, **self._steps(batches)}
        self.beside = beside()
        if score:
            row["score"] = score()
            if row["score"] > max((before["score"] for before in self.rows), default=-1):
                self.best = copy.deepcopy(self._weights())
        self.rows.append(row)
        if self.folder and self.fabric.is_global_zero:
            # All that an interrupted training needs: draws of clips follow from seed and epoch, but dropout does not.
            state = {"rows": self.rows, "model": self._weights(), "best": self.best}
            state |= {"optimizer": self.optimizer.state_dict(), "random": random_state(self.fabric)}
            self.folder.keep(state | {"precision": self.fabric.strategy.precision.state_dict()})

    def finish(self) -> pd.DataFrame:
        """Keep the last weights, load the best if epochs were scored, and return the log."""
        if self.folder and self.fabric.is_global_zero:
            self.folder.finish(self.rows, self._weights(), self.best or None)
        if self.best:
            self._load(self.best)
        self.network.eval()
        return pd.DataFrame(self.rows)

    def _steps(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Every batch once; returns lr, loss and accuracy."""
        fabric, schedule, groups = self.fabric, self.schedule, self.optimizer.param_groups
        self.model.train()
        seen: list[tuple[Tensor, Tensor, int]] = []
        for window in iter(lambda: list(itertools.islice(batches, schedule.accumulate)), []):  # the last may be shorter
            self.optimizer.zero_grad()
            for number, (inputs, labels, *more) in enumerate(window, 1):
                factor = schedule.rate((len(self.rows) + len(seen) / schedule.batches) / schedule.epochs)
                for group, lr in zip(groups, self.base, strict=True):
                    group["lr"] = lr * factor
                with fabric.no_backward_sync(self.model, enabled=number < len(window)):
                    logits = self.model(*inputs)
                    logits = logits.mean(dim=1) if logits.dim() == 3 else logits  # (B, C)
                    loss = schedule.objective(logits, labels, *more)
                    fabric.backward(loss / len(window))
                seen.append((loss.detach(), (logits.argmax(dim=1) == labels).sum(), len(labels)))
            self.optimizer.step()
        # Read at the end: a GPU need not wait for every batch.
        counted = [(loss.item() * n, right.item(), n) for loss, right, n in seen]
        sums = [sum(column) for column in zip(*counted, strict=True)]
        total = torch.tensor(sums, dtype=torch.float64, device=fabric.device)
        if fabric.world_size > 1:
            torch.distributed.all_reduce(total)
            for buffer in self.model.buffers():  # BatchNorm: each process has the statistics of its own clips
                torch.distributed.broadcast(buffer, src=0)
        loss_sum, correct, count = total.tolist()
        return {"lr": groups[0]["lr"], "loss": loss_sum / count, "accuracy": correct / count}

    def _weights(self) -> dict[str, Any]:
        return {**self.network.state_dict(), **self.beside}

    def _load(self, weights: Mapping[str, Any]) -> None:
        names = self.network.state_dict().keys()
        self.network.load_state_dict({name: weights[name] for name in names})
        self.beside = {name: value for name, value in weights.items() if name not in names}


def random_state(fabric: Fabric) -> list[Tensor]:
    """Torch's random state: of the CPU, and of the GPU if one is used."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if fabric.device.type == "cuda" else [])]


def set_random_state(states: list[Tensor]) -> None:
    """Set what `random_state` returned; nothing for an empty list. A machine without a GPU takes the CPU's alone."""
    setters = [torch.set_rng_state, *([torch.cuda.set_rng_state] if torch.cuda.is_available() else [])]
    for set_state, state in zip(setters, states, strict=False):
        set_state(state)
