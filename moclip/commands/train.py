"""``moclip train``: the trainings of notebooks 02 and 03 without notebooks, on several devices if asked."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from moclip.commands.options import Override, Profile, overrides_of
from moclip.config import load_config, merge
from moclip.paths import cache_dir, run_dir
from moclip.sections import Config

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from moclip.datasets.base import VideoDataset
    from moclip.loading import MotionClips
    from moclip.models.mv_tsn import MVTSN


def train(
    profile: Profile = "quick",
    param: Override = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="GPUs, or processes of a CPU, that share each batch (training.devices).")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Start anew; or go on where a training was killed.")
    ] = False,
) -> None:
    """Train the motion network of a profile, then its fusion heads where notebook 01 has left appearance features.

    Example: moclip train --profile ucf101 --devices 4 -p data.root=/data/UCF-101 -p data.annotation_path=/data/lists

    Writes what notebooks 02 and 03 write of it: runs/<run>/checkpoints, history, and training/<name> with a state after
    every epoch, a log and a README.txt. Killed at any moment, the same command goes on. Other settings start anew, and
    move what was unfinished to training/set-aside.

    `moclip reproduce` with the same settings then takes these motion networks and does not train them again.

    On a GPU: -p training.precision=bf16-mixed -p training.channels_last=true -p training.workers=4. For a batch that
    does not fit: a smaller mv.batch_size and -p training.accumulate=4.
    """
    own = {"training": {"devices": devices}} if devices else {}
    config = load_config(profile, merge(overrides_of(param), own))
    config.data.check()
    from moclip import features
    from moclip.datasets.prepare import datasets_of
    from moclip.loop import make_fabric

    # Before other processes are started: they find the clips and their motion ready.
    datasets = datasets_of(config.data)
    for dataset in datasets:
        features.extract_motion(dataset.clips, cache_dir() / "motion", config.data.workers, config.data.scheduler)
    fabric = make_fabric(config.device, config.training)
    for dataset in datasets:
        network = _motion_network(config, dataset, fresh, fabric)
        if fabric.is_global_zero:  # minutes at most: the others need not wait for it
            _heads(config, dataset, network)


def _motion_network(config: Config, dataset: "VideoDataset", fresh: bool, fabric: "Fabric") -> "MVTSN":
    """Train, keep the log and the checkpoint; as notebook 02."""
    import shutil

    import torch

    from moclip import evaluation, training
    from moclip.artefacts import save_csv
    from moclip.models.mv_tsn import MVTSN

    run, name = run_dir(config.run), f"mv_tsn-{dataset.name}-seed{config.mv.seed}"
    if fresh and fabric.is_global_zero:
        shutil.rmtree(run / "training" / name, ignore_errors=True)
    fabric.barrier()
    clips, held_out = _clips(config, dataset, config.mv.select)
    arguments: dict[str, Any] = {
        "num_classes": len(dataset.classes),
        "backbone": config.mv.backbone,
        "pretrained": config.mv.pretrained,
    }
    torch.manual_seed(config.mv.seed)  # the classifier's first weights
    network = MVTSN(**arguments)
    folder = run / "training" / name
    history = training.fit_mv(network, clips, config.mv, config.device, config.training, held_out, folder)
    if fabric.is_global_zero:
        save_csv(run / "history" / f"{name}.csv", history)
        path = run / "checkpoints" / f"mv_tsn-{dataset.name}.safetensors"
        evaluation.save_checkpoint(path, network, "mv_tsn", arguments, config, dataset, config.mv.seed)
        accuracy = 100 * history["accuracy"].iloc[-1]
        typer.echo(f"{dataset.name}: {len(history)} epochs, {accuracy:.1f} % of the last training batches; {path}")
    return network


def _heads(config: Config, dataset: "VideoDataset", network: "MVTSN") -> None:
    """Train the fusion head of every seed and keep its checkpoint; as notebook 03, where its controls are trained."""
    import torch

    from moclip import evaluation, features, training
    from moclip.artefacts import load_tensors
    from moclip.models.fusion import FusionHead

    if config.fusion.statistics == "drifting":
        typer.echo(f"{dataset.name}: no heads; notebook 03 trains them while the statistics drift")
        return
    run = run_dir(config.run)
    path = run / "features" / f"appearance-{dataset.name}.safetensors"
    if not path.is_file():
        typer.echo(f"{dataset.name}: no heads; first the appearance features: moclip reproduce --only 01")
        return
    kept, header = load_tensors(path)
    rows = {name: torch.from_numpy(row) for name, row in zip(header["names"], kept["features"], strict=True)}
    network.requires_grad_(False)
    device = next(network.parameters()).device
    clips, held_out = _clips(config, dataset, config.fusion.select)
    appearance, labels = torch.stack([rows[clip.name] for clip in clips.clips]), torch.tensor(clips.labels)
    scored = None
    if held_out:
        motion = features.motion_features(network, held_out, config.mv.views, device).mean(dim=1)
        seen = torch.stack([rows[clip.name] for clip in held_out.clips])
        scored = seen, motion, torch.tensor(held_out.labels)
    if config.fusion.train_features == "cached":
        pool = features.motion_features(network, clips, config.fusion.train_views, device)
    arguments: dict[str, Any] = {
        "num_classes": len(dataset.classes),
        "appearance_dim": appearance.shape[1],
        "motion_dim": network.feature_dim,
        "hidden": config.fusion.hidden,
        "dropout": config.fusion.dropout,
    }
    for seed in config.fusion.seeds:
        if config.fusion.train_features == "cached":
            draws = features.cached_draws(pool, config.mv.segments, seed)
        else:
            draws = features.fresh_draws(network, clips, seed, device, config.fusion.batch_size)
        head = FusionHead(**arguments)
        training.fit_head(head, appearance, draws, labels, config.fusion, seed, config.device, scored)
        path = run / "checkpoints" / f"fusion-{dataset.name}-seed{seed}.safetensors"
        evaluation.save_checkpoint(path, head, "fusion", arguments, config, dataset, seed)
        typer.echo(f"{dataset.name}: fusion head, seed {seed}; {path}")


def _clips(config: Config, dataset: "VideoDataset", select: str) -> tuple["MotionClips", "MotionClips | None"]:
    """Clips to train on, and those that choose the epoch."""
    from moclip import training
    from moclip.loading import MotionClips

    fitted, chooses = (
        MotionClips.from_config(part, cache_dir() / "motion", config, dataset.horizontal_flip) if part else None
        for part in training.splits(dataset, config, select)
    )
    assert fitted is not None
    return fitted, chooses
