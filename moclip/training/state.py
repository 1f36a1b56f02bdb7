"""The folder of a training: its state after every epoch, so that a kill loses at most one, and what explains it."""

import csv
import hashlib
import logging
import math
import shutil
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from moclip.io.artefacts import load_json, save_csv, save_json
from moclip.io.files import atomic_path

State = dict[str, Any]
# The code that decides what weights come out; an edit elsewhere leaves a finished training what it is.
CODE = (
    *("inputs/accumulate.py", "inputs/clips.py", "inputs/kernels.py", "inputs/sampling.py", "inputs/transforms.py"),
    *("training/heads.py", "training/loop.py", "training/motion.py"),
    *("models/fusion.py", "models/mv_tsn.py", "models/backbones.py"),
    *("video/_kernels.py", "video/blocks.py", "video/fields.py", "video/motion.py", "video/scan.py", "video/store.py"),
)
PAUSE = 1.0  # seconds between two states at least: an epoch shorter than this is cheaper to repeat than to keep

README = """\
{system}: one training, epoch by epoch.

settings.json      what the weights depend on: settings, first weights, clips, code, versions
log.csv            a row an epoch: learning rate, loss and accuracy of the training batches, score where one selects
resume.ckpt        weights, optimizer and random state after the last epoch; only while the training is unfinished
last.safetensors   weights after the last epoch
best.safetensors   weights of the epoch with the highest score; only where an epoch is selected

A folder draws-... has what heads are trained on, and network statistics where these drift, a file an epoch, instead:
features-*         motion features; only until all heads of the seed are trained
statistics-*       BatchNorm's means and variances after the epoch

Go on after a kill: the same command again. With the same settings.json it continues where resume.ckpt ends and gives
the same weights; a finished training is not repeated. With any other it starts anew, and what was here is moved to
../set-aside/ first. Start anew in any case: `moclip train --fresh`, or remove this folder.
Load: moclip.engine.checkpoints.load_checkpoint("runs/<run>/checkpoints/<name>.safetensors"), with classes and units;
safetensors.torch.load_file("last.safetensors") has the bare tensors.
"""

log = logging.getLogger(__name__)


class TrainingFolder:
    """Where a training keeps its state.

    Parameters
    ----------
    path : ``runs/<run>/training/<name>``.
    settings : everything that the weights depend on, JSON; `provenance` is added.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self._kept_at = path, -math.inf
        self.settings = {**settings, **provenance()}

    def begin(self) -> None:
        """See to it that nothing is here that other settings made; a training, finished or not, is moved aside."""
        if (self.path / "settings.json").is_file():
            changed = differences(load_json(self.path / "settings.json"), self.settings)
            if not changed:
                return
            log.warning("%s: trained with other settings (%s); the training starts anew", self.path, ", ".join(changed))
        if any(self.path.rglob("resume.ckpt")) or any(self.path.rglob("last.safetensors")):
            aside = self.path.parent / "set-aside" / self.path.name
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            self.path.rename(aside)
            log.warning("%s: the training that was here is in %s", self.path, aside)
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        (self.path / "README.txt").write_text(README.format(system=self.path.name))
        save_json(self.path / "settings.json", self.settings)

    def find(self) -> State | None:
        """The state to go on from: of the last epoch that was kept, or of the end. None: nothing, or other settings."""
        self.begin()
        if (self.path / "last.safetensors").is_file():
            log.warning("%s: trained already with these settings; its weights are used", self.path)
            best = self.path / "best.safetensors"
            return {
                "rows": read_log(self.path / "log.csv"),
                "model": load_file(self.path / "last.safetensors"),
                "best": load_file(best) if best.is_file() else None,
            }
        if (self.path / "resume.ckpt").is_file():
            state: State = torch.load(self.path / "resume.ckpt", map_location="cpu", weights_only=True)
            log.warning("%s: goes on after epoch %d", self.path, len(state["rows"]))
            return state
        return None

    def keep(self, state: State) -> None:
        """Write the state after an epoch."""
        if time.monotonic() - self._kept_at < PAUSE:
            return
        save_csv(self.path / "log.csv", pd.DataFrame(state["rows"]))
        with atomic_path(self.path / "resume.ckpt") as temporary:
            torch.save(state, temporary)
        self._kept_at = time.monotonic()

    def finish(self, rows: list[dict[str, float]], last: State, best: State | None) -> None:
        """Keep weights and log, drop what was there to go on."""
        if (self.path / "last.safetensors").is_file():
            return
        save_csv(self.path / "log.csv", pd.DataFrame(rows))
        for name, weights in (("best", best), ("last", last)):  # last comes last: it says that all is there
            if weights is not None:
                with atomic_path(self.path / f"{name}.safetensors") as temporary:
                    save_file({key: value.detach().cpu().contiguous() for key, value in weights.items()}, temporary)
        (self.path / "resume.ckpt").unlink(missing_ok=True)


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a ``log.csv``, to the last bit, which pandas' own reading of numbers may lose."""
    with open(path, newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def provenance() -> dict[str, Any]:
    """Hash of `CODE`, and versions of the libraries below it."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in CODE:
        digest.update(name.encode() + (package / name).read_bytes())
    versions = {name: metadata.version(name) for name in ("torch", "timm", "numpy")}
    return {"code": digest.hexdigest()[:16], "versions": versions}


def digest_of(*values: Any) -> str:
    """Short hash of tensors, arrays and anything with a ``repr`` that says all."""
    digest = hashlib.sha256()
    for value in values:
        array = isinstance(value, torch.Tensor | np.ndarray)
        digest.update(np.ascontiguousarray(value).tobytes() if array else repr(value).encode())
    return digest.hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``mv.epochs 15 -> 20`` and the like."""
    changed = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changed += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            changed.append(f"{prefix}{key} {before} -> {after}")
    return changed
