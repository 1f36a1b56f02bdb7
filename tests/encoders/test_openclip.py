"""open_clip's encoders: small models of our own, registered as open_clip lets one."""

import json

import numpy as np
import open_clip
import pytest
import torch
from open_clip import factory
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from skimage import data

from moclip.encoders import load_encoder
from moclip.encoders.base import EncoderError, zero_shot_logits
from moclip.models.backbones import WeightsError

TEXTS = ["a photo of a cat.", "a video of the person using a hula hoop.", "x"]
TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
# As SigLIP: a bias, another context, another preprocessing. The tokenizer is CLIP's: SigLIP's has to be downloaded.
SIGMOID = TINY | {
    "quick_gelu": False,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": TINY["vision_cfg"] | {"image_size": 96},
    "text_cfg": TINY["text_cfg"] | {"context_length": 16},
}


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, values in (("tiny", TINY), ("tiny-sigmoid", SIGMOID)):
        (folder / f"{name}.json").write_text(json.dumps(values))
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS.remove(folder)
    factory._rescan_model_configs()


@pytest.fixture(scope="module")
def sigmoid(registered, tmp_path_factory):
    """A model and the file of its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model("tiny-sigmoid").eval()
    path = tmp_path_factory.mktemp("weights") / "sigmoid.pt"
    torch.save(model.state_dict(), path)
    return model, path


@torch.no_grad()
def test_towers_preprocessing_scale_and_bias_are_open_clip_s(sigmoid):
    model, path = sigmoid
    encoder, preprocess = load_encoder(f"open_clip:tiny-sigmoid/{path}")
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    images = torch.stack([preprocess(photo) for photo in (data.chelsea(), data.coffee())])
    assert images.shape == (2, 3, 96, 96) and torch.equal(images[0], transform(Image.fromarray(data.chelsea())))
    tokens = open_clip.get_tokenizer("tiny-sigmoid")(TEXTS)
    assert tokens.shape == (3, 16)
    torch.testing.assert_close(encoder.encode_image(images), model.encode_image(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.encode_text(TEXTS), model.encode_text(tokens), atol=1e-5, rtol=1e-5)
    logits = zero_shot_logits(
        encoder.encode_image(images), encoder.encode_text(TEXTS), encoder.logit_scale, encoder.logit_bias
    )
    torch.testing.assert_close(logits, model.get_logits(images, tokens)[0])
    assert encoder.logit_bias == -10 and encoder.feature_dim == 32
    assert not encoder.training and not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.name == f"open_clip:tiny-sigmoid/{path}"


@torch.no_grad()
def test_clip_s_weights_give_clip_s_features(clip_file, clip_model):
    """QuickGELU where the model has it; another activation is another number."""
    encoder, preprocess = load_encoder(f"open_clip:tiny/{clip_file}")
    image = preprocess(data.chelsea())[None]
    torch.testing.assert_close(encoder.encode_image(image), clip_model.encode_image(image), atol=1e-5, rtol=1e-5)
    tokens = encoder.tokenizer(TEXTS)
    torch.testing.assert_close(encoder.encode_text(TEXTS), clip_model.encode_text(tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_tag_s_activation_is_kept(clip_file, clip_model, monkeypatch):
    """``ViT-B-32/openai`` is written without "-quickgelu"; open_clip would only warn."""
    monkeypatch.setitem(factory._MODEL_CONFIGS["tiny"], "quick_gelu", False)
    tag = {"file": str(clip_file), "quick_gelu": True, "interpolation": "bilinear", "mean": (0.5,) * 3}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, name: tag)
    monkeypatch.setattr(factory, "get_pretrained_cfg", lambda model, name: tag)
    encoder, preprocess = load_encoder("open_clip:tiny/openai")
    image = preprocess(data.chelsea())[None]
    torch.testing.assert_close(encoder.encode_image(image), clip_model.encode_image(image), atol=1e-5, rtol=1e-5)
    assert "bilinear" in repr(encoder.transform) and "(0.5, 0.5, 0.5)" in repr(encoder.transform), "the tag's own"


@pytest.mark.parametrize("model", ["tiny", "tiny-sigmoid"])
def test_a_text_longer_than_the_context_is_refused(model, clip_file, sigmoid):
    encoder, _ = load_encoder(f"open_clip:{model}/{clip_file if model == 'tiny' else sigmoid[1]}")
    context = 77 if model == "tiny" else 16
    assert encoder.encode_text(["cat " * (context - 2)]).shape == (1, 32)
    with pytest.raises(EncoderError, match=f"cat cat.*too long for context length {context}"):
        encoder.encode_text(["short", "cat " * (context - 1)])


@pytest.mark.parametrize("content", [b"<html>404</html>" * 50, b"", "half", "other weights"])
def test_a_file_that_holds_no_such_weights_names_the_remedies(content, clip_file, tmp_path):
    path = tmp_path / "weights.pt"
    whole = clip_file.read_bytes()
    if content == "other weights":
        torch.save({"weight": torch.zeros(2, 2)}, path)
    else:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(WeightsError) as caught:
        load_encoder(f"open_clip:tiny-sigmoid/{path}")
    for remedy in ("network", "HF_HOME", "encoder.cache", "open_clip:tiny-sigmoid//path", "encoder.name=offline"):
        assert remedy in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_network_names_the_remedies(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", refuse)
    with pytest.raises(WeightsError, match="Name or service not known.*network.*HF_HOME.*local file.*offline"):
        load_encoder("open_clip:RN50/openai", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_name_the_nearest():
    with pytest.raises(EncoderError, match="no model 'ViT-B-33'.*did you mean 'ViT-B-32'"):
        load_encoder("open_clip:ViT-B-33/openai")
    with pytest.raises(WeightsError, match="neither a file nor a tag.*did you mean 'openai'.*laion2b_s34b_b79k"):
        load_encoder("open_clip:ViT-B-32/openia")
    with pytest.raises(WeightsError, match="neither a file nor a tag"):
        load_encoder("open_clip:ViT-B-32//nowhere/weights.pt")


def test_frames_of_any_size(clip_file):
    _, preprocess = load_encoder(f"open_clip:tiny/{clip_file}")
    for size in ((17, 200), (225, 65)):
        assert preprocess(np.zeros((*size, 3), np.uint8)).shape == (3, 64, 64)
