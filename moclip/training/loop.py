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

from moclip.config.sections import Training
from moclip.errors import MoclipError
from moclip.io.progress import track
from moclip.training.state import TrainingFolder

Batch = tuple[tuple[Tensor, ...], Tensor, *tuple[Tensor, ...]]  # (inputs of the model), labels (B,), and more
Rate = Callable[[float], float]  # completed share of the training, 0..1 -> factor on the learning rate
ONE_PROCESS = Training()  # type: ignore[call-arg]

TEST_CLIPS_CHOOSE = "THE EPOCH IS CHOSEN ON THE TEST CLIPS (select=test): the accuracy will be too good"

log = logging.getLogger(__name__)


class TrainingError(MoclipError):
    """The settings do not allow this training; the message says what to do."""


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
        raise TrainingError(
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
    progress : name of the progress bar; no bar if None.
    """

    epochs: int
    batches: int
    rate: Rate = constant_rate
    stop: int | None = None
    accumulate: int = 1
    objective: Callable[..., Tensor] = F.cross_entropy
    progress: str | None = None


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
            state = self.folder.find() if self.folder else None
        if state is not None:
            self._restore(state)

    def epochs_left(self) -> range:
        """Numbers of the epochs that are still to be trained, from 0."""
        return range(len(self.rows), self.schedule.stop or self.schedule.epochs)

    def train(
        self,
        batches: Iterator[Batch],
        score: Callable[[int], float] | None = None,
        beside: Callable[[], Mapping[str, Tensor]] = dict,
    ) -> None:
        """Train one epoch.

        Parameters
        ----------
        batches : of this process.
        score : called after the epoch with its number, from 0; training ends with the weights of the (first) epoch
            that had the highest score.
        beside : called after the epoch; the tensors that it returns are kept with the weights.
        """
        epoch = len(self.rows)
        row = {"epoch": epoch + 1, **self._steps(epoch, batches)}
        self.beside = beside()
        if score:
            row["score"] = score(epoch)
            if row["score"] > max((before["score"] for before in self.rows), default=-1):
                self.best = copy.deepcopy(self._weights())
        self.rows.append(row)
        if self.folder and self.fabric.is_global_zero:
            self.folder.keep(self._state())

    def finish(self) -> pd.DataFrame:
        """Keep the last weights, load the best if epochs were scored, and return the log."""
        if self.folder and self.fabric.is_global_zero:
            self.folder.finish(self.rows, self._weights(), self.best or None)
        if self.best:
            self._load(self.best)
        self.network.eval()
        return pd.DataFrame(self.rows)

    def _steps(self, epoch: int, batches: Iterator[Batch]) -> dict[str, float]:
        """Every batch once; returns lr, loss and accuracy."""
        fabric, accumulate = self.fabric, self.schedule.accumulate
        self.model.train()
        seen = []
        windows = iter(lambda: list(itertools.islice(batches, accumulate)), [])  # the last may be shorter
        for step, window in enumerate(windows):
            self.optimizer.zero_grad()
            for number, (inputs, labels, *more) in enumerate(window, 1):
                lr = self._set_rate(epoch, step * accumulate + number - 1)
                with fabric.no_backward_sync(self.model, enabled=number < len(window)):
                    logits = self.model(*inputs)
                    logits = logits.mean(dim=1) if logits.dim() == 3 else logits  # (B, C)
                    loss = self.schedule.objective(logits, labels, *more)
                    fabric.backward(loss / len(window))
                seen.append((loss.detach(), (logits.argmax(dim=1) == labels).sum(), len(labels)))
            self.optimizer.step()
        # Read at the end: a GPU need not wait for every batch.
        sums = map(sum, zip(*((loss.item() * count, right.item(), count) for loss, right, count in seen), strict=True))
        total = torch.tensor(list(sums), dtype=torch.float64, device=fabric.device)
        if fabric.world_size > 1:
            torch.distributed.all_reduce(total)
            for buffer in self.model.buffers():  # BatchNorm: each process has the statistics of its own clips
                torch.distributed.broadcast(buffer, src=0)
        loss_sum, correct, count = total.tolist()
        return {"lr": lr, "loss": loss_sum / count, "accuracy": correct / count}

    def _set_rate(self, epoch: int, step: int) -> float:
        factor = self.schedule.rate((epoch + step / self.schedule.batches) / self.schedule.epochs)
        for group, lr in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = lr * factor
        return float(self.base[0] * factor)

    def _weights(self) -> dict[str, Any]:
        return {**self.network.state_dict(), **self.beside}

    def _load(self, weights: Mapping[str, Any]) -> None:
        names = self.network.state_dict().keys()
        self.network.load_state_dict({name: weights[name] for name in names})
        self.beside = {name: value for name, value in weights.items() if name not in names}

    def _state(self) -> dict[str, Any]:
        """All that an interrupted training needs: draws of clips follow from seed and epoch, but dropout does not."""
        return {
            "rows": self.rows,
            "model": self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if self.fabric.device.type == "cuda" else None,
            "best": self.best,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._load(state["model"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            torch.set_rng_state(state["random"])
            if state["cuda_random"] is not None and self.fabric.device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda_random"])
        self.rows, self.best = state["rows"], state["best"] or {}


def fit(
    fabric: Fabric,
    network: nn.Module,
    optimizer: Optimizer,
    batches: Callable[[int], Iterator[Batch]],
    schedule: Schedule,
    score: Callable[[int], float] | None = None,
    folder: TrainingFolder | None = None,
) -> pd.DataFrame:
    """Train ``network``, in place, and return the log; see `Trainer`.

    Parameters
    ----------
    batches : makes the batches of an epoch.
    """
    trainer = Trainer(fabric, network, optimizer, schedule, folder)
    left = trainer.epochs_left()
    shown = schedule.progress if fabric.is_global_zero else None
    for epoch in track(left, shown, unit="epoch") if shown else left:
        trainer.train(batches(epoch), score)
    return trainer.finish()


# --- which epoch ----------------------------------------------------------------------------------------------------


def fit_selected(select: str, run: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Train once, or with ``val`` twice: to find the epoch, then on all clips for that many epochs.

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
        log.warning(TEST_CLIPS_CHOOSE)
        return run(scored=True)
    chosen = run(part="select", hold_out=True, scored=True)
    best = int(chosen["epoch"].iloc[chosen["score"].argmax()])
    log.info("epoch %d is best on the validation clips; training again on all clips for as many epochs", best)
    refit = run(part="refit", stop=best)
    return pd.concat([chosen.assign(phase="select"), refit.assign(phase="refit")], ignore_index=True)
