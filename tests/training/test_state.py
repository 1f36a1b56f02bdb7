"""A training that is killed goes on, to the same bits; one with other settings does not."""

import json
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from moclip.inputs.clips import LoadedClips
from moclip.inputs.views import EvalViews, TrainViews
from moclip.models import create_model
from moclip.training import state
from moclip.training.heads import FusionData
from moclip.training.loop import Schedule, Trainer, make_fabric
from moclip.training.motion import train_motion_network
from moclip.training.state import TrainingFolder, set_aside

FILES = {"README.txt", "key.json", "log.csv", "last.safetensors"}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# --- killed ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from moclip.inputs.clips import TrainingSamples
from moclip.training import state
from moclip.training.motion import train_motion_network

state.PAUSE = 0
folder, last = Path(sys.argv[1]), int(sys.argv[2])
config, dataset, clips = pickle.loads((folder / "given.pkl").read_bytes())
original, drawn = TrainingSamples.__getitem__, []

def draw(self, batch):
    drawn.extend((batch[0], index) for index in batch[1])
    if 0 < last <= len(drawn):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch)

TrainingSamples.__getitem__ = draw
network, _ = train_motion_network(config, dataset, {"train": clips}, folder / "training")
torch.save([network.state_dict(), drawn], folder / "end.pt")
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_it_ends_with_the_same_weights_bit_for_bit(photos, store, config, tmp_path):
    mv = config.mv.model_copy(update={"epochs": 4, "backbone": "test_efficientnet", "pretrained": False})
    own, clips = config.model_copy(update={"mv": mv, "device": "cpu"}), LoadedClips(photos.train, store)
    network, history = train_motion_network(own, photos, {"train": clips})

    (tmp_path / "given.pkl").write_bytes(pickle.dumps((own, photos, clips)))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    root = Path(__file__).parents[2]
    killed = subprocess.run([*command, str(2 * 8 + 4)], cwd=root, capture_output=True)  # 8 clips: in the third epoch
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "end.pt").exists()
    assert len(pd.read_csv(tmp_path / "training" / "log.csv")) == 2
    kept = torch.load(tmp_path / "training" / "resume.ckpt", weights_only=True)
    assert not same(kept["model"], network.state_dict())

    done = subprocess.run([*command, "-1"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and "resumes after epoch 2" in done.stderr, done.stderr
    end, drawn = torch.load(tmp_path / "end.pt")
    assert {epoch for epoch, _ in drawn} == {2, 3}, "what was done is not repeated"
    assert same(end, network.state_dict())
    folder = tmp_path / "training"
    assert same(load_file(folder / "last.safetensors"), network.state_dict())
    assert state.read_log(folder / "log.csv") == history.to_dict("records")
    assert {path.name for path in folder.iterdir()} == FILES, "what was there to go on is gone"


HEAD = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from moclip.inputs import clips as inputs
from moclip.training import state
from moclip.training.heads import epoch_features, fit_heads

state.PAUSE = 0
folder, last = Path(sys.argv[1]), int(sys.argv[2])
network, data, settings = pickle.loads((folder / "given.pkl").read_bytes())
original, drawn = inputs.train_views, []

def draw(*given):
    drawn.append(given)
    if len(drawn) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*given)

inputs.train_views = draw
source = epoch_features(settings, network, data, 1, "cpu")
heads = fit_heads(source, {name: folder / name for name in ("fusion", "motion_head")})
ends = {name: (head.head.state_dict(), head.log.to_dict("records"), head.statistics) for name, head in heads.items()}
torch.save([ends, len(drawn)], folder / "end.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("batch_norm", "select"), [("frozen", "last"), ("drifting", "last"), ("drifting", "test")])
def test_heads_killed_in_the_middle_of_an_epoch_end_with_the_same_weights(
    photos, store, config, tmp_path, batch_norm, select
):
    """Bit for bit, and with drifting statistics the same network beside them."""
    change = {"epochs": 4, "batch_size": 3, "lr": 0.01, "batch_norm": batch_norm, "select": select, "hidden": 8}
    settings = config.fusion.model_copy(update={**change, "train_features": "drawn"})
    train, test = LoadedClips(photos.train, store), LoadedClips(photos.test, store)
    protocols = (kind.from_sections(config.mv, config.motion, False) for kind in (TrainViews, EvalViews))
    torch.manual_seed(0)
    network = create_model("mv_tsn", num_classes=4, backbone="test_efficientnet", pretrained=False)
    seen = torch.arange(24.0).view(8, 3) % 5
    data = FusionData(train, test, *protocols, seen, seen[:4], torch.randn(4, network.feature_dim))

    def run(folder, last):
        folder.mkdir(exist_ok=True)
        (folder / "given.pkl").write_bytes(pickle.dumps((network, data, settings)))
        command = [sys.executable, "-c", HEAD, str(folder), str(last)]
        return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)

    done = run(tmp_path / "whole", -1)
    assert done.returncode == 0, done.stderr
    expected, drawn = torch.load(tmp_path / "whole" / "end.pt")
    assert drawn == 5 * 8, "four epochs for both heads, and the first again"

    assert run(tmp_path / "killed", 2 * 8 + 4).returncode == -signal.SIGKILL  # in the third epoch
    assert len(pd.read_csv(tmp_path / "killed" / "fusion" / "log.csv")) == 2
    done = run(tmp_path / "killed", -1)
    assert done.returncode == 0 and "resumes after epoch 2" in done.stderr, done.stderr
    ends, drawn = torch.load(tmp_path / "killed" / "end.pt")
    assert drawn == 3 * 8, "what was drawn is not drawn again"
    for name, (weights, log, statistics) in expected.items():
        head, history, others = ends[name]
        assert same(weights, head) and log == history and same(statistics, others)
        assert ("score" in log[0]) == (select == "test") and bool(statistics) == (batch_norm == "drifting")


# --- the folder, on a small network with dropout and BatchNorm --------------------------------------------------------


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(state, "PAUSE", 0)


def train(folder=None, settings=None, epochs=6, broken_off=None, score=None):
    """Train; returns (network, history, epochs whose batches were asked for)."""
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(40, 6, generator=generator), torch.arange(40) % 2
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    asked = []

    def batches(epoch):
        asked.append(epoch)
        for number, part in enumerate(torch.arange(40).split(10)):
            if (epoch, number) == broken_off:
                raise KeyboardInterrupt
            yield (points[part],), labels[part]

    own = TrainingFolder(folder, settings or {"lr": 0.01}) if folder else None
    schedule = Schedule(epochs, 4, lambda done: 1 - done)
    trainer = Trainer(make_fabric("cpu"), network, optimizer, schedule, own)
    history = trainer.fit(batches, score and (lambda: score[asked[-1]]))
    return network.state_dict(), history, asked


def test_random_state_is_kept(tmp_path):
    """Dropout draws from torch's generator: from its seed alone it would draw again what the first epochs drew."""
    expected, log, _ = train()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "t", broken_off=(3, 2))
    torch.rand(7)
    weights, history, asked = train(tmp_path / "t")
    assert same(weights, expected) and history.equals(log) and asked == [3, 4, 5]


