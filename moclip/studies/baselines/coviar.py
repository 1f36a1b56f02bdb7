"""CoViAR: three networks on the parts of a compressed stream (Wu et al., CVPR 2018; code: chaoyuaw/pytorch-coviar).

Taken from the paper: ResNet-152 on I-frames, ResNet-18 on accumulated motion vectors and on accumulated residuals, a
BatchNorm before the latter two, training as temporal segment networks of 3 segments, and the weighted mean of logits
(``combine.py``), in ``systems.yaml``. Its networks start from ImageNet; here nothing is pre-trained.
"""

from functools import partial

from moclip.studies.baselines.trunks import NormalisedResNet

# The branches, each (B, channels, H, W) -> (B, C). The row "CoViAR (MV branch)" is the motion branch alone.
iframe = partial(NormalisedResNet, depth=152, channels=3, normalise=False)
motion = partial(NormalisedResNet, depth=18, channels=2, normalise=True)
residual = partial(NormalisedResNet, depth=18, channels=3, normalise=True)
