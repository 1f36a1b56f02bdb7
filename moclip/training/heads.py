"""Training a head on the features of two frozen encoders."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.fabric import Fabric, seed_everything
from torch import Tensor, nn

from moclip.config.sections import Fusion
from moclip.inputs.clips import shuffled
from moclip.models.fusion import FusionHead
from moclip.training.draws import Draws
from moclip.training.loop import Batch, check_held_out, constant_rate, fit, fit_selected, make_fabric
from moclip.training.state import TrainingFolder, digest_of


def fit_head(
    head: FusionHead,
    appearance: Tensor,
    motion: Draws,
    labels: Tensor,
    settings: Fusion,
    seed: int,
    device: str = "auto",
    held_out: tuple[Tensor, Draws, Tensor] | None = None,
    folder: Path | None = None,
    source: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Train a head on the features of two frozen encoders: AdamW (paper, section III-A).

    Both encoders are frozen, so that a clip's features are all that the head ever sees of it. The motion feature
    changes from epoch to epoch, since every epoch draws other segments.

    Parameters
    ----------
    appearance : (N, A).
    motion : epoch -> (N, M), averaged over the segments of that epoch.
    labels : (N,).
    held_out : (K, A), epoch -> (K, M), (K,) of the clips that choose the epoch, where ``settings.select`` asks for it.
    folder : where to keep the state after each epoch; a training that was killed there goes on.
    source : says which motion features all these are, for the folder: `moclip.training.draws.FreshDraws.settings`.
    """
    check_held_out(settings.select, held_out)
    fabric = make_fabric(device)
    appearance, labels = fabric.to_device((appearance, labels))
    depends = {
        "head": repr(head),
        "appearance": digest_of(appearance.cpu(), labels.cpu()) if folder else None,
        "motion": source,
        "fusion": settings.model_dump(mode="json"),
        "chosen by": digest_of(held_out[0].cpu(), held_out[2].cpu()) if folder and held_out else None,
        "seed": seed,
    }

    def run(scored: bool = False) -> pd.DataFrame:
        seed_everything(seed, verbose=False)
        head.mlp.apply(lambda module: module.reset_parameters() if isinstance(module, nn.Linear) else None)

        def batches(epoch: int) -> Iterator[Batch]:
            drawn = fabric.to_device(motion(epoch))
            for part in shuffled(len(labels), settings.batch_size, seed, epoch):
                yield (appearance[part], drawn[part]), labels[part]

        optimizer = torch.optim.AdamW(head.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        return fit(
            fabric,
            head,
            optimizer,
            batches,
            math.ceil(len(labels) / settings.batch_size),
            settings.epochs,
            constant_rate,
            score=(lambda epoch: _head_accuracy(fabric, head, epoch, *held_out)) if scored and held_out else None,
            folder=TrainingFolder(folder, depends) if folder else None,
        )

    return fit_selected(settings.select, run)


@torch.no_grad()
def _head_accuracy(
    fabric: Fabric,
    head: FusionHead,
    epoch: int,
    appearance: Tensor,
    motion: Draws,
    labels: Tensor,
) -> float:
    scores = head.eval()(*fabric.to_device((appearance, motion(epoch)))).cpu()
    return (scores.argmax(dim=1) == labels).float().mean().item()