def test_what_is_finished_is_not_trained_again(tmp_path):
    weights, history, _ = train(tmp_path / "t")
    again, log, asked = train(tmp_path / "t")
    assert asked == [] and same(again, weights)
    pd.testing.assert_frame_equal(log, history, check_exact=True)


def test_a_state_of_the_last_epoch_is_finished_without_training(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(TrainingFolder, "finish", lambda *_: None)  # killed after the last epoch
        weights, *_ = train(tmp_path / "t")
    again, _, asked = train(tmp_path / "t")
    assert asked == [] and same(again, weights) and {path.name for path in (tmp_path / "t").iterdir()} == FILES


@pytest.mark.parametrize("change", ["settings", "code", "versions"])
def test_with_another_key_it_starts_again_and_the_old_key_finds_the_old_training(tmp_path, monkeypatch, caplog, change):
    settings = {"lr": 0.02}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "t", settings, broken_off=(3, 2))
    left = (tmp_path / "t" / "resume.ckpt").read_bytes()
    with monkeypatch.context() as patch:
        if change == "settings":
            settings, message = {"lr": 0.01}, "lr 0.02 -> 0.01"
        elif change == "code":
            patch.setattr(state.keys, "code", lambda places, package: dict.fromkeys(places, "x"))
            message = "code of models changed"
        else:
            patch.setattr(state.keys, "_installed", lambda library: "9")
            message = f"torch {torch.__version__.partition('+')[0]}"
        _, _, asked = train(tmp_path / "t", settings)
    assert asked == list(range(6)) and message in caplog.text and "starts again" in caplog.text
    (aside,) = (tmp_path / "set-aside").iterdir()
    assert (aside / "resume.ckpt").read_bytes() == left and message in (aside / "reason.txt").read_text()
    finished = (tmp_path / "t" / "last.safetensors").read_bytes()
    assert train(tmp_path / "t", {"lr": 0.02})[2] == [3, 4, 5], "back to the first key: it resumes"
    (aside,) = (tmp_path / "set-aside").iterdir()
    assert (aside / "last.safetensors").read_bytes() == finished
    assert {path.name for path in (tmp_path / "t").iterdir()} == FILES


