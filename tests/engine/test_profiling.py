"""Multiply-adds by hand, and against published counts; times by a clock that we set, memory of known allocations."""

from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from moclip.engine import profiling as costs
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
    assert costs.parameters(tower)["params"] == pytest.approx(87.85e6, abs=5e3)
    layers = 12 * (12 * 50 * 768**2 + 2 * 50**2 * 768)
    expected = 49 * 3 * 32 * 32 * 768 + layers + 768 * 512
    assert costs.macs(tower, torch.zeros(1, 3, 224, 224)) == expected
    assert expected / 1e9 == pytest.approx(4.41, abs=0.005)


def test_the_head_costs_a_thousandth():
    head = create_model("fusion", num_classes=101).eval()
    assert costs.macs(head, torch.zeros(1, 512), torch.zeros(1, 1280)) == 1792 * 512 + 512 * 101


def test_parameters_count_what_is_trained():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # 8 + 4; buffers are no parameters
    assert costs.parameters(model) == {"params": 12, "trainable": 12}
    model[0].requires_grad_(False)
    assert costs.parameters(model) == {"params": 12, "trainable": 4}


def test_latency_warms_up_and_repeats():
    calls = []

    def work(tensor):
        calls.append(torch.is_grad_enabled())

    timing = costs.latency(work, torch.zeros(1), repeats=5, warm_up=2)
    assert calls == [False] * 7
    assert 0 <= timing["fastest"] <= timing["seconds"] <= timing["slowest"]
    assert timing["repeats"] == 5 and timing["threads"] == torch.get_num_threads() and timing["device"]


def test_count_says_what_a_network_is():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 6 * 8, 5))
    model[0].requires_grad_(False)
    assert costs.count(model, torch.zeros(1, 3, 8, 10)) == {
        "params": 8 * 28 + 385 * 5 - 5 + 5, "trainable": 385 * 5,
        "macs_per_view": 6 * 8 * 8 * 27 + 8 * 6 * 8 * 5, "input": "3 x 8 x 10",
    }  # fmt: skip
    head = create_model("fusion", num_classes=4, appearance_dim=6, motion_dim=9, hidden=5).eval()
    assert costs.count(head, torch.zeros(1, 6), torch.zeros(1, 9))["input"] == "6 + 9"
    network = create_model("mv_tsn", num_classes=4, backbone="tf_efficientnet_lite0", pretrained=False).eval()
    counted = costs.count(network, torch.zeros(1, 1, 2, 32, 48))
    assert counted["input"] == "2 x 32 x 48" and counted["trainable"] == counted["params"]


# --- time -----------------------------------------------------------------------------------------------------------


class Slow(nn.Module):
    """Takes ``seconds(batch)`` by the clock that it carries; half of that under autocast."""

    def __init__(self, monkeypatch, seconds):
        super().__init__()
        self.now, self.seconds, self.calls = 0.0, seconds, []
        monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def forward(self, *inputs):
        assert torch.is_inference_mode_enabled()
        half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        batches = {len(tensor) for tensor in inputs}
        assert len(batches) == 1, "inputs grow together"
        self.calls.append((*batches, half))
        self.now += self.seconds(*batches) * (0.5 if half else 1)


@pytest.mark.parametrize(
    ("seconds", "warm_up", "repeats"),
    [(1 / 256, 3, 15), (1 / 16, 3, 15), (1 / 8, 2, 8), (1 / 4, 2, 4), (1 / 2, 2, 3), (4, 2, 3)],
)
def test_slow_calls_are_repeated_less_often(monkeypatch, seconds, warm_up, repeats):
    model = Slow(monkeypatch, lambda _: seconds)
    timing = costs.latency(model, torch.zeros(1), repeats=15)
    assert timing["repeats"] == repeats and len(model.calls) == warm_up + repeats
    assert timing["seconds"] == timing["fastest"] == timing["slowest"] == seconds


def test_median_fastest_and_slowest(monkeypatch):
    waits = iter([9 / 256, 9 / 256, 9 / 256, 3 / 256, 1 / 256, 2 / 256, 7 / 256, 1 / 256])  # the warm-up does not count
    model = Slow(monkeypatch, lambda _: next(waits))
    timing = costs.latency(model, torch.zeros(1), repeats=5)
    assert (timing["fastest"], timing["seconds"], timing["slowest"]) == (1 / 256, 2 / 256, 7 / 256)


