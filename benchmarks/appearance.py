"""Image towers: images a second, multiply-adds and parameters; and what it takes to get from a file to its feature.

    python benchmarks/appearance.py OUT

Weights are random but for the offline encoder's: the towers are counted and timed here, nothing is recognised. They
take turns, round after round, in one process: FP32 and bfloat16 (autocast) under torch, FP32 under ONNX Runtime where
the extra `export` is installed, all with the same number of threads; on a GPU (``--device cuda``) torch alone, and FP32
means FP32 (no TF32). A ratio is taken within a round, to CLIP ViT-B/32
under torch in FP32 at the same batch; the median over the rounds is reported with the smallest and the largest.

Extraction is `appearance_features` with an empty cache, on real clips (``MOCLIP_UCF101_ROOT``) or
generated ones. Beside it stands what a loader does that decodes a whole video to RGB and then picks its middle frame.
``OUT`` gets ``appearance.csv``, ``extraction.csv`` and ``appearance.md``.
"""

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import open_clip
import pandas as pd
import torch
from clock import timed
from machine import machine
from torch import Tensor, nn

from moclip.config.sections import Encoder as Section
from moclip.datasets import load_dataset
from moclip.datasets.base import Clip
from moclip.datasets.moving_photos import Design
from moclip.encoders import load_encoder
from moclip.encoders.clip import untrained_image_tower
from moclip.engine import features
from moclip.engine import profiling as costs
from moclip.io.progress import track
from moclip.video import probe, read_frames

PEER = ("CLIP ViT-B/32", "torch FP32")
OPEN_CLIP = ("MobileCLIP-S1", "ViT-B-16-SigLIP")


# --- towers ---------------------------------------------------------------------------------------------------------


def towers(device: torch.device) -> dict[str, tuple[nn.Module, Tensor]]:
    """Image tower and one image of its size, by name; the peer first."""
    found: dict[str, tuple[nn.Module, Tensor]] = {PEER[0]: (untrained_image_tower(), torch.zeros(1, 3, 224, 224))}
    offline, _ = load_encoder("offline")
    found["offline: EfficientNet-Lite0"] = offline.image_tower, torch.zeros(1, 3, 224, 224)
    for name in OPEN_CLIP:
        visual = open_clip.create_model(name).visual.eval().requires_grad_(False)
        side = visual.image_size
        height, width = side if isinstance(side, tuple) else (side, side)
        found[f"open_clip: {name}"] = visual, torch.zeros(1, 3, height, width)
    return {name: (tower.to(device), image.to(device)) for name, (tower, image) in found.items()}


def onnx_session(tower: nn.Module, image: Tensor, folder: Path) -> Callable[[Tensor], object] | None:
    """The tower under ONNX Runtime; None on a GPU, without the extra, or where the export fails (which is said)."""
    if image.device.type != "cpu":
        return None
    try:
        import onnxruntime
    except ImportError:
        return None
    path = folder / "tower.onnx"
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused attention has no ONNX operator
    try:
        axes = {"images": {0: "batch"}}
        torch.onnx.export(tower, (image,), path, input_names=["images"], dynamic_axes=axes, dynamo=False)
    except Exception as error:  # an operator that the exporter does not know; the others go on
        print(f"no ONNX: {type(error).__name__}: {str(error)[:200]}")
        return None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = torch.randn(2, *image.shape[1:])
    with torch.inference_mode():
        worst = np.abs(session.run(None, {"images": images.numpy()})[0] - tower(images).numpy()).max()
    if worst > 1e-3:
        raise SystemExit(f"ONNX Runtime computes something else: {worst:.3g} apart")
    return lambda images: session.run(None, {"images": images.numpy()})


def under_bf16(tower: nn.Module) -> Callable[[Tensor], object]:
    def call(images: Tensor) -> object:
        with torch.autocast(images.device.type, torch.bfloat16):
            return tower(images)

    return call


@torch.inference_mode()
def speeds(batches: list[int], rounds: int, device: torch.device) -> pd.DataFrame:
    """A row a tower, way of computing and batch."""
    calls: dict[tuple[str, str], tuple[Callable[[Tensor], object], Tensor]] = {}
    facts = {}
    for name, (tower, image) in towers(device).items():
        counted = costs.count(tower, image)
        facts[name] = {"parameters (M)": counted["params"] / 1e6, "GMACs": counted["macs_per_view"] / 1e9}
        calls[name, "torch FP32"] = tower, image
        calls[name, "torch bf16"] = under_bf16(tower), image
        with tempfile.TemporaryDirectory() as folder:
            if session := onnx_session(tower, image, Path(folder)):
                calls[name, "ONNX Runtime FP32"] = session, image
    rows = []
    for batch in batches:
        taken: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
        for turn in track(range(rounds + 1), f"batch {batch}"):
            keys = list(calls)
            for key in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
                call, image = calls[key]
                images = image.repeat(batch, 1, 1, 1)
                timed(lambda: None, device)  # the images are there
                taken[key].append(timed(functools.partial(call, images), device))
        peer = np.array(taken[PEER][1:])  # the first round warms up
        for (name, way), seconds in taken.items():
            values = {"images a second": batch / np.array(seconds[1:]), "ratio": peer / np.array(seconds[1:])}
            rows.append({"tower": name, **facts[name], "computed by": way, "batch": batch} | spread(values))
    return pd.DataFrame(rows)


