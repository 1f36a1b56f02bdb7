"""BatchNorm that continues to learn while a head is trained: the published code's ``fusion.batch_norm: drifting``."""

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from moclip.training.heads import EpochFeatures
from moclip.training.motion import motion_features


class DriftingFeatures(EpochFeatures):
    """Features under a network whose BatchNorm statistics drift.

    This reproduces a fault of the published code: `train_fusion.py` calls ``model.train()``, which also switches the
    BatchNorm layers of the frozen network to training mode. They then normalise by the statistics of the batch, and
    their running statistics change although no weight does. The batches here are those of the heads, so the network
    and each head see what a single loop over both would show them. Epochs must be asked for in order; each continues
    from the statistics of the one before.

    The given network is copied, and itself stays as it is.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.network = copy.deepcopy(self.network)
        self.given = self.statistics()

    def __call__(self, epoch: int) -> Tensor:
        for module in self.network.to(self.device).modules():
            module.train(isinstance(module, nn.BatchNorm2d))
        features = self.draw(epoch, self.batches(epoch))
        self.network.eval()
        return features

    def tested(self, few: bool = False) -> Tensor:
        """As in the base class; ``few``: as many centre views as segments in training."""
        protocol = self.data.eval_views
        if few:
            protocol = replace(protocol, segments=self.data.train_views.segments, crops=1)
        return motion_features(self.network, self.data.test, protocol, self.device).mean(dim=1)

    def statistics(self) -> dict[str, Tensor]:
        """The buffers of all BatchNorm layers; a copy."""
        return {name: buffer.detach().cpu().clone() for name, buffer in self.network.named_buffers()}

    def restore(self, statistics: Mapping[str, Tensor]) -> None:
        """As in the base class."""
        self.network.load_state_dict(statistics or self.given, strict=False)
