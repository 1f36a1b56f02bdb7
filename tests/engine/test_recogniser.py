"""A run applied to new videos: computed by hand, with as few looks at the file as possible, and nothing on disk."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from moclip.encoders.base import Encoder
from moclip.engine import recogniser as module
from moclip.engine.checkpoints import CheckpointError, save_checkpoint
from moclip.engine.recogniser import load_recogniser
from moclip.inputs.views import EvalViews, eval_views, to_input
from moclip.io.artefacts import load_tensors, save_tensors
from moclip.models import create_model
from moclip.models.backbones import state_hash
from moclip.models.mv_tsn import average_views
from moclip.video import VideoError, encode, probe, read_frames, read_motion, transcode
from moclip.video.probe import OpenVideo

NETWORK = {"num_classes": 4, "backbone": "test_efficientnet", "pretrained": False}


class Colours(Encoder):
    """Mean colour."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 2, 3]))
        self.transform = lambda image: torch.from_numpy(np.asarray(image.resize((8, 8)), np.float32)).permute(2, 0, 1)
        self.freeze()

    def encode_image(self, images):
        return images.mean(dim=(2, 3)) * self.weight / 255


@pytest.fixture
def run(tmp_path, config, photos, monkeypatch):
    """A run of untrained networks on one data set, whose encoder is `Colours`; (folder, network, head)."""
    torch.manual_seed(0)
    network = create_model("mv_tsn", **NETWORK)
    network.data_bn.running_var.fill_(0.05)  # random weights that tell clips apart
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    arguments = {"num_classes": 4, "appearance_dim": 3, "motion_dim": network.feature_dim, "hidden": 8}
    head = create_model("fusion", **arguments)
    folder = tmp_path / "run" / "checkpoints"
    save_checkpoint(folder / "mv_tsn-mixed.safetensors", network, "mv_tsn", NETWORK, config, photos, 0)
    pair = {"network": "mv_tsn-mixed.safetensors", "network_weights": state_hash(network)}
    path = folder / "fusion-mixed-seed0.safetensors"
    save_checkpoint(path, head, "fusion", arguments, config, photos, 0, **pair)
    monkeypatch.setattr(module, "load_encoder", lambda *asked: (Colours(), None))
    return tmp_path / "run", network.eval(), head.eval()


@pytest.fixture
def change(run):
    """Change a checkpoint's header; None removes an entry."""

    def apply(name, **values):
        path = run[0] / "checkpoints" / f"{name}.safetensors"
        tensors, header = load_tensors(path)
        header = {key: value for key, value in (header | values).items() if value is not None}
        save_tensors(path, tensors, header)

    return apply


