"""Heads of a seed: trained in lockstep, each as if it were alone, on other motion features in every epoch."""

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moclip.config.sections import Fusion
from moclip.inputs.views import to_input, train_views
from moclip.models.mv_tsn import MVTSN
from moclip.training.heads import (
    HEADS,
    EpochFeatures,
    FusionData,
    PooledFeatures,
    epoch_features,
    fit_heads,
    permuted,
)

SETTINGS = Fusion(epochs=15, lr=0.01, batch_size=32, hidden=16, dropout=0.2)


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


class Given(EpochFeatures):
    """The same features in every epoch, moved by a number per epoch; remembers which epochs were asked for."""

    def __init__(self, data, features):
        self.data, self.features, self.shift, self.asked = data, features, 0.0, []
        self.network = SimpleNamespace(feature_dim=features.shape[1], classifier=SimpleNamespace(out_features=2))
        self.facts, self.device = {"given": True}, "cpu"

    def __call__(self, epoch):
        self.asked.append(epoch)
        return self.features + self.shift * epoch


@pytest.fixture
def toy():
    """Two classes on either side of a plane, 200 training and 100 test points of 3 + 3 numbers."""

    class Clips:
        def __init__(self, labels):
            self.labels = labels

        def __len__(self):
            return len(self.labels)

    points = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    labels = (points @ torch.tensor([1.0, -1, 2, 2, 0, 1]) > 0).long()
    points = points + 0.3 * (2 * labels[:, None] - 1)
    clips = Clips(labels[:200]), Clips(labels[200:])
    data = FusionData(*clips, None, None, points[:200, :3], points[200:, :3], tested=points[200:, 3:])
    return Given(data, points[:200, 3:])


def fit(source, *names, settings=SETTINGS, seed=0, folder=None):
    source.settings, source.seed = settings, seed
    return fit_heads(source, {name: folder / name if folder else None for name in names or HEADS})


# --- heads ----------------------------------------------------------------------------------------------------------


def test_heads_learn_from_what_they_see(toy):
    heads = fit(toy)
    assert list(heads) == ["fusion", "appearance_head", "motion_head", "fusion_permuted"]
    inputs = {name: (head.arguments["appearance_dim"], head.arguments["motion_dim"]) for name, head in heads.items()}
    assert list(inputs.values()) == [(3, 3), (3, 0), (0, 3), (3, 3)]
    for head in heads.values():
        assert len(head.log) == 15 and head.log["loss"].iloc[-1] < head.log["loss"].iloc[0]
        assert head.scores.shape == (100, 2) and not head.head.training and head.statistics == {}
    hits = {name: (head.scores.argmax(1) == toy.data.test.labels).float().mean() for name, head in heads.items()}
    assert hits["fusion"] > 0.9 and hits["fusion"] > max(hit for name, hit in hits.items() if name != "fusion")
    assert heads["fusion"].train_accuracy > 0.9


def test_a_head_is_the_same_whoever_is_trained_with_it(toy):
    together = fit(toy)
    for name in HEADS:
        torch.manual_seed(99)
        alone = fit(toy, name)[name]
        assert same(alone.head, together[name].head) and alone.log.equals(together[name].log)
        assert torch.equal(alone.scores, together[name].scores)
    assert not same(fit(toy, "fusion", seed=1)["fusion"].head, together["fusion"].head)
    state = torch.get_rng_state()
    fit(toy, "fusion")
    assert torch.equal(torch.get_rng_state(), state), "the random state of others is left alone"


def test_an_epoch_is_drawn_once_for_all_heads(toy):
    fit(toy)
    assert toy.asked == [*range(15), 0], "and the first again, to count the training clips"


