"""One loop: it learns, it repeats, its learning rate is what it is said to be."""

import logging
import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric.accelerators import cuda
from lightning.fabric.utilities.rank_zero import rank_zero_info
from timm.optim import param_groups_weight_decay
from torch import nn

from moclip.config.sections import MV, ConfigError, Training
from moclip.inputs.clips import LoadedClips, TrainingSamples
from moclip.inputs.views import EvalViews, to_input
from moclip.models import create_model
from moclip.training import loop
from moclip.training.loop import Schedule, Trainer, make_fabric, one_cycle_rate, step_rate
from moclip.training.motion import (
    accuracy,
    motion_features,
    parameter_groups,
    train_motion_network,
    training_clips,
)

SMALL = "test_efficientnet"  # timm's smallest with BatchNorm and depthwise convolutions


@pytest.fixture
def toy():
    """Two classes on either side of a plane: (200, 6), (200,)."""
    points = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    labels = (points @ torch.tensor([1.0, -1, 2, 0, 0, 1]) > 0).long()
    return points + 0.3 * (2 * labels[:, None] - 1), labels


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def fit(model, optimizer, batches, schedule):
    return Trainer(make_fabric("cpu"), model, optimizer, schedule).fit(batches)


# --- fit ------------------------------------------------------------------------------------------------------------


def test_fit_learns_what_can_be_learnt(toy):
    points, labels = toy
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)

    def batches(epoch):
        for part in torch.arange(200).split(50):
            yield (points[part],), labels[part]

    history = fit(model, optimizer, batches, Schedule(20, 4))
    assert list(history["epoch"]) == list(range(1, 21)) and (history["lr"] == 0.05).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] / 3
    assert history["accuracy"].iloc[-1] > 0.95
    assert not model.training


def test_one_step_is_plain_gradient_descent_on_the_mean_over_segments(toy):
    """TSN's consensus: logits (B, S, C) are averaged over S, then compared with the label."""
    points, labels = toy
    segments = points[:12].view(4, 3, 6)
    model = nn.Linear(6, 2)
    weight = model.weight.detach().clone().requires_grad_()
    bias = model.bias.detach().clone()
    loss = F.cross_entropy((segments @ weight.T + bias).mean(dim=1), labels[:4])
    (gradient,) = torch.autograd.grad(loss, weight)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    batches = [((segments,), labels[:4])]
    history = fit(model, optimizer, lambda epoch: iter(batches), Schedule(1, 1, lambda done: 0.2))
    torch.testing.assert_close(model.weight.detach(), (weight - 0.5 * 0.2 * gradient).detach())
    assert history["loss"][0] == pytest.approx(loss.item()) and history["lr"][0] == pytest.approx(0.1)


def test_history_counts_clips_not_batches():
    """A batch of one wrong clip beside one of three right ones is 3 of 4."""
    model = nn.Identity()
    model.unused = nn.Parameter(torch.zeros(1))
    scores = [torch.tensor([[9.0, 0]] * 3, requires_grad=True), torch.tensor([[9.0, 0]], requires_grad=True)]
    labels = [torch.tensor([0, 0, 0]), torch.tensor([1])]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pairs = [((score,), label) for score, label in zip(scores, labels, strict=True)]
    history = fit(model, optimizer, lambda epoch: iter(pairs), Schedule(1, 2))
    assert history["accuracy"][0] == 0.75
    right, wrong = math.log(1 + math.exp(-9)), 9 + math.log(1 + math.exp(-9))
    assert history["loss"][0] == pytest.approx((3 * right + wrong) / 4, rel=1e-4)


def test_the_learning_rate_of_every_step(toy):
    points, labels = toy
    model, asked = nn.Linear(6, 2), []
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 1.0}, {"params": [model.bias], "lr": 0.1}])
    used = []

    def batches(epoch):
        for part in torch.arange(200).split(40):
            yield (points[part],), labels[part]
            used.append([group["lr"] for group in optimizer.param_groups])

    def rate(done):
        asked.append(done)
        return 1 - done

    history = fit(model, optimizer, batches, Schedule(4, 5, rate))
    assert asked == pytest.approx(np.arange(20) / 20)
    np.testing.assert_allclose(used, [[1 - d, 0.1 * (1 - d)] for d in np.arange(20) / 20])
    np.testing.assert_allclose(history["lr"], [0.8, 0.55, 0.3, 0.05])


