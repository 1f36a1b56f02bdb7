"""Checkpoints: trained weights together with what is needed to use them correctly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData
from torch import nn

from moclip import __version__
from moclip.config.sections import Config, Motion
from moclip.datasets.base import VideoDataset
from moclip.errors import MoclipError
from moclip.io import keys
from moclip.io.artefacts import load_tensors, read_predictions, save_json, save_tensors
from moclip.models import create_model
from moclip.models.backbones import state_hash

SYSTEMS = {"mv_tsn": "mv_only", "fusion": "fusion"}  # model -> name of its predictions
CARD = Path(__file__).with_name("model_card.md")


class CheckpointError(MoclipError):
    """A checkpoint that does not belong to the data, the settings or the other checkpoint at hand."""


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
    """Write the weights (safetensors) with a header that says how to use them; a JSON copy beside it is for people.

    Parameters
    ----------
    name, arguments : as `moclip.create_model` takes them.
    **facts : more for the header. A head names the motion network whose features it was trained on: ``network``, the
        name of its checkpoint file in the same folder, and ``network_weights``, the `state_hash` of its weights.
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
        **config.model_dump(include={"motion", "encoder", "mv", "fusion", "training"}),
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
    fold : official split that the caller tests on; test clips of another fold may have been training clips.
    channels : channels of the caller's images or fields.

    Raises
    ------
    FileNotFoundError
        The message says what makes the file.
    CheckpointError
        The checkpoint was trained for other classes, another field, other units, another fold or other input, or its
        tensors do not fit its model.
    """
    tensors, header = load_tensors(path)
    if classes is not None and list(classes) != header["classes"]:
        raise CheckpointError(
            f"{path}: trained for {len(header['classes'])} classes ({', '.join(header['classes'][:3])} ...), "
            f"asked for {len(classes)} ({', '.join(classes[:3])} ...); train again or choose the data set it belongs to"
        )
    expected = {"motion": motion.model_dump() if motion else None, "fold": fold, "channels": channels}
    for name, value in expected.items():
        if value is not None and value != header.get(name):
            raise CheckpointError(
                f"{path}: trained with {name}={header.get(name)}, asked for {value}; use the checkpoint's settings or "
                "train again"
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
    """Input channels of the first convolution; None for a model without one."""
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), None)


def save_pretrained(run: Path, name: str, folder: Path) -> None:
    """Write a run's checkpoint as a folder for `from_pretrained`, here or on the Hugging Face hub.

    The folder holds ``model.safetensors``, ``config.json``, ``moclip.json`` (the checkpoint's header) and a model card,
    which has an accuracy only if the run's predictions were made with these weights.

    Parameters
    ----------
    run : ``runs/<run>``.
    name : ``mv_tsn-<data set>`` or ``fusion-<data set>-seed<k>``, as under ``checkpoints/``.
    folder : where to write; an older card there is replaced.
    """
    path = run / "checkpoints" / f"{name}.safetensors"
    model: Any = load_checkpoint(path)
    header = load_tensors(path)[1]
    save_json(folder / "moclip.json", header)
    data = ModelCardData(library_name="moclip", license="mit", tags=["video-classification", "motion-vectors"])
    facts: dict[str, Any] = {"model": type(model), "header": header, "accuracy": accuracy_on_test(run, header)}
    ModelCard.from_template(data, template_path=str(CARD), **facts).save(folder / "README.md")
    model.save_pretrained(folder)


def accuracy_on_test(run: Path, header: dict[str, Any]) -> tuple[float, int] | None:
    """Accuracy of a checkpoint and the number of test clips; None if the run has no predictions of these weights."""
    path = run / "predictions" / header["dataset"] / f"{SYSTEMS[header['model']]}-seed{header['seed']}.safetensors"
    if not path.is_file() or load_tensors(path)[1].get("weights") != header["weights"]:
        return None
    rows = read_predictions(path.with_suffix(".csv"))
    return float(rows["correct"].mean()), len(rows)
