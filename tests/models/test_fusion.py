"""The fusion head."""

import numpy as np
import pytest
import torch

from moclip.models import create_model


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("appearance", "motion", "expected"),
    [(512, 1280, 969_829), (512, 0, 314_469), (0, 1280, 707_685), (1280, 1280, 1_363_045)],
)
def test_parameters(appearance, motion, expected):
    head = create_model("fusion", num_classes=101, appearance_dim=appearance, motion_dim=motion)
    assert count(head) == expected == (appearance + motion + 1) * 512 + 513 * 101


def test_the_defaults_are_the_paper_s():
    assert count(create_model("fusion", num_classes=101)) == 969_829


@torch.no_grad()
def test_it_is_the_paper_s_formula():
    head = create_model("fusion", num_classes=7, appearance_dim=5, motion_dim=6, hidden=9).eval()
    appearance, motion = torch.randn(4, 5), torch.randn(4, 6)
    w1, b1, w2, b2 = (parameter.numpy() for parameter in head.parameters())
    hidden = np.maximum(np.concatenate([appearance.numpy(), motion.numpy()], axis=1) @ w1.T + b1, 0)
    np.testing.assert_allclose(head(appearance, motion), hidden @ w2.T + b2, atol=1e-6)


@torch.no_grad()
def test_dropout_stands_between_the_layers():
    head = create_model("fusion", num_classes=3, appearance_dim=4, motion_dim=4, hidden=1000, dropout=0.25).train()
    seen = []
    head.mlp[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for parameter in head.parameters():
        parameter.fill_(0.1)
    head(torch.ones(8, 4), torch.ones(8, 4))
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert seen[0].max().item() == pytest.approx(0.9 / 0.75)


@torch.no_grad()
@pytest.mark.parametrize(("sizes", "ignored"), [((5, 0), 1), ((0, 6), 0)])
def test_a_stream_of_size_0_is_not_looked_at(sizes, ignored):
    head = create_model("fusion", num_classes=3, appearance_dim=sizes[0], motion_dim=sizes[1]).eval()
    streams = [torch.randn(4, 5), torch.randn(4, 6)]
    before = head(*streams)
    streams[ignored] = torch.full_like(streams[ignored], torch.nan)
    assert torch.equal(head(*streams), before) and torch.isfinite(before).all()


def test_no_stream_at_all():
    with pytest.raises(ValueError, match="at least one stream"):
        create_model("fusion", num_classes=3, appearance_dim=0, motion_dim=0)


def test_gradients_reach_both_streams():
    head = create_model("fusion", num_classes=3, appearance_dim=4, motion_dim=5, dropout=0)
    logits = head(torch.randn(6, 4), torch.randn(6, 5))
    assert logits.shape == (6, 3)
    torch.nn.functional.cross_entropy(logits, torch.arange(6) % 3).backward()
    first = head.mlp[0].weight.grad  # (hidden, 4 + 5)
    assert (first[:, :4].abs().sum(0) > 0).all() and (first[:, 4:].abs().sum(0) > 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
