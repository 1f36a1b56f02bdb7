"""The cost of a network: parameters, multiply-adds (MACs), and time and memory on this machine."""

import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

Row = dict[str, Any]
LONGEST_CALL = 1.0  # seconds: slower calls are repeated only three times, and no larger batch is tried


def parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters: ``params`` in all, and ``trainable`` (from ``requires_grad``)."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"params": sum(size for size, _ in sizes), "trainable": sum(size for size, grad in sizes if grad)}


def count(model: nn.Module, *view: Tensor) -> Row:
    """Size of a network: ``params``, ``trainable``, ``macs_per_view`` and ``input`` (the size of one view).

    Parameters
    ----------
    view : input of the network for one view of one video, batch size 1.
    """
    shapes = [" x ".join(str(side) for side in tensor.shape[-3:] if side > 1) for tensor in view]
    return {**parameters(model), "macs_per_view": macs(model, *view), "input": " + ".join(shapes)}


@torch.no_grad()
def macs(function: Callable[..., Any], *inputs: Tensor) -> int:
    """Multiply-adds of one call.

    torch's counter counts a multiply-add as 2 operations, so its total is halved. It cannot count fused kernels.
    Therefore attention runs without them, and the inference fast path of transformer layers is switched off.
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
def speed(model: nn.Module, *video: Tensor, largest_batch: int = 32, repeats: int = 15) -> list[Row]:
    """Time and memory of a network: FP32 at batch 1, 2, 4 ..., then bfloat16 at batch 1 and at the best batch size.

    The batch doubles until the time per video stops falling, a call takes more than `LONGEST_CALL` seconds, or
    ``largest_batch`` is reached.

    Parameters
    ----------
    video : input of the network for one video, batch size 1.

    Returns
    -------
    list of dict
        ``precision``, ``batch`` (videos), the columns of `latency`, and ``peak_mb`` (`peak_memory`).
    """
    rows = [_timed(model, video, 1, "FP32", repeats)]
    while 2 * rows[-1]["batch"] <= largest_batch and rows[-1]["seconds"] < LONGEST_CALL / 2:
        rows.append(_timed(model, video, 2 * rows[-1]["batch"], "FP32", repeats))
        if len(rows) > 2 and min(map(_seconds_per_video, rows[-2:])) > 0.97 * min(map(_seconds_per_video, rows[:-2])):
            break  # twice no gain of more than 3 %
    best = min(rows, key=_seconds_per_video)["batch"]
    return rows + [_timed(model, video, batch, "bf16", repeats) for batch in sorted({1, best})]


def _seconds_per_video(row: Row) -> float:
    return float(row["seconds"] / row["batch"])


def _timed(model: nn.Module, video: tuple[Tensor, ...], batch: int, precision: str, repeats: int) -> Row:
    inputs = [tensor.repeat(batch, *[1] * (tensor.dim() - 1)) for tensor in video]
    device = inputs[0].device.type
    with torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext():
        timing = latency(model, *inputs, repeats=repeats)
        return {"precision": precision, "batch": batch, **timing, "peak_mb": peak_memory(model, *inputs)}


@torch.inference_mode()
def latency(function: Callable[..., Any], *inputs: Tensor, repeats: int = 15, warm_up: int = 3) -> Row:
    """Seconds per call, synchronised, after a warm-up: ``seconds`` (median), ``fastest``, ``slowest``, ``repeats``.

    A slow call is repeated less often: for about `LONGEST_CALL` seconds in all, but at least three times.
    ``device`` and ``threads`` say what it ran on. `torch.utils.benchmark.Timer` was tried: it averages over blocks of
    calls and gives no extremes of single calls, and its import warns on machines with a CUDA compiler and no GPU.
    """
    device = inputs[0].device

    def once() -> float:
        start = time.perf_counter()
        function(*inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # FP32 means FP32
        before = once()
        for _ in range(warm_up - 1 if before < LONGEST_CALL / 10 else 1):
            before = once()
        seconds = [once() for _ in range(max(3, min(repeats, int(LONGEST_CALL / before))))]
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "repeats": len(seconds),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
    }


@torch.no_grad()
def peak_memory(model: nn.Module, *inputs: Tensor) -> float:
    """Megabytes (10^6 bytes) that a call needs: the weights, and the largest amount that torch allocates beside them.

    Memory that other libraries allocate is not counted.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])
    if inputs[0].device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(inputs[0].device)
        before = torch.cuda.memory_allocated(inputs[0].device)
        model(*inputs)
        held = torch.cuda.max_memory_allocated(inputs[0].device) - before
    else:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no log on stderr
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            model(*inputs)
        held = _most_held(profiler)
    return round((weights + held) / 1e6, 1)


def _most_held(profiler: profile) -> int:
    """Largest number of bytes allocated since the start, from the profiler's trace."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    return max(accumulate((change for _, change in sorted(changes, key=itemgetter(0))), initial=0))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.is_file() else []
    return names[0].strip() if names else platform.processor() or platform.machine()