def test_going_back_and_forth_trains_nothing_and_loses_nothing(tmp_path):
    made = {}
    for lr in (0.1, 0.2, 0.3, 0.1, 0.3, 0.2, 0.1):
        asked = train(tmp_path / "t", {"lr": lr})[2]
        assert bool(asked) == (lr not in made)
        made.setdefault(lr, (tmp_path / "t" / "key.json").read_bytes())
        assert (tmp_path / "t" / "key.json").read_bytes() == made[lr]
    assert len(list((tmp_path / "set-aside").iterdir())) == 2


def test_what_is_set_aside_by_hand_is_trained_again_and_kept(tmp_path):
    for number in range(3):
        assert train(tmp_path / "t")[2] == list(range(6))
        aside = set_aside(tmp_path / "t", ["forced"])
        assert (aside / "reason.txt").read_text() == "forced\n"
        assert len(list((tmp_path / "set-aside").iterdir())) == number + 1
    (tmp_path / "t").mkdir()
    assert set_aside(tmp_path / "t", ["no epoch"]) is None and not (tmp_path / "t").exists()


def test_weights_carry_their_key(tmp_path):
    train(tmp_path / "t", {"lr": 0.5})
    with safe_open(tmp_path / "t" / "last.safetensors", "numpy") as file:
        key = json.loads(file.metadata()["key"])
    assert key == json.loads((tmp_path / "t" / "key.json").read_text())
    assert key["settings"] == {"lr": 0.5} and {"video", "inputs", "models", "training"} == key["code"].keys()
    published = TrainingFolder(tmp_path, {"mv": {"sampling": "reference", "flip": "exact"}}).key["code"]
    assert published.keys() - key["code"].keys() == {"studies.protocols"}, "a study's strategy is code, too"


def test_the_best_epoch_is_kept_beside_the_last_also_over_a_break(tmp_path):
    score = [0.2, 0.6, 0.1, 0.6, 0.5, 0.3]
    plain, history, _ = train(score=score)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "t", broken_off=(3, 0), score=score)
    best, log, _ = train(tmp_path / "t", score=score)
    assert same(best, plain) and list(log["score"]) == score and log.equals(history)
    second, *_ = train(epochs=6, score=[0, 1, 0, 0, 0, 0])  # the first of the best
    assert same(best, second)
    assert same(load_file(tmp_path / "t" / "best.safetensors"), best)
    assert same(load_file(tmp_path / "t" / "last.safetensors"), train()[0])
    again, _, asked = train(tmp_path / "t", score=score)
    assert asked == [] and same(again, best)


def test_short_epochs_are_not_kept_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "PAUSE", 1000)
    kept = []
    monkeypatch.setattr(state.torch, "save", lambda state, path: kept.append(len(state["rows"])))
    train(tmp_path / "t")
    assert kept == [1] and len(pd.read_csv(tmp_path / "t" / "log.csv")) == 6


def test_the_folder_says_what_it_is(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "mv_tsn-x", broken_off=(2, 1))
    text = (tmp_path / "mv_tsn-x" / "README.txt").read_text()
    assert "mv_tsn-x" in text
    for path in (tmp_path / "mv_tsn-x").iterdir():
        assert path.name in text or path.name == "README.txt", path
    assert max(map(len, text.splitlines())) <= 120
