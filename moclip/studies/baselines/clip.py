"""CLIP on one frame: zero-shot, and the supervised control that the paper lacks (Radford et al., ICML 2021).

Taken from the paper: the image tower ViT-B/32 as the ``clip`` module builds it, cosine similarity with class
embeddings, and the logit scale of 100, CLIP's upper bound in training. ``clip_head`` is a supervised MLP on the frozen
feature: the paper's head without motion. The paper's row "CLIP-only (ours)" is also zero-shot.
"""

import torch
from torch import Tensor, nn

from moclip.encoders.base import zero_shot_logits
from moclip.encoders.clip import untrained_image_tower
from moclip.models.fusion import FusionHead


class CLIPZeroShot(nn.Module):
    """Frozen image tower, cosine similarity with one embedding per class. Its weights are random."""

    classes: Tensor

    def __init__(self, num_classes: int, width: float = 1.0, size: int = 224) -> None:
        super().__init__()
        self.tower, self.logit_scale = untrained_image_tower(width, size), 100.0
        self.register_buffer("classes", torch.randn(num_classes, round(512 * width)))

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
