"""The systems of Table I: sizes from their papers, transformers' own outputs, losses and fusions by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import softmax
from torch import nn

from moclip.config.sections import ConfigError
from moclip.engine import profiling as costs
from moclip.models import create_model, list_models
from moclip.report.paper import numbers
from moclip.report.systems import SYSTEMS
from moclip.studies.baselines import emv, two_stream
from moclip.studies.baselines.clip import CLIPZeroShot
from moclip.studies.baselines.costs import count
from moclip.studies.baselines.systems import BASELINES, INPUT_OF, INPUTS, NETWORKS, chosen_networks, joined_systems
from moclip.studies.baselines.trunks import fuse_scores

NARROW = 1 / 16
FUSED = {
    "coviar": ("coviar_iframe", "coviar_mv", "coviar_residual"),
    "two_stream": ("two_stream_spatial", "two_stream_temporal"),
    "dtmv_rgb": ("dtmv_cnn", "two_stream_spatial"),
}
# Counted with other tools beforehand (millions, GMACs of a view), at 101 classes and 224 px.
KNOWN = {
    "clip_zero_shot": (87.85, 4.41),
    "x_clip": (194.9, 141.1),
    "coviar_mv": (11.225, 1.774),
    "coviar_iframe": (58.35, 11.51),
    "two_stream_spatial": (90.63, 1.664),
    "two_stream_temporal": (90.71, 2.614),
    "emv_cnn": (90.7, 2.614),
    "dtmv_cnn": (90.7, 2.614),
    "mv_tsn": (4.137, 0.381),
    "fusion": (0.9698, 0.00097),
}


def channels(name):
    kind = INPUTS[INPUT_OF[name]]
    return kind.frames * kind.channels


def build(name, num_classes=5, seed=0):
    more = {"size": 64} if name in ("clip_zero_shot", "clip_head", "x_clip") else {}
    torch.manual_seed(seed)
    network = create_model(name, num_classes=num_classes, width=NARROW, **more)
    if name == "x_clip":
        network.name_classes([f"action {number}" for number in range(num_classes)])
    return network


def test_every_row_of_the_paper_has_a_model_but_one():
    stated = numbers("table1").set_index("system")["method"]
    assert {SYSTEMS[system].model if system in SYSTEMS else system for system in stated.index} - set(BASELINES) == {
        "epk_clip"
    }
    assert all(BASELINES[system].method == method for system, method in stated.items() if system in BASELINES)
    assert set(BASELINES) <= set(list_models()) and set(INPUT_OF) < set(list_models())
    assert {part for baseline in BASELINES.values() for part in baseline.parts} <= set(list_models())
    assert set(INPUT_OF.values()) == set(INPUTS)


def test_which_networks_are_trained_and_joined():
    """All that can be trained from scratch, each after its teacher; the same network is trained once."""
    names = chosen_networks(())
    assert set(names) == set(NETWORKS) - {"clip_head", "clip_zero_shot", "dtmv_cnn"}
    assert joined_systems(names) == {
        "coviar": ["coviar_iframe", "coviar_mv", "coviar_residual"],
        "two_stream": ["two_stream_spatial", "two_stream_temporal"],
        "dtmv_rgb": ["emv_cnn", "two_stream_spatial"],
    }
    assert joined_systems(["coviar_mv", "emv_cnn"]) == {}
    assert chosen_networks(["two_stream_temporal", "emv_cnn"]) == ["two_stream_temporal", "emv_cnn"]
    for which in (["emv_cnn"], ["emv_cnn", "two_stream_temporal"]):
        with pytest.raises(ConfigError, match="emv_cnn learns from two_stream_temporal: name that one before it"):
            chosen_networks(which)
    with pytest.raises(ConfigError, match=r"baselines.which: unknown 'emv_cn' \(did you mean 'emv_cnn'\?\)"):
        chosen_networks(["emv_cn"])


def test_recipes_of_scores():
    """As many weights as parts; a network's views are averaged alike in all of its systems; words say the same."""
    averages = {}
    for baseline in BASELINES.values():
        assert len(baseline.weights) in (0, len(baseline.parts))
        if baseline.weights:
            said = " : ".join(f"{weight:g}" for weight in baseline.weights)
            word = {"logit": f"logits, {said}", "softmax": "mean of probabilities"}[baseline.average]
            assert baseline.join.startswith(word)
        for part in baseline.parts:
            assert averages.setdefault(part, baseline.average) == baseline.average
    logits = {part for part, average in averages.items() if average == "logit"}
    assert logits == {"coviar_iframe", "coviar_mv", "coviar_residual"}, "as in their own test scripts"


@pytest.mark.parametrize("name", KNOWN)
def test_counts_are_those_of_the_papers(name):
    counted, (millions, gmacs) = count(name), KNOWN[name]

    def half_a_digit(number):
        return 0.51 * 10 ** -len(str(number).partition(".")[2])

    assert counted["params"] / 1e6 == pytest.approx(millions, abs=half_a_digit(millions))
    assert counted["macs_per_view"] / 1e9 == pytest.approx(gmacs, abs=half_a_digit(gmacs))


