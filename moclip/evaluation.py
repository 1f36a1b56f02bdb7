"""Checkpoints and predictions: what a trained system says about the test clips, written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moclip.artefacts import load_tensors, save_predictions, save_tensors
from moclip.config import Config, Motion
from moclip.datasets.base import VideoDataset
from moclip.errors import MoclipError
from moclip.models import create_model
from moclip.models.fusion import FusionHead


class CheckpointError(MoclipError):
    """A checkpoint that does not belong to the data or settings at hand."""


def write_predictions(
    folder: Path, system: str, seed: int, config: Config, dataset: VideoDataset, scores: Tensor, **facts: Any
) -> None:
    """Write what a system says about ``dataset.test`` under ``folder/<dataset>/``.

    Parameters
    ----------
    scores : (N, C) for the test clips in their order; their softmax are probabilities.
    **facts : into the header: ``views`` always; encoder and so on; ``n_train=0`` where nothing was trained.
    """
    clips = dataset.test
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
        names=[clip.name for clip in clips],
        groups=[clip.group for clip in clips],
        targets=[clip.class_name for clip in clips],
        classes=list(dataset.classes),
        scores=scores.numpy(),
        header=header,
    )


@torch.no_grad()
def head_scores(head: FusionHead, appearance: Tensor, motion: Tensor) -> Tensor:
    """Logits of a trained head: (N, A), (N, M) -> (N, C), on the CPU."""
    device = next(head.parameters()).device
    return head.eval()(appearance.to(device), motion.to(device)).float().cpu()


def save_checkpoint(
    path: Path, model: nn.Module, name: str, arguments: dict[str, Any], config: Config, dataset: VideoDataset, seed: int
) -> None:
    """Write weights (safetensors) and what is needed to use them rightly (header, and JSON beside it).

    Parameters
    ----------
    name, arguments : as `moclip.create_model` takes them.
    """
    header = {
        "model": name,
        "arguments": arguments,
        "dataset": dataset.name,
        "classes": list(dataset.classes),
        "fingerprint": dataset.fingerprint,
        "motion": config.motion.model_dump(),
        "encoder": config.encoder.model_dump(),
        "mv": config.mv.model_dump(),
        "fusion": config.fusion.model_dump(),
        "protocol": config.protocol,
        "seed": seed,
    }
    state = {key: value.detach().cpu().numpy() for key, value in model.state_dict().items()}
    save_tensors(path, state, header)


def load_checkpoint(path: Path, classes: Sequence[str] | None = None, motion: Motion | None = None) -> nn.Module:
    """Build the model that `save_checkpoint` wrote, frozen: in evaluation mode, without gradients.

    Parameters
    ----------
    classes : class names that the caller expects, in order.
    motion : which field the caller will show it, and in which units.

    Raises
    ------
    CheckpointError
        The checkpoint was trained for other classes, another field or other units.
    """
    tensors, header = load_tensors(path)
    if classes is not None and list(classes) != header["classes"]:
        raise CheckpointError(
            f"{path}: trained for {len(header['classes'])} classes ({', '.join(header['classes'][:3])} ...), "
            f"asked for {len(classes)} ({', '.join(classes[:3])} ...); train again or choose the data set it belongs to"
        )
    if motion is not None and motion.model_dump() != header["motion"]:
        raise CheckpointError(
            f"{path}: trained with motion={header['motion']}, asked for {motion.model_dump()}; "
            "use the checkpoint's settings or train again"
        )
    arguments = header["arguments"]
    if header["model"] == "mv_tsn":
        arguments["pretrained"] = False  # the weights come from this file
    model = create_model(header["model"], **arguments)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    return model.eval().requires_grad_(False)