def test_accumulated_batches_are_one_larger_batch(toy):
    """Five batches of 40, two a step; the last step has one."""
    points, labels = toy

    def train(sizes, accumulate):
        torch.manual_seed(0)
        model = nn.Linear(6, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        parts = torch.arange(200).split(sizes)
        batches = [((points[part],), labels[part]) for part in parts]
        schedule = Schedule(3, len(parts), accumulate=accumulate)
        return model, fit(model, optimizer, lambda epoch: iter(batches), schedule)

    (small, first), (large, second) = train([40] * 5, 2), train([80, 80, 40], 1)
    torch.testing.assert_close(small.weight, large.weight)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-5)
    assert (small.weight - train([40] * 5, 1)[0].weight).abs().max() > 1e-3


def test_another_objective_and_what_it_needs(toy):
    points, labels = toy
    model = nn.Linear(6, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [((points,), labels, torch.full((200,), 3.0))]

    def objective(logits, labels, weights):
        return (F.cross_entropy(logits, labels, reduction="none") * weights).mean()

    expected = 3 * F.cross_entropy(model(points), labels).item()
    history = fit(model, optimizer, lambda e: iter(batches), Schedule(1, 1, objective=objective))
    assert history["loss"][0] == pytest.approx(expected)


def test_stopped_early_it_is_the_beginning_of_the_whole(toy):
    points, labels = toy

    def train(stop=None):
        model = nn.Linear(6, 2, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batches = [((points,), labels)]
        schedule = Schedule(8, 1, one_cycle_rate, stop)
        return fit(model, optimizer, lambda e: iter(batches), schedule)

    assert train(stop=3).equals(train().iloc[:3])


# --- schedules ------------------------------------------------------------------------------------------------------


def test_step_rate_falls_at_the_milestones():
    rate = step_rate([80 / 200, 160 / 200])
    assert [rate(epoch / 200) for epoch in (0, 79, 80, 159, 160, 199)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rate((79 + 0.99) / 200) == 1


@pytest.mark.parametrize("epochs", range(3, 240, 7))
def test_step_rate_falls_in_the_epoch_after_the_milestone_whatever_their_number(epochs):
    for milestone in range(1, epochs):
        rate = step_rate([milestone / epochs])
        assert rate((milestone - 1 + 9 / 10) / epochs) == 1 and rate(milestone / epochs) == pytest.approx(0.1)


def test_one_cycle_rises_and_falls():
    assert [one_cycle_rate(done) for done in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0.05, 0.525, 1, 0.5, 0])
    values = [one_cycle_rate(done / 100) for done in range(101)]
    assert (np.diff(values[:21]) > 0).all() and (np.diff(values[20:]) < 0).all() and max(values) == 1


# --- the motion network ---------------------------------------------------------------------------------------------


@pytest.fixture
def train_motion(photos, store, config):
    """Train a new network for two epochs; returns (network, history). ``held_out`` clips choose the epoch."""

    def train(clips=photos.train, training=loop.ONE_PROCESS, held_out=None, **settings):
        mv = config.mv.model_copy(update={"epochs": 2, "backbone": SMALL, "pretrained": False, **settings})
        own = config.model_copy(update={"mv": mv, "training": training, "device": "cpu"})
        parts = {"train": LoadedClips(clips, store)} | ({mv.select: LoadedClips(held_out, store)} if held_out else {})
        return train_motion_network(own, photos, parts)

    return train


@pytest.fixture
def drawn(monkeypatch):
    """(epoch, index) of every training sample that is made, in order."""
    samples = []
    original = TrainingSamples.__getitem__

    def remember(self, batch):
        samples.extend((batch[0], index) for index in batch[1])
        return original(self, batch)

    monkeypatch.setattr(TrainingSamples, "__getitem__", remember)
    return samples


def untrained(seed=0):
    torch.manual_seed(seed)
    return create_model("mv_tsn", num_classes=4, backbone=SMALL, pretrained=False)


def test_the_same_seed_gives_the_same_network_bit_for_bit(train_motion):
    (one, first), (two, second) = train_motion(), train_motion()
    assert same(one, two) and first.equals(second)
    assert not same(one, train_motion(seed=1)[0])
    assert np.isfinite(first["loss"]).all() and len(first) == 2


def test_every_tensor_of_the_network_is_trained(train_motion):
    before = untrained().state_dict()
    after = train_motion(epochs=1)[0].state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert after["data_bn.num_batches_tracked"] == 3  # 8 clips in batches of at most 3


def test_every_clip_is_drawn_again_in_every_epoch(train_motion, drawn):
    train_motion(epochs=3)
    assert sorted(drawn) == [(epoch, index) for epoch in range(3) for index in range(8)]


def test_the_motion_network_learns(train_motion):
    history = train_motion(epochs=30, lr=0.001)[1]
    assert history["loss"].iloc[-5:].mean() < 0.7 * history["loss"].iloc[:2].mean()


@pytest.mark.parametrize(
    ("schedule", "kind", "rates"),
    [("step", torch.optim.Adam, [0.01, 0.01, 0.001, 0.0001]), ("one_cycle", torch.optim.AdamW, None)],
)
def test_schedules_and_optimisers(train_motion, photos, monkeypatch, schedule, kind, rates):
    made = []

    def remember(fabric, model, optimizer, *arguments):
        made.append((type(optimizer), optimizer.param_groups[0]["weight_decay"]))
        return Trainer(fabric, model, optimizer, *arguments)

    monkeypatch.setattr(loop, "Trainer", remember)
    settings = {"epochs": 4, "milestones": (2, 3), "lr": 0.01, "weight_decay": 0.07}
    _, history = train_motion(clips=photos.train[:2], schedule=schedule, **settings)
    assert made == [(kind, 0.07)]
    np.testing.assert_allclose(history["lr"], rates or [0.01 * one_cycle_rate(epoch / 4) for epoch in range(4)])


def test_learning_rates_and_weight_decay_of_each_part(config):
    network = create_model("mv_tsn", num_classes=4, backbone="tf_efficientnet_lite0", pretrained=False)
    names = {parameter: name for name, parameter in network.named_parameters()}
    settings = config.mv.model_copy(update={"lr": 0.01, "weight_decay": 0.3})
    settings = MV.model_validate({**settings.model_dump(), "lr_multipliers": {"stem": 0.1, "rest": 0.01}})

    groups = parameter_groups(network, settings)
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("classifier", 0.01), ("stem", pytest.approx(0.001)), ("rest", pytest.approx(0.0001)),
    ]  # fmt: skip
    of = {group["name"]: {names[parameter] for parameter in group["params"]} for group in groups}
    assert of["classifier"] == {"classifier.weight", "classifier.bias"}
    assert of["stem"] == {"data_bn.weight", "data_bn.bias", "backbone.conv_stem.weight"}
    assert of["rest"] == set(names.values()) - of["stem"] - of["classifier"] and len(of["rest"]) > 100
    assert all(group["weight_decay"] == 0.3 for group in groups)

    groups = parameter_groups(network, settings.model_copy(update={"decay_all": False}))
    timm_s = {
        names[parameter]: group["weight_decay"]
        for group in param_groups_weight_decay(network, 0.3)
        for parameter in group["params"]
    }
    ours = {names[parameter]: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert ours == timm_s and set(ours.values()) == {0.0, 0.3}
    assert sum(len(group["params"]) for group in groups) == len(names), "each once"


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050"])
def test_other_backbones_have_a_stem(config, backbone):
    network = create_model("mv_tsn", num_classes=4, backbone=backbone, pretrained=False)
    group = next(group for group in parameter_groups(network, config.mv) if group["name"] == "stem")
    assert [tuple(parameter.shape[1:2]) for parameter in group["params"]] == [(), (), (2,)]


def test_a_multiplier_of_almost_nothing_freezes_its_part(train_motion, config):
    before = untrained().state_dict()
    multipliers = MV.model_validate(
        {**config.mv.model_dump(), "lr_multipliers": {"rest": 1e-12, "stem": 1e-12}}
    ).lr_multipliers
    network, history = train_motion(lr_multipliers=multipliers, lr=0.01, schedule="step", milestones=())
    moved = {name: (value - before[name]).abs().max().item() for name, value in network.named_parameters()}
    assert moved.pop("classifier.weight") > 0.001 and moved.pop("classifier.bias") > 0.001
    assert max(moved.values()) < 1e-9 and (history["lr"] == 0.01).all()


@pytest.mark.parametrize(
    "training", [{"workers": 2}, {"channels_last": True}, {"precision": "bf16-mixed"}, {"accumulate": 2}]
)
def test_ways_to_train(train_motion, training):
    network, history = train_motion(training=Training(**training))
    plain, expected = train_motion()
    assert np.isfinite(history["loss"]).all()
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    if "workers" in training:
        assert same(network, plain) and history.equals(expected)
    else:
        assert not same(network, plain)
        close = 1 if "accumulate" in training else 0.02  # half the steps are another training
        assert history["loss"][0] == pytest.approx(expected["loss"][0], rel=close)


def test_a_training_is_what_it_was(random_clips, photos, config):
    """Losses and sums of weights of commit 952cac9: same clips, draws, first weights and steps."""
    mv = config.mv.model_copy(
        update={"backbone": "test_efficientnet", "pretrained": False, "batch_size": 4, "epochs": 3, "seed": 5}
    )
    own = config.model_copy(update={"mv": mv, "device": "cpu"})
    two = SimpleNamespace(classes=["A", "B"], horizontal_flip=True)
    network, history = train_motion_network(own, two, {"train": random_clips})
    assert history["loss"].tolist() == pytest.approx([0.6936237, 0.7154601, 0.6914531], abs=2e-4)
    assert history["accuracy"].tolist() == [0.625, 0.375, 0.5]
    sums = [weight.detach().double().abs().sum().item() for weight in (network.classifier.weight, network.stem.weight)]
    assert sums == pytest.approx([2.02035, 18.90284], abs=5e-3)


# --- which epoch ----------------------------------------------------------------------------------------------------


def test_validation_chooses_an_epoch_and_all_clips_are_trained_until_then(train_motion, photos, monkeypatch, drawn):
    scores = iter([0.1, 0.7, 0.7, 0.3])
    monkeypatch.setattr("moclip.training.motion.accuracy", lambda *_: next(scores))
    settings = {"epochs": 4, "schedule": "step", "milestones": (1,)}
    network, history = train_motion(select="val", held_out=photos.train[-2:], **settings)
    assert list(history["phase"]) == ["select"] * 4 + ["refit"] * 2
    assert sorted(drawn[:24]) == [(epoch, index) for epoch in range(4) for index in range(6)], "two are held out"
    assert sorted(drawn[24:]) == [(epoch, index) for epoch in range(2) for index in range(8)]

    plain, whole = train_motion(**settings)
    columns = ["epoch", "lr", "loss", "accuracy"]
    assert history[history["phase"] == "refit"][columns].reset_index(drop=True).equals(whole[columns].iloc[:2])
    assert not same(network, plain)


def test_chosen_on_the_test_clips_is_said_loudly(train_motion, photos, store, config, caplog):
    network, history = train_motion(select="test", held_out=photos.test, epochs=4, lr=0.003)
    assert "THE EPOCH IS CHOSEN ON THE TEST CLIPS" in caplog.text
    clips = LoadedClips(photos.test, store)
    protocol = EvalViews.from_sections(config.mv, config.motion, False)
    found = accuracy(make_fabric("cpu"), network, clips, protocol, config.mv)
    assert found == history["score"].max() and len(history) == 4
    with torch.no_grad():
        logits = network(to_input(clips.test_views(range(4), replace(protocol, segments=config.mv.segments))))
    assert found == (logits.softmax(-1).mean(1).argmax(1) == clips.labels).float().mean().item()


@pytest.mark.parametrize(("select", "message"), [("val", "data.val_fraction"), ("test", "needs test clips")])
def test_clips_to_choose_by_have_to_be_there(train_motion, select, message):
    with pytest.raises(ConfigError, match=message):
        train_motion(select=select)


def test_validation_clips_are_trained_on_after_they_have_chosen(config, photos):
    dataset = replace(photos, train=photos.train[:6], val=photos.train[6:])
    assert training_clips(dataset, config) == list(dataset.train)
    chosen = config.model_copy(update={"mv": config.mv.model_copy(update={"select": "val"})})
    assert training_clips(dataset, chosen) == [*dataset.train, *dataset.val]


# --- features of a trained network ----------------------------------------------------------------------------------


def test_features_of_a_clip_are_those_of_its_views(network, clips, eval_protocol):
    three, ten = replace(eval_protocol, segments=3), replace(eval_protocol, segments=2, crops=10)
    computed = motion_features(network, clips, three, views_per_batch=6)
    assert computed.shape == (8, 3, 1280) and not computed.requires_grad
    for index in (0, 7):
        with torch.no_grad():
            alone = network.eval().features(to_input(clips.test_views([index], three)))
        torch.testing.assert_close(computed[index], alone[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        motion_features(network, clips, three, views_per_batch=1), computed, atol=1e-4, rtol=1e-3
    )
    crops = motion_features(network, clips, ten, views_per_batch=40)
    assert crops.shape == (8, 20, 1280)
    centre = motion_features(network, clips, replace(ten, crops=1))
    torch.testing.assert_close(crops[:, 4::10], centre, atol=1e-4, rtol=1e-3)


def test_the_network_is_frozen(network, clips, eval_protocol):
    network.train()  # as training left it
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert any("running_mean" in name for name in before) and any("num_batches_tracked" in name for name in before)
    result = motion_features(network, clips, replace(eval_protocol, segments=2))
    after = network.state_dict()
    assert before.keys() == after.keys()
    changed = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    assert changed == [] and not result.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


# --- several processes ----------------------------------------------------------------------------------------------

TWO = """
import pickle, sys
from pathlib import Path
import torch
from moclip.inputs.clips import TrainingSamples
from moclip.training.loop import Schedule, Trainer, make_fabric
from moclip.training.motion import accuracy, train_motion_network

folder = Path(sys.argv[1])
config, dataset, clips, tested, protocol = pickle.loads((folder / "given.pkl").read_bytes())
fabric = make_fabric("cpu", config.training)
original, drawn = TrainingSamples.__getitem__, []
TrainingSamples.__getitem__ = lambda self, key: drawn.extend((key[0], i) for i in key[1]) or original(self, key)
network, history = train_motion_network(config, dataset, {"train": clips}, folder / "training")
score = accuracy(fabric, network, tested, protocol, config.mv)

points, labels = torch.load(folder / "toy.pt")
torch.manual_seed(0)
linear = torch.nn.Linear(6, 2)
own = [part[fabric.global_rank :: 2] for part in torch.arange(200).split(40)]
batches = [((points[part],), labels[part]) for part in own]
schedule = Schedule(3, 5, accumulate=2)
sgd = torch.optim.SGD(linear.parameters(), lr=0.5)
toy = Trainer(fabric, linear, sgd, schedule).fit(lambda epoch: iter(batches))
out = {"network": network.state_dict(), "history": history, "drawn": drawn, "score": score, "toy": linear.state_dict(),
       "toy history": toy}
(folder / f"rank{fabric.global_rank}.pkl").write_bytes(pickle.dumps(out))
"""


@pytest.mark.slow
def test_two_processes_train_one_network_and_count_every_clip_once(photos, store, config, tmp_path, toy):
    mv = config.mv.model_copy(update={"epochs": 2, "backbone": SMALL, "batch_size": 4, "pretrained": False})
    own = config.model_copy(update={"mv": mv, "training": Training(devices=2), "device": "cpu"})
    train, test = LoadedClips(photos.train[:7], store), LoadedClips(photos.test[:3], store)
    protocol = EvalViews.from_sections(mv, config.motion, False)
    (tmp_path / "given.pkl").write_bytes(pickle.dumps((own, photos, train, test, protocol)))
    torch.save(toy, tmp_path / "toy.pt")
    (tmp_path / "two.py").write_text(TWO)
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(tmp_path / "two.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (pickle.loads((tmp_path / f"rank{rank}.pkl").read_bytes()) for rank in (0, 1))
    assert all(torch.equal(one["network"][name], two["network"][name]) for name in one["network"])
    assert one["history"].equals(two["history"])
    assert sorted([*one["drawn"], *two["drawn"]]) == [(epoch, index) for epoch in (0, 1) for index in range(7)]
    assert min(len(one["drawn"]), len(two["drawn"])) >= 2 * 3

    network = untrained()
    network.load_state_dict(one["network"])
    assert one["score"] == two["score"] == accuracy(make_fabric("cpu"), network, test, protocol, mv)

    # Without BatchNorm, and with equal shares, two processes do what one does.
    points, labels = toy
    torch.manual_seed(0)
    linear = nn.Linear(6, 2)
    batches = [((points[part],), labels[part]) for part in torch.arange(200).split(40)]
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.5)
    alone = fit(linear, optimizer, lambda e: iter(batches), Schedule(3, 5, accumulate=2))
    torch.testing.assert_close(one["toy"]["weight"], linear.weight.detach())
    np.testing.assert_allclose(one["toy history"], alone, rtol=1e-5)


def test_fp32_means_fp32_and_nobody_advises_less(monkeypatch, caplog):
    torch.backends.cudnn.allow_tf32 = True
    make_fabric("cpu")
    assert not torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    monkeypatch.setattr(cuda, "_is_ampere_or_later", lambda device: True)
    with caplog.at_level(logging.INFO, "lightning.fabric"):
        cuda._check_cuda_matmul_precision(torch.device("cuda"))
        rank_zero_info("another word")
    assert caplog.messages == ["another word"]


def test_a_notebook_is_told_how_several_devices_train(monkeypatch):
    monkeypatch.setattr(sys, "ps1", "In: ", raising=False)
    with pytest.raises(ConfigError, match="moclip train --devices 2"):
        make_fabric("cpu", Training(devices=2))