def test_cnn_m_by_hand():
    """Five convolutions at 109, 26 and 13 pixels a side; 6 x 6 x 512 into 4096, 2048, 101."""
    convolutions = 109**2 * 96 * 3 * 49 + 26**2 * 256 * 96 * 25 + 13**2 * 512 * 9 * (256 + 512 + 512)
    linear = 36 * 512 * 4096 + 4096 * 2048 + 2048 * 101
    assert count("two_stream_spatial")["macs_per_view"] == convolutions + linear
    slopes = 96 + 256 + 3 * 512 + 4096 + 2048
    assert count("emv_cnn")["params"] == count("two_stream_temporal")["params"] + slopes


def test_thirty_two_frames_cost_x_clip_four_times_eight():
    with torch.device("meta"):
        network = create_model("x_clip", num_classes=101, frames=32).eval()
        macs = costs.macs(network.encode_video, torch.zeros(1, 96, 224, 224)) / 1e9
    assert macs == pytest.approx(564.4, abs=0.05)
    assert macs == pytest.approx(BASELINES["x_clip"].own_views[0] * count("x_clip")["macs_per_view"] / 1e9, rel=1e-3)


@pytest.mark.parametrize("name", sorted(INPUT_OF))
def test_forward_and_backward(name):
    network = build(name)
    views = torch.randn(2, channels(name), 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logits = network.eval()(views)
    assert logits.shape == (2, 5) and torch.isfinite(logits).all()
    F.cross_entropy(logits, torch.tensor([0, 3])).backward()
    assert views.grad.abs().max() > 0
    gradients = [parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad]
    assert any(gradients) or name == "clip_zero_shot"


@pytest.mark.parametrize("name", FUSED)
def test_fused_systems_are_their_parts(name):
    network = build(name).eval()
    inputs = [torch.randn(2, channels(part), 64, 64) for part in FUSED[name]]
    scores = network(*inputs)
    assert scores.shape == (2, 5)
    scores.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    parts = [branch(view).detach() for branch, view in zip(network.branches.values(), inputs, strict=True)]
    if name == "coviar":
        expected = (2 * parts[0] + parts[1] + parts[2]).softmax(dim=1)
        torch.testing.assert_close((4 * scores).detach().softmax(dim=1), expected)
    else:
        expected = (parts[0].softmax(dim=1) + parts[1].softmax(dim=1)) / 2
        torch.testing.assert_close(scores.detach().softmax(dim=1), expected)
    assert list(BASELINES[name].parts) == list(FUSED[name])


def test_fusions_by_hand():
    one, two = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(fuse_scores([one, two], (3, 1), "logit"), torch.tensor([[1.5, 0.25]]))
    shares = 0.75 * softmax(one.numpy(), axis=1) + 0.25 * softmax(two.numpy(), axis=1)
    torch.testing.assert_close(fuse_scores([one, two], (3, 1), "softmax").exp(), torch.from_numpy(shares))


@pytest.mark.parametrize("classes", [2, 3])
def test_svm_fusion_trusts_the_stream_that_knows(classes):
    """One stream tells the class, the other says the same of every clip."""
    labels = np.arange(12) % classes
    knows, idle = np.eye(classes)[labels] * 0.8 + 0.1, np.full((12, classes), 1 / classes)
    scores = two_stream.svm_fusion([knows, idle], labels, [np.roll(knows, 1, axis=0), idle])
    assert scores.shape == (12, classes)
    assert (scores.argmax(axis=1) == np.roll(labels, 1)).all()
    swapped = two_stream.svm_fusion([idle, knows], labels, [idle, np.roll(knows, 1, axis=0)])
    np.testing.assert_allclose(scores, swapped, atol=1e-3)
    again = two_stream.svm_fusion([3 * knows, idle], labels, [3 * np.roll(knows, 1, axis=0), idle])
    np.testing.assert_allclose(scores, again, atol=1e-9)  # rows are normalised, so that their size says nothing


# --- transfer -------------------------------------------------------------------------------------------------------


def test_initialisation_transfer_tensor_by_tensor():
    teacher, student = build("two_stream_temporal"), build("emv_cnn", seed=1)
    own = {name: value.clone() for name, value in student.state_dict().items()}
    assert not torch.equal(own["classifier.2.weight"], teacher.state_dict()["classifier.2.weight"])
    emv.transfer_initialisation(student, teacher)
    given, slopes = teacher.state_dict(), []
    for name, value in student.state_dict().items():
        if name in given:
            assert torch.equal(value, given[name]) and not value.is_set_to(given[name]), name
        else:
            slopes.append(name)
            assert torch.equal(value, own[name]), name
    assert len(slopes) == 7 and all(isinstance(student.get_submodule(n.rpartition(".")[0]), nn.PReLU) for n in slopes)
    with pytest.raises(ValueError, match="build both of one width"):
        emv.transfer_initialisation(student, create_model("two_stream_temporal", num_classes=5, width=2 * NARROW))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_target_loss(temperature):
    """Beside the labels: T^2 times the teacher's entropy plus torch's divergence from it."""
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 0, 1])
    soft = (teacher / temperature).softmax(dim=1)
    divergence = F.kl_div((logits / temperature).log_softmax(dim=1), soft, reduction="batchmean")
    entropy = -(soft * soft.log()).sum(dim=1).mean()
    expected = F.cross_entropy(logits, labels) + temperature**2 * (divergence + entropy)
    found = emv.soft_target_loss(logits, labels, teacher, temperature)
    torch.testing.assert_close(found, expected)
    (one,), (two,) = torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(one, two)


