"""What heads are trained on: other segments in every epoch, the same ones for every head and after a kill."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from moclip.training.draws import FreshDraws, cached_draws, permuted, permuted_draws

from moclip.config.sections import Fusion
from moclip.inputs.clips import MotionClips
from moclip.models import create_model
from moclip.training.heads import fit_head
from moclip.training.motion import motion_features


@pytest.fixture
def fresh(network, clips, tmp_path):
    """Draws of a seed in a folder of their own; the rest by keyword."""

    def make(seed=0, drifting=False, batch_size=4, network=network, folder=None):
        folder = folder or tmp_path / f"{seed} {drifting}"
        return FreshDraws(network, clips, seed, "cpu", batch_size, folder, drifting)

    return make


# --- new segments in every epoch --------------------------------------------------------------------------------------


def test_fresh_draws_are_the_mean_over_the_drawn_segments(network, clips, fresh):
    draw = fresh(batch_size=3)
    drawn = draw(2)
    assert drawn.shape == (8, 1280)
    for index in (0, 4):
        batch = torch.utils.data.default_collate([clips[2, index, 1]])  # 1: seed 0's stream
        with torch.no_grad():
            expected = network.eval().features(clips.to_input(batch))[0].mean(dim=0)
        torch.testing.assert_close(drawn[index], expected, atol=1e-4, rtol=1e-3)
    assert torch.equal(draw(2), drawn)
    assert not torch.allclose(draw(3), drawn, atol=1e-4)
    assert not torch.allclose(fresh(1, batch_size=3)(2), drawn, atol=1e-4), "each seed its own"


def test_fresh_draws_are_not_those_that_trained_the_network(clips):
    for index in range(len(clips)):
        trained, fresh = clips[2, index], clips[2, index, 1]
        if not np.array_equal(trained["cells"], fresh["cells"]) or not np.array_equal(trained["box"], fresh["box"]):
            return
    pytest.fail("the same draws for every clip")


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", ["frozen", "drifting"])
def test_what_the_training_of_the_head_does_to_the_network(network, clips, fresh, statistics):
    """Every parameter and buffer, before and after: frozen, not a bit; drifting, BatchNorm's statistics and no more."""
    network = deepcopy(network).train()
    state = [*network.named_parameters(), *network.named_buffers()]
    before = {name: tensor.detach().clone() for name, tensor in state}
    assert before.keys() == network.state_dict().keys()
    draws = fresh(network=network, drifting=statistics == "drifting")
    head = create_model("fusion", num_classes=4, appearance_dim=3, motion_dim=network.feature_dim, hidden=8)
    labels = torch.from_numpy(clips.labels)
    fit_head(head, torch.randn(len(clips), 3), draws, labels, Fusion(epochs=2, batch_size=4), seed=0, device="cpu")
    assert all(torch.equal(tensor, before[name]) for name, tensor in state), "the user's own network"
    network = draws.network_at(1)
    state = [*network.named_parameters(), *network.named_buffers()]
    changed = {name for name, tensor in state if not torch.equal(tensor, before[name])}
    kinds = [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(kinds) > 40
    learned = {f"{name}.{each}" for name in kinds for each in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == (learned if statistics == "drifting" else set())
    assert all(parameter.grad is None for parameter in network.parameters()) and not network.training
    if statistics == "drifting":
        assert network.data_bn.num_batches_tracked - before["data_bn.num_batches_tracked"] == 4, "2 epochs of 2 batches"


def test_drifting_is_the_published_code_s_single_loop(network, clips, fresh):
    """Its loop: ``train()`` on everything, batch after batch through the network and into the head."""
    theirs = deepcopy(network).train()
    draws = fresh(5, drifting=True)
    draws(2)  # further than what is looked at
    for epoch in (0, 1):
        drawn = draws(epoch)
        order = np.random.default_rng([5, epoch]).permutation(len(clips))  # the head's batches: training.fit_head
        with torch.no_grad():
            for part in np.array_split(order, 2):
                batch = torch.utils.data.default_collate([clips[epoch, int(index), 6] for index in part])
                expected = theirs.features(clips.to_input(batch)).mean(dim=1)
                torch.testing.assert_close(drawn[part], expected, atol=1e-4, rtol=1e-3)
        ours = draws.network_at(epoch)
        assert not ours.training
        for (name, one), two in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(one, two, msg=name)
    frozen = fresh(5)(1)
    assert not torch.allclose(frozen, drawn, atol=1e-2), "features of another kind"


def test_the_head_is_trained_on_the_batches_that_drifted(clips, fresh):
    """What `drifting` rests on: `fit_head` cuts an epoch as `FreshDraws` does."""
    seen = []
    head = create_model("fusion", num_classes=4, appearance_dim=1, motion_dim=1, hidden=8)
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1][:, 0].int().tolist()))
    rows = torch.arange(len(clips)).float()[:, None]
    settings = Fusion(epochs=2, batch_size=3)
    fit_head(head, rows, lambda epoch: rows, torch.from_numpy(clips.labels), settings, seed=7, device="cpu")
    drifted = []
    clips.__class__ = type("Watched", (MotionClips,), {"__getitem__": lambda self, key: drifted.append(key) or sample})
    sample = MotionClips.__getitem__(clips, (0, 0))
    draws = fresh(7, drifting=True, batch_size=settings.batch_size)
    draws(0), draws(1)
    assert [index for _, index, _ in drifted] == [index for batch in seen for index in batch]
    assert [len(batch) for batch in seen] == [3, 3, 2] * 2 and [epoch for epoch, _, _ in drifted] == [0] * 8 + [1] * 8