def test_a_step_is_what_one_loop_over_one_head_makes(toy):
    """AdamW on cross-entropy, batches in the order of seed and epoch, dropout from the seed on."""
    toy.shift, data = 0.1, toy.data
    head = fit(toy, "fusion", settings=SETTINGS.model_copy(update={"epochs": 3}), seed=4)["fusion"].head
    torch.manual_seed(4)
    plain = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=SETTINGS.weight_decay)
    for epoch in range(3):
        inputs = torch.cat([data.appearance, toy.features + 0.1 * epoch], dim=1)
        for part in np.array_split(np.random.default_rng([4, epoch]).permutation(200), 7):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(plain(inputs[part]), data.train.labels[part]).backward()
            optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(head.mlp.parameters(), plain.parameters(), strict=True))


# Loss of the last epoch and sum of all weights of commit 43d4792.
BEFORE = {
    "fusion": (0.3532158903777599, 31.63303706375882),
    "appearance_head": (0.4201332995295525, 27.76020889170468),
    "motion_head": (0.42335507929325106, 27.87323736725375),
    "fusion_permuted": (0.5029995553195477, 29.773639266379178),
}


def test_heads_are_what_they_were(toy):
    toy.shift = 0.1
    for name, head in fit(toy, settings=SETTINGS.model_copy(update={"epochs": 3}), seed=4).items():
        weights = sum(weight.detach().double().abs().sum().item() for weight in head.head.parameters())
        assert (head.log["loss"].iloc[-1], weights) == pytest.approx(BEFORE[name], abs=1e-4)


def test_chosen_on_the_test_clips(toy, caplog):
    heads = fit(toy, settings=SETTINGS.model_copy(update={"select": "test", "lr": 0.1}))
    assert "THE EPOCH IS CHOSEN ON THE TEST CLIPS" in caplog.text
    for head in heads.values():
        accuracy = (head.scores.argmax(dim=1) == toy.data.test.labels).float().mean().item()
        assert accuracy == head.log["score"].max() and len(head.log) == 15
    assert any(head.log["score"].argmax() < 14 for head in heads.values())


def test_an_interrupted_training_resumes(toy, tmp_path, monkeypatch):
    """Every head where its state ends, which need not be the same epoch; what is finished is not repeated."""
    monkeypatch.setattr("moclip.training.state.PAUSE", 0)
    expected = fit(toy)

    class Broken(Given):
        def __call__(self, epoch):
            if epoch == 6:
                raise KeyboardInterrupt
            return super().__call__(epoch)

    with pytest.raises(KeyboardInterrupt):
        fit(Broken(toy.data, toy.features), folder=tmp_path)
    fit(toy, "motion_head", folder=tmp_path)
    toy.asked.clear()
    heads = fit(toy, folder=tmp_path)
    assert toy.asked == [*range(6, 15), 0]
    for name, head in heads.items():
        assert same(head.head, expected[name].head) and head.log.to_dict("records") == expected[name].log.to_dict(
            "records"
        )
    toy.asked.clear()
    assert same(fit(toy, folder=tmp_path)["fusion"].head, expected["fusion"].head) and toy.asked == [0]
    toy.facts = {"given": "others"}
    toy.asked.clear()
    fit(toy, "fusion", folder=tmp_path)
    assert toy.asked == [*range(15), 0], "other features: trained again"


