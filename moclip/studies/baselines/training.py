"""The other systems of Table I at work: counted at their paper's size, trained small, tested on all views."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.fabric import seed_everything
from torch import Tensor, nn

from moclip.config.sections import Baselines
from moclip.engine import profiling as costs
from moclip.inputs.clips import EpochSampler
from moclip.models import create_model
from moclip.studies.baselines.emv import soft_target_loss
from moclip.studies.baselines.systems import CHANNELS, RIVALS, SEES
from moclip.training.loop import Batch, Schedule, fit, make_fabric, one_cycle_rate

CLASSES, SIDE = 101, 224  # UCF101 at the size of all these papers


def cost_table() -> pd.DataFrame:
    """What every system is and costs at its paper's size, counted on networks without memory (torch's meta device).

    Returns
    -------
    DataFrame
        A row a system and part: the facts of `systems.Rival`, parameters, multiply-adds a view, views as
        the paper counts them (``views``) and as the system's own source has them (``own_views``).
    """
    rows = []
    counted: dict[str, costs.Row] = {}
    for name, rival in RIVALS.items():
        facts = rival.model_dump(include={"method", "source", "modality", "join", "status", "protocol", "about"})
        for part, views, own_views in zip(rival.parts, rival.views, rival.own_views, strict=True):
            if part not in counted:
                counted[part] = count(part)
            row = {"system": name, "part": part, **counted[part], "sees": SEES.get(part, ""), "views": views}
            rows.append(row | {"own_views": own_views, **facts})
            if part in rival.frozen:
                rows[-1]["trainable"] = 0
    return pd.DataFrame(rows)


def count(part: str) -> costs.Row:
    """What one network costs at its paper's size."""
    with torch.device("meta"):
        if part == "mv_tsn":
            model = create_model(part, num_classes=CLASSES, pretrained=False)
            return costs.count(model.eval(), torch.zeros(1, 1, 2, SIDE, SIDE))
        model = create_model(part, num_classes=CLASSES).eval()
        if part == "fusion":
            return costs.count(model, torch.zeros(1, 512), torch.zeros(1, 1280))
        return count_view(part, model, SIDE)


def count_view(part: str, network: nn.Module, size: int) -> costs.Row:
    """`profiling.count` of one view; of a network with a side for texts, whose features are kept, that for video."""
    view = torch.zeros(1, CHANNELS[SEES[part]], size, size, device=next(network.parameters()).device)
    if part != "x_clip":
        return costs.count(network, view)
    params, macs = costs.parameters(network), costs.macs(network.encode_video, view)  # type: ignore[arg-type]
    seen = f"8 x 3 x {size} x {size}"
    return {"params": params["total"], "trainable": params["trainable"], "macs_per_view": macs, "input": seen}


def to_network(inputs: Tensor, sees: str) -> Tensor:
    """8 bit to -2..2, no motion to 0; of stacks, each field less its mean (Simonyan & Zisserman 2014, section 3.1).

    uint8 (..., C, H, W) -> float32 of the same shape.
    """
    values = (inputs.float() - 128) / 64
    return values - values.mean(dim=(-2, -1), keepdim=True) if sees.endswith("stack") else values


def fit_rival(
    name: str,
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    settings: Baselines,
    teacher: Tensor | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Train one network, in place, by `moclip.training.loop.fit`: AdamW, the rate up for a fifth and down to zero.

    A step sees one view of a clip, drawn at random; CoViAR's own training averages three.

    Parameters
    ----------
    name : of the network, in `moclip.studies.baselines.systems.SEES`.
    inputs : uint8 (N, V, C, H, W) of the training clips.
    labels : (N,).
    teacher : logits (N, V, classes) of a network that teaches; its soft targets are then learned beside the labels.
    """
    fabric = make_fabric(device)
    seed_everything(settings.seed, verbose=False)
    count, views = inputs.shape[:2]
    sampler = EpochSampler(count, settings.batch_size, settings.seed)

    def batches(epoch: int) -> Iterator[Batch]:
        sampler.epoch = epoch
        rng = np.random.default_rng([settings.seed, epoch])
        for keys in sampler:
            clips = [index for _, index in keys]
            where = clips, rng.integers(views, size=len(clips))
            taught = () if teacher is None else (teacher[where],)
            seen, *more = fabric.to_device((to_network(inputs[where], SEES[name]), labels[clips], *taught))
            yield (seen,), *more

    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr)
    objective = F.cross_entropy if teacher is None else soft_target_loss
    schedule = Schedule(settings.epochs, len(sampler), one_cycle_rate, objective=objective, progress=name)
    return fit(fabric, network, optimizer, batches, schedule)


@torch.no_grad()
def view_logits(name: str, network: nn.Module, inputs: Tensor, views_a_batch: int = 128) -> Tensor:
    """Logits of every view: uint8 (N, V, C, H, W) -> float32 (N, V, classes), on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    views = inputs.flatten(0, 1).split(views_a_batch)
    logits = torch.cat([network(to_network(part.to(device), SEES[name])).cpu() for part in views])
    return logits.unflatten(0, inputs.shape[:2])
