"""CoViAR: three networks on the parts of a compressed stream (Wu et al., CVPR 2018; code: chaoyuaw/pytorch-coviar).

Taken from the paper: ResNet-152 on I-frames, ResNet-18 on accumulated motion vectors and on accumulated residuals, a
BatchNorm before the latter two, training as temporal segment networks of 3 segments, and the weighted mean of logits
(``combine.py``), in ``systems.yaml``. Its networks start from ImageNet; here nothing is pre-trained.
"""

from torch import nn

from moclip.studies.baselines.trunks import NormalisedResNet


def iframe(num_classes: int, width: float = 1.0) -> nn.Module:
    """I-frame branch: (B, 3, H, W) -> (B, C)."""
    return NormalisedResNet(152, num_classes, 3, width, normalise=False)


def motion(num_classes: int, width: float = 1.0) -> nn.Module:
    """Motion branch, the row "CoViAR (MV branch)": (B, 2, H, W) -> (B, C)."""
    return NormalisedResNet(18, num_classes, 2, width, normalise=True)


def residual(num_classes: int, width: float = 1.0) -> nn.Module:
    """Residual branch: (B, 3, H, W) -> (B, C)."""
    return NormalisedResNet(18, num_classes, 3, width, normalise=True)
