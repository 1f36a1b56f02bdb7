"""Multiply-adds by hand, and against published counts."""

import pytest
import timm
import torch
from torch import nn

from moclip import costs
from moclip.models import create_model


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (nn.Linear(7, 5, bias=False), (2, 3, 7), 6 * 7 * 5),
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), (2, 4, 8, 8), 2 * 4 * 4 * 8 * 4 * 9),
        (nn.Conv2d(8, 8, 5, padding=2, groups=8), (1, 8, 6, 6), 6 * 6 * 8 * 25),
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), (1, 2, 5, 5), 5 * 5 * 2 * 4),
    ],
)
def test_layers_by_hand(layer, shape, expected):
    assert costs.macs(layer.eval(), torch.zeros(shape)) == expected


@pytest.mark.parametrize("train", [True, False])
def test_attention_is_counted(train):
    """4 projections and 2 products of L x L: torch's module, whose fast path hides them in evaluation mode."""
    length, width = 10, 32
    attention = nn.MultiheadAttention(width, 4, batch_first=True).train(train)
    tokens = torch.zeros(1, length, width)
    assert costs.macs(lambda x: attention(x, x, x, need_weights=False), tokens) == (
        4 * length * width**2 + 2 * length**2 * width
    )


def test_a_transformer_layer_of_torch_is_counted():
    layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, batch_first=True).eval()
    assert costs.macs(layer, torch.zeros(1, 10, 32)) == 10 * 32 * (4 * 32 + 2 * 64) + 2 * 100 * 32


def test_timm_s_fused_attention_is_counted():
    block = timm.models.vision_transformer.Block(64, num_heads=2).eval()
    assert block.attn.fused_attn
    assert costs.macs(block, torch.zeros(1, 17, 64)) == 12 * 17 * 64**2 + 2 * 17**2 * 64


def test_switches_are_left_as_they_were():
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
    with pytest.raises(RuntimeError):
        costs.macs(nn.Linear(3, 2), torch.zeros(1, 4))
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()) == before


@pytest.mark.parametrize(("backbone", "gmacs"), [("efficientnet_b0", 0.381), ("tf_efficientnet_lite0", 0.380)])
def test_the_motion_network_costs_what_the_paper_s_does(backbone, gmacs):
    """12.5 "GFLOPs" for 32 views are multiply-adds: 0.39 a view with three channels."""
    network = create_model("mv_tsn", num_classes=101, backbone=backbone, pretrained=False).eval()
    counted = costs.macs(network, torch.zeros(1, 1, 2, 224, 224)) / 1e9
    assert counted == pytest.approx(gmacs, abs=0.0006)
    assert 32 * counted == pytest.approx(12.5, rel=0.04)


def test_clip_s_image_tower_costs_4_41_gmacs():
    """7 x 7 patches and a class token, 12 layers of width 768."""
    from clip.model import VisionTransformer

    tower = VisionTransformer(
        input_resolution=224, patch_size=32, width=768, layers=12, heads=12, output_dim=512
    ).eval()
    assert costs.parameters(tower)["total"] == pytest.approx(87.85e6, abs=5e3)
    layers = 12 * (12 * 50 * 768**2 + 2 * 50**2 * 768)
    expected = 49 * 3 * 32 * 32 * 768 + layers + 768 * 512
    assert costs.macs(tower, torch.zeros(1, 3, 224, 224)) == expected
    assert expected / 1e9 == pytest.approx(4.41, abs=0.005)


def test_the_head_costs_a_thousandth():
    head = create_model("fusion", num_classes=101).eval()
    assert costs.macs(head, torch.zeros(1, 512), torch.zeros(1, 1280)) == 1792 * 512 + 512 * 101


def test_parameters_count_what_is_trained():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # 8 + 4; buffers are no parameters
    assert costs.parameters(model) == {"total": 12, "trainable": 12}
    model[0].requires_grad_(False)
    assert costs.parameters(model) == {"total": 12, "trainable": 4}


def test_latency_warms_up_and_repeats():
    calls = []

    def work(tensor):
        calls.append(torch.is_grad_enabled())

    timing = costs.latency(work, torch.zeros(1), repeats=5, warm_up=2)
    assert calls == [False] * 7
    assert 0 <= timing["fastest"] <= timing["seconds"] <= timing["slowest"]
    assert timing["repeats"] == 5 and timing["threads"] == torch.get_num_threads() and timing["device"]