@pytest.mark.parametrize(
    ("seconds", "largest", "batches", "best"),
    [
        (lambda n: 1 / 64 + n / 1024, 32, [1, 2, 4, 8, 16, 32], 32),  # pays up to the end
        (lambda n: 1 / 64 + n / 1024, 8, [1, 2, 4, 8], 8),
        (lambda n: 1 / 64 + n / 1024, 7, [1, 2, 4], 4),  # never beyond the largest
        (lambda n: 1 / 64 + n / 1024, 1, [1], 1),
        (lambda n: n / 64, 32, [1, 2, 4], 1),  # twice no gain
        (lambda n: 1 / 64 + n / 1024 + (1 / 8 if n == 2 else 0), 8, [1, 2, 4, 8], 8),  # once is not enough
        (lambda n: 1 / 64 if n < 8 else 1, 64, [1, 2, 4, 8], 4),  # a call takes a second
        (lambda n: 1 / 2 + n / 1024, 32, [1], 1),  # the next might take longer than a second
        (lambda n: 1 / 4 + n / 1024, 32, [1, 2, 4, 8, 16, 32], 32),
    ],
)  # fmt: skip
def test_batches_double_until_it_does_not_pay(monkeypatch, seconds, largest, batches, best):
    model = Slow(monkeypatch, seconds)
    rows = costs.speed(model, torch.zeros(1, 2), torch.zeros(1, 3, 4), largest_batch=largest, repeats=3)
    assert [row["batch"] for row in rows if row["precision"] == "FP32"] == batches
    assert [row["batch"] for row in rows if row["precision"] == "bf16"] == sorted({1, best})
    assert [row["precision"] for row in rows] == sorted(row["precision"] for row in rows), "FP32 first"
    for row in rows:
        assert row["seconds"] == seconds(row["batch"]) * (0.5 if row["precision"] == "bf16" else 1)
        assert row["repeats"] == 3 and row["peak_mb"] == 0
    assert {half for batch, half in model.calls if batch == best} == {False, True}


def test_speed_of_a_network():
    rows = costs.speed(nn.Linear(1000, 250), torch.zeros(1, 1000), largest_batch=2, repeats=3)
    assert [(row["precision"], row["batch"]) for row in rows][:3] == [("FP32", 1), ("FP32", 2), ("bf16", 1)]
    assert all(0 < row["fastest"] <= row["seconds"] <= row["slowest"] for row in rows)
    assert all(row["peak_mb"] >= 1 for row in rows) and len({row["device"] for row in rows}) == 1


# --- memory ---------------------------------------------------------------------------------------------------------

MILLION = torch.zeros(1000, 250)  # 1,000,000 bytes


class Allocates(nn.Module):
    """Holds what it is told to; ``steps(x)`` runs in the call."""

    def __init__(self, steps, parameters=0, buffers=0, dtype=torch.float32):
        super().__init__()
        self.steps = steps
        self.weight = nn.Parameter(torch.zeros(parameters, dtype=dtype))
        self.register_buffer("state", torch.zeros(buffers))

    def forward(self, x):
        return self.steps(x)


def held_together(x):
    one, two = x + 1, x + 2
    return one, two, torch.cat([one, two])


def held_in_turn(x):
    for _ in range(4):
        x = x + 1  # the new one is there before the old one goes; the first old one is the caller's
    return x


def held_for_a_while(x):
    torch.cat([x] * 5).sum()  # 5 MB and a number, gone at once
    return x + 1


@pytest.mark.parametrize(
    ("model", "megabytes"),
    [
        (Allocates(lambda x: x), 0.0),
        (Allocates(lambda x: x + 1), 1.0),
        (Allocates(held_together), 4.0),
        (Allocates(held_in_turn), 2.0),
        (Allocates(held_for_a_while), 5.0),
        (Allocates(lambda x: x.add_(1)), 0.0),
        (Allocates(lambda x: x + 1, parameters=500_000), 3.0),
        (Allocates(lambda x: x + 1, buffers=250_000), 2.0),
        (Allocates(lambda x: x + 1, parameters=500_000, dtype=torch.float64), 5.0),
    ],
)
def test_peak_memory_on_a_cpu_is_exact(model, megabytes):
    assert costs.peak_memory(model, MILLION.clone()) == megabytes
    assert costs.peak_memory(model, MILLION.clone()) == megabytes, "and the same again"


def test_peak_memory_of_layers():
    """No graph is kept, which would hold every one of these: each activation goes when the next one is there."""
    model = nn.Sequential(nn.Linear(250, 250), *[nn.Sigmoid() for _ in range(6)])
    weights = 4 * (250 * 250 + 250) / 1e6
    assert costs.peak_memory(model, MILLION) == pytest.approx(weights + 2, abs=0.051)