def test_permuted_gives_the_same_features_to_other_clips():
    values = torch.arange(50.0).view(50, 1).expand(50, 3)
    other = permuted(values, seed=0)
    assert sorted(other[:, 0].tolist()) == values[:, 0].tolist() and (other[:, 0] == other[:, 2]).all()
    assert (other != values).any(dim=1).sum() > 40
    torch.manual_seed(123)
    assert torch.equal(permuted(values, seed=0), other) and not torch.equal(permuted(values, seed=1), other)
    state = torch.random.get_rng_state()
    permuted(values, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"


def test_the_permuted_head_sees_the_motion_of_other_clips(toy):
    moved = Given(replace(toy.data, tested=permuted(toy.data.tested, 0)), permuted(toy.features, 0))
    one, two = fit(toy, "fusion_permuted")["fusion_permuted"], fit(moved, "fusion")["fusion"]
    assert same(one.head, two.head) and torch.equal(one.scores, two.scores)


# --- features by epoch ------------------------------------------------------------------------------------------------


@pytest.fixture
def data(clips, train_protocol, eval_protocol):
    pool = torch.randn(8, 12, 1280, generator=torch.Generator().manual_seed(0))
    seen = torch.zeros(8, 3)
    return FusionData(clips, clips, train_protocol, eval_protocol, seen, seen, torch.zeros(8, 1280), pool)


def drawn_by(network, data, seed=0, kind=EpochFeatures):
    return kind(Fusion(batch_size=3), network, data, seed, "cpu")


def test_resampled_features_are_the_mean_over_the_drawn_segments(network, clips, data, train_protocol):
    features = drawn_by(network, data)
    drawn = features(2)
    assert drawn.shape == (8, 1280)
    for index in (0, 4):
        rng = np.random.default_rng([train_protocol.seed, 2, index, 1])  # 1: seed 0's stream
        with torch.no_grad():
            expected = network.eval().features(to_input(train_views(clips[index], train_protocol, rng)))[0].mean(dim=0)
        torch.testing.assert_close(drawn[index], expected, atol=1e-4, rtol=1e-3)
    assert torch.equal(features(2), drawn)
    assert not torch.allclose(features(3), drawn, atol=1e-4)
    assert not torch.allclose(drawn_by(network, data, 1)(2), drawn, atol=1e-4), "each seed its own"


def test_a_frozen_network_stays_as_it_is(network, data):
    network = deepcopy(network).train()
    before = deepcopy(network.state_dict())
    features = drawn_by(network, data)
    features(0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training and all(parameter.grad is None for parameter in network.parameters())
    assert features.statistics() == {} and features.tested() is data.tested


def test_what_the_features_follow_from(network, data, clips):
    made = [
        drawn_by(network, data),
        drawn_by(MVTSN(4, "test_efficientnet", pretrained=False), data),
        drawn_by(network, replace(data, train_views=replace(data.train_views, segments=1))),
        drawn_by(network, data, kind=PooledFeatures),
        drawn_by(network, replace(data, pool=data.pool + 1), kind=PooledFeatures),
    ]
    assert len({repr(features.facts) for features in made}) == len(made)
    assert type(epoch_features(Fusion(train_features="cached"), network, data, 0, "cpu")) is PooledFeatures
    assert type(epoch_features(Fusion(), network, data, 0, "cpu")) is EpochFeatures


@pytest.mark.parametrize(("views", "segments"), [(12, 3), (7, 3), (3, 3), (5, 1)])
def test_pooled_features_take_one_view_of_each_part(network, data, views, segments):
    pool = torch.eye(views).expand(20, views, views)  # a view's feature says which view it is
    protocol = replace(data.train_views, segments=segments)
    features = drawn_by(network, replace(data, pool=pool, train_views=protocol), kind=PooledFeatures)
    parts = [set(part.tolist()) for part in np.array_split(np.arange(views), segments)]
    seen = set()
    for epoch in range(60):
        for row in features(epoch) * segments:
            assert row.sum().item() == pytest.approx(segments)
            chosen = row.nonzero()[:, 0].tolist()
            assert len(chosen) == segments and all(index in part for index, part in zip(chosen, parts, strict=True))
            seen.update(chosen)
    assert seen == set(range(views)), "every view is drawn some time"


def test_pooled_features_keep_clips_apart_and_follow_seed_and_epoch(network, data):
    pool = torch.arange(6.0).view(6, 1, 1) * 100 + torch.arange(12.0).view(1, 12, 1)  # (6, 12, 1)
    one, again, other = (drawn_by(network, replace(data, pool=pool), seed, PooledFeatures) for seed in (0, 0, 1))
    assert [int(value // 100) for value in one(0)[:, 0]] == list(range(6))
    assert torch.equal(one(4), again(4)) and not torch.equal(one(4), one(5)) and not torch.equal(one(4), other(4))
    with pytest.raises(ValueError, match="3 segments cannot be drawn from 2 views: raise fusion.train_views"):
        drawn_by(network, replace(data, pool=pool[:, :2]), kind=PooledFeatures)
