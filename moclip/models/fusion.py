"""The fusion head: a small MLP on the two features, concatenated (paper, section II-C)."""

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn


class FusionHead(nn.Module, PyTorchModelHubMixin, library_name="moclip", license="mit"):
    """concat(appearance, motion) -> Linear -> ReLU -> Dropout -> Linear.

    At 512 + 1280 features, 512 hidden units and 101 classes it has 969,829 parameters. With one of the two sizes set
    to 0 it is the single-stream control.

    Parameters
    ----------
    num_classes : number of classes C.
    appearance_dim, motion_dim : feature sizes A and M; 0 omits a stream.
    hidden : hidden units.
    dropout : probability.
    """

    def __init__(
        self,
        num_classes: int,
        appearance_dim: int = 512,
        motion_dim: int = 1280,
        hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if appearance_dim + motion_dim <= 0:
            raise ValueError("a head needs at least one stream: appearance_dim or motion_dim above 0")
        self.appearance_dim, self.motion_dim = appearance_dim, motion_dim
        self.mlp = nn.Sequential(
            nn.Linear(appearance_dim + motion_dim, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, appearance: Tensor, motion: Tensor) -> Tensor:
        """Logits.

        Parameters
        ----------
        appearance : (B, A) feature of one frame; ignored where ``appearance_dim`` is 0.
        motion : (B, M) motion features averaged over segments; ignored where ``motion_dim`` is 0.

        Returns
        -------
        Tensor
            (B, C)
        """
        parts = [part for part, size in ((appearance, self.appearance_dim), (motion, self.motion_dim)) if size]
        return self.mlp(torch.cat(parts, dim=1))
