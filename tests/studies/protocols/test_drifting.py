"""BatchNorm that drifts while heads are trained, against one loop over network and head."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from moclip.config.sections import Fusion
from moclip.inputs.clips import LoadedClips
from moclip.inputs.views import join, to_input, train_views
from moclip.models import create_model
from moclip.studies.protocols.drifting import DriftingFeatures
from moclip.training.heads import EpochFeatures, FusionData, epoch_features, fit_heads
from moclip.training.motion import motion_features


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_model("mv_tsn", num_classes=4, backbone="test_efficientnet", pretrained=False)


@pytest.fixture
def data(clips, photos, store, train_protocol, eval_protocol):
    seen, test = torch.arange(24.0).view(8, 3) % 5, LoadedClips(photos.test, store)
    return FusionData(clips, test, train_protocol, eval_protocol, seen, seen[:4], torch.zeros(4, 256))


def features_of(network, data, seed=0, kind=DriftingFeatures):
    return kind(Fusion(batch_size=4), network, data, seed, "cpu")


def test_it_is_the_published_code_s_single_loop(network, clips, data, train_protocol):
    """Its loop: ``train()`` on everything, batch after batch through the network and into the head."""
    theirs, ours = deepcopy(network).train(), features_of(network, data, 5)
    for epoch in (0, 1):
        drawn = ours(epoch)
        order = np.random.default_rng([5, epoch]).permutation(len(clips))  # the heads' batches
        with torch.no_grad():
            for part in np.array_split(order, 2):
                views = [
                    train_views(clips[i], train_protocol, np.random.default_rng([train_protocol.seed, epoch, i, 6]))
                    for i in part
                ]
                expected = theirs.features(to_input(join(views))).mean(dim=1)
                torch.testing.assert_close(drawn[part], expected, atol=1e-4, rtol=1e-3)
        assert not ours.network.training
        pairs = zip(ours.network.state_dict().items(), theirs.state_dict().values(), strict=True)
        for (name, one), two in pairs:
            torch.testing.assert_close(one, two, msg=name)
    assert not torch.allclose(features_of(network, data, 5, EpochFeatures)(1), drawn, atol=1e-2)


def test_only_statistics_change_and_only_in_a_copy(network, data):
    before = deepcopy(network.state_dict())
    features = features_of(network, data)
    features(0), features(1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "the given network"
    after = features.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    layers = [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    learned = {f"{name}.{each}" for name in layers for each in ("running_mean", "running_var", "num_batches_tracked")}
    assert len(layers) > 5 and changed == learned == features.statistics().keys()
    assert features.network.data_bn.num_batches_tracked - before["data_bn.num_batches_tracked"] == 4


def test_statistics_give_back_any_epoch(network, data):
    features = features_of(network, data)
    drawn, kept = [], []
    for epoch in range(3):
        drawn.append(features(epoch))
        kept.append(features.statistics())
    features.restore(kept[0])
    assert torch.equal(features(1), drawn[1])
    assert all(torch.equal(value, kept[1][name]) for name, value in features.statistics().items())
    features.restore({})
    assert torch.equal(features(0), drawn[0])


def test_test_clips_are_seen_under_the_network_as_it_is(network, data):
    features = features_of(network, data)
    seen = []
    for epoch in range(2):
        features(epoch)
        expected = motion_features(deepcopy(features.network), data.test, data.eval_views).mean(dim=1)
        seen.append(features.tested())
        assert torch.equal(seen[epoch], expected) and seen[epoch].shape == (4, 256)
        assert features.tested(few=True).shape == (4, 256)
    assert not torch.equal(*seen)


@pytest.mark.parametrize("select", ["last", "test"])
def test_every_head_has_the_network_of_its_epoch_also_after_an_interruption(
    network, data, tmp_path, monkeypatch, select
):
    monkeypatch.setattr("moclip.training.state.PAUSE", 0)
    settings = Fusion(epochs=4, batch_size=3, lr=0.05, hidden=8, batch_norm="drifting", select=select)

    def fit(folder, stop=None):
        features = epoch_features(settings, network, data, 1, "cpu")
        assert isinstance(features, DriftingFeatures)
        original, asked = features.draw, []

        def draw(epoch, batches):
            asked.append(epoch)
            if epoch == stop:
                raise KeyboardInterrupt
            return original(epoch, batches)

        features.draw = draw
        return fit_heads(features, {name: folder / name for name in ("fusion", "motion_head")}), asked

    expected, _ = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", stop=2)
    found, asked = fit(tmp_path / "killed")
    assert asked == [2, 3, 0], "what was drawn is not drawn again, but for the count of training clips"
    finished, asked = fit(tmp_path / "killed")
    assert asked == [0]
    for name, head in expected.items():
        for other in (found[name], finished[name]):
            weights, others = head.head.state_dict(), other.head.state_dict()
            assert all(torch.equal(value, others[key]) for key, value in weights.items())
            assert head.log.to_dict("records") == other.log.to_dict("records")
            assert head.statistics.keys() == other.statistics.keys() != set()
            assert all(torch.equal(value, other.statistics[key]) for key, value in head.statistics.items())
            assert torch.equal(head.scores, other.scores)
        epoch = int(head.log["score"].argmax()) if select == "test" else 3
        batches = head.statistics["data_bn.num_batches_tracked"]
        assert batches == 3 * (epoch + 1), "three batches per epoch"
