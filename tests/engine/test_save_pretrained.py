"""Folders that `from_pretrained` reads, with a card that says no more than is known."""

from importlib.metadata import version

import pytest
import torch
from huggingface_hub import ModelCard

from moclip.cli.main import app
from moclip.engine.checkpoints import save_checkpoint, save_pretrained
from moclip.engine.predictions import write_predictions
from moclip.io.artefacts import load_json
from moclip.models import create_model
from moclip.models.backbones import state_hash
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN

MV_ARGUMENTS = {"num_classes": 4, "backbone": "tf_efficientnet_lite0", "pretrained": True}
HEAD_ARGUMENTS = {"num_classes": 4, "appearance_dim": 4, "motion_dim": 5, "hidden": 8, "dropout": 0.25}


@pytest.fixture
def trained(tmp_path, config, photos, monkeypatch):
    """A run with both checkpoints; (run, motion network, head)."""
    network = create_model("mv_tsn", **MV_ARGUMENTS)
    network.train()(torch.randn(1, 2, 2, 32, 32))
    head = create_model("fusion", **HEAD_ARGUMENTS)
    folder = tmp_path / "run" / "checkpoints"
    save_checkpoint(folder / "mv_tsn-mixed.safetensors", network, "mv_tsn", MV_ARGUMENTS, config, photos, 7)
    save_checkpoint(folder / "fusion-mixed-seed2.safetensors", head, "fusion", HEAD_ARGUMENTS, config, photos, 2)
    monkeypatch.setattr("moclip.models.backbones.lite0_path", lambda: pytest.fail("asked for ImageNet's weights"))
    return tmp_path / "run", network.eval(), head.eval()


def test_the_command_writes_the_same_folder(trained, tmp_path, monkeypatch, capsys):
    run, network, _ = trained
    monkeypatch.setattr("moclip.io.paths.run_dir", lambda name: run)
    app(["export", "mv_tsn-mixed", str(tmp_path / "out"), "--run", "any"], standalone_mode=False)
    assert state_hash(MVTSN.from_pretrained(tmp_path / "out")) == state_hash(network)
    assert str(tmp_path / "out") in capsys.readouterr().out


@torch.no_grad()
def test_a_network_comes_back(trained, tmp_path):
    run, network, head = trained
    save_pretrained(run, "mv_tsn-mixed", tmp_path / "mv")
    loaded = MVTSN.from_pretrained(tmp_path / "mv")
    assert state_hash(loaded) == state_hash(network) and not loaded.training
    segments = torch.randn(1, 2, 2, 32, 32)
    assert torch.equal(loaded(segments), network(segments))
    save_pretrained(run, "fusion-mixed-seed2", tmp_path / "head")
    loaded = FusionHead.from_pretrained(str(tmp_path / "head"))
    features = torch.randn(2, 4), torch.randn(2, 5)
    assert loaded.mlp[2].p == 0.25 and torch.equal(loaded(*features), head(*features))
    assert load_json(tmp_path / "mv" / "moclip.json")["seed"] == 7


def test_a_network_without_a_run_has_a_card_without_facts(tmp_path):
    FusionHead(num_classes=2, appearance_dim=3, motion_dim=0).save_pretrained(tmp_path)
    assert FusionHead.from_pretrained(tmp_path).appearance_dim == 3
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "moclip" and "%" not in card.text


def test_the_card_has_the_run_s_facts(trained, photos, tmp_path, config):
    run, _, head = trained
    save_pretrained(run, "fusion-mixed-seed2", tmp_path / "head")
    card = ModelCard.load(tmp_path / "head" / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "moclip"
    torch_s = f"torch {version('torch')}"
    for fact in (photos.description, "`mixed`", ", ".join(photos.classes), config.protocol, "| seed | 2 |",
                 state_hash(head), torch_s, "'hidden': 8", "FusionHead.from_pretrained"):  # fmt: skip
        assert fact in card.text, fact
    assert "not measured" in card.text and "%" not in card.text

    labels = [clip.label for clip in photos.test]
    assert len(labels) == 4
    scores = torch.eye(4)[[*labels[:3], (labels[3] + 1) % 4]] * 5  # three of four
    facts = {"views": 1, "weights": "of another head"}
    write_predictions(run / "predictions", "fusion", 2, config, photos, scores, **facts)
    save_pretrained(run, "fusion-mixed-seed2", tmp_path / "head")
    assert "not measured" in (tmp_path / "head" / "README.md").read_text()
    facts["weights"] = state_hash(head)
    write_predictions(run / "predictions", "fusion", 2, config, photos, scores, **facts)
    save_pretrained(run, "fusion-mixed-seed2", tmp_path / "head")
    assert "Top-1 accuracy on its 4 test clips: 75.0 %." in (tmp_path / "head" / "README.md").read_text()
