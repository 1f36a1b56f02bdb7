"""Image-text encoders: CLIP against the `clip` module, the offline one against scikit-learn and transformers."""

import warnings

import clip
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

from moclip.models.encoders import load_encoder
from moclip.models.encoders.base import Encoder, class_embeddings, zero_shot_logits
from moclip.models.encoders.prompts import CLIP48, TEMPLATES
from moclip.models.weights import WeightsError, state_hash

TEXTS = ["a photo of a cat.", "a video of the person using a hula hoop.", "x"]


class Hashing(Encoder):
    """Texts to reproducible random vectors of any length."""

    name, feature_dim, logit_scale = "hashing", 16, 100.0

    def encode_text(self, texts):
        rows = [np.random.default_rng(list(text.encode())).normal(size=16) * len(text) for text in texts]
        return torch.from_numpy(np.stack(rows)).float()


# --- prompts --------------------------------------------------------------------------------------------------------


def test_clip48_holds_clip_s_templates():
    assert len(CLIP48) == len(set(CLIP48)) == 48
    for known in (
        "a photo of a person {}.", "a video of a person {}.", "a example of a person {}.",
        "a demonstration of a person {}.", "a photo of the person {}.", "a photo of a person using {}.",
        "a video of the person using {}.", "a example of the person doing {}.",
        "a demonstration of a person during {}.", "a photo of the person performing {}.",
        "a demonstration of the person practicing {}.",
    ):  # fmt: skip
        assert known in CLIP48, known
    for templates in TEMPLATES.values():
        assert all(template.count("{}") == 1 for template in templates)
    assert TEMPLATES["clip48"] == CLIP48


def test_class_embeddings_are_clip_s_ensembling():
    """Normalise each prompt, take the mean, normalise again: straight-line numpy."""
    encoder, names, templates = Hashing(), ["cat", "hula hoop", "yo yo"], ["a {}.", "the very long {} indeed.", "{}"]
    expected = []
    for name in names:
        rows = [encoder.encode_text([template.replace("{}", name)])[0].double().numpy() for template in templates]
        mean = np.mean([row / np.linalg.norm(row) for row in rows], axis=0)
        expected.append(mean / np.linalg.norm(mean))
    ours = class_embeddings(encoder, names, templates)
    assert ours.shape == (3, 16) and not ours.requires_grad
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_zero_shot_logits_are_scaled_cosines():
    features, classes = torch.randn(5, 16) * 7, torch.randn(3, 16) * 0.1
    expected = [[100 * torch.cosine_similarity(f, c, dim=0).item() for c in classes] for f in features]
    np.testing.assert_allclose(zero_shot_logits(features, classes, 100.0), expected, atol=1e-3)


# --- CLIP -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["state dict", "half precision", "TorchScript"])
def weights_file(request, clip_model, tmp_path_factory):
    """The same weights in the forms in which CLIP's are handed around."""
    path = tmp_path_factory.mktemp("weights") / "clip.pt"
    if request.param == "TorchScript":  # as OpenAI publishes them
        inputs = torch.zeros(1, 3, 64, 64), clip.tokenize(["x"])
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(clip_model, inputs), path)
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


@pytest.mark.parametrize("size", [(64, 64), (63, 97), (241, 320), (17, 200), (225, 65)])
def test_preprocessing_is_clip_s(clip_file, size):
    _, preprocess = load_encoder(f"clip:{clip_file}")
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert torch.equal(preprocess(frame), clip.clip._transform(64)(Image.fromarray(frame)))


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


def test_no_network_names_all_three_remedies(tmp_path, monkeypatch):
    from urllib.error import URLError

    def refuse(*arguments, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr("clip.clip._download", refuse)
    with pytest.raises(WeightsError) as caught:
        load_encoder("clip:ViT-B/32")
    for remedy in ("network", ".cache/clip", "clip:/path/to/ViT-B-32.pt", "encoder.name=offline"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize(("name", "nearest"), [("ofline", "offline"), ("Clip:ViT-B/32", "clip:ViT-B/32")])
def test_an_unknown_encoder_names_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown encoder.*did you mean '{nearest}"):
        load_encoder(name)


# --- the offline encoder --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_offline_names_what_the_photos_show(offline):
    encoder, preprocess = offline
    photos = [data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0]]
    photos += [load_sample_image("flower.jpg"), load_sample_image("china.jpg")]
    right = ["cat", "cup of coffee", "rocket", "motorcycle", "flower", "temple"]
    names = [*right, "bicycle", "piano", "guinea pig", "ship", "pizza"]
    classes = class_embeddings(encoder, names, TEMPLATES["scene"])
    features = encoder.encode_image(torch.stack([preprocess(photo) for photo in photos]))
    scores = zero_shot_logits(features, classes, encoder.logit_scale)
    assert [names[index] for index in scores.argmax(dim=1)] == right


@torch.no_grad()
def test_offline_texts_are_ridge_regression_of_sentence_embeddings(offline, home):
    """scikit-learn's Ridge on transformers' embeddings, one text at a time, unpadded."""
    from safetensors.numpy import load_file
    from sklearn.linear_model import Ridge
    from timm.data import ImageNetInfo
    from transformers import AutoModel, AutoTokenizer

    from moclip.models.encoders.offline import minilm_path
    from moclip.models.weights import create_backbone

    encoder, _ = offline
    tokenizer = AutoTokenizer.from_pretrained(minilm_path(), local_files_only=True)
    model = AutoModel.from_pretrained(minilm_path(), local_files_only=True).eval()

    def embed(text):
        mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        return (mean / mean.norm()).numpy()

    own = encoder.text_tower(TEXTS)
    np.testing.assert_allclose(own, [embed(text) for text in TEXTS], atol=2e-6)

    (cached,) = (home / "cache").glob("imagenet-names-*.safetensors")
    embeddings = load_file(cached)["embeddings"]
    assert embeddings.shape == (1000, 384)
    for index in (0, 281, 500, 999):
        np.testing.assert_allclose(embeddings[index], embed(ImageNetInfo().index_to_description(index)), atol=2e-6)
    classifier = create_backbone("tf_efficientnet_lite0").classifier.weight.double().numpy()
    ridge = Ridge(alpha=1.0).fit(embeddings.astype(float), classifier)
    expected = ridge.predict(own.double().numpy()) - classifier.mean(axis=0)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), expected, atol=1e-5)


@torch.no_grad()
def test_offline_images_are_lite0_s_penultimate_features(offline):
    from moclip.models.weights import create_backbone

    encoder, preprocess = offline
    lite0 = create_backbone("tf_efficientnet_lite0").eval()
    image = preprocess(data.chelsea())[None]
    assert image.shape == (1, 3, 224, 224) and image.min() >= -1 and image.max() <= 1
    expected = lite0.forward_head(lite0.forward_features(image), pre_logits=True)
    torch.testing.assert_close(encoder.encode_image(image), expected)
    torch.testing.assert_close(lite0.classifier(encoder.encode_image(image)), lite0(image))


# --- frozen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["offline", "clip"])
def test_encoders_are_frozen(which, offline, clip_file):
    encoder, preprocess = offline if which == "offline" else load_encoder(f"clip:{clip_file}")
    assert not encoder.training and not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    images = torch.stack([preprocess(data.chelsea()), preprocess(data.coffee())])
    features = encoder.encode_image(images)
    assert not features.requires_grad and features.shape == (2, encoder.feature_dim)
    assert encoder.encode_text(TEXTS).shape == (3, encoder.feature_dim)
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert len(state_hash(encoder)) == 16