def test_soft_targets_by_hand():
    """Logits (0, 0), teacher (ln 9, 0) at T = 2: soft targets 3/4 and 1/4, cross-entropy ln 2 whatever they are."""
    loss = emv.soft_target_loss(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([[np.log(9.0), 0.0]]), 2.0)
    assert loss.item() == pytest.approx((1 + 4) * np.log(2))
    logits = torch.tensor([[2 * np.log(3.0), 0.0]])  # softened: 3/4 and 1/4, too
    hard = -np.log(0.9)
    soft = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    loss = emv.soft_target_loss(logits, torch.tensor([0]), torch.tensor([[np.log(9.0), 0.0]]), 2.0)
    assert loss.item() == pytest.approx(hard + 4 * soft)


# --- transformers' own ----------------------------------------------------------------------------------------------


def test_clip_zero_shot_is_transformers_clip(clip_file):
    """The same random weights under transformers' names give the same logits of images against texts."""
    import clip
    from transformers import CLIPConfig, CLIPModel

    from moclip.encoders import load_encoder
    from moclip.encoders.base import class_embeddings

    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    theirs = CLIPModel(
        CLIPConfig(
            text_config={**sizes, "eos_token_id": 2},
            vision_config={**sizes, "image_size": 64, "patch_size": 32},
            projection_dim=32,
        )
    ).eval()
    encoder, _ = load_encoder(f"clip:{clip_file}")
    missing = theirs.load_state_dict(as_transformers(encoder.model.state_dict()), strict=False).missing_keys
    assert all(name.endswith("position_ids") for name in missing), missing
    texts, images = ["a cat", "two dogs running", "tea"], torch.randn(2, 3, 64, 64)
    ours = CLIPZeroShot(len(texts), width=1 / 8)
    ours.tower, ours.logit_scale = encoder.image_tower, encoder.logit_scale
    ours.classes = class_embeddings(encoder, [[text] for text in texts])
    with torch.no_grad():
        expected = theirs(input_ids=clip.tokenize(texts), pixel_values=images).logits_per_image
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)
        head = create_model("clip_head", num_classes=3, width=NARROW, size=64).eval()
        head.tower = encoder.image_tower
        feature = theirs.visual_projection(theirs.vision_model(images).pooler_output)
        torch.testing.assert_close(head(images), head.head.mlp(feature), atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def as_transformers(state):
    """OpenAI's names to transformers'; its attention has one matrix for queries, keys and values."""
    renamed = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    for old, new in {**norms, "ln_final": "text_model.final_layer_norm"}.items():
        renamed |= {f"{new}.{part}": state[f"{old}.{part}"] for part in ("weight", "bias")}
    inner = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for tower, home in (("visual.transformer", "vision_model"), ("transformer", "text_model")):
        for layer in range(2):
            old, new = f"{tower}.resblocks.{layer}", f"{home}.encoder.layers.{layer}"
            for part in ("weight", "bias"):
                for one, other in {**inner, "attn.out_proj": "self_attn.out_proj"}.items():
                    renamed[f"{new}.{other}.{part}"] = state[f"{old}.{one}.{part}"]
                joined = state[f"{old}.attn.in_proj_{part}"].chunk(3)
                for letter, values in zip("qkv", joined, strict=True):
                    renamed[f"{new}.self_attn.{letter}_proj.{part}"] = values
    return renamed


def test_x_clip_is_transformers_x_clip_from_a_local_folder(tmp_path):
    """A folder as people save it; logits of a batch of two videos against transformers' own call."""
    import clip
    from transformers import XCLIPModel

    build("x_clip").model.save_pretrained(tmp_path)
    theirs = XCLIPModel.from_pretrained(tmp_path).eval()
    texts, video = ["a cat", "two dogs running", "tea"], torch.randn(2, 8, 3, 64, 64)
    ours = create_model("x_clip", num_classes=3, weights=str(tmp_path)).eval()
    with pytest.raises(ValueError, match="call name_classes"):
        ours(video.flatten(1, 2))
    ours.name_classes(texts)
    with torch.no_grad():
        expected = theirs(input_ids=clip.tokenize(texts), pixel_values=video)
        torch.testing.assert_close(ours(video.flatten(1, 2)), expected.logits_per_video)
        torch.testing.assert_close(F.normalize(ours.encode_video(video.flatten(1, 2))), expected.video_embeds)