# --- kept -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """(epoch, index) of every clip that is drawn."""
    keys, original = [], MotionClips.__getitem__
    monkeypatch.setattr(MotionClips, "__getitem__", lambda self, key: keys.append(key[:2]) or original(self, key))
    return keys


@pytest.mark.parametrize("drifting", [False, True])
def test_an_epoch_is_drawn_once_and_no_more_in_another_process(fresh, drawn, drifting):
    first = fresh(drifting=drifting)
    rows = [first(epoch) for epoch in (0, 1, 2, 1)]
    assert len(drawn) == 3 * 8
    again = fresh(drifting=drifting)
    assert all(torch.equal(again(epoch), row) for epoch, row in zip((0, 1, 2, 1), rows, strict=True))
    assert len(drawn) == 3 * 8
    again(3)
    assert {epoch for epoch, _ in drawn[24:]} == {3} and len(drawn) == 4 * 8


def test_statistics_outlive_the_features_and_give_them_back(fresh, drawn):
    draws = fresh(drifting=True)
    rows = [draws(epoch) for epoch in range(3)]
    networks = [deepcopy(draws.network_at(epoch).state_dict()) for epoch in range(3)]
    draws.forget()
    drawn.clear()
    assert not list(draws.folder.glob("*features*"))
    for epoch in (2, 0, 1):
        found = fresh(drifting=True).network_at(epoch).state_dict()
        assert all(torch.equal(found[name], value) for name, value in networks[epoch].items())
    assert drawn == []
    assert all(torch.equal(draws(epoch), rows[epoch]) for epoch in (2, 0, 1)), "each by itself"
    assert len(drawn) == 3 * 8
    for epoch in range(3):
        found = draws.network_at(epoch).state_dict()
        assert all(torch.equal(found[name], value) for name, value in networks[epoch].items()), (
            "drawn again, not further"
        )


def test_killed_between_features_and_statistics_it_drifts_to_the_same(fresh, tmp_path):
    whole, killed = fresh(drifting=True), fresh(drifting=True, folder=tmp_path / "killed")
    expected = whole(2)
    killed(1)
    (killed.folder / "statistics-1.safetensors").unlink()
    assert torch.equal(killed(2), expected)