@torch.no_grad()
def by_hand(network, head, path, config):
    """Probabilities of a file, of the motion network and of the head."""
    views = to_input(eval_views(read_motion(path), EvalViews.from_sections(config.mv, config.motion, False)))
    alone = average_views(network(views), config.mv.average).softmax(dim=1)[0]
    picture = Image.fromarray(read_frames(path, [probe(path).frames // 2])[0]).resize((8, 8))
    colours = torch.from_numpy(np.asarray(picture, np.float32)).mean(dim=(0, 1)) * torch.tensor([1.0, 2, 3]) / 255
    return alone, head(colours[None], network.features(views).mean(dim=1)).softmax(dim=1)[0]


def test_a_file_motion_and_many_files(run, photos, config):
    folder, network, head = run
    videos = [clip.path for clip in photos.test]
    for system, place in (("mv_only", 0), ("fusion", 1)):
        recogniser = load_recogniser(folder, system=system, device="cpu")
        assert recogniser.classes == list(photos.classes) and recogniser.accuracy is None
        expected = torch.stack([by_hand(network, head, path, config)[place] for path in videos])
        assert len({tuple(row) for row in expected.tolist()}) == 4
        torch.testing.assert_close(recogniser.many(videos), expected)
        pictures = read_frames(videos[0], [12])  # the middle of 24
        torch.testing.assert_close(recogniser(read_motion(videos[0]), pictures), expected[0])
    with pytest.raises(ValueError, match="needs frames beside the motion"):
        recogniser(read_motion(videos[0]))


@pytest.mark.parametrize(("system", "times"), [("mv_only", 1), ("fusion", 2)])
def test_a_file_is_opened_and_decoded_once_per_stream_and_nothing_is_written(
    run, photos, tmp_path, monkeypatch, system, times
):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    recogniser = load_recogniser(run[0], system=system, device="cpu")
    opened, decoded = [], []
    open_file, decode = av.open, OpenVideo.frames
    monkeypatch.setattr(av, "open", lambda *asked, **more: opened.append(asked) or open_file(*asked, **more))
    monkeypatch.setattr(OpenVideo, "frames", lambda *asked, **more: decoded.append(1) or decode(*asked, **more))
    monkeypatch.setattr("hashlib.sha256", lambda *content: pytest.fail("hashed"))
    monkeypatch.setattr("hashlib.file_digest", lambda *content: pytest.fail("hashed"))
    monkeypatch.setattr("tempfile.mkdtemp", lambda *asked, **more: pytest.fail("a temporary folder"))
    monkeypatch.setattr("tempfile.mkstemp", lambda *asked, **more: pytest.fail("a temporary file"))
    recogniser(photos.test[0].path)
    assert len(opened) == len(decoded) == times
    assert not (tmp_path / "home").exists()


def test_a_video_is_re_encoded_if_the_run_s_clips_were(run, change, photos, tmp_path):
    transcode(photos.test[0].path, tmp_path / "a.m4v")
    expected = load_recogniser(run[0], system="mv_only", device="cpu")(tmp_path / "a.m4v")
    change("mv_tsn-mixed", shown={"reencode": True, "horizontal_flip": False})
    recogniser = load_recogniser(run[0], system="mv_only", device="cpu")
    assert torch.equal(recogniser(photos.test[0].path), expected)
    assert torch.equal(recogniser(read_motion(tmp_path / "a.m4v")), expected), "motion is taken as it is"


def test_a_head_of_another_network_is_refused(run, change, config, photos):
    folder = run[0] / "checkpoints"
    other = create_model("mv_tsn", **NETWORK)
    save_checkpoint(folder / "mv_tsn-mixed.safetensors", other, "mv_tsn", NETWORK, config, photos, 0)
    with pytest.raises(CheckpointError, match="fusion-mixed-seed0.*other weights than .*mv_tsn-mixed.*run notebook 03"):
        load_recogniser(run[0], device="cpu")
    save_checkpoint(folder / "another.safetensors", other, "mv_tsn", NETWORK, config, photos, 0)
    change("fusion-mixed-seed0", network="another.safetensors", network_weights=state_hash(other))
    assert state_hash(load_recogniser(run[0], device="cpu").network) == state_hash(other), "the header names the file"


def test_what_is_missing_is_named(run, change, tmp_path):
    folder = run[0]
    for arguments, message in (
        ((tmp_path / "none",), "none has no trained network; first: moclip reproduce"),
        ((folder, "mixed", "fusion", 7), r"no checkpoint .*seed7\.safetensors; there are: fusion-mixed-seed0, mv_tsn"),
        ((folder, "mixed", "zero_shot"), "no recogniser for system 'zero_shot'; there are: mv_only, fusion"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_recogniser(*arguments)
    change("fusion-mixed-seed0", network=None, network_weights=None)
    with pytest.raises(CheckpointError, match="header has no network, network_weights .*train it again"):
        load_recogniser(folder)
    (folder / "checkpoints" / "mv_tsn-independent.safetensors").touch()
    with pytest.raises(CheckpointError, match="has networks of independent, mixed: name one of them"):
        load_recogniser(folder)


def test_unusable_videos_are_errors_that_name_them(run, tmp_path):
    recogniser = load_recogniser(run[0], system="mv_only", device="cpu")
    (tmp_path / "text.mp4").write_text("no video")
    encode(np.zeros((1, 64, 64, 3), np.uint8), tmp_path / "one.mp4")
    for name, message in (("absent.mp4", "no such file"), ("text.mp4", "text.mp4"), ("one.mp4", "motion vectors")):
        with pytest.raises(VideoError, match=message):
            recogniser(tmp_path / name)
