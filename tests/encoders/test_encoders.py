"""Image-text encoders: prompts, ensembling, the offline pair against scikit-learn and transformers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file
from skimage import data
from sklearn.datasets import load_sample_image

from moclip.datasets import ucf101
from moclip.encoders import load_encoder
from moclip.encoders.base import Encoder, EncoderError, class_embeddings, zero_shot_logits
from moclip.encoders.prompts import PHRASES, TEMPLATES, class_prompts
from moclip.models.backbones import state_hash

TEXTS = ["a photo of a cat.", "a video of the person using a hula hoop.", "x"]


class Hashing(Encoder):
    """Texts to reproducible random vectors of any length."""

    name, feature_dim, logit_scale = "hashing", 16, 100.0

    def encode_text(self, texts):
        rows = [np.random.default_rng(list(text.encode())).normal(size=16) * len(text) for text in texts]
        return torch.from_numpy(np.stack(rows)).float()


# --- prompts --------------------------------------------------------------------------------------------------------


def test_clip48_holds_clip_s_templates():
    clip48 = TEMPLATES["clip48"]
    assert len(clip48) == len(set(clip48)) == 48
    for known in (
        "a photo of a person {}.", "a video of a person {}.", "a example of a person {}.",
        "a demonstration of a person {}.", "a photo of the person {}.", "a photo of a person using {}.",
        "a video of the person using {}.", "a example of the person doing {}.",
        "a demonstration of a person during {}.", "a photo of the person performing {}.",
        "a demonstration of the person practicing {}.",
    ):  # fmt: skip
        assert known in clip48, known
    for templates in TEMPLATES.values():
        assert all(template.count("{}") == 1 for template in templates)


def test_reference12_holds_the_published_templates():
    reference12 = TEMPLATES["reference12"]
    assert len(reference12) == len(set(reference12)) == 12
    assert {"a photo of {}", "a human {}", "the action of {}", "a clip of someone {}"} <= set(reference12)


def test_every_class_of_ucf101_has_one_or_two_phrases():
    assert set(PHRASES) == set(ucf101.CLASSES)
    assert {len(own) for own in PHRASES.values()} == {1, 2}
    every = [phrase for own in PHRASES.values() for phrase in own]
    assert len(set(every)) == len(every) and all(phrase == phrase.strip() and "{" not in phrase for phrase in every)


def test_prompts_of_a_class():
    texts = {"Biking": "Biking", "CatLeft": "cat moving to the left"}
    assert class_prompts("name", ["CatLeft", "Biking"], texts) == [["cat moving to the left"], ["Biking"]]
    biking, cat = class_prompts("reference12", ["Biking", "CatLeft"], texts)
    assert len(biking) == 24 and "a photo of a person riding a bike" in biking and "a human cycling on a road" in biking
    assert len(cat) == 12 and "a scene of cat moving to the left" in cat, "no phrase: the class text"
    assert class_prompts("clip48", ["Biking"], texts)[0][1] == "a photo of a person using Biking."


@pytest.mark.parametrize("normalise", [True, False])
def test_class_embeddings_are_clip_s_ensembling(normalise):
    """Normalise each prompt, take the mean, normalise again: straight-line numpy. Classes have 3, 1 and 2 prompts."""
    encoder, prompts = Hashing(), [["a cat.", "the very long cat indeed.", "cat"], ["hula hoop"], ["a yo yo", "yo"]]
    expected = []
    for own in prompts:
        rows = [encoder.encode_text([prompt])[0].double().numpy() for prompt in own]
        mean = np.mean([row / np.linalg.norm(row) if normalise else row for row in rows], axis=0)
        expected.append(mean / np.linalg.norm(mean))
    ours = class_embeddings(encoder, prompts, normalise)
    assert ours.shape == (3, 16) and not ours.requires_grad
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert not torch.allclose(ours[0], class_embeddings(encoder, prompts, not normalise)[0], atol=1e-3)


def test_zero_shot_logits_are_scaled_cosines():
    features, classes = torch.randn(5, 16) * 7, torch.randn(3, 16) * 0.1
    expected = [[100 * torch.cosine_similarity(f, c, dim=0).item() for c in classes] for f in features]
    np.testing.assert_allclose(zero_shot_logits(features, classes, 100.0), expected, atol=1e-3)
    np.testing.assert_allclose(zero_shot_logits(features, classes, 100.0, -7.0), np.array(expected) - 7, atol=1e-3)


# --- names and resizing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "nearest"), [("ofline", "offline"), ("Clip:ViT-B/32", "clip:ViT-B/32")])
def test_an_unknown_encoder_names_the_nearest(name, nearest):
    with pytest.raises(EncoderError, match=f"unknown encoder.*did you mean '{nearest}"):
        load_encoder(name)


@pytest.mark.parametrize("which", ["offline", "clip"])
def test_bilinear_in_place_of_the_encoder_s_own_resampling(which, offline, clip_file):
    name, size, crop = ("offline", 256, 224) if which == "offline" else (f"clip:{clip_file}", 64, 64)
    photo = data.chelsea()[:, :300]  # 300 x 300
    normalise = load_encoder(name)[0].transform.transforms[-1]
    edge = (size - crop) // 2
    resized = Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR)
    resized = np.asarray(resized)[edge : edge + crop, edge : edge + crop]
    expected = normalise(torch.from_numpy(resized / np.float32(255)).permute(2, 0, 1))
    _, preprocess = load_encoder(name, resize="bilinear")
    torch.testing.assert_close(preprocess(photo), expected, atol=1e-6, rtol=0)
    assert not torch.allclose(load_encoder(name)[1](photo), expected, atol=1e-2)


# --- the offline encoder --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_offline_names_what_the_photos_show(offline):
    encoder, preprocess = offline
    photos = [data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0]]
    photos += [load_sample_image("flower.jpg"), load_sample_image("china.jpg")]
    right = ["cat", "cup of coffee", "rocket", "motorcycle", "flower", "temple"]
    names = [*right, "bicycle", "piano", "guinea pig", "ship", "pizza"]
    classes = class_embeddings(encoder, class_prompts("scene", names, dict(zip(names, names, strict=True))))
    features = encoder.encode_image(torch.stack([preprocess(photo) for photo in photos]))
    scores = zero_shot_logits(features, classes, encoder.logit_scale)
    assert [names[index] for index in scores.argmax(dim=1)] == right


def imagenet_embeddings(home):
    """Those of ImageNet's 1,000 class names, from the cache."""
    cached = [load_file(path)["embeddings"] for path in (home / "cache" / "texts").glob("*.safetensors")]
    (embeddings,) = (rows for rows in cached if rows.shape == (1000, 384))
    return embeddings


