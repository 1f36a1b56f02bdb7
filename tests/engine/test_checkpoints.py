"""Checkpoints that know what they belong to; predictions that are joined by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from moclip.datasets.base import Clip, VideoDataset
from moclip.engine.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from moclip.engine.predictions import head_scores, write_predictions
from moclip.io.artefacts import load_json, load_predictions, load_scores, load_tensors, save_predictions, save_tensors
from moclip.models import create_model
from moclip.models.backbones import state_hash
from moclip.report import statistics as metrics

CLASSES = ("HammerThrow", "Hammering", "Archery")


def make_dataset(classes=CLASSES, test=(2, 0, 1, 1)):
    """Clips that exist by name only."""

    def clip(label, group):
        return Clip(Path("x.mp4"), label, classes[label], group, f"v_{classes[label]}_{group}", sha256="ab" * 32)

    return VideoDataset(
        name="three",
        description="three classes",
        classes=classes,
        train=[clip(label, "g9") for label in range(len(classes))],
        test=[clip(label, f"g{n}") for n, label in enumerate(test)],
    )


@pytest.fixture
def dataset():
    return make_dataset()


ARGUMENTS = {"num_classes": 3, "backbone": "tf_efficientnet_lite0", "pretrained": False}


@pytest.fixture
def checkpoint(tmp_path, config, dataset):
    """A motion network with odd buffers, saved; (path, network)."""
    network = create_model("mv_tsn", **ARGUMENTS)
    network.train()
    network(torch.randn(1, 2, 2, 32, 32))  # BatchNorm's buffers are no longer those of a new net
    save_checkpoint(tmp_path / "mv.safetensors", network, "mv_tsn", ARGUMENTS, config, dataset, seed=7)
    return tmp_path / "mv.safetensors", network


# --- checkpoints ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_whole(checkpoint, config, dataset):
    path, network = checkpoint
    loaded = load_checkpoint(path, dataset.classes, config.motion)
    assert not loaded.training
    own, theirs = network.state_dict(), loaded.state_dict()
    assert own.keys() == theirs.keys()
    for name in own:
        assert own[name].dtype == theirs[name].dtype and torch.equal(own[name], theirs[name]), name
    segments = torch.randn(1, 2, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(segments), network.eval()(segments))
    header = load_json(path.with_suffix(".json"))
    assert header["fold"] == 1 and header["channels"] == 2 and header["weights"] == state_hash(loaded)
    assert set(header["versions"]) == {"moclip", "torch", "timm", "numpy"}
    assert header["seed"] == 7 and header["classes"] == list(CLASSES)
    assert header["fingerprint"] == dataset.fingerprint != ""
    assert header["mv"]["segments"] == config.mv.segments


def test_a_head_comes_back(tmp_path, config, dataset):
    arguments = {"num_classes": 3, "appearance_dim": 4, "motion_dim": 0, "hidden": 8, "dropout": 0.1}
    head = create_model("fusion", **arguments)
    pair = {"network": "mv.safetensors", "network_weights": "abc"}
    save_checkpoint(tmp_path / "h.safetensors", head, "fusion", arguments, config, dataset, 0, **pair)
    loaded = load_checkpoint(tmp_path / "h.safetensors")
    header = load_tensors(tmp_path / "h.safetensors")[1]
    assert (header["network"], header["network_weights"]) == ("mv.safetensors", "abc")
    appearance = torch.randn(5, 4)
    assert torch.equal(
        head_scores(loaded, appearance, torch.zeros(5, 0)), head_scores(head, appearance, torch.zeros(5, 0))
    )


@pytest.mark.parametrize(
    "classes", [CLASSES[::-1], CLASSES[:2], (*CLASSES, "Diving"), ("HammerThrow", "Hammering", "Archer")]
)
def test_other_classes_are_refused(checkpoint, classes):
    with pytest.raises(CheckpointError, match="trained for 3 classes .*HammerThrow"):
        load_checkpoint(checkpoint[0], classes)


@pytest.mark.parametrize("change", [{"units": "pixels"}, {"bound": 10.0}, {"field": "accumulated"}])
def test_another_field_and_other_units_are_refused(checkpoint, config, change):
    with pytest.raises(CheckpointError, match=r"trained with motion={'bound': 20.0, .*'equivalent'}, asked for"):
        load_checkpoint(checkpoint[0], CLASSES, config.motion.model_copy(update=change))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"fold": 2}, "trained with fold=1, asked for 2"),
        ({"channels": 3}, "trained with channels=2, asked for 3"),
        ({"fold": 1, "channels": 20}, "trained with channels=2, asked for 20"),
    ],
)
def test_another_fold_and_other_channels_are_refused(checkpoint, config, asked, message):
    load_checkpoint(checkpoint[0], CLASSES, config.motion, fold=1, channels=2)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint[0], CLASSES, config.motion, **asked)


def test_tensors_of_another_network_are_refused(checkpoint, tmp_path):
    """As a network of three channels has them."""
    tensors, header = load_tensors(checkpoint[0])
    tensors["backbone.conv_stem.weight"] = tensors["backbone.conv_stem.weight"].repeat(2, axis=1)[:, :3]
    save_tensors(tmp_path / "three.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match=r"not the tensors of mv_tsn .*\n?.*conv_stem") as error:
        load_checkpoint(tmp_path / "three.safetensors")
    assert "size mismatch" in str(error.value)


def test_a_head_has_no_channels(tmp_path, config, dataset):
    head = create_model("fusion", num_classes=3, appearance_dim=4, motion_dim=4)
    arguments = {"num_classes": 3, "appearance_dim": 4, "motion_dim": 4}
    save_checkpoint(tmp_path / "h.safetensors", head, "fusion", arguments, config, dataset, 0)
    assert load_json(tmp_path / "h.json")["channels"] is None


def test_the_field_and_the_units_are_in_the_checkpoint(tmp_path, config, dataset):
    accumulated = config.model_copy(update={"motion": config.motion.model_copy(update={"field": "accumulated"})})
    network = create_model("mv_tsn", **ARGUMENTS)
    save_checkpoint(tmp_path / "a.safetensors", network, "mv_tsn", ARGUMENTS, accumulated, dataset, 0)
    motion = load_json(tmp_path / "a.json")["motion"]
    assert motion == {"field": "accumulated", "units": "equivalent", "bound": 20.0}


def test_loading_asks_for_no_pretrained_weights(tmp_path, config, dataset, monkeypatch):
    """Also where `pretrained`, which is True by default, was not among the arguments."""
    arguments = {"num_classes": 3, "backbone": "tf_efficientnet_lite0"}
    network = create_model("mv_tsn", **arguments, pretrained=False)
    save_checkpoint(tmp_path / "m.safetensors", network, "mv_tsn", arguments, config, dataset, 0)
    monkeypatch.setattr("moclip.models.backbones.lite0_path", lambda: pytest.fail("asked for pretrained weights"))
    loaded = load_checkpoint(tmp_path / "m.safetensors")
    assert torch.equal(loaded.classifier.weight, network.classifier.weight)


def test_a_missing_checkpoint_says_what_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="moclip reproduce"):
        load_checkpoint(tmp_path / "none.safetensors")


# --- predictions ----------------------------------------------------------------------------------------------------


def test_predictions_of_a_data_set(tmp_path, config, dataset):
    scores = torch.eye(3)[[2, 0, 0, 1]] * 5
    write_predictions(tmp_path, "mv_only", 4, config, dataset, scores, views=3, backbone="b0")
    rows = load_predictions(tmp_path, ["three"])
    assert list(rows["video"]) == [clip.name for clip in dataset.test]
    assert list(rows["class_name"]) == [clip.class_name for clip in dataset.test]
    assert list(rows["pred"]) == ["Archery", "HammerThrow", "HammerThrow", "Hammering"]
    assert list(rows["correct"]) == [True, True, False, True]
    assert set(rows["group"]) == {"g0", "g1", "g2", "g3"} and set(rows["seed"]) == {4}
    assert load_scores(tmp_path / "three" / "mv_only-seed4.safetensors")[2] == list(CLASSES)
    header = load_json(tmp_path / "three" / "mv_only-seed4.json")
    assert header["n_train"] == 3 and header["views"] == 3 and header["backbone"] == "b0"
    write_predictions(tmp_path, "zero_shot", 0, config, dataset, scores, views=1, n_train=0)
    assert load_json(tmp_path / "three" / "zero_shot-seed0.json")["n_train"] == 0


def test_head_scores_are_in_evaluation_mode(dataset):
    head = create_model("fusion", num_classes=3, appearance_dim=4, motion_dim=4, dropout=0.9).train()
    appearance, motion = torch.randn(6, 4), torch.randn(6, 4)
    assert torch.equal(head_scores(head, appearance, motion), head_scores(head.train(), appearance, motion))
    assert not head_scores(head, appearance, motion).requires_grad


def test_systems_are_joined_by_name_where_an_index_would_be_wrong(tmp_path):
    """Two systems list clips and classes in different orders, as the published code's halves do.

    One has the official order of classes (HammerThrow before Hammering there), the other the sorted one.
    """
    names = ["v_Hammering_g1", "v_HammerThrow_g1", "v_Archery_g1", "v_Hammering_g2", "v_HammerThrow_g2", "v_Archery_g2"]
    facts = {"dataset": "d", "protocol": "p", "views": 1, "n_train": 0, "data": "x"}

    def write(system, names, classes, right):
        targets = [name.split("_")[1] for name in names]
        scores = np.zeros((len(names), len(classes)))
        for row, (name, target) in enumerate(zip(names, targets, strict=True)):
            said = target if name in right else classes[(classes.index(target) + 1) % len(classes)]
            scores[row, classes.index(said)] = 1
        clips = {"video": names, "group": [name.split("_")[2] for name in names], "class_name": targets}
        save_predictions(tmp_path / "d", system, 0, clips=clips, classes=classes, scores=scores, header=facts)
        return scores.argmax(axis=1)

    right = {"one": set(names[:4]), "two": {names[0], names[5]}}
    order = [5, 2, 4, 0, 1, 3]
    one = write("one", names, ["HammerThrow", "Hammering", "Archery"], right["one"])
    two = write("two", [names[i] for i in order], ["Archery", "Hammering", "HammerThrow"], right["two"])

    predictions = load_predictions(tmp_path, ["d"])
    gap = metrics.difference(predictions, "d", "one", "two", metrics.Bootstrap(resamples=99))
    assert gap.value == pytest.approx(4 / 6 - 2 / 6) and gap.n == 6
    per_clip = metrics.per_clip(predictions, "d", "one") - metrics.per_clip(predictions, "d", "two")
    found = {video: value for (_, _, _, video), value in per_clip.items()}
    assert found == {name: float(name in right["one"]) - float(name in right["two"]) for name in names}
    # What an index would say: agreement of the columns, row by row.
    agree = predictions.pivot(index="video", columns="system", values="pred").loc[names]
    assert list(agree["one"] == agree["two"]) != list(one == two)


def test_systems_on_other_clips_are_not_compared(tmp_path, config, dataset):
    scores = torch.eye(3)[[2, 0, 0, 1]]
    write_predictions(tmp_path, "one", 0, config, dataset, scores, views=1)
    write_predictions(tmp_path, "two", 0, config, make_dataset(test=(2, 0, 1)), scores[:3], views=1)
    predictions = load_predictions(tmp_path, ["three"])
    with pytest.raises(ValueError, match="not tested on the same clips.*g3"):
        metrics.difference(predictions, "three", "one", "two", metrics.Bootstrap(resamples=99))
