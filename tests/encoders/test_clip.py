"""CLIP: bit for bit what the `clip` module computes, and what transformers and open_clip make of the same weights."""

import hashlib
import warnings
from urllib.error import URLError

import clip
import numpy as np
import pytest
import torch
from clip.model import CLIP, convert_weights
from PIL import Image
from skimage import data

from moclip.encoders import load_encoder
from moclip.encoders.base import EncoderError, class_embeddings, zero_shot_logits
from moclip.encoders.prompts import class_prompts
from moclip.models.backbones import WeightsError

TEXTS = ["a photo of a cat.", "a video of the person using a hula hoop.", "x"]


def save_archive(model, side, path):
    """As OpenAI publishes them."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(model, (torch.zeros(1, 3, side, side), clip.tokenize(["x"]))), path)


@pytest.fixture(scope="module", params=["state dict", "half precision", "TorchScript"])
def weights_file(request, clip_model, tmp_path_factory):
    """The same weights in the forms in which CLIP's are handed around."""
    path = tmp_path_factory.mktemp("weights") / "clip.pt"
    if request.param == "TorchScript":
        save_archive(clip_model, 64, path)
    else:
        state = clip_model.state_dict()
        if request.param == "half precision":
            state = {name: value.half() if value.dim() > 1 else value for name, value in state.items()}
        torch.save(state, path)
    return path


@torch.no_grad()
def test_features_equal_those_of_the_clip_module(weights_file):
    encoder, preprocess = load_encoder(f"clip:{weights_file}")
    reference, transform = clip.load(str(weights_file), device="cpu", jit=False)
    images = torch.stack([transform(Image.fromarray(data.chelsea())), transform(Image.fromarray(data.coffee()))])
    assert torch.equal(encoder.encode_image(images), reference.encode_image(images))
    assert torch.equal(encoder.encode_text(TEXTS), reference.encode_text(clip.tokenize(TEXTS)))
    assert torch.equal(preprocess(data.chelsea()), images[0])
    assert encoder.encode_image(images).dtype == torch.float32
    assert encoder.feature_dim == 32 and encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    assert encoder.name == f"clip:{weights_file}"


@torch.no_grad()
def test_the_file_s_weights_are_used(clip_file, clip_model):
    """Against the model that was saved, which no loader touched."""
    encoder, _ = load_encoder(f"clip:{clip_file}")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    # clip.load goes through half precision; its weights are rounded so.
    torch.testing.assert_close(encoder.encode_image(images), clip_model.encode_image(images), atol=5e-3, rtol=5e-2)
    other = torch.randn(2, 3, 64, 64)
    assert not torch.allclose(encoder.encode_image(other), clip_model.encode_image(images), atol=5e-3)


@pytest.mark.parametrize("size", [(64, 64), (63, 97), (241, 320), (17, 200), (225, 65), (1, 1)])
@pytest.mark.parametrize("grey", [False, True])
def test_preprocessing_is_clip_s(clip_file, size, grey):
    _, preprocess = load_encoder(f"clip:{clip_file}")
    frame = np.random.default_rng(0).integers(0, 256, (*size, 1 if grey else 3), np.uint8)
    picture = Image.fromarray(frame[:, :, 0]) if grey else Image.fromarray(frame)  # CLIP's own turns grey to RGB
    expected = clip.clip._transform(64)(picture)
    frame = frame.repeat(3, axis=2) if grey else frame  # as a grey video is decoded
    assert torch.equal(preprocess(frame), expected)


