"""Features computed once and kept: motion of clips, appearance of one frame, motion features of a trained network."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moclip.datasets.base import REMEDY, Clip
from moclip.encoders import Encoder, Preprocess
from moclip.encoders.base import class_embeddings
from moclip.inputs.sampling import appearance_frames
from moclip.io import keys
from moclip.io.artefacts import load_tensors, save_tensors
from moclip.io.files import sha256_file
from moclip.io.fingerprints import fingerprints
from moclip.io.parallel import ClipsError, for_each_file
from moclip.io.paths import cache_dir
from moclip.io.progress import track
from moclip.models.backbones import state_hash
from moclip.video import VideoError, probe, read_frames
from moclip.video.store import content_path, is_stored, store_motion

log = logging.getLogger(__name__)


def extract_motion(
    clips: Sequence[Clip], store: Path, workers: int | None = None, scheduler: str | None = None
) -> None:
    """Read the motion of every clip into ``store``, one file a video, named by its content. What is there stays.

    The bytes are the same whoever reads. A file that is damaged or of another version is made anew.

    Parameters
    ----------
    store : a folder for all runs: ``cache_dir() / "motion"``.
    workers : processes; all cores if None. One thread a clip: FFmpeg's frame threads lose vectors.
    scheduler : see `moclip.io.parallel.for_each_file`.

    Raises
    ------
    ClipsError
        At the end, with every clip that could not be read; the others are kept.
    """
    hashes, failures = sha256_of([clip.path for clip in clips], workers)
    targets = {path: content_path(store, value) for path, value in hashes.items()}
    # Copies of a video are read once.
    videos = {target: path for path, target in targets.items() if not is_stored(target, hashes[path])}
    jobs = [(path, target) for target, path in videos.items()]
    reasons = dict(for_each_file(store_motion, jobs, "motion vectors", workers, scheduler, on_error="skip"))
    for path, target in targets.items():
        if (read := videos.get(target)) in reasons:
            failures.append((path, reasons[read]))
    if failures:
        raise ClipsError(sorted(failures), len({clip.path for clip in clips}), REMEDY)


@torch.no_grad()
def appearance_features(
    encoder: Encoder,
    preprocess: Preprocess,
    clips: Sequence[Clip],
    frame: str,
    batch_size: int,
    path: Path,
    seed: int = 0,
    precision: str = "fp32",
) -> np.ndarray:
    """One appearance feature a clip, from ``path`` if it holds them already: float32 (N, D) in the clips' order.

    Where the encoder sees K > 1 frames, the feature is the mean over them, and the file keeps those of each frame too,
    as ``frames`` (N, K, D).

    Features are also kept for all runs, by encoder and content of the video, and written as they come: a killed call
    goes on where it was. How clips fall into batches may change the last bits of a feature, so another list of
    clips may get bits that it would not have computed itself.

    Parameters
    ----------
    frame, seed : see `moclip.inputs.sampling.appearance_frames`.
    batch_size : frames at once.
    path : safetensors file, kept with the encoder's weights and the clips' hashes as its key.
    precision : ``fp32``, or ``bf16`` or ``fp16``: the image tower under torch's autocast.

    Raises
    ------
    ClipsError
        At the end, with every clip that could not be read; the features of the others are kept.
    """
    hashes = fingerprints([clip.path for clip in clips])
    facts = {
        "encoder": encoder.name,
        "weights": state_hash(encoder),
        "preprocessing": re.sub(r" at 0x[0-9a-f]+", "", repr(encoder.transform)),
        "frame": f"{frame}, seed {seed}" if frame == "random" else frame,
        "precision": precision,
    }
    names, key = [clip.name for clip in clips], keys.key("appearance", facts)
    header = facts | {"names": names, "videos": {clip.name: hashes[clip.path] for clip in clips}, "key": key}
    if path.is_file():
        tensors, kept = load_tensors(path)
        if kept == header:
            log.info("appearance features: unchanged, read from %s", path)
            return tensors["features"]
    videos = {hashes[clip.path]: clip.path for clip in clips}
    at_once = max(1, batch_size // len(appearance_frames(1, frame, content="0")))  # clips

    def read(path: Path) -> Tensor:
        return torch.stack([preprocess(picture) for picture in seen_frames(path, frame, seed)])  # (K, 3, S, S)

    def compute(missing: Missing, keep: Keep) -> None:
        _encode(encoder, read, precision, {name: videos[name] for name in missing}, at_once, keep)

    names_of_rows = [hashes[clip.path] for clip in clips]
    frames = cached_rows("appearance", key, ["frames"], names_of_rows, compute)["frames"]
    features = frames.mean(axis=1)
    save_tensors(path, {"features": features} | ({"frames": frames} if frames.shape[1] > 1 else {}), header)
    return features


def _key(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def seen_frames(path: Path, which: str, seed: int = 0, count: int | None = None) -> np.ndarray:
    """The frames of a video that the encoder sees: RGB, uint8 (K, H, W, 3). No other frame is converted.

    Parameters
    ----------
    which, seed : see `moclip.inputs.sampling.appearance_frames`. Random frames depend on the file's SHA-256.
    count : number of frames, if it is known; otherwise the file is opened once more to count them.
    """
    content = sha256_file(path) if which == "random" else ""
    return read_frames(path, appearance_frames(count or probe(path).frames, which, seed, content))


def _encode(
    encoder: Encoder,
    read: Callable[[Path], Tensor],
    precision: str,
    videos: dict[str, Path],
    at_once: int,
    keep: Keep,
) -> None:
    """Give features (K, D) of videos, by content hash, to ``keep``, ``at_once`` clips per batch."""
    encoder.eval()
    hashes, failures = list(videos), []
    for start in track(range(0, len(hashes), at_once), "appearance features", unit="batch"):
        images, names = [], []
        for name in hashes[start : start + at_once]:
            try:
                images.append(read(videos[name]))
                names.append(name)
            except VideoError as error:
                failures.append((videos[name], f"{type(error).__name__}: {error}"))
        if images:
            encoded = encode_images(encoder, torch.cat(images), precision).numpy()  # (B * K, D)
            parts = encoded.reshape(len(images), -1, encoded.shape[1])
            keep({name: {"frames": part} for name, part in zip(names, parts, strict=True)})
    if failures:
        raise ClipsError(sorted(failures), len(hashes), REMEDY)


def encode_frames(encoder: Encoder, frames: np.ndarray, precision: str = "fp32") -> Tensor:
    """Features of RGB frames: uint8 (K, H, W, 3) -> float32 (K, D), on the CPU."""
    return encode_images(encoder, torch.stack([encoder.preprocess(frame) for frame in frames]), precision)


def encode_images(encoder: Encoder, images: Tensor, precision: str) -> Tensor:
    """Features of preprocessed frames: (B, 3, S, S) -> float32 (B, D), on the CPU."""
    device = next(encoder.parameters()).device
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
        return encoder.encode_image(images.to(device)).float().cpu()


def class_features(encoder: Encoder, prompts: Sequence[Sequence[str]], normalise: bool = True) -> Tensor:
    """`moclip.encoders.base.class_embeddings` on the CPU, kept for all runs by the weights and the prompts."""
    facts = {"encoder": encoder.name, "weights": state_hash(encoder), "prompts": prompts, "normalise": normalise}
    key = keys.key("texts", facts)
    path = cache_dir() / "texts" / f"{keys.digest(key)}.safetensors"
    if not path.is_file():
        save_tensors(path, {"classes": class_embeddings(encoder, prompts, normalise).cpu().numpy()}, key)
    return torch.from_numpy(load_tensors(path)[0]["classes"])
