"""Accumulating the vectors of a batch of clips: the reader's kernel on a CPU, torch on the CPU, torch on a GPU.

    python benchmarks/accumulate.py OUT

Random grids of 340x256 at 16-pixel cells, as a loader ships them: int16, as long as CoViAR's GOP. Every way must give
the same integers before anything is timed, on many more shapes than are timed (sizes that no cell fits, cells of 4, 8
and 16 pixels, both rounding modes, own scales by clip). The GPU's time is given with and without the way to the device:
int16 grids go there, or finished 8-bit fields, which is what a loader without this function would send. The ways take
turns, round after round, in one process; a ratio is taken within a round, and the median over the rounds is reported
with the smallest and the largest. ``OUT`` gets ``accumulate.csv`` and ``accumulate.md``.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from clock import timed
from machine import machine
from torch import Tensor

from moclip.inputs.accumulate import accumulate, by_kernel, by_torch

SIZE, CELL, STEPS, SCALE = (256, 340), 16, 11, 2
WARM_UP = 2
PEER = "kernel, one CPU thread"


def random_grids(rng: np.random.Generator, clips: int, steps: int, size: tuple[int, int], cell: int) -> Tensor:
    """int16 (clips, steps, gh, gw, 2): mostly small vectors, some that leave the image."""
    shape = clips, steps, math.ceil(size[0] / cell), math.ceil(size[1] / cell), 2
    small, wide = rng.integers(-16, 17, shape), rng.integers(-1000, 1001, shape)
    return torch.from_numpy(np.where(rng.random(shape) < 0.9, small, wide).astype(np.int16))


def check(rounds: int, devices: list[torch.device]) -> int:
    """Number of sums compared; every way gives the kernel's."""
    rng, compared = np.random.default_rng(0), 0
    for _ in range(rounds):
        size = int(rng.integers(1, 300)), int(rng.integers(1, 300))
        cell = int(rng.choice([4, 8, 16]))
        grids = random_grids(rng, int(rng.integers(1, 5)), int(rng.integers(0, 13)), size, cell)
        scales = torch.from_numpy(rng.choice([1, 2, 4], len(grids)))
        wanted = by_kernel(grids, cell, *size, scales)
        for device in devices:
            found = by_torch(grids.to(device), cell, *size, scales.to(device)).cpu()
            if not torch.equal(found, wanted):
                raise SystemExit(f"{device}: other sums at {size}, cells of {cell}")
            compared += wanted.numel()
    return compared


def ways(grids: Tensor, device: torch.device) -> dict[str, Callable[[], object]]:
    """What is timed of one batch, by name; the peer first."""
    scales = torch.full((len(grids),), SCALE)
    found: dict[str, Callable[[], object]] = {
        PEER: lambda: accumulate(grids, CELL, *SIZE, scales),
        "torch, CPU": lambda: by_torch(grids, CELL, *SIZE, scales),
    }
    if device.type == "cuda":
        there, units = grids.to(device), scales.to(device)
        fields = torch.zeros(len(grids), *SIZE, 2, dtype=torch.uint8)
        found |= {
            "torch, GPU, grids there": lambda: accumulate(there, CELL, *SIZE, units),
            "torch, GPU, grids sent": lambda: accumulate(grids.to(device), CELL, *SIZE, units),
            "nothing but sending 8-bit fields": lambda: fields.to(device),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for accumulate.csv and accumulate.md")
    parser.add_argument("--rounds", type=int, default=9, help="rounds, after two to warm up (default: 9)")
    parser.add_argument("--checks", type=int, default=200, help="random batches to compare (default: 200)")
    parser.add_argument("--batches", default="1,16,128", help="fields in a batch (default: 1,16,128)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compared = check(arguments.checks, sorted({torch.device("cpu"), device}, key=str))
    rng, rows = np.random.default_rng(1), []
    for count in map(int, arguments.batches.split(",")):
        contenders = ways(random_grids(rng, count, STEPS, SIZE, CELL), device)
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(WARM_UP + arguments.rounds):
            for name, call in contenders.items():
                seconds[name].append(timed(call, device))
        peer = np.array(seconds[PEER][WARM_UP:])
        for name, found in seconds.items():
            taken = np.array(found[WARM_UP:])
            ratios = peer / taken
            rows.append(
                {
                    "fields": count,
                    "way": name,
                    "us a field": 1e6 * float(np.median(taken)) / count,
                    "faster than the kernel by": f"{np.median(ratios):.2f} ({ratios.min():.2f} - {ratios.max():.2f})",
                }
            )
    table = pd.DataFrame(rows)
    names = [torch.cuda.get_device_name()] if device.type == "cuda" else []
    head = f"{STEPS} steps on {SIZE[1]}x{SIZE[0]}, cells of {CELL}; {arguments.rounds} rounds. " + (
        f"{arguments.checks} random batches, {compared / 1e6:.1f} million sums: all ways alike."
    )
    shown = table.to_markdown(index=False, floatfmt=".3g")
    text = "\n\n".join(["# Accumulation of a batch", machine("torch", "numpy"), *names, head, shown]) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "accumulate.csv", index=False, float_format="%.5g")
    (arguments.out / "accumulate.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
