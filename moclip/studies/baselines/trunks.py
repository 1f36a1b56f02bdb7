"""Parts that several systems of Table I share: CNN-M, ResNets, and the fusion of scores."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import timm
import torch
from torch import Tensor, nn

Average = Literal["logit", "softmax"]  # what is averaged, over views or over networks: logits, or probabilities


class CNNM(nn.Module):
    """CNN-M-2048 (Chatfield et al. 2014, table 1), as Simonyan & Zisserman 2014 use it in both of their streams.

    Five convolutions, three max poolings that round up (Caffe's), three fully connected layers. At 101 classes 90.63 M
    parameters with 3 channels, 90.71 M with 20.

    Parameters
    ----------
    num_classes : number of classes C.
    channels : of the input.
    width : factor on the number of channels and hidden units; 1 is the paper's.
    activation : makes a layer from its number of channels.
    second_norm : whether local response normalisation also follows the second convolution.
    dropout : after each of the two hidden fully connected layers; a narrower network gets less, so that the number of
        units that remain is that of the full width.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        width: float = 1.0,
        activation: Callable[[int], nn.Module] = lambda _: nn.ReLU(),
        second_norm: bool = True,
        dropout: tuple[float, float] = (0.9, 0.9),
    ) -> None:
        super().__init__()
        one, two, three, six, seven = (max(1, round(width * size)) for size in (96, 256, 512, 4096, 2048))
        drop = [nn.Dropout(max(0.0, 1 - (1 - rate) / min(width, 1))) for rate in dropout]
        pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
        norm = partial(nn.LocalResponseNorm, 5, alpha=5e-4, beta=0.75)
        self.features = nn.Sequential(
            nn.Conv2d(channels, one, 7, stride=2), activation(one), norm(), pool(),
            nn.Conv2d(one, two, 5, stride=2, padding=1), activation(two), norm() if second_norm else nn.Identity(),
            pool(),
            nn.Conv2d(two, three, 3, padding=1), activation(three),
            nn.Conv2d(three, three, 3, padding=1), activation(three),
            nn.Conv2d(three, three, 3, padding=1), activation(three), pool(),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(6),  # changes nothing at 224 px; accepts other sizes
            nn.Flatten(),
            nn.Linear(36 * three, six), activation(six), drop[0],
            nn.Linear(six, seven), activation(seven), drop[1],
            nn.Linear(seven, num_classes),
        )  # fmt: skip
        for module in self.modules():
            # Without normalisation, other initial weights would not train.
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, C)."""
        return self.classifier(self.features(images))


class NormalisedResNet(nn.Module):
    """A ResNet (He et al. 2016), possibly behind a BatchNorm on its input: CoViAR's branches.

    Parameters
    ----------
    depth : 18 or 152.
    channels : of the input.
    normalise : whether the BatchNorm is there.
    width : factor on the channels of the four stages; the stem keeps its 64.
    """

    def __init__(self, num_classes: int, depth: int, channels: int, normalise: bool, width: float = 1.0) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm2d(channels) if normalise else nn.Identity()
        stages = tuple(max(1, round(width * size)) for size in (64, 128, 256, 512))
        self.backbone = timm.create_model(f"resnet{depth}", num_classes=num_classes, in_chans=channels, channels=stages)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, C)."""
        return self.backbone(self.data_bn(images))


def fuse_scores(logits: Sequence[Tensor], weights: Sequence[float], average: Average) -> Tensor:
    """Weighted mean of the scores of several networks.

    Parameters
    ----------
    logits : of each network, (B, C).
    weights : one per network.
    average : ``logit`` averages logits; ``softmax`` averages probabilities and returns their logarithm.

    Returns
    -------
    Tensor
        (B, C), scores whose softmax are probabilities.
    """
    parts = torch.stack(list(logits))  # (K, B, C)
    shares = parts.new_tensor(weights).view(-1, 1, 1) / sum(weights)
    if average == "logit":
        return (shares * parts).sum(dim=0)
    return torch.logsumexp(shares.log() + parts.log_softmax(dim=-1), dim=0)
