"""What an image-text encoder is, and how class names become class embeddings."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Preprocess = Callable[[np.ndarray], Tensor]  # uint8 RGB (H, W, 3) -> float (3, S, S)


class Encoder(nn.Module):
    """A frozen encoder of images and texts into one space.

    Attributes
    ----------
    name : how the user asked for it; printed in every table.
    image_architecture, text_architecture : what the towers are.
    image_tower : the part that sees images; its parameters are what recognition costs once class embeddings are kept.
    feature_dim : size D of the features.
    logit_scale : factor on cosine similarities before the softmax.
    frozen : always; there is no training of encoders here.
    """

    name: str
    image_architecture: str
    text_architecture: str
    image_tower: nn.Module
    feature_dim: int
    logit_scale: float
    frozen: ClassVar[bool] = True

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) as the encoder's own preprocessing makes them -> (B, D), not normalised."""
        raise NotImplementedError

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """P texts -> (P, D), not normalised."""
        raise NotImplementedError

    def freeze(self) -> "Encoder":
        """Evaluation mode, no gradients."""
        return self.eval().requires_grad_(False)  # type: ignore[return-value]


@torch.no_grad()
def class_embeddings(encoder: Encoder, class_texts: Sequence[str], templates: Sequence[str]) -> Tensor:
    """One embedding a class by prompt ensembling, as CLIP does it.

    Each prompt's embedding is normalised, the mean over prompts is taken, and normalised again.

    Parameters
    ----------
    class_texts : C names as a person would say them.
    templates : texts with one ``{}``.

    Returns
    -------
    Tensor
        (C, D), rows of length 1.
    """
    prompts = [template.format(text) for text in class_texts for template in templates]
    embeddings = F.normalize(encoder.encode_text(prompts), dim=-1)  # (C * T, D)
    mean = embeddings.view(len(class_texts), len(templates), -1).mean(dim=1)  # (C, D)
    return F.normalize(mean, dim=-1)


def zero_shot_logits(features: Tensor, classes: Tensor, logit_scale: float) -> Tensor:
    """Scaled cosine similarity: features (N, D), class embeddings (C, D) -> (N, C)."""
    return logit_scale * F.normalize(features, dim=-1) @ F.normalize(classes, dim=-1).T
