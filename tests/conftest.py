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
    from moclip.io.files import sha256_file
    from moclip.video.store import content_path, store_motion

    folder = tmp_path_factory.mktemp("store")
    for clip in photos.clips:
        store_motion(clip.path, content_path(folder, sha256_file(clip.path)))
    return folder


@pytest.fixture
def config():
    """The ``smoke`` profile with small batches."""
    from moclip.config.load import load_config

    return load_config("smoke", {"mv.batch_size": 3})


@pytest.fixture
def clips(photos, store, config):
    """The training clips of `photos` with their motion."""
    from moclip.inputs.clips import MotionClips

    return MotionClips.from_config(photos.train, store, config, flips=True)


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
