"""Checkpoints and predictions: what a trained system says about the test clips, written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from moclip import __version__
from moclip.config.sections import Config, Motion
from moclip.datasets.base import VideoDataset
from moclip.errors import MoclipError
from moclip.io import keys
from moclip.io.artefacts import load_tensors, save_tensors
from moclip.models import create_model
from moclip.models.backbones import state_hash


class CheckpointError(MoclipError):
    """A checkpoint that does not belong to the data or settings at hand."""


def save_checkpoint(
    path: Path,
    model: nn.Module,
    name: str,
    arguments: dict[str, Any],
    config: Config,
    dataset: VideoDataset,
    seed: int,
    **facts: Any,
) -> None:
    """Write weights (safetensors) and what is needed to use them rightly (header, and JSON beside it).

    Parameters
    ----------
    name, arguments : as `moclip.create_model` takes them.
    **facts : more for the header.
    """
    header = {
        "model": name,
        "arguments": arguments,
        "channels": input_channels(model),
        "dataset": dataset.name,
        "data": dataset.description,
        "classes": list(dataset.classes),
        "fold": config.data.fold,
        "fingerprint": dataset.fingerprint,
        "motion": config.motion.model_dump(),
        "encoder": config.encoder.model_dump(),
        "mv": config.mv.model_dump(),
        "fusion": config.fusion.model_dump(),
        "training": config.training.model_dump(),
        "shown": {"reencode": config.data.reencode, "horizontal_flip": dataset.horizontal_flip},
        "protocol": config.protocol,
        "seed": seed,
        "weights": state_hash(model),
        "versions": {"moclip": __version__, **keys.installed(("torch", "timm", "numpy"))},
        **facts,
    }
    state = {key: value.detach().cpu().numpy() for key, value in model.state_dict().items()}
    save_tensors(path, state, header)


def load_checkpoint(
    path: Path,
    classes: Sequence[str] | None = None,
    motion: Motion | None = None,
    fold: int | None = None,
    channels: int | None = None,
) -> nn.Module:
    """Build the model that `save_checkpoint` wrote, frozen: in evaluation mode, without gradients.

    Parameters
    ----------
    classes : class names that the caller expects, in order.
    motion : which field the caller will show it, and in which units.
    fold : official split that the caller tests on: clips of another fold's test list may have been trained on.
    channels : channels of the pictures or fields that the caller will show it.

    Raises
    ------
    CheckpointError
        The checkpoint was trained for other classes, another field, other units or another fold, takes other input, or
        its tensors are not those of its model.
    """
    tensors, header = load_tensors(path)
    if classes is not None and list(classes) != header["classes"]:
        raise CheckpointError(
            f"{path}: trained for {len(header['classes'])} classes ({', '.join(header['classes'][:3])} ...), "
            f"asked for {len(classes)} ({', '.join(classes[:3])} ...); train again or choose the data set it belongs to"
        )
    asked = {
        "motion": motion.model_dump() if motion else None,
        "fold": fold,
        "channels": channels,
    }
    for name, value in asked.items():
        if value is not None and value != (found := header.get(name)):
            raise CheckpointError(
                f"{path}: trained with {name}={found}, asked for {value}; use the checkpoint's settings or train again"
            )
    arguments = header["arguments"]
    if header["model"] == "mv_tsn":
        arguments["pretrained"] = False  # the weights come from this file
    model = create_model(header["model"], **arguments)
    try:
        model.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not the tensors of {header['model']} with {arguments}: {error}") from error
    return model.eval().requires_grad_(False)


def input_channels(model: nn.Module) -> int | None:
    """Channels that the first convolution takes; None for a model without one."""
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), None)
