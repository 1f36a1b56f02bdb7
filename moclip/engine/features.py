"""Features that are computed once for all runs: motion of clips, appearance of frames, embeddings of classes."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moclip.config import sections
from moclip.datasets.base import REMEDY, Clip
from moclip.encoders import Encoder
from moclip.encoders.base import cached_embeddings, class_embeddings
from moclip.inputs.sampling import appearance_frames
from moclip.io import keys
from moclip.io.artefacts import save_tensors
from moclip.io.cache import Keep, Missing, cached_rows
from moclip.io.files import sha256_file
from moclip.io.parallel import ClipsError, for_each_file
from moclip.io.paths import cache_dir
from moclip.io.progress import track
from moclip.models.backbones import state_hash
from moclip.video import VideoError, probe, read_frames
from moclip.video.store import content_path, is_stored, store_motion


def motion_key() -> str:
    """Digest of what stored motion depends on besides the video: the code of `moclip.video` and its libraries."""
    return keys.digest(keys.key("motion", {}))


def motion_store() -> Path:
    """Folder of the stored motion of all runs."""
    return cache_dir() / "motion" / motion_key()


def extract_motion(
    clips: Sequence[Clip], store: Path, workers: int | None = None, scheduler: str | None = None
) -> None:
    """Store the motion of every clip, one file per video, named by its content. Valid files are not written again.

    Parameters
    ----------
    store : `motion_store`, or another folder.
    workers : processes, with one thread each (FFmpeg's frame threads lose vectors); all cores if None.
    scheduler : see `moclip.io.parallel.for_each_file`.

    Raises
    ------
    ClipsError
        At the end, with every clip that could not be read; the motion of the others is stored.
    """
    videos = {clip.sha256: clip.path for clip in clips}  # copies of a video are read once
    key = motion_key()
    targets = {sha256: content_path(store, sha256) for sha256 in videos}
    jobs = [(videos[name], target, key) for name, target in targets.items() if not is_stored(target, name, key)]
    reasons = dict(for_each_file(store_motion, jobs, "motion vectors", workers, scheduler, on_error="skip"))
    paths = {clip.path: videos[clip.sha256] for clip in clips}
    if failures := sorted((path, reasons[read]) for path, read in paths.items() if read in reasons):
        raise ClipsError(failures, len(paths), REMEDY)


@torch.no_grad()
def appearance_features(encoder: Encoder, clips: Sequence[Clip], section: sections.Encoder, path: Path) -> np.ndarray:
    """One appearance feature per clip, float32 (N, D) in the clips' order; also written to ``path``.

    If the encoder sees K > 1 frames, the feature is their mean, and the file also holds the features of each frame as
    ``frames`` (N, K, D).

    Features are kept for all runs by the content of the video, batch by batch, so a killed call resumes. The batch in
    which a clip is computed may change the last bits of its feature; a feature that is kept is not computed again.

    Parameters
    ----------
    section : which frames (see `moclip.inputs.sampling.appearance_frames`), how many per batch, and the precision:
        ``fp32``, or ``bf16`` or ``fp16``, the image tower under torch's autocast.
    path : safetensors file.

    Raises
    ------
    ClipsError
        At the end, with every clip that could not be read; the features of the others are kept.
    """
    settings = {
        "encoder": encoder.name,
        "weights": state_hash(encoder),
        "preprocessing": re.sub(r" at 0x[0-9a-f]+", "", repr(encoder.transform)),
        "frame": f"{section.frame}, seed {section.seed}" if section.frame == "random" else section.frame,
        "precision": section.precision,
    }
    key = keys.key("appearance", settings)
    videos = {clip.sha256: clip.path for clip in clips}
    count = len(appearance_frames(1, section.frame, content="0"))  # K, frames per clip
    clips_per_batch = max(1, section.batch_size // count)

    def compute(missing: Missing, keep: Keep) -> None:
        failures = []
        names = list(missing)
        for start in track(range(0, len(names), clips_per_batch), "appearance features", unit="batch"):
            batch: dict[str, np.ndarray] = {}  # content hash -> (K, H, W, 3)
            for name in names[start : start + clips_per_batch]:
                try:
                    batch[name] = seen_frames(videos[name], section.frame, section.seed)
                except VideoError as error:
                    failures.append((videos[name], f"{type(error).__name__}: {error}"))
            if batch:
                features = encode_frames(encoder.eval(), list(chain(*batch.values())), section.precision).split(count)
                keep({name: {"frames": rows.numpy()} for name, rows in zip(batch, features, strict=True)})
        if failures:
            raise ClipsError(sorted(failures), len(names), REMEDY)

    frames = cached_rows("appearance", key, ["frames"], [clip.sha256 for clip in clips], compute)["frames"]
    tensors = {"features": frames.mean(axis=1)} | ({"frames": frames} if frames.shape[1] > 1 else {})
    names = [clip.name for clip in clips]
    contents = {clip.name: clip.sha256 for clip in clips}
    save_tensors(path, tensors, settings | {"names": names, "videos": contents, "key": key})
    return tensors["features"]


def seen_frames(path: Path, which: str, seed: int = 0, count: int | None = None) -> np.ndarray:
    """The frames of a video that the encoder sees: RGB, uint8 (K, H, W, 3). No other frame is converted.

    Parameters
    ----------
    which, seed : see `moclip.inputs.sampling.appearance_frames`. Random frames depend on the file's SHA-256.
    count : number of frames, if it is known; otherwise the file is opened once more to count them.
    """
    content = sha256_file(path) if which == "random" else ""
    return read_frames(path, appearance_frames(count or probe(path).frames, which, seed, content))


def encode_frames(encoder: Encoder, frames: Sequence[np.ndarray], precision: str) -> Tensor:
    """Features of B frames, each RGB, uint8 (H, W, 3): float32 (B, D), on the CPU."""
    images = torch.stack([encoder.preprocess(frame) for frame in frames])  # (B, 3, S, S)
    device = next(encoder.parameters()).device
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
        return encoder.encode_image(images.to(device)).float().cpu()


def class_features(encoder: Encoder, prompts: Sequence[Sequence[str]], normalise: bool = True) -> Tensor:
    """`moclip.encoders.base.class_embeddings` on the CPU, computed once for all runs."""
    settings = {"encoder": encoder.name, "weights": state_hash(encoder), "prompts": prompts, "normalise": normalise}
    return cached_embeddings(settings, lambda: class_embeddings(encoder, prompts, normalise))
