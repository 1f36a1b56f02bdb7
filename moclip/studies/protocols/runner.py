"""Training and testing every variant of the protocol study."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

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
from moclip.training.epoch_features import MotionData, epoch_features
from moclip.training.heads import HeadData, fit_heads
from moclip.training.motion import motion_features, train_motion_network


def run_study(variants: Mapping[str, Config], dataset: VideoDataset, run: Path) -> list[str]:
    """Train and test every variant with every seed of ``study.seeds``, and write predictions to ``run/study``.

    Variants whose motion networks are trained alike share one. ``run/training/study-*`` keeps every training, so an
    interrupted study resumes. Appearance features are those of notebook 01, the same for all variants.

    Returns
    -------
    list of str
        The variants that have a motion network of their own; the others use the network of an earlier one.
    """
    clips = {split: LoadedClips(getattr(dataset, split), motion_store()) for split in ("train", "test")}
    kept, header = load_tensors(run / "features" / f"appearance-{dataset.name}.safetensors")
    rows = dict(zip(header["names"], torch.from_numpy(kept["features"]), strict=True))
    train, test = (torch.stack([rows[clip.name] for clip in clips[split].clips]) for split in clips)
    data = HeadData(len(dataset.classes), train, clips["train"].labels, test, clips["test"].labels)
    alike: dict[str, dict[str, Config]] = {}  # what a motion network depends on -> its variants
    for name, seed in itertools.product(variants, next(iter(variants.values())).study.seeds):
        config = variants[name]
        config = config.model_copy(update={"mv": config.mv.model_copy(update={"seed": seed})})
        key = json.dumps([config.motion.model_dump(), config.mv.training_fields()])
        alike.setdefault(key, {})[name] = config
    forget_predictions(run / "study", "*")
    for members in alike.values():
        name, config = next(iter(members.items()))
        folder = run / "training" / f"study-{name}-seed{config.mv.seed}"
        network, _ = train_motion_network(config, dataset, clips, folder / "network")
        device = next(network.requires_grad_(False).parameters()).device
        tested: dict[EvalViews, Tensor] = {}
        for name, config in members.items():
            protocol = EvalViews.from_sections(config.mv, config.motion, dataset.horizontal_flip)
            if protocol not in tested:
                tested[protocol] = motion_features(network, clips["test"], protocol, device)  # (K, V, M)
            views = TrainViews.from_sections(config.mv, config.motion, dataset.horizontal_flip)
            motion = MotionData(clips["train"], clips["test"], views, protocol, tested[protocol].mean(dim=1))
            source = epoch_features(config.fusion, network, motion, config.mv.seed, device)
            heads = {"fusion": folder / f"head-{name}"}
            head = fit_heads(heads, source, data, config.fusion, config.mv.seed, config.device)["fusion"]
            logits = network.cpu().classifier(tested[protocol])  # (K, V, C)
            for stream, scores in (("mv_only", average_views(logits, config.mv.average)), ("fusion", head.scores)):
                system, count = system_name(stream, name), logits.shape[1]
                write_predictions(run / "study", system, config.mv.seed, config, dataset, scores, views=count)
    return list(dict.fromkeys(next(iter(members)) for members in alike.values()))