@pytest.mark.parametrize("change", ["network", "batch_size", "seed", "drifting", "clips"])
def test_what_others_drew_is_not_taken(network, clips, fresh, drawn, tmp_path, change, caplog):
    folder = tmp_path / "draws"
    fresh(folder=folder)(0)
    other = deepcopy(network)
    other.data_bn.running_mean += 1
    changes = {"network": {"network": other}, "batch_size": {"batch_size": 3}, "seed": {"seed": 1}}
    changes["drifting"] = {"drifting": True}
    if change == "clips":
        clips.paths[0] = clips.paths[1]
    drawn.clear()
    fresh(folder=folder, **changes.get(change, {}))(0)
    assert len(drawn) == 8 and "starts anew" in caplog.text


@pytest.mark.parametrize("drifting", [False, True])
def test_other_clips_under_the_network_of_an_epoch(network, clips, fresh, drifting, photos, store, config):
    tested = MotionClips.from_config(photos.test, store, config, flips=False)
    draws = fresh(drifting=drifting)
    for epoch in (1, 0):
        found = draws.features_at(epoch, tested, 3)
        assert found.shape == (4, 1280)
        expected = motion_features(deepcopy(draws.network_at(epoch)), tested, 3).mean(dim=1)
        assert torch.equal(found, expected) and torch.equal(draws.features_at(epoch, tested, 3), found)
    assert torch.equal(draws.features_at(1, tested, 3), found) == (not drifting)
    assert len(list(draws.folder.glob("features-*-*"))) == 1 + drifting, "a frozen network is asked once"
    more, mirrored = draws.features_at(0, tested, 2), draws.features_at(0, tested, 3, crops=10)
    assert not torch.equal(more, found) and not torch.equal(mirrored, found)
    fewer = MotionClips.from_config(photos.test[:2], store, config, flips=False)
    assert len(draws.features_at(0, fewer, 3)) == 2, "kept by what they are of"


# --- from a pool ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("views", "segments"), [(12, 3), (7, 3), (3, 3), (5, 1)])
def test_cached_draws_take_one_view_of_each_part(views, segments):
    pool = torch.eye(views).expand(20, views, views)  # a view's feature says which view it is
    draw = cached_draws(pool, segments, seed=0)
    parts = [set(part.tolist()) for part in np.array_split(np.arange(views), segments)]
    seen = set()
    for epoch in range(60):
        for row in draw(epoch) * segments:
            assert row.sum().item() == pytest.approx(segments)
            chosen = row.nonzero()[:, 0].tolist()
            assert len(chosen) == segments and all(index in part for index, part in zip(chosen, parts, strict=True))
            seen.update(chosen)
    assert seen == set(range(views)), "every view is drawn some time"


def test_cached_draws_keep_clips_apart_and_follow_seed_and_epoch():
    pool = torch.arange(6.0).view(6, 1, 1) * 100 + torch.arange(12.0).view(1, 12, 1)  # (6, 12, 1)
    draw = cached_draws(pool, 3, seed=0)
    assert [int(value // 100) for value in draw(0)[:, 0]] == list(range(6))
    assert torch.equal(draw(4), cached_draws(pool, 3, seed=0)(4))
    assert not torch.equal(draw(4), draw(5)) and not torch.equal(draw(4), cached_draws(pool, 3, seed=1)(4))


# --- the permuted control -------------------------------------------------------------------------------------------


def test_permuted_deals_the_same_features_to_other_clips():
    values = torch.arange(50.0).view(50, 1).expand(50, 3)
    dealt = permuted(values, seed=0)
    assert sorted(dealt[:, 0].tolist()) == values[:, 0].tolist() and (dealt[:, 0] == dealt[:, 2]).all()
    assert (dealt != values).any(dim=1).sum() > 40
    torch.manual_seed(123)
    assert torch.equal(permuted(values, seed=0), dealt) and not torch.equal(permuted(values, seed=1), dealt)
    state = torch.random.get_rng_state()
    permuted(values, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"


def test_permuted_draws_deal_alike_in_every_epoch():
    values = torch.arange(20.0).view(20, 1)
    draws = permuted_draws(lambda epoch: values + 100 * epoch, seed=3)
    assert torch.equal(draws(0), permuted(values, 3)) and torch.equal(draws(5) - 500, draws(0))
