"""A clock that waits for the GPU. Apart from `machine`, so that benchmarks of reading load no torch."""

import time
from collections.abc import Callable

import torch


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, with all that it set going on the device."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
