"""The folder of a training: its state after every epoch, so that a kill loses at most one, and its key."""

import csv
import itertools
import json
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from moclip.config.strategies import studies
from moclip.io import keys
from moclip.io.artefacts import load_json, save_csv, save_json
from moclip.io.files import atomic_path

State = dict[str, Any]
README = Path(__file__).with_name("folder.md")  # what each folder says of itself
PAUSE = 1.0  # seconds between two states at least: a shorter epoch is cheaper to repeat than to keep

log = logging.getLogger(__name__)


class TrainingFolder:
    """Where a training keeps its state.

    Parameters
    ----------
    path : ``runs/<run>/training/<name>``.
    settings : the settings that the weights depend on, JSON. The code of the studies that they name is in the key, too.
    inputs : content hashes or keys of what the network is trained on, by name.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> None:
        self.path, self._kept_at = path, -math.inf
        self.key = keys.key("training", settings, inputs, studies(settings))

    def begin(self) -> None:
        """Make this folder the one of this key: set a training with another key aside, and fetch an earlier one."""
        old = _kept_key(self.path)
        if old == self.key:
            return
        if self.path.is_dir():
            set_aside(self.path, keys.differences(old, self.key) if old else ["without a key"], retired=False)
        if (earlier := _aside(self.path, self.key)).is_dir():
            log.warning("%s: an earlier training with these settings is used again, from %s", self.path, earlier)
            (earlier / "reason.txt").unlink(missing_ok=True)
            earlier.rename(self.path)
            return
        self.path.mkdir(parents=True)
        (self.path / "README.txt").write_text(README.read_text("utf-8").format(name=self.path.name))
        save_json(self.path / "key.json", self.key)

    def find(self) -> State | None:
        """The state of the last epoch that was kept, or of the end; None where the training starts from nothing."""
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
            log.warning("%s: resumes after epoch %d", self.path, len(state["rows"]))
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
        """Write weights and log, and remove the state to resume from."""
        if (self.path / "last.safetensors").is_file():
            return
        save_csv(self.path / "log.csv", pd.DataFrame(rows))
        about = {"key": json.dumps(self.key, sort_keys=True)}
        for name, weights in (("best", best), ("last", last)):  # last comes last: it says that all is there
            if weights is not None:
                tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
                with atomic_path(self.path / f"{name}.safetensors") as temporary:
                    save_file(tensors, temporary, about)
        (self.path / "resume.ckpt").unlink(missing_ok=True)


def set_aside(path: Path, reasons: Sequence[str], retired: bool = True) -> Path | None:
    """Move a training to ``set-aside/<name>-<digest of its key>`` beside it, with the reasons in ``reason.txt``.

    A folder that holds no epoch yet is removed; None is returned then. A ``retired`` training gets a number behind its
    name, and `TrainingFolder.begin` does not take it again.
    """
    if not any(path.rglob("resume.ckpt")) and not any(path.rglob("last.safetensors")):
        shutil.rmtree(path)
        return None
    base = _aside(path, _kept_key(path))
    endings = itertools.chain([] if retired else [""], (f"-{number}" for number in itertools.count(1)))
    aside = next(aside for ending in endings if not (aside := base.with_name(base.name + ending)).exists())
    aside.parent.mkdir(exist_ok=True)
    (path / "reason.txt").write_text("\n".join(reasons) + "\n")
    path.rename(aside)
    log.warning("%s: set aside (%s), as %s; the training starts again", path, ", ".join(reasons), aside)
    return aside


def _kept_key(path: Path) -> dict[str, Any]:
    return load_json(path / "key.json") if (path / "key.json").is_file() else {}


def _aside(path: Path, key: Mapping[str, Any]) -> Path:
    return path.parent / "set-aside" / f"{path.name}-{keys.digest(key)}"


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a ``log.csv``, to the last bit, which pandas' own reading of numbers may lose."""
    with open(path, newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]
