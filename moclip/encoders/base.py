"""The base class of image-text encoders, and the embeddings of classes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from moclip.errors import MoclipError
from moclip.io import keys
from moclip.io.artefacts import load_tensors, save_tensors
from moclip.io.paths import cache_dir

Preprocess = Callable[[np.ndarray], Tensor]  # uint8 RGB (H, W, 3) -> float (3, S, S)

TEXTS_AT_ONCE = 256  # limits memory: 101 classes with 48 prompts are 4,848 texts


class EncoderError(MoclipError, ValueError):
    """An unknown encoder, or a text that is too long for one."""


class Encoder(nn.Module):
    """A frozen encoder of images and texts into one space.

    Attributes
    ----------
    name : as the user gave it; printed in every table.
    image_architecture, text_architecture : names of the towers' architectures.
    image_tower : images (B, 3, S, S) -> features (B, D). Recognition needs only this part once class embeddings exist.
    feature_dim : size D of the features.
    logit_scale, logit_bias : factor on cosine similarities and offset, as in the encoder's training.
    transform : the encoder's preprocessing, from a PIL image to (3, S, S).
    """

    name: str
    image_architecture: str
    text_architecture: str
    image_tower: nn.Module
    feature_dim: int
    logit_scale: float
    logit_bias: float = 0.0
    transform: Callable[[Image.Image], Tensor]

    def encode_image(self, images: Tensor) -> Tensor:
        """Preprocessed images (B, 3, S, S) -> (B, D), not normalised."""
        return self.image_tower(images)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """P texts -> (P, D), not normalised.

        Raises
        ------
        EncoderError
            A text is longer than the tower's context; no text is silently truncated.
        """
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([self._encode_texts(list(part)) for part in parts])

    def _encode_texts(self, texts: list[str]) -> Tensor:
        """At most `TEXTS_AT_ONCE` texts."""
        raise NotImplementedError

    def preprocess(self, frame: np.ndarray) -> Tensor:
        """Uint8 RGB (H, W, 3) -> (3, S, S)."""
        return self.transform(Image.fromarray(frame))

    def freeze(self) -> "Encoder":
        """Evaluation mode, no gradients."""
        return self.eval().requires_grad_(False)  # type: ignore[return-value]


@torch.no_grad()
def class_embeddings(encoder: Encoder, prompts: Sequence[Sequence[str]], normalise: bool = True) -> Tensor:
    """One embedding per class by prompt ensembling, as in CLIP.

    Each prompt's embedding is normalised, the mean over prompts is taken, and normalised again.

    Parameters
    ----------
    prompts : one or more for each of C classes, see `moclip.encoders.prompts.class_prompts`.
    normalise : False omits the first normalisation, as MoCLIP-Lite's published code does, so longer vectors weigh more.

    Returns
    -------
    Tensor
        (C, D), rows of length 1.
    """
    embeddings = encoder.encode_text([prompt for texts in prompts for prompt in texts])  # (P, D)
    if normalise:
        embeddings = F.normalize(embeddings, dim=-1)
    means = [part.mean(dim=0) for part in embeddings.split([len(texts) for texts in prompts])]
    return F.normalize(torch.stack(means), dim=-1)


def cached_embeddings(settings: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
    """Embeddings of texts, computed once for all runs: on the CPU. ``settings`` say what they depend on."""
    key = keys.key("texts", settings)
    path = cache_dir() / "texts" / f"{keys.digest(key)}.safetensors"
    if not path.is_file():
        save_tensors(path, {"embeddings": compute().cpu().numpy()}, key)
    return torch.from_numpy(load_tensors(path)[0]["embeddings"])


def zero_shot_logits(features: Tensor, classes: Tensor, logit_scale: float, logit_bias: float = 0.0) -> Tensor:
    """Scaled cosine similarity: features (N, D), class embeddings (C, D) -> (N, C)."""
    return logit_scale * F.normalize(features, dim=-1) @ F.normalize(classes, dim=-1).T + logit_bias
