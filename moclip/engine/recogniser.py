"""What a trained run says about a video that is in no data set: its checkpoints bring their own preprocessing."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor

from moclip.config.sections import MV, Motion
from moclip.encoders import load_encoder
from moclip.engine.checkpoints import CheckpointError, accuracy_on_test, load_checkpoint
from moclip.engine.features import encode_images, seen_frames
from moclip.engine.predictions import head_scores
from moclip.inputs.clips import InputScale, MotionClips, content_path
from moclip.io.artefacts import load_json
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN, average_views
from moclip.training.loop import make_fabric
from moclip.video import VideoError, load_motion, transcode
from moclip.video.store import SUFFIX, store_motion

SYSTEMS = ("fusion", "mv_only")
SHARED = ("classes", "fingerprint", "motion", "mv", "shown")  # what a head has from its motion network


class Recogniser:
    """The networks of a run, ready for videos of any size and codec.

    Parameters
    ----------
    run : ``runs/<run>``, after notebooks 02 and 03.
    dataset : whose networks; may be left out where the run has one data set.
    system : ``fusion``, or ``mv_only``: the motion network alone, without an image encoder.
    seed : of the fusion head.
    device : ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Attributes
    ----------
    classes : list of str
    data : str
        What the networks were trained on.
    measured : (float, int) or None
        Accuracy of these very weights, and the number of test clips that it stands on.

    Raises
    ------
    CheckpointError
        The run has no such checkpoints; they do not belong together; or they are of a version that did not keep how
        its clips were made.
    """

    def __init__(
        self, run: Path, dataset: str | None = None, system: str = "fusion", seed: int = 0, device: str = "auto"
    ) -> None:
        if system not in SYSTEMS:
            raise CheckpointError(f"no system {system!r} to recognise with; there are {' and '.join(SYSTEMS)}")
        dataset = dataset or _only_dataset(run)
        network, head = (
            run / "checkpoints" / f"{name}.safetensors"
            for name in (f"mv_tsn-{dataset}", f"fusion-{dataset}-seed{seed}")
        )
        self.system, self.header = system, _header(network)
        if system == "fusion":
            other = _header(head)
            if differing := [key for key in SHARED if other[key] != self.header[key]]:
                raise CheckpointError(
                    f"{head}: trained with another {', '.join(differing)} than {network.name}; run notebook 03 again"
                )
            self.header = other
            network = network.with_name(other["network"])
        self.classes: list[str] = self.header["classes"]
        self.data: str = self.header["data"]
        self.measured = accuracy_on_test(run, self.header)
        self.mv, self.motion = MV(**self.header["mv"]), Motion(**self.header["motion"])
        self.device = make_fabric(device).device
        self.network = cast(MVTSN, load_checkpoint(network, self.classes, self.motion).to(self.device))
        if system == "fusion":
            self.head = cast(FusionHead, load_checkpoint(head, self.classes).to(self.device))
            own = self.header["encoder"]
            self.encoder, self.preprocess = load_encoder(own["name"], own["cache"], own["resize"])
            self.encoder.to(self.device)

    @torch.no_grad()
    def __call__(self, video: Path | str) -> Tensor:
        """Probability of every class: float32 (C,), on the CPU. They add up to one, also for a video of no class.

        Raises
        ------
        VideoError
            The video cannot be read, or no frame of it has motion vectors, or its codec exports none (which matters
            only where the run does not re-encode).
        """
        with TemporaryDirectory() as folder:
            clip = Path(video)
            if self.header["shown"]["reencode"]:  # as the clips were on which all this was trained
                clip = Path(folder) / "clip.m4v"
                transcode(video, clip)
            read = Path(folder) / f"read{SUFFIX}"
            store_motion(clip, read)
            motion = load_motion(read)
            if not motion.has_motion.any():
                raise VideoError(video, "none of its frames has motion vectors", "it takes two frames without a cut")
            views = self._views(motion)  # (1, V, 2, S, S)
            if self.system == "mv_only":
                scores = average_views(self.network(views).float(), self.mv.average).cpu()
            else:
                features = self.network.features(views).float().mean(dim=1)  # (1, M)
                scores = head_scores(self.head, self._appearance(clip)[None], features)
        return scores.softmax(dim=1)[0]

    def _views(self, motion: Any) -> Tensor:
        protocol = EvalViews.from_sections(self.mv, self.motion, self.header["shown"]["horizontal_flip"])
        return to_input(eval_views(motion, protocol), self.device)

    def _appearance(self, video: Path) -> Tensor:
        own = self.header["encoder"]
        frames = seen_frames(video, own["frame"], own["seed"])  # (K, H, W, 3)
        images = torch.stack([self.preprocess(frame) for frame in frames])
        return encode_images(self.encoder, images, own["precision"]).mean(dim=0)  # (A,)


def _only_dataset(run: Path) -> str:
    found = sorted(path.stem.removeprefix("mv_tsn-") for path in run.glob("checkpoints/mv_tsn-*.safetensors"))
    if len(found) != 1:
        first = f"no trained network; first: moclip reproduce --profile {run.name}"
        there = f"networks of {', '.join(found)}: name one of them (--data)" if found else first
        raise CheckpointError(f"{run} has {there}")
    return found[0]


def _header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        found = ", ".join(sorted(other.stem for other in path.parent.glob("*.safetensors"))) or "none"
        raise CheckpointError(f"no checkpoint {path}; those that are there: {found}")
    header = load_json(path.with_suffix(".json"))
    if "shown" not in header:
        raise CheckpointError(f"{path}: kept by a version that did not note how its clips were made; train it again")
    return header
