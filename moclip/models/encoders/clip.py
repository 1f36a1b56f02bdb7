"""OpenAI's CLIP through the ``clip`` module."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from moclip.models.encoders.base import Encoder, Preprocess
from moclip.models.weights import WeightsError


class CLIPEncoder(Encoder):
    """CLIP's two towers in FP32. ``weights``: an official name (``ViT-B/32``) or a file in OpenAI's format."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.name = f"clip:{weights}"
        self.image_architecture = self.text_architecture = f"CLIP {Path(weights).stem if '.' in weights else weights}"
        self.model, self._transform = _load(weights)
        self.model.float()
        self.feature_dim = int(self.model.text_projection.shape[1])
        self.logit_scale = self.model.logit_scale.exp().item()
        self.image_tower = self.model.visual
        self.freeze()

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image(images)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        clip = import_clip()
        device = self.model.text_projection.device
        parts = [
            self.model.encode_text(clip.tokenize(list(texts[start : start + 256])).to(device))
            for start in range(0, len(texts), 256)  # bounds memory: 101 classes x 48 prompts are 4,848 texts
        ]
        return torch.cat(parts)

    def preprocess(self, frame: np.ndarray) -> Tensor:
        """CLIP's own: bicubic resize, centre crop, normalise. (H, W, 3) uint8 -> (3, S, S)."""
        return self._transform(Image.fromarray(frame))


def load(weights: str) -> tuple[CLIPEncoder, Preprocess]:
    """Encoder and its preprocessing; see `moclip.models.encoders.load_encoder`."""
    encoder = CLIPEncoder(weights)
    return encoder, encoder.preprocess


def untrained_image_tower(width: float = 1.0, size: int = 224) -> nn.Module:
    """The image tower of ViT-B/32 with random weights, 512-d output: to be counted and timed, never to recognise.

    ``width`` is a factor on its widths, that of the output included; ``size`` the side of its images in pixels.
    """
    vision_transformer = import_clip().model.VisionTransformer
    dim = round(768 * width)
    heads, output = max(1, dim // 64), round(512 * width)
    tower = vision_transformer(size, patch_size=32, width=dim, layers=12, heads=heads, output_dim=output)
    return tower.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _load(weights: str):  # type: ignore[no-untyped-def]
    clip = import_clip()
    path = Path(weights).expanduser()
    if weights not in clip.available_models() and not path.is_file():
        raise WeightsError(
            f"{weights!r} is neither a file nor one of CLIP's models: {', '.join(clip.available_models())}; "
            "name one of these or a file, or go without CLIP: encoder.name=offline"
        )
    try:
        return clip.load(str(path) if path.is_file() else weights, device="cpu", jit=False)
    except Exception as error:  # pickle, zip, a wrong state dict, the network: all kinds
        cache = Path("~/.cache/clip")
        raise WeightsError(
            f"CLIP's weights for {weights!r} could not be loaded ({type(error).__name__}: {error}). Three remedies: "
            f"connect to the network once; put the official file into {cache} (under its own name); "
            f"or name a local file: encoder.name=clip:/path/to/ViT-B-32.pt. Without CLIP: encoder.name=offline"
        ) from error


def import_clip() -> ModuleType:
    """The module ``clip``, without the warning that it gives on every import."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # clip-anytorch
            import clip
    except ImportError as error:
        raise WeightsError(f"`import clip` failed ({error}); run: pip install 'moclip-lite[clip]'") from error
    return clip  # type: ignore[no-any-return]
