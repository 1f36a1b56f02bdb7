"""Training and testing every variant of the protocol study."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from moclip.config.sections import Config
from moclip.datasets.base import VideoDataset
from moclip.engine.features import motion_store
from moclip.engine.predictions import write_predictions
from moclip.inputs.clips import LoadedClips
from moclip.inputs.views import EvalViews, TrainViews
from moclip.io.artefacts import forget_predictions, load_tensors
from moclip.models.mv_tsn import average_views
from moclip.studies.protocols.effects import system_name
from moclip.training.heads import FusionData, epoch_features, fit_heads
from moclip.training.motion import motion_features, train_motion_network


def few_clips(dataset: VideoDataset, count: int | None) -> VideoDataset:
    """The data set with at most ``count`` clips of each class in each split, from as many groups as possible."""
    if count is None:
        return dataset
    table = pd.concat([pd.DataFrame(members).assign(split=split) for split, members in dataset.splits.items()])
    table["turn"] = table.groupby(["split", "class_name", "group"]).cumcount()  # clips of its group before it
    chosen = set(table.sort_values("turn", kind="stable").groupby(["split", "class_name"]).head(count)["name"])
    description = f"{dataset.description}, at most {count} clips per class and split"
    return dataset.with_clips(lambda clip: clip if clip.name in chosen else None, description=description)


def run_study(variants: Mapping[str, Config], dataset: VideoDataset, run: Path) -> list[str]:
    """Train and test every variant with every seed of ``study.seeds``, and write predictions to ``run/study``.

    Variants whose motion networks are trained alike share one. ``run/training/study-*`` keeps every training, so an
    interrupted study resumes. Appearance features are those of notebook 01, the same for all variants.

    Returns
    -------
    list of str
        The variants that have a motion network of their own; the others use the network of an earlier one.
    """
    train, test = (LoadedClips(split, motion_store()) for split in (dataset.train, dataset.test))
    kept, header = load_tensors(run / "features" / f"appearance-{dataset.name}.safetensors")
    rows = dict(zip(header["names"], torch.from_numpy(kept["features"]), strict=True))
    appearance, unseen = (torch.stack([rows[clip.name] for clip in part.clips]) for part in (train, test))
    alike: dict[str, dict[str, Config]] = {}  # what a motion network depends on -> its variants
    for name, variant in variants.items():
        for seed in variant.study.seeds:
            config = variant.model_copy(update={"mv": variant.mv.model_copy(update={"seed": seed})})
            key = json.dumps([config.motion.model_dump(), config.mv.training_fields()])
            alike.setdefault(key, {})[name] = config
    forget_predictions(run / "study", "*")
    for members in alike.values():
        name, config = next(iter(members.items()))
        folder = run / "training" / f"study-{name}-seed{config.mv.seed}"
        network, _ = train_motion_network(config, dataset, {"train": train, "test": test}, folder / "network")
        device = next(network.requires_grad_(False).parameters()).device
        tested: dict[EvalViews, Tensor] = {}
        for name, config in members.items():
            sections = config.mv, config.motion, dataset.horizontal_flip
            views, protocol = TrainViews.from_sections(*sections), EvalViews.from_sections(*sections)
            if protocol not in tested:
                tested[protocol] = motion_features(network, test, protocol, device)  # (K, V, M)
            data = FusionData(train, test, views, protocol, appearance, unseen, tested[protocol].mean(dim=1))
            source = epoch_features(config.fusion, network, data, config.mv.seed, device)
            head = fit_heads(source, {"fusion": folder / f"head-{name}"})["fusion"]
            logits = network.cpu().classifier(tested[protocol])  # (K, V, C)
            for stream, scores in (("mv_only", average_views(logits, config.mv.average)), ("fusion", head.scores)):
                system, count = system_name(stream, name), logits.shape[1]
                write_predictions(run / "study", system, config.mv.seed, config, dataset, scores, views=count)
    return list(dict.fromkeys(next(iter(members)) for members in alike.values()))
