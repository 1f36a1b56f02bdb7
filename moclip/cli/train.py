"""``moclip train``: the training of notebook 02 without the notebook, on several devices if asked."""

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from moclip.cli.options import Override, Profile, overrides_of
from moclip.config.load import load_config
from moclip.config.sections import Config
from moclip.io.paths import run_dir

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from moclip.datasets.base import VideoDataset


def train(
    profile: Profile = "quick",
    param: Override = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="GPUs, or processes on a CPU, that share each batch (training.devices)."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Start again, or resume after a kill.")] = False,
) -> None:
    """Train a profile's motion network outside its notebook.

    Example: moclip train --profile ucf101 --devices 4 -p data.root=/data/UCF-101 -p data.annotation_path=/data/lists

    Writes the same files as notebook 02: runs/<run>/checkpoints, history, and training/<name> with a state after every
    epoch, a log and a README.txt. After a kill, the same command resumes. With other settings it starts again, and
    moves the earlier training to training/set-aside.

    `moclip reproduce` with the same settings then uses these networks and does not train them again. Notebook 03 trains
    the heads, which takes one device and minutes.

    On a GPU: -p training.precision=bf16-mixed -p training.channels_last=true -p training.workers=4. If a batch does
    not fit: a smaller mv.batch_size and -p training.accumulate=4.
    """
    config = load_config(profile, overrides_of(param, {"training.devices": devices}))
    config.data.check()
    from moclip.datasets.prepare import load_prepared
    from moclip.engine.features import extract_motion, motion_store
    from moclip.reproduce.runner import locked
    from moclip.training.loop import make_fabric

    # The first process locks the run also for the others, which Lightning starts with the same command.
    with locked(run_dir(config.run)) if "LOCAL_RANK" not in os.environ else nullcontext():
        # Before Lightning starts the other processes, which then find the motion stored.
        datasets = load_prepared(config.data, run_dir(config.run) / "data")
        for dataset in datasets:
            extract_motion(dataset.clips, motion_store(), config.data.workers, config.data.scheduler)
        fabric = make_fabric(config.device, config.training)
        for dataset in datasets:
            _motion_network(config, dataset, fresh, fabric)


def _motion_network(config: Config, dataset: "VideoDataset", fresh: bool, fabric: "Fabric") -> None:
    """Train, and write the log and the checkpoint, as notebook 02 does."""
    from moclip.engine.checkpoints import save_checkpoint
    from moclip.engine.features import motion_store
    from moclip.inputs.clips import LoadedClips
    from moclip.io.artefacts import save_csv
    from moclip.training.motion import network_arguments, train_motion_network, training_clips
    from moclip.training.state import set_aside

    run, name = run_dir(config.run), f"mv_tsn-{dataset.name}-seed{config.mv.seed}"
    folder = run / "training" / name
    if fresh and fabric.is_global_zero and folder.is_dir():
        set_aside(folder, ["moclip train --fresh"])
    fabric.barrier()
    splits = {"train": training_clips(dataset, config), "val": dataset.val, "test": dataset.test}
    used = {split: splits[split] for split in ("train", config.mv.select) if splits.get(split)}
    clips = {split: LoadedClips(members, motion_store()) for split, members in used.items()}
    network, history = train_motion_network(config, dataset, clips, folder)
    if fabric.is_global_zero:
        save_csv(run / "history" / f"{name}.csv", history)
        path = run / "checkpoints" / f"mv_tsn-{dataset.name}.safetensors"
        arguments = network_arguments(config, dataset)
        save_checkpoint(path, network, "mv_tsn", arguments, config, dataset, config.mv.seed)
        accuracy = 100 * history["accuracy"].iloc[-1]
        typer.echo(f"{dataset.name}: {len(history)} epochs, {accuracy:.1f} % of the last training batches; {path}")
