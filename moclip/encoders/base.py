"""What an image-text encoder is, and how class names become class embeddings."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from moclip.errors import MoclipError

Preprocess = Callable[[np.ndarray], Tensor]  # uint8 RGB (H, W, 3) -> float (3, S, S)

TEXTS_AT_ONCE = 256  # bounds memory: 101 classes x 48 prompts are 4,848 texts


class EncoderError(MoclipError, ValueError):
    """An encoder that does not exist, or a text that one cannot take."""


class Encoder(nn.Module):
    """A frozen encoder of images and texts into one space.

    Attributes
    ----------
    name : how the user asked for it; printed in every table.
    image_architecture, text_architecture : what the towers are.
    image_tower : the part that sees images; its parameters are what recognition costs once class embeddings are kept.
    feature_dim : size D of the features.
    logit_scale, logit_bias : factor on cosine similarities and what is added to them, as the encoder was trained.
    transform : its own preprocessing, from a PIL image to (3, S, S).
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
        """(B, 3, S, S) as the encoder's own preprocessing makes them -> (B, D), not normalised."""
        raise NotImplementedError

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """P texts -> (P, D), not normalised.

        Raises
        ------
        EncoderError
            A text is longer than the tower's context; nothing is cut off in silence.
        """
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([self._encode_texts(list(part)) for part in parts])

    def _encode_texts(self, texts: list[str]) -> Tensor:
        """A few texts at once."""
        raise NotImplementedError

    def preprocess(self, frame: np.ndarray) -> Tensor:
        """Uint8 RGB (H, W, 3) -> (3, S, S)."""
        return self.transform(Image.fromarray(frame))

    def freeze(self) -> "Encoder":
        """Evaluation mode, no gradients."""
        return self.eval().requires_grad_(False)  # type: ignore[return-value]


@torch.no_grad()
def class_embeddings(encoder: Encoder, prompts: Sequence[Sequence[str]], normalise: bool = True) -> Tensor:
    """One embedding a class by prompt ensembling, as CLIP does it.

    Each prompt's embedding is normalised, the mean over prompts is taken, and normalised again.

    Parameters
    ----------
    prompts : of each of C classes one or more, see `moclip.encoders.prompts.class_prompts`.
    normalise : False leaves out the first normalisation, as MoCLIP-Lite's published code does: longer vectors count
        for more.

    Returns
    -------
    Tensor
        (C, D), rows of length 1.
    """
    embeddings = encoder.encode_text([prompt for own in prompts for prompt in own])  # (P, D)
    if normalise:
        embeddings = F.normalize(embeddings, dim=-1)
    means = [own.mean(dim=0) for own in embeddings.split([len(own) for own in prompts])]
    return F.normalize(torch.stack(means), dim=-1)


def zero_shot_logits(features: Tensor, classes: Tensor, logit_scale: float, logit_bias: float = 0.0) -> Tensor:
    """Scaled cosine similarity: features (N, D), class embeddings (C, D) -> (N, C)."""
    return logit_scale * F.normalize(features, dim=-1) @ F.normalize(classes, dim=-1).T + logit_bias
