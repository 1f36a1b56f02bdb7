"""CLIP on one frame: zero-shot, and the supervised control that the paper lacks (Radford et al., ICML 2021).

Taken from there: the image tower ViT-B/32 as the ``clip`` module builds it, cosine similarity with class embeddings,
the logit scale of 100, beyond which it is not trained. ``clip_head`` is a supervised MLP on the frozen feature: the
paper's head without the motion. The paper's row "CLIP-only (ours)" is zero-shot, too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moclip.encoders.base import Encoder, class_embeddings, zero_shot_logits
from moclip.encoders.clip import untrained_image_tower
from moclip.models.fusion import FusionHead


class CLIPZeroShot(nn.Module):
    """Frozen image tower, cosine with one embedding a class. Random until `from_encoder` gives it what CLIP knows."""

    classes: Tensor

    def __init__(self, num_classes: int, width: float = 1.0, size: int = 224) -> None:
        super().__init__()
        self.tower, self.logit_scale = untrained_image_tower(width, size), 100.0
        self.register_buffer("classes", torch.randn(num_classes, round(512 * width)))

    @classmethod
    def from_encoder(cls, encoder: Encoder, prompts: Sequence[Sequence[str]]) -> "CLIPZeroShot":
        """With the weights of `moclip.load_encoder`, and its embedding of each class by prompt ensembling."""
        model = cls(len(prompts), width=1 / 8)
        model.tower, model.logit_scale = encoder.image_tower, encoder.logit_scale
        model.classes = class_embeddings(encoder, prompts)
        return model

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) -> logits (B, C)."""
        return zero_shot_logits(self.tower(images), self.classes, self.logit_scale)


class CLIPHead(nn.Module):
    """Frozen image tower, trained MLP head."""

    def __init__(self, num_classes: int, width: float = 1.0, size: int = 224) -> None:
        super().__init__()
        self.tower = untrained_image_tower(width, size)
        self.head = FusionHead(num_classes, appearance_dim=round(512 * width), motion_dim=0)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) -> logits (B, C)."""
        return self.head(self.tower(images), images)