def test_many_texts_go_in_parts(clip_file):
    encoder, _ = load_encoder(f"clip:{clip_file}")
    texts = [f"number {number}" for number in range(300)]
    with torch.no_grad():
        together = encoder.encode_text(texts)
        assert together.shape == (300, 32)
        for index in (0, 255, 256, 299):
            torch.testing.assert_close(together[index], encoder.encode_text([texts[index]])[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("content", ["no weights", "empty", "cut off", "other weights", "not a state dict"])
def test_a_file_that_holds_no_clip_names_the_remedies(clip_file, tmp_path, content):
    path = tmp_path / "ViT-B-32.pt"
    whole = clip_file.read_bytes()
    if content == "other weights":
        torch.save({"weight": torch.zeros(2, 2)}, path)
    elif content == "not a state dict":
        torch.save([1, 2], path)
    else:
        path.write_bytes(
            {"no weights": b"<html>404</html>" * 50, "empty": b"", "cut off": whole[: len(whole) // 2]}[content]
        )
    with pytest.raises(WeightsError) as caught:
        load_encoder(f"clip:{path}")
    message = str(caught.value)
    assert str(path) in message and "encoder.name=clip:/path" in message and "encoder.name=offline" in message


@pytest.mark.parametrize("name", ["clip:ViT-B/33", "clip:/nowhere/ViT-B-32.pt"])
def test_a_missing_file_or_unknown_model_names_the_remedies(name):
    with pytest.raises(WeightsError) as caught:
        load_encoder(name)
    message = str(caught.value)
    assert name.removeprefix("clip:") in message and "ViT-B/32" in message and "encoder.name=offline" in message


def test_no_network_names_all_three_remedies_and_leaves_nothing(tmp_path, monkeypatch):
    def refuse(url, root):
        with open(f"{root}/ViT-B-32.pt", "wb") as half:
            half.write(b"the first bytes")
        raise URLError("Name or service not known")

    monkeypatch.setattr("clip.clip._download", refuse)
    with pytest.raises(WeightsError) as caught:
        load_encoder("clip:ViT-B/32", cache=tmp_path)
    for remedy in ("network", str(tmp_path), "clip:/path/to/ViT-B-32.pt", "encoder.name=offline"):
        assert remedy in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


@pytest.fixture
def official(clip_file, monkeypatch):
    """An official name for the small model, as if it were published."""
    digest = hashlib.sha256(clip_file.read_bytes()).hexdigest()
    monkeypatch.setitem(clip.clip._MODELS, "ViT-B/32", clip_file.parent.as_uri() + f"/{digest}/ViT-B-32.pt")
    return "clip:ViT-B/32"


def test_official_weights_are_taken_from_the_cache_and_their_hash_is_checked(official, clip_file, tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    path.write_bytes(clip_file.read_bytes())
    encoder, _ = load_encoder(official, cache=tmp_path)
    assert encoder.feature_dim == 32 and encoder.name == official
    damaged = bytearray(clip_file.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"ViT-B-32.pt: SHA-256 is .*, the official one is .*; delete the file"):
        load_encoder(official, cache=tmp_path)
    assert path.read_bytes() == damaged, "the user's file is left alone"


def test_official_weights_are_downloaded_whole(official, clip_file, tmp_path, monkeypatch):
    def download(url, root):
        path = f"{root}/ViT-B-32.pt"
        with open(path, "wb") as file:
            file.write(clip_file.read_bytes())
        return path

    monkeypatch.setattr("clip.clip._download", download)
    encoder, _ = load_encoder(official, cache=tmp_path / "new")
    assert encoder.feature_dim == 32
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ViT-B-32.pt"]
    monkeypatch.setattr("clip.clip._download", None)
    load_encoder(official, cache=tmp_path / "new")


def test_a_text_longer_than_the_context_is_refused(clip_file):
    encoder, _ = load_encoder(f"clip:{clip_file}")
    assert encoder.encode_text(["cat " * 75]).shape == (1, 32)  # with its start and its end: 77
    with pytest.raises(EncoderError, match="too long for context length 77.*shorten"):
        encoder.encode_text(["short", "cat " * 76])


# --- the real size --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vit_b_32(tmp_path_factory):
    """A random ViT-B/32 in half precision, as an archive and as a state dict: 150 million parameters, 300 MB each."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12).eval()
    convert_weights(model)
    folder = tmp_path_factory.mktemp("ViT-B-32")
    save_archive(model, 224, folder / "archive.pt")
    torch.save(model.state_dict(), folder / "state.pt")
    yield folder
    for path in folder.iterdir():
        path.unlink()


@torch.no_grad()
def test_vit_b_32_in_openai_s_format(vit_b_32):
    ours, preprocess = load_encoder(f"clip:{vit_b_32 / 'archive.pt'}")
    photos = data.chelsea(), data.coffee()
    images = torch.stack([preprocess(photo) for photo in photos])
    tokens = clip.tokenize(TEXTS)
    image_features, text_features = ours.encode_image(images), ours.encode_text(TEXTS)

    theirs, transform = clip.load(str(vit_b_32 / "state.pt"), device="cpu")
    assert torch.equal(images, torch.stack([transform(Image.fromarray(photo)) for photo in photos]))
    assert torch.equal(image_features, theirs.encode_image(images))
    assert torch.equal(text_features, theirs.encode_text(tokens))

    # CLIP's published recipe for zero-shot classification, in a straight line.
    texts = {"cat": "tabby cat", "coffee": "cup of coffee", "dog": "dog"}
    prompts = class_prompts("scene", list(texts), texts)
    weights = []
    for own in prompts:
        embeddings = theirs.encode_text(clip.tokenize(own))
        embeddings /= embeddings.norm(dim=-1, keepdim=True)
        mean = embeddings.mean(dim=0)
        weights.append(mean / mean.norm())
    normalised = image_features / image_features.norm(dim=-1, keepdim=True)
    expected = theirs.logit_scale.exp() * normalised @ torch.stack(weights, dim=1)
    logits = zero_shot_logits(image_features, class_embeddings(ours, prompts), ours.logit_scale, ours.logit_bias)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    del theirs

    other, other_preprocess = load_encoder(f"open_clip:ViT-B-32-quickgelu/{vit_b_32 / 'state.pt'}")
    assert torch.equal(other_preprocess(photos[0]), images[0])
    torch.testing.assert_close(other.encode_image(images), image_features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.encode_text(TEXTS), text_features, atol=1e-5, rtol=1e-5)
    assert other.logit_scale == pytest.approx(ours.logit_scale) and other.feature_dim == 512
    del other

    hugging_face = to_transformers(ours.model.state_dict())
    seen = hugging_face.get_image_features(pixel_values=images)
    read = hugging_face.get_text_features(input_ids=tokens)
    torch.testing.assert_close(getattr(seen, "pooler_output", seen), image_features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(getattr(read, "pooler_output", read), text_features, atol=1e-5, rtol=1e-5)


def to_transformers(state):
    """CLIP's weights in transformers' model of the same size."""
    from transformers import CLIPConfig, CLIPModel

    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 12}
    text |= {"eos_token_id": 49407}
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision | {"patch_size": 32, "image_size": 224}, projection_dim=512)
    )
    names = {
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "ln_final.": "text_model.final_layer_norm.",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.ln_pre.": "vision_model.pre_layrnorm.",
        "visual.ln_post.": "vision_model.post_layernorm.",
        "visual.transformer.resblocks.": "vision_model.encoder.layers.",
        "transformer.resblocks.": "text_model.encoder.layers.",
    }
    parts = {
        ".ln_1.": ".layer_norm1.", ".ln_2.": ".layer_norm2.", ".mlp.c_fc.": ".mlp.fc1.", ".mlp.c_proj.": ".mlp.fc2.",
        ".attn.out_proj.": ".self_attn.out_proj.",
    }  # fmt: skip
    converted = {"logit_scale": state["logit_scale"], "text_projection.weight": state["text_projection"].T}
    converted["visual_projection.weight"] = state["visual.proj"].T
    for name, tensor in state.items():
        start = next((start for start in names if name.startswith(start)), None)
        if start is None:
            continue  # projections and scale: above
        new = names[start] + name.removeprefix(start)
        for old, part in parts.items():
            new = new.replace(old, part)
        if ".attn.in_proj_" in new:
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                converted[new.replace(".attn.in_proj_", f".self_attn.{letter}_proj.")] = third
        else:
            converted[new] = tensor
    missing, unexpected = model.load_state_dict(converted, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing)
    return model.eval()
