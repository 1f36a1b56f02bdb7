"""One loop: it learns, it repeats, its learning rate is what it is said to be."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from moclip.config import Fusion
from moclip.loading import MotionClips
from moclip.models import create_model
from moclip.training import fit, fit_head, fit_mv, make_fabric, one_cycle_rate, step_rate


@pytest.fixture
def toy():
    """Two classes on either side of a plane: (200, 6), (200,)."""
    points = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    labels = (points @ torch.tensor([1.0, -1, 2, 0, 0, 1]) > 0).long()
    return points + 0.3 * (2 * labels[:, None] - 1), labels


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


# --- fit ------------------------------------------------------------------------------------------------------------


def test_fit_learns_what_can_be_learnt(toy):
    points, labels = toy
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)

    def batches(epoch):
        for part in torch.arange(200).split(50):
            yield (points[part],), labels[part]

    history = fit(make_fabric("cpu"), model, optimizer, batches, 4, 20, lambda done: 1.0)
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
    history = fit(
        make_fabric("cpu"), model, optimizer, lambda epoch: iter([((segments,), labels[:4])]), 1, 1, lambda d: 0.2
    )
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
    history = fit(make_fabric("cpu"), model, optimizer, lambda epoch: iter(pairs), 2, 1, lambda done: 1.0)
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

    history = fit(make_fabric("cpu"), model, optimizer, batches, 5, 4, rate)
    assert asked == pytest.approx(np.arange(20) / 20)
    np.testing.assert_allclose(used, [[1 - d, 0.1 * (1 - d)] for d in np.arange(20) / 20])
    np.testing.assert_allclose(history["lr"], [0.8, 0.55, 0.3, 0.05])


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
    """Train a new network for two epochs; returns (network, history)."""

    def train(first=0, clips=photos.train, **settings):
        mv = config.mv.model_copy(update={"epochs": 2, **settings})
        own = MotionClips.from_config(clips, store, config.model_copy(update={"mv": mv}), flips=False)
        torch.manual_seed(first)
        network = create_model("mv_tsn", num_classes=4, backbone=mv.backbone, pretrained=False)
        return network, fit_mv(network, own, mv, "cpu")

    return train


def test_the_same_seed_gives_the_same_network_bit_for_bit(train_motion):
    (one, first), (two, second) = train_motion(), train_motion()
    assert same(one, two) and first.equals(second)
    assert not same(one, train_motion(seed=1)[0])
    assert np.isfinite(first["loss"]).all() and len(first) == 2


def test_every_tensor_of_the_network_is_trained(train_motion):
    torch.manual_seed(0)
    before = create_model("mv_tsn", num_classes=4, backbone="tf_efficientnet_lite0", pretrained=False).state_dict()
    after = train_motion(epochs=1)[0].state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert after["data_bn.num_batches_tracked"] == 3  # 8 clips in batches of at most 3


def test_every_clip_is_drawn_anew_in_every_epoch(train_motion, monkeypatch):
    drawn = []
    original = MotionClips.__getitem__

    def remember(self, key):
        drawn.append(key)
        return original(self, key)

    monkeypatch.setattr(MotionClips, "__getitem__", remember)
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
        return fit(fabric, model, optimizer, *arguments)

    monkeypatch.setattr("moclip.training.fit", remember)
    settings = {"epochs": 4, "milestones": (2, 3), "lr": 0.01, "weight_decay": 0.07}
    _, history = train_motion(clips=photos.train[:2], schedule=schedule, **settings)
    assert made == [(kind, 0.07)]
    np.testing.assert_allclose(history["lr"], rates or [0.01 * one_cycle_rate(epoch / 4) for epoch in range(4)])


# --- the head -------------------------------------------------------------------------------------------------------

SETTINGS = Fusion(epochs=15, lr=0.01, batch_size=32, hidden=16, dropout=0.2)


def train_head(toy, seed=0, first=0, settings=SETTINGS, motion=None, device="cpu"):
    points, labels = toy
    torch.manual_seed(first)
    head = create_model("fusion", num_classes=2, appearance_dim=3, motion_dim=3, hidden=16, dropout=0.2)
    history = fit_head(head, points[:, :3], motion or (lambda epoch: points[:, 3:]), labels, settings, seed, device)
    return head, history


def test_a_head_learns_and_repeats_bit_for_bit(toy):
    (one, first), (two, second) = train_head(toy), train_head(toy)
    assert same(one, two) and first.equals(second)
    assert first["accuracy"].iloc[-1] > 0.9 and first["loss"].iloc[-1] < first["loss"].iloc[0] / 2
    assert not same(one, train_head(toy, seed=1)[0])


def test_a_head_starts_from_its_seed_whatever_it_held_before(toy):
    assert same(train_head(toy, first=0)[0], train_head(toy, first=99)[0])


def test_a_head_asks_for_other_motion_in_every_epoch(toy):
    asked = []

    def motion(epoch):
        asked.append(epoch)
        return toy[0][:, 3:] * 0

    train_head(toy, motion=motion)
    assert asked == list(range(15))


def test_a_head_sees_every_clip_once_an_epoch(toy, monkeypatch):
    points, labels = toy
    numbered = points.clone()
    numbered[:, 0] = torch.arange(200.0)
    seen = []
    head = create_model("fusion", num_classes=2, appearance_dim=6, motion_dim=1, hidden=4)
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, 0].tolist()))
    paired = []
    head.register_forward_pre_hook(
        lambda module, inputs: paired.append(bool((inputs[0][:, 0] == inputs[1][:, 0]).all()))
    )
    fit_head(head, numbered, lambda epoch: numbered[:, :1], labels, SETTINGS.model_copy(update={"epochs": 2}), 0, "cpu")
    assert all(paired), "both streams are of the same clips"
    assert len(seen) == 14 and max(map(len, seen)) <= 32
    epochs = [[clip for batch in part for clip in batch] for part in (seen[:7], seen[7:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(200)) and epochs[0] != epochs[1]
