"""The motion pathway: a TSN over motion vectors (paper, section II-B)."""

from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from moclip.models.backbones import create_backbone, first_convolution, two_channel_stem


class MVTSN(nn.Module, PyTorchModelHubMixin, library_name="moclip", license="mit"):
    """BatchNorm2d(2) -> ImageNet backbone with a 2-channel stem -> linear classifier, for each segment separately.

    Parameters
    ----------
    num_classes : number of classes C.
    backbone : timm name. EfficientNet-B0 in the paper; D = 1280 features.
    pretrained : start from ImageNet weights.
    """

    def __init__(self, num_classes: int, backbone: str = "efficientnet_b0.ra_in1k", pretrained: bool = True) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm2d(2)
        self.backbone = create_backbone(backbone, pretrained)
        two_channel_stem(self.backbone)
        self.backbone.reset_classifier(0)  # type: ignore[operator]
        self.feature_dim = int(self.backbone.head_hidden_size)  # type: ignore[arg-type]
        self.classifier = nn.Linear(self.feature_dim, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    @property
    def stem(self) -> nn.Module:
        """The backbone's first convolution, which takes 2 channels."""
        return first_convolution(self.backbone)

    def features(self, segments: Tensor) -> Tensor:
        """Features of each segment.

        Parameters
        ----------
        segments : (B, S, 2, H, W) motion fields in about [-0.5, 0.5]; see `moclip.inputs.transforms`.

        Returns
        -------
        Tensor
            (B, S, D)
        """
        batch, count = segments.shape[:2]
        fields = self.data_bn(segments.flatten(0, 1))  # (B * S, 2, H, W)
        return self.backbone(fields).view(batch, count, -1)  # (B, S, D)

    def forward(self, segments: Tensor) -> Tensor:
        """Logits of each segment: (B, S, 2, H, W) -> (B, S, C). TSN's consensus is their mean over S."""
        return self.classifier(self.features(segments))

    @classmethod
    def _from_pretrained(cls, **keywords: Any) -> "MVTSN":
        """Load all weights from the folder, without loading ImageNet's first."""
        return super()._from_pretrained(**{**keywords, "pretrained": False})  # type: ignore[no-any-return]


def average_views(logits: Tensor, average: str) -> Tensor:
    """One score per class from several views.

    Parameters
    ----------
    logits : (N, V, C).
    average : ``softmax`` averages probabilities and returns their logarithm; ``logit`` averages the logits.

    Returns
    -------
    Tensor
        (N, C), scores whose softmax are probabilities.
    """
    if average == "logit":
        return logits.mean(dim=1)
    if average == "softmax":
        return torch.logsumexp(logits.log_softmax(dim=-1), dim=1) - torch.log(torch.tensor(float(logits.shape[1])))
    raise ValueError(f"average is 'softmax' or 'logit', not {average!r}")
