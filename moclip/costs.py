"""What a system costs: parameters, multiply-adds, and time on this machine."""

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> dict[str, int]:
    """``total`` and ``trainable`` (from ``requires_grad``) parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"total": sum(size for size, _ in sizes), "trainable": sum(size for size, grad in sizes if grad)}


@torch.no_grad()
def macs(function: Callable[..., Any], *inputs: Tensor) -> int:
    """Multiply-adds of one call.

    torch's counter counts a multiply-add as 2 operations, hence the half. It does not see into fused attention, so
    attention is computed the plain way; transformer layers' inference shortcut is switched off for the same reason.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            function(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2


@torch.inference_mode()
def latency(function: Callable[..., Any], *inputs: Tensor, repeats: int = 15, warm_up: int = 3) -> dict[str, Any]:
    """Seconds of one call: median, minimum and maximum of ``repeats``, synchronised, after a warm-up."""
    device = inputs[0].device

    def once() -> float:
        start = time.perf_counter()
        function(*inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # FP32 means FP32
        for _ in range(warm_up):
            once()
        seconds = [once() for _ in range(repeats)]
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "repeats": repeats,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
