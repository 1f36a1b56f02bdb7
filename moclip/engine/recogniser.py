"""A trained run applied to new videos; its checkpoints say how to prepare them."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from moclip.encoders import load_encoder
from moclip.encoders.base import Encoder
from moclip.engine.checkpoints import SYSTEMS, CheckpointError, accuracy_on_test, load_checkpoint
from moclip.engine.features import encode_frames, seen_frames
from moclip.engine.predictions import head_scores
from moclip.inputs.views import EvalViews, eval_views, to_input
from moclip.io.artefacts import load_tensors
from moclip.io.paths import run_dir
from moclip.models.backbones import state_hash
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN, average_views
from moclip.training.loop import make_fabric
from moclip.video import Motion, VideoError, read_motion, transcode


@dataclass(frozen=True)
class Recogniser:
    """The networks of a run, for videos of any size and codec; made by `load_recogniser`.

    Attributes
    ----------
    header : header of the checkpoint of ``head``, or of ``network`` alone: what both were trained on, and how.
    accuracy : on the test clips, with their number; None if these weights were not tested.
    head, encoder : None for the motion network alone.
    """

    header: dict[str, Any]
    accuracy: tuple[float, int] | None
    network: MVTSN
    head: FusionHead | None = None
    encoder: Encoder | None = None

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return self.header["classes"]  # type: ignore[no-any-return]

    def __call__(self, video: Path | str | Motion, frames: np.ndarray | None = None) -> Tensor:
        """Probability of each class: float32 (C,), on the CPU. They sum to 1 even if the video shows none of them.

        Parameters
        ----------
        video : a file; or motion, as `moclip.read_motion` gives it, of a video encoded as the run's clips are.
        frames : with motion and a fusion head, the frames that the encoder sees: RGB, uint8 (K, H, W, 3). Their
            features are averaged.

        Raises
        ------
        VideoError
            The video cannot be read, has no motion vectors, or its codec exports none (only if the run does not
            re-encode).
        """
        if isinstance(video, Motion):
            return self._probabilities(video, frames)
        with TemporaryDirectory() if self.header["shown"]["reencode"] else nullcontext() as folder:
            clip = Path(video)
            if folder:  # the run's clips were re-encoded, too
                clip = Path(folder) / "clip.m4v"
                transcode(video, clip)
            motion = read_motion(clip)
            if not motion.has_motion.any():
                raise VideoError(video, "none of its frames has motion vectors", "it takes two frames without a cut")
            if self.encoder:
                settings = self.header["encoder"]
                frames = seen_frames(clip, settings["frame"], settings["seed"], count=len(motion))
        return self._probabilities(motion, frames)

    def many(self, videos: Sequence[Path | str]) -> Tensor:
        """Probabilities for several files: (N, C), in their order."""
        return torch.stack([self(video) for video in videos])

    @torch.no_grad()
    def _probabilities(self, motion: Motion, frames: np.ndarray | None) -> Tensor:
        mv, mirror = self.header["mv"], self.header["shown"]["horizontal_flip"]
        protocol = EvalViews.from_sections(mv, self.header["motion"], mirror)
        views = to_input(eval_views(motion, protocol), self.network.classifier.weight.device)  # (1, V, 2, S, S)
        if self.head is None or self.encoder is None:
            scores = average_views(self.network(views).float(), mv["average"])
        elif frames is None:
            raise ValueError("a fusion head needs frames beside the motion: RGB, uint8 (K, H, W, 3)")
        else:
            precision = self.header["encoder"]["precision"]
            appearance = encode_frames(self.encoder, list(frames), precision).mean(dim=0)  # (A,)
            scores = head_scores(self.head, appearance[None], self.network.features(views).float().mean(dim=1))
        return scores.softmax(dim=1)[0].cpu()


def load_recogniser(
    run: Path | str, dataset: str | None = None, system: str = "fusion", seed: int = 0, device: str = "auto"
) -> Recogniser:
    """The networks of a run, after notebooks 02 and 03.

    Parameters
    ----------
    run : its folder (``runs/folder``), or its name.
    dataset : which networks; may be omitted if the run has one data set.
    system : ``fusion``, or ``mv_only``: the motion network alone, without an image encoder.
    seed : of the fusion head.
    device : ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises
    ------
    CheckpointError
        The run has no such checkpoints, or they do not belong together.
    """
    folder = Path(run) if Path(run).is_dir() else run_dir(str(run))
    if system not in SYSTEMS.values():
        raise CheckpointError(f"no recogniser for system {system!r}; there are: {', '.join(SYSTEMS.values())}")
    dataset = dataset or _only_dataset(folder)
    name = f"fusion-{dataset}-seed{seed}" if system == "fusion" else f"mv_tsn-{dataset}"
    path = folder / "checkpoints" / f"{name}.safetensors"
    header = _header(path, ("shown", "network", "network_weights") if system == "fusion" else ("shown",))
    network_path = path.with_name(header.get("network", path.name))
    target = make_fabric(device).device
    network = cast(MVTSN, load_checkpoint(network_path, header["classes"]).to(target))
    accuracy = accuracy_on_test(folder, header)
    if system == "mv_only":
        return Recogniser(header, accuracy, network)
    if state_hash(network) != header["network_weights"]:
        raise CheckpointError(f"{path}: trained with other weights than {network_path} has now; run notebook 03 again")
    head = cast(FusionHead, load_checkpoint(path).to(target))
    encoder, _ = load_encoder(*(header["encoder"][name] for name in ("name", "cache", "resize")))
    return Recogniser(header, accuracy, network, head, encoder.to(target))


def _only_dataset(run: Path) -> str:
    names = sorted(path.stem.removeprefix("mv_tsn-") for path in run.glob("checkpoints/mv_tsn-*.safetensors"))
    if len(names) == 1:
        return names[0]
    found = f"networks of {', '.join(names)}: name one of them (--data)"
    missing = f"no trained network; first: moclip reproduce --profile {run.name}"
    raise CheckpointError(f"{run} has {found if names else missing}")


def _header(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in path.parent.glob("*.safetensors"))) or "none"
        raise CheckpointError(f"no checkpoint {path}; there are: {names}")
    header = load_tensors(path)[1]
    if missing := [name for name in needed if name not in header]:
        lacks = ", ".join(missing)
        raise CheckpointError(f"{path}: its header has no {lacks} (an older version wrote it); train it again")
    return header
