"""The motion network: sizes, stem, segments, views."""

import numpy as np
import pytest
import timm
import torch
from scipy.special import logsumexp, softmax

from moclip.models import create_model, list_models
from moclip.models.backbones import create_backbone, two_channel_stem
from moclip.models.mv_tsn import average_views

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_model("mv_tsn", num_classes=5, backbone=LITE0, pretrained=False).eval()


@pytest.fixture
def segments():
    return torch.randn(2, 3, 2, 32, 32, generator=torch.Generator().manual_seed(1)) / 4


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("backbone", "expected"), [("efficientnet_b0", 4_136_645), (LITE0, 3_500_105)])
def test_parameters(backbone, expected):
    network = create_model("mv_tsn", num_classes=101, backbone=backbone, pretrained=False)
    timm_s_own = timm.create_model(backbone, num_classes=101, in_chans=2)
    assert count(network) == count(timm_s_own) + 4 == expected  # 4: scale and offset of the data's BatchNorm
    assert network.feature_dim == 1280 and all(parameter.requires_grad for parameter in network.parameters())


def test_the_stem_is_the_mean_of_the_three_channels_twice():
    image_net = create_backbone(LITE0)
    stem = create_model("mv_tsn", num_classes=5, backbone=LITE0).backbone.conv_stem
    weight = image_net.conv_stem.weight
    mean = (weight[:, 0] + weight[:, 1] + weight[:, 2]) / 3
    torch.testing.assert_close(stem.weight[:, 0], mean)
    torch.testing.assert_close(stem.weight[:, 1], mean)
    assert stem.weight.shape == (32, 2, 3, 3)
    assert type(stem) is type(image_net.conv_stem) and stem.in_channels == 2


def test_timm_s_two_channels_are_something_else():
    """[1, 2, 3] becomes [2, 2] here and [1.5, 3.0] there."""
    model = timm.create_model("efficientnet_b0")
    with torch.no_grad():
        model.conv_stem.weight[:] = torch.tensor([1.0, 2, 3]).view(1, 3, 1, 1)
    theirs = timm.models.adapt_input_conv(2, model.conv_stem.weight)
    two_channel_stem(model)
    assert model.conv_stem.weight.unique().tolist() == [2.0]
    assert theirs[0, :, 0, 0].tolist() == [1.5, 3.0]


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_other_backbones(backbone):
    network = create_model("mv_tsn", num_classes=5, backbone=backbone, pretrained=False).eval()
    with torch.no_grad():
        features = network.features(torch.zeros(1, 2, 2, 224, 224))
    assert features.shape == (1, 2, network.feature_dim)


def test_the_weights_behind_the_stem_are_image_net_s():
    image_net, network = create_backbone(LITE0).state_dict(), create_model("mv_tsn", num_classes=5, backbone=LITE0)
    own = network.backbone.state_dict()
    assert image_net.keys() - own.keys() == {"classifier.weight", "classifier.bias"}
    for name in own.keys() - {"conv_stem.weight"}:
        assert torch.equal(own[name], image_net[name]), name


@torch.no_grad()
def test_every_segment_is_seen_alone(network, segments):
    features, logits = network.features(segments), network(segments)
    assert features.shape == (2, 3, 1280) and logits.shape == (2, 3, 5)
    for b in range(2):
        for s in range(3):
            alone = network.backbone(network.data_bn(segments[b, s][None]))[0]
            torch.testing.assert_close(features[b, s], alone, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(
        logits.numpy(),
        features.numpy() @ network.classifier.weight.numpy().T + network.classifier.bias.numpy(),
        atol=1e-5,
    )
    # The classifier is linear: the mean of the logits is the logits of the mean feature.
    torch.testing.assert_close(logits.mean(dim=1), network.classifier(features.mean(dim=1)), atol=1e-5, rtol=1e-4)


def test_data_batch_norm_normalises_each_channel(segments):
    network = create_model("mv_tsn", num_classes=5, backbone=LITE0, pretrained=False).train()
    seen = []
    network.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(segments * torch.tensor([3.0, 1]).view(1, 1, 2, 1, 1) + 5)
    (fields,) = seen
    assert fields.shape == (6, 2, 32, 32)
    torch.testing.assert_close(fields.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(fields.var(dim=(0, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)


def test_gradients_reach_the_first_layers(segments):
    network = create_model("mv_tsn", num_classes=5, backbone=LITE0, pretrained=False).train()
    torch.nn.functional.cross_entropy(network(segments).mean(dim=1), torch.tensor([0, 3])).backward()
    parameters = dict(network.named_parameters())
    for name in ("data_bn.weight", "data_bn.bias", "backbone.conv_stem.weight", "classifier.weight"):
        assert parameters[name].grad.abs().sum() > 0, name
    assert all(parameter.grad is not None for parameter in parameters.values())
    assert network.stem is network.backbone.conv_stem


def test_averages_of_views():
    logits = np.random.default_rng(0).normal(0, 5, (4, 7, 6))
    probabilities = average_views(torch.from_numpy(logits), "softmax").softmax(dim=-1)
    np.testing.assert_allclose(probabilities, softmax(logits, axis=-1).mean(axis=1), atol=1e-12)
    scores = average_views(torch.from_numpy(logits), "softmax")
    expected = logsumexp(logits - logsumexp(logits, axis=-1, keepdims=True), axis=1) - np.log(7)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(average_views(torch.from_numpy(logits), "logit"), logits.mean(axis=1))
    with pytest.raises(ValueError, match="'softmax' or 'logit', not 'mean'"):
        average_views(torch.from_numpy(logits), "mean")


def test_averages_stay_finite_for_confident_views():
    logits = torch.tensor([[[900.0, 0.0], [0.0, 900.0]]])
    assert torch.isfinite(average_views(logits, "softmax")).all()
    assert average_views(logits, "softmax").softmax(dim=-1).tolist() == [[0.5, 0.5]]


def test_the_two_averages_differ():
    """One sure view against three doubtful ones: probabilities say 1, logits say 0."""
    logits = torch.tensor([[[9.0, 0], [0, 1], [0, 1], [0, 1]]])
    assert average_views(logits, "softmax").argmax().item() == 1
    assert average_views(logits, "logit").argmax().item() == 0


def test_unknown_models_are_named():
    assert {"fusion", "mv_tsn"} <= set(list_models())
    with pytest.raises(ValueError, match=r"'mv_tns' \(did you mean 'mv_tsn'\?\)"):
        create_model("mv_tns", num_classes=5)
