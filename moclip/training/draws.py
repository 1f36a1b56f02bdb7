"""The motion features on which a head is trained: drawn anew in every epoch, from a network that is not trained."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moclip.inputs.clips import MotionClips, shuffled
from moclip.io.files import atomic_path
from moclip.models.backbones import state_hash
from moclip.models.mv_tsn import MVTSN
from moclip.training.motion import motion_features
from moclip.training.state import TrainingFolder, digest_of

Draws = Callable[[int], Tensor]  # epoch -> motion features of the training clips (N, M), averaged over segments


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


class FreshDraws:
    """Motion features an epoch from newly drawn segments and crops (``train_features: drawn``, the paper's way).

    Other draws than those on which the network was trained, and others for every ``seed``. An epoch is drawn when it is
    first asked for and kept on disk (UCF101: 49 MB an epoch), for the other heads that ask for it and for a training
    that was killed.

    With ``drifting`` they have the published code's fault (``statistics: drifting``). Its ``model.train()`` reaches the
    frozen network too, so that BatchNorm normalises by the statistics of the batch and goes on learning them (no weight
    changes). Batches are then those of `fit_head`, so that this is what one loop over head and network
    does, and each epoch starts from the statistics that the one before it left. They are kept, too.

    Parameters
    ----------
    model : left as it is.
    batch_size : clips at once; the head's.
    folder : for these draws alone; those of another network, other clips or another seed are removed from it.
    """

    def __init__(
        self,
        model: MVTSN,
        clips: MotionClips,
        seed: int,
        device: torch.device | str,
        batch_size: int,
        folder: Path,
        drifting: bool = False,
    ) -> None:
        self.model, self.given = copy.deepcopy(model).to(device), copy.deepcopy(dict(model.named_buffers()))
        self.clips, self.seed, self.device, self.batch_size = clips, seed, device, batch_size
        self.folder, self.drifting = folder, drifting
        self.settings = {"network": state_hash(model), **_shown(clips), "seed": seed, "batch size": batch_size}
        self.settings |= {"drifting": drifting, "draws": digest_of(Path(__file__).read_text())}
        TrainingFolder(folder, self.settings).begin()

    def __call__(self, epoch: int) -> Tensor:
        """Motion features of the training clips in an epoch: (N, M)."""
        path = self._path("features", epoch)
        if not path.is_file():
            self._draw(epoch)
        return load_file(path)["features"]

    def network_at(self, epoch: int) -> MVTSN:
        """The network as it was after an epoch (before the first: -1), in evaluation mode; valid until the next call.

        Only its statistics differ from those of the given one, and only where they drift.
        """
        if self.drifting:
            for before in range(epoch + 1):
                if not self._path("statistics", before).is_file():
                    self._draw(before)
            buffers = load_file(self._path("statistics", epoch)) if epoch >= 0 else self.given
            self.model.load_state_dict(buffers, strict=False)
        return self.model.eval()

    def features_at(self, epoch: int, clips: MotionClips, views: int, crops: int = 1) -> Tensor:
        """Mean over the views of other clips, under the network as it was after an epoch: (K, M); kept, too."""
        epoch = epoch if self.drifting else -1
        path = self._path(f"features-{digest_of(_shown(clips), clips.settings, views, crops)}", epoch)
        if not path.is_file():
            seen = motion_features(self.network_at(epoch), clips, views, self.device, crops=crops)  # (K, V, M)
            _keep(path, {"features": seen.mean(dim=1)})
        return load_file(path)["features"]

    def forget(self) -> None:
        """Remove the features, gigabytes for many clips and epochs. Statistics stay: they give back any epoch."""
        for path in self.folder.glob("*features-*"):
            path.unlink()

    @torch.no_grad()
    def _draw(self, epoch: int) -> None:
        network = self.network_at(epoch - 1)
        batches: Sequence[np.ndarray]
        if self.drifting:
            for module in network.modules():
                module.train(isinstance(module, nn.BatchNorm2d))
            batches = shuffled(len(self.clips), self.batch_size, self.seed, epoch)
        else:
            batches = np.array_split(np.arange(len(self.clips)), math.ceil(len(self.clips) / self.batch_size))
        rows = torch.empty(len(self.clips), network.feature_dim)  # (N, M)
        for part in batches:
            samples = [self.clips[epoch, int(index), 1 + self.seed] for index in part]
            batch = torch.utils.data.default_collate(samples)
            batch = {key: value.to(self.device) for key, value in batch.items()}
            rows[part] = network.features(self.clips.to_input(batch)).mean(dim=1).cpu()
        _keep(self._path("features", epoch), {"features": rows})
        if self.drifting:
            _keep(self._path("statistics", epoch), dict(network.named_buffers()))

    def _path(self, what: str, epoch: int) -> Path:
        return self.folder / f"{what}-{epoch}.safetensors"


def _keep(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_path(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def _shown(clips: MotionClips) -> dict[str, Any]:
    """Which clips these are, and how a network sees them."""
    return {
        "clips": digest_of([path.name for path in clips.paths]),
        "field": [clips.field, clips.scale.units, clips.scale.bound],
        "flips": clips.flips,
        "mv": clips.settings.training_fields(),
    }
