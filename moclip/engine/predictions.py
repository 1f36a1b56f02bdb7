"""What a trained system says about the test clips, written down."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moclip.config.sections import Config
from moclip.datasets.base import VideoDataset
from moclip.io.artefacts import save_predictions
from moclip.models.fusion import FusionHead

COLUMNS = {"video": "name", "group": "group", "class_name": "class_name"}  # of predictions -> fields of a clip


def write_predictions(
    folder: Path, system: str, seed: int, config: Config, dataset: VideoDataset, scores: Tensor, **facts: Any
) -> None:
    """Write what a system says about ``dataset.test`` under ``folder/<dataset>/``.

    Parameters
    ----------
    scores : (N, C) for the test clips in their order; their softmax are probabilities.
    **facts : into the header: ``views`` always; encoder and so on; ``n_train=0`` where nothing was trained.
    """
    header = {
        "dataset": dataset.name,
        "data": dataset.description,
        "fingerprint": dataset.fingerprint,
        "protocol": config.protocol,
        "profile": config.profile,
        "n_train": len(dataset.train),
        **facts,
    }
    save_predictions(
        folder / dataset.name,
        system,
        seed,
        clips={column: [getattr(clip, field) for clip in dataset.test] for column, field in COLUMNS.items()},
        classes=list(dataset.classes),
        scores=scores.numpy(),
        header=header,
    )


@torch.no_grad()
def head_scores(head: FusionHead, appearance: Tensor, motion: Tensor) -> Tensor:
    """Logits of a trained head: (N, A), (N, M) -> (N, C), on the CPU."""
    device = next(head.parameters()).device
    return head.eval()(appearance.to(device), motion.to(device)).float().cpu()
