"""Training throughput of the motion network and of fusion, from the motion store: FP32, mixed precision, compiled.

    python benchmarks/training.py OUT                                  # the quick profile's network and generated clips
    python benchmarks/training.py OUT --profile ucf101 -p data.root=... -p data.annotation_path=... --batches 1,80,512

One command, whatever the device. A ``step`` is forward, backward and optimizer on a batch that lies on the device, made
input already; ``with loading`` begins at the store, with ``--workers`` processes. A fusion step is the frozen motion
network on newly drawn segments, then a step of the head. FP32 means FP32 (no TF32). Calls are synchronised and warmed
up (compilation included); the median is reported with the fastest and the slowest. ``OUT/training.csv`` has a row each.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from clock import timed
from lightning.fabric import Fabric
from machine import processor
from torch import Tensor

from moclip.config.load import load_config, merge, parse_override
from moclip.config.sections import Config
from moclip.datasets.prepare import prepare
from moclip.engine.features import extract_motion, motion_store
from moclip.inputs.clips import EpochSampler, LoadedClips, TrainingSamples, training_loader
from moclip.inputs.views import TrainViews, Views, to_input
from moclip.models import create_model
from moclip.training.motion import parameter_groups

WARM_UP = 3
APPEARANCE = 512  # feature size of CLIP ViT-B/32


def repeated(step: Callable[[], object], repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of a call: median, fastest, slowest."""
    kept = [timed(step, device) for _ in range(WARM_UP + repeats)][WARM_UP:]
    return {"seconds": statistics.median(kept), "fastest": min(kept), "slowest": max(kept), "repeats": len(kept)}


def endless(samples: TrainingSamples, batch_size: int, fabric: Fabric, workers: int) -> Iterator[tuple[Views, Tensor]]:
    """Training batches on the device, epoch after epoch; of one clip, too, which a training never has."""
    sampler = EpochSampler(len(samples.clips), batch_size, samples.protocol.seed)
    loader = training_loader(samples, sampler, workers)
    for epoch in itertools.count():
        sampler.epoch = epoch
        for views, labels in loader:
            few = (tensor[:batch_size] for tensor in views.tensors())
            yield fabric.to_device((Views(views.shape, views.protocol, *few), labels[:batch_size]))


def measure(
    config: Config, samples: TrainingSamples, way: dict[str, Any], workers: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """Rows of one way to train (precision, channels_last, compiled) at ``mv.batch_size``."""
    torch._dynamo.reset()
    fabric = Fabric(accelerator=config.device, devices=1, precision=way["precision"])
    classes = int(max(samples.clips.labels)) + 1
    network = create_model("mv_tsn", num_classes=classes, backbone=config.mv.backbone, pretrained=False)
    head = create_model("fusion", num_classes=classes, appearance_dim=APPEARANCE, motion_dim=network.feature_dim)
    optimizer = torch.optim.Adam(parameter_groups(network, config.mv))  # type: ignore[arg-type]
    head_optimizer = torch.optim.AdamW(head.parameters(), lr=config.fusion.lr)
    if way["channels_last"]:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = torch.compile(network.features) if way["compiled"] else network.features
    network.to(fabric.device)
    wrapped, optimizer = fabric.setup(torch.compile(network) if way["compiled"] else network, optimizer)
    head, head_optimizer = fabric.setup(head, head_optimizer)
    batches = endless(samples, config.mv.batch_size, fabric, workers)
    views, labels = next(batches)
    inputs = to_input(views, fabric.device)

    def train(inputs: Tensor, labels: Tensor) -> None:
        loss = F.cross_entropy(wrapped(inputs).mean(dim=1), labels)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()

    def fuse(inputs: Tensor, labels: Tensor) -> None:
        with torch.no_grad(), fabric.autocast():
            motion = features(inputs).mean(dim=1).float()
        loss = F.cross_entropy(head(torch.zeros(len(labels), APPEARANCE, device=fabric.device), motion), labels)
        head_optimizer.zero_grad()
        fabric.backward(loss)
        head_optimizer.step()

    for part, step in (("motion network", train), ("fusion", fuse)):
        network.train(part == "motion network")

        def loaded(step: Callable[[Tensor, Tensor], None] = step) -> None:
            views, labels = next(batches)
            step(to_input(views, fabric.device), labels)

        ways = {"step": lambda step=step: step(inputs, labels), "with loading": loaded}
        for what, call in ways.items():
            row = {"part": part, "what": what, "batch": len(inputs), **way, **repeated(call, repeats, fabric.device)}
            yield {**row, "clips a second": len(inputs) / row["seconds"], "segments": inputs.shape[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for training.csv")
    parser.add_argument("--profile", default="quick", help="whose clips and network (default: quick)")
    parser.add_argument("-p", "--param", action="append", default=[], help="KEY=VALUE, as moclip takes it")
    parser.add_argument("--batches", default="1,32", help="batch sizes in clips (default: 1,32)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load (default: 0)")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile (a minute on a CPU)")
    arguments = parser.parse_args()
    overrides: dict[str, Any] = {}
    for text in arguments.param:
        overrides = merge(overrides, parse_override(text))
    config = load_config(arguments.profile, overrides)
    dataset = prepare(config.data, arguments.out / "data")[0]
    extract_motion(dataset.train, motion_store())
    rows = []
    precisions, compiled = ("32-true", "bf16-mixed"), (False,) if arguments.no_compile else (False, True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for size in map(int, arguments.batches.split(",")):
        own = config.model_copy(update={"mv": config.mv.model_copy(update={"batch_size": size})})
        protocol = TrainViews.from_sections(own.mv, own.motion, dataset.horizontal_flip)
        samples = TrainingSamples(LoadedClips(dataset.train, motion_store()), protocol)
        for precision, last, whole in itertools.product(precisions, (False, True), compiled):
            way = {"precision": precision, "channels_last": last, "compiled": whole}
            rows += measure(own, samples, way, arguments.workers, arguments.repeats)
            print(pd.DataFrame(rows[-4:]).to_string(index=False, float_format="%.4g"), flush=True)
    device = processor() if config.device == "cpu" or not torch.cuda.is_available() else torch.cuda.get_device_name()
    facts = {"network": config.mv.backbone, "pixels": config.mv.input_size, "clips": dataset.name, "device": device}
    facts |= {"threads": torch.get_num_threads(), "workers": arguments.workers, "torch": torch.__version__}
    arguments.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).assign(**facts).to_csv(arguments.out / "training.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
