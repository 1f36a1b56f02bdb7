"""What many tests share: a home, a few generated clips with their motion, encoders."""

import os
from pathlib import Path

import matplotlib
import pytest

# Before torch is loaded, and for the processes that tests start. Tests are small: on a busy machine a second thread
# costs more than it brings, and the order of sums is the same everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
matplotlib.use("Agg")


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder for ``MOCLIP_HOME``, one for all tests: what is cached there is computed once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session", autouse=True)
def _never_the_checkout(home):
    """Tests that set no home of their own keep what they cache out of the checkout, and of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOCLIP_HOME", str(home))
        yield


@pytest.fixture(scope="session")
def in_home(home):
    """``MOCLIP_HOME`` set within a ``with`` block, since other tests have homes of their own."""

    def enter() -> pytest.MonkeyPatch:
        patch = pytest.MonkeyPatch()
        patch.setenv("MOCLIP_HOME", str(home))
        return patch

    return enter


@pytest.fixture(scope="session")
def offline(in_home):
    """The offline encoder and its preprocessing."""
    from moclip.encoders import load_encoder

    patch = in_home()
    try:
        return load_encoder("offline")
    finally:
        patch.undo()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Four classes of ``mixed``, eight training and four test clips of 24 frames."""
    from moclip.datasets import load_dataset
    from moclip.datasets.moving_photos import Design

    classes = ["CatLeft", "CatRecede", "CoinsDown", "AstronautRight"]
    design = Design("mixed", train_groups=2, test_groups=1, clips_per_group=1, classes=classes, frames=24)
    return load_dataset("moving_photos", design=design, root=tmp_path_factory.mktemp("photos"), workers=1)


@pytest.fixture(scope="session")
def store(photos, tmp_path_factory) -> Path:
    """The motion of `photos`."""
    from moclip.engine.features import motion_key
    from moclip.io.files import sha256_file
    from moclip.video.store import content_path, store_motion

    folder = tmp_path_factory.mktemp("store")
    for clip in photos.clips:
        store_motion(clip.path, content_path(folder, sha256_file(clip.path)), motion_key())
    return folder


@pytest.fixture
def config():
    """The ``smoke`` profile with small batches."""
    from moclip.config.load import load_config

    return load_config("smoke", {"mv.batch_size": 3})


@pytest.fixture
def clips(photos, store):
    """The training clips of `photos` with their motion."""
    from moclip.inputs.clips import LoadedClips

    return LoadedClips(photos.train, store)


@pytest.fixture
def train_protocol(config):
    """How training shows a clip under `config`; clips may be mirrored."""
    from moclip.inputs.views import TrainViews

    return TrainViews.from_sections(config.mv, config.motion, True)


@pytest.fixture
def eval_protocol(config):
    """How testing shows a clip under `config`; clips may be mirrored."""
    from moclip.inputs.views import EvalViews

    return EvalViews.from_sections(config.mv, config.motion, True)


@pytest.fixture(scope="session")
def make_motion():
    """The same vector everywhere in P-frames, or random ones; values in I-frames that nobody may use."""
    import numpy as np

    from moclip.video import Motion

    def make(frames=13, value=3, block=16, width=32, height=32, fps=25.0, scale=2, gop=12, seed=None):
        shape = (frames, -(-height // block), -(-width // block))
        types = np.array(["I" if t % gop == 0 else "P" for t in range(frames)])
        grid = np.full((*shape, 2), value, np.int16)
        if seed is not None:
            grid = np.random.default_rng(seed).integers(-40, 41, grid.shape).astype(np.int16)
        grid[types == "I"] = 999
        mask = np.where(types == "I", 2, 1)[:, None, None] * np.ones(shape, np.uint8)
        return Motion(grid, mask.astype(np.uint8), types, types == "P", scale, block, width, height, fps)

    return make


@pytest.fixture(scope="session")
def random_clips(tmp_path_factory):
    """Eight clips of two classes with random vectors: 30 frames of 80 x 64 pixels, 12 per GOP."""
    import numpy as np

    from moclip.datasets.base import Clip
    from moclip.inputs.clips import LoadedClips
    from moclip.video import Motion, save_motion
    from moclip.video.store import content_path

    folder, clips = tmp_path_factory.mktemp("random"), []
    types = np.array(["I" if t % 12 == 0 else "P" for t in range(30)])
    for n in range(8):
        grid = np.random.default_rng(n).integers(-50, 51, (30, 4, 5, 2)).astype(np.int16)
        grid[types == "I"] = 0
        mask = np.broadcast_to(np.where(types == "I", 2, 1)[:, None, None], (30, 4, 5)).astype(np.uint8)
        clips.append(Clip(folder / f"{n}.mp4", n % 2, "AB"[n % 2], f"g{n}", f"clip {n}", f"{n:064x}"))
        motion = Motion(grid, mask, types, types == "P", 2, 16, 80, 64, 25.0)
        save_motion(motion, content_path(folder, clips[n].sha256), "sha")
    return LoadedClips(clips, folder)


@pytest.fixture(scope="module")
def network():
    """A motion network of four classes, with random weights."""
    import torch

    from moclip.models import create_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_model("mv_tsn", num_classes=4, backbone="tf_efficientnet_lite0", pretrained=False)


@pytest.fixture(scope="session")
def clip_model():
    """A random CLIP of the ViT kind, small, in FP32 and evaluation mode."""
    import torch
    from clip.model import CLIP

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CLIP(
            embed_dim=32, image_resolution=64, vision_layers=2, vision_width=64, vision_patch_size=32,
            context_length=77, vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=2,
        ).eval()  # fmt: skip


@pytest.fixture(scope="session")
def clip_file(clip_model, tmp_path_factory) -> Path:
    """Its state dict, as people save it."""
    import torch

    path = tmp_path_factory.mktemp("clip") / "tiny.pt"
    torch.save(clip_model.state_dict(), path)
    return path


@pytest.fixture
def axes():
    """Axes to draw on, without a window."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)