# --- from file to feature -------------------------------------------------------------------------------------------


def clips(folder: Path, per_class: int) -> tuple[str, list[Clip]]:
    """Real clips as they come, or generated ones."""
    if root := os.environ.get("MOCLIP_UCF101_ROOT"):
        places = sorted(path for path in Path(root).rglob("*") if path.is_dir())
        paths = [path for place in places for path in sorted(place.glob("*.avi"))[:per_class]]
        return "real", [Clip(path, 0, "any", path.stem, path.stem) for path in paths]
    design = Design("mixed", train_groups=1, test_groups=1, clips_per_group=1)
    made = load_dataset("moving_photos", design=design, root=folder)
    return "generated", made.clips


def every_frame(path: Path, which: str, seed: int = 0) -> np.ndarray:
    """What `moclip.engine.features.seen_frames` gives for ``middle``, from a video decoded and converted whole."""
    count = probe(path).frames
    return read_frames(path, range(count))[[count // 2]]


def extraction(per_class: int, rounds: int, device: torch.device) -> pd.DataFrame:
    """A row a way: clips a second, and how much faster `appearance_features` is."""
    encoder, _ = load_encoder("offline")
    encoder.to(device)
    section = Section(name="offline", frame="middle", batch_size=32)
    readers = {"only the frame wanted": features.seen_frames, "every frame": every_frame}
    taken: dict[tuple[str, str], list[float]] = {(w, p): [] for w in readers for p in ("reading", "file to feature")}
    with tempfile.TemporaryDirectory() as folder:
        kind, members = clips(Path(folder) / "photos", per_class)
        results = {}
        for turn in track(range(rounds + 1), "extraction"):
            for way, read in list(readers.items())[:: 1 if turn % 2 else -1]:
                start = time.perf_counter()
                for clip in members:
                    read(clip.path, "middle")
                taken[way, "reading"].append(time.perf_counter() - start)
                home = mock.patch.dict(os.environ, MOCLIP_HOME=f"{folder}/{way}-{turn}")
                path = Path(folder) / f"{way}-{turn}.safetensors"
                with home, mock.patch.object(features, "seen_frames", read):
                    start = time.perf_counter()
                    results[way] = features.appearance_features(encoder, members, section, path)
                    taken[way, "file to feature"].append(time.perf_counter() - start)
        one, other = results.values()
        if not np.array_equal(one, other):
            raise SystemExit("the two ways give other features")
    rows = []
    for (way, part), seconds in taken.items():
        own, whole = np.array(seconds[1:]), np.array(taken["every frame", part][1:])
        values = {"clips a second": len(members) / own, "faster than every frame by": whole / own}
        rows.append({"clips": kind, "n": len(members), "part": part, "way": way} | spread(values))
    return pd.DataFrame(rows)


# --- report ---------------------------------------------------------------------------------------------------------


def spread(values: dict[str, np.ndarray]) -> dict[str, str]:
    return {what: f"{np.median(v):.3g} ({v.min():.3g} - {v.max():.3g})" for what, v in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for appearance.csv, extraction.csv and appearance.md")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up (default: 5)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="images a batch (default: 1 16)")
    parser.add_argument("--clips", type=int, default=4, help="real clips a class (default: 4)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    about = machine("torch", "open_clip_torch", "av") + f", {torch.get_num_threads()} thread(s)"
    about += f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    tables = {"extraction": extraction(arguments.clips, arguments.rounds, device)}
    tables["appearance"] = speeds(arguments.batches, arguments.rounds, device)
    for name, table in tables.items():
        table.to_csv(arguments.out / f"{name}.csv", index=False, float_format="%.5g")
    head = f"{arguments.rounds} rounds: median (smallest - largest). `ratio`: to {PEER[0]}, {PEER[1]}, same batch."
    notes = "Weights are random but for the offline encoder's: speed and size only."
    parts = ["# Image towers", about, head, notes, tables["appearance"].to_markdown(index=False, floatfmt=".4g")]
    parts += ["## File to feature (offline encoder)", tables["extraction"].to_markdown(index=False)]
    text = "\n\n".join(parts) + "\n"
    (arguments.out / "appearance.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
