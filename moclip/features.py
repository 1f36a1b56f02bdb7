"""Features computed once and kept: motion of clips, appearance of one frame, motion features of a trained network."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moclip.artefacts import load_tensors, save_tensors
from moclip.datasets.base import Clip
from moclip.loading import MotionClips, motion_path
from moclip.models.encoders import Encoder, Preprocess
from moclip.models.mv_tsn import MVTSN
from moclip.models.weights import state_hash
from moclip.parallel import for_each_file
from moclip.paths import sha256_file
from moclip.progress import track
from moclip.sampling import appearance_frame
from moclip.video import probe, read_frames
from moclip.video.store import is_stored, store_motion

Draws = Callable[[int], Tensor]  # epoch -> motion features of the training clips (N, M), averaged over segments

log = logging.getLogger(__name__)


def extract_motion(clips: Sequence[Clip], store: Path, workers: int | None = None) -> None:
    """Read the motion of every clip into ``store``, one file a clip. What is there and belongs to the video stays.

    Parameters
    ----------
    workers : processes; all cores if None. One thread a clip: FFmpeg's frame threads lose vectors.

    Raises
    ------
    ClipsError
        At the end, if clips could not be read.
    """
    jobs = [(clip.path, motion_path(store, clip)) for clip in clips]
    for_each_file(store_motion, [job for job in jobs if not is_stored(*job)], "motion vectors", workers)


@torch.no_grad()
def appearance_features(
    encoder: Encoder, preprocess: Preprocess, clips: Sequence[Clip], frame: str, batch_size: int, path: Path
) -> np.ndarray:
    """One frame's feature of every clip, from ``path`` if it holds them already: float32 (N, D) in the clips' order.

    Parameters
    ----------
    frame : see `moclip.sampling.appearance_frame`.
    path : safetensors file, kept with the encoder's weights and the clips' hashes as its key.
    """
    header = {
        "encoder": encoder.name,
        "weights": state_hash(encoder),
        "preprocessing": re.sub(r" at 0x[0-9a-f]+", "", repr(getattr(encoder, "_transform", preprocess))),
        "frame": frame,
        "names": [clip.name for clip in clips],
        "videos": {clip.name: sha256_file(clip.path) for clip in clips},
    }
    if path.is_file():
        tensors, kept = load_tensors(path)
        if kept == header:
            log.info("appearance features: unchanged, read from %s", path)
            return tensors["features"]
    encoder.eval()
    device = next(encoder.parameters()).device
    parts = []
    for start in track(range(0, len(clips), batch_size), "appearance features", unit="batch"):
        images = [preprocess(one_frame(clip.path, frame)) for clip in clips[start : start + batch_size]]
        parts.append(encoder.encode_image(torch.stack(images).to(device)).float().cpu().numpy())
    features = np.concatenate(parts)
    save_tensors(path, {"features": features}, header)
    return features


def one_frame(path: Path, which: str) -> np.ndarray:
    """The middle or the first frame of a video: uint8 RGB (H, W, 3)."""
    return read_frames(path, [appearance_frame(probe(path).frames, which)])[0]


@torch.no_grad()
def motion_features(
    model: MVTSN, clips: MotionClips, views: int, device: torch.device | str = "cpu", views_a_batch: int = 256
) -> Tensor:
    """Features of the centre segments under a frozen network: float32 (N, V, D), on the CPU."""
    model = model.to(device).eval()
    size = max(1, views_a_batch // views)
    parts = []
    for start in track(range(0, len(clips), size), "motion features", unit="batch"):
        indices = range(start, min(start + size, len(clips)))
        batch = {key: value.to(device) for key, value in clips.centre_views(indices, views).items()}
        parts.append(model.features(clips.to_input(batch)).float().cpu())
    return torch.cat(parts)


def cached_draws(pool: Tensor, segments: int, seed: int) -> Draws:
    """Motion features an epoch from a fixed pool of views (``train_features: cached``).

    A frozen network gives a view the same feature every time, so drawing from a pool of views differs from the paper's
    drawing of segments in two points only: the pool is finite, and its crops are the centre ones.

    Parameters
    ----------
    pool : (N, V, M), views in temporal order.
    segments : S; the views are cut into S parts, one view is drawn from each.
    """
    if segments > pool.shape[1]:
        raise ValueError(f"{segments} segments cannot be drawn from {pool.shape[1]} views: raise fusion.train_views")
    parts = torch.arange(pool.shape[1]).tensor_split(segments)

    def draw(epoch: int) -> Tensor:
        rng = np.random.default_rng([seed, epoch])
        columns = np.stack([part.numpy()[rng.integers(len(part), size=len(pool))] for part in parts], axis=1)  # (N, S)
        rows = np.arange(len(pool))[:, None]
        return pool[rows, columns].mean(dim=1)

    return draw


def permuted(features: Tensor, seed: int) -> Tensor:
    """The same features, dealt to other clips at random: a control that keeps the head's size and loses the motion."""
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))]


def permuted_draws(draws: Draws, seed: int) -> Draws:
    """Draws whose features are dealt to other clips; the same dealing in every epoch."""
    return lambda epoch: permuted(draws(epoch), seed)


def fresh_draws(model: MVTSN, clips: MotionClips, seed: int, device: torch.device | str, batch_size: int) -> Draws:
    """Motion features an epoch from newly drawn segments and crops (``train_features: drawn``, the paper's way).

    Other draws than those on which the network was trained, and others for every ``seed``.
    """
    model = model.to(device).eval()

    @torch.no_grad()
    def draw(epoch: int) -> Tensor:
        parts = []
        for start in range(0, len(clips), batch_size):
            samples = [clips[epoch, index, 1 + seed] for index in range(start, min(start + batch_size, len(clips)))]
            batch = {key: value.to(device) for key, value in torch.utils.data.default_collate(samples).items()}
            parts.append(model.features(clips.to_input(batch)).mean(dim=1).cpu())
        return torch.cat(parts)

    return draw