@torch.no_grad()
def test_offline_texts_are_ridge_regression_of_sentence_embeddings(offline, home):
    """scikit-learn's Ridge on transformers' embeddings, one text at a time, unpadded."""
    from sklearn.linear_model import Ridge
    from timm.data import ImageNetInfo
    from transformers import AutoModel, AutoTokenizer

    from moclip.encoders.offline import minilm_path
    from moclip.models.backbones import create_backbone

    encoder, _ = offline
    tokenizer = AutoTokenizer.from_pretrained(minilm_path(), local_files_only=True)
    model = AutoModel.from_pretrained(minilm_path(), local_files_only=True).eval()

    def embed(text):
        mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        return (mean / mean.norm()).numpy()

    own = encoder.text_tower(TEXTS)
    np.testing.assert_allclose(own, [embed(text) for text in TEXTS], atol=2e-6)

    embeddings = imagenet_embeddings(home)
    for index in (0, 281, 500, 999):
        np.testing.assert_allclose(embeddings[index], embed(ImageNetInfo().index_to_description(index)), atol=2e-6)
    classifier = create_backbone("tf_efficientnet_lite0").classifier.weight.double().numpy()
    ridge = Ridge(alpha=10.0).fit(embeddings.astype(float), classifier)
    expected = ridge.predict(own.double().numpy()) - classifier.mean(axis=0)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), expected, atol=1e-5)


@torch.no_grad()
def test_offline_images_are_lite0_s_penultimate_features(offline):
    from moclip.models.backbones import create_backbone

    encoder, preprocess = offline
    lite0 = create_backbone("tf_efficientnet_lite0").eval()
    image = preprocess(data.chelsea())[None]
    assert image.shape == (1, 3, 224, 224) and image.min() >= -1 and image.max() <= 1
    expected = lite0.forward_head(lite0.forward_features(image), pre_logits=True)
    torch.testing.assert_close(encoder.encode_image(image), expected)
    torch.testing.assert_close(lite0.classifier(encoder.encode_image(image)), lite0(image))


@pytest.fixture(scope="module")
def conse(in_home):
    patch = in_home()
    try:
        return load_encoder("offline:conse")
    finally:
        patch.undo()


@torch.no_grad()
def test_conse_is_a_mean_of_the_ten_likeliest_classes_embeddings(conse, offline, home):
    """Straight-line numpy, from timm's classifier and sentence embeddings of the class names."""
    from moclip.models.backbones import create_backbone

    encoder, preprocess = conse
    assert encoder.name == "offline:conse" and "CLIP" not in encoder.image_architecture + encoder.text_architecture
    images = torch.stack([preprocess(data.chelsea()), preprocess(data.coffee())])
    assert torch.equal(images[0], offline[1](data.chelsea()))
    embeddings = imagenet_embeddings(home).astype(float)
    shares = create_backbone("tf_efficientnet_lite0").eval()(images).double().softmax(dim=1).numpy()
    for image, own in zip(encoder.encode_image(images), shares, strict=True):
        best = np.argsort(-own)[:10]
        expected = sum(own[index] * embeddings[index] for index in best) / own[best].sum()
        np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode_text(TEXTS), encoder.text_tower(TEXTS))
    names = ["cat", "cup of coffee", "rocket", "piano"]
    classes = class_embeddings(encoder, [[name] for name in names])
    assert (F.normalize(encoder.encode_image(images), dim=1) @ classes.T).argmax(dim=1).tolist() == [0, 1]


def test_offline_refuses_a_text_that_is_too_long(offline):
    encoder, _ = offline
    with pytest.raises(EncoderError, match="600 tokens|602 tokens"):
        encoder.encode_text(["short", "cat " * 600])


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
