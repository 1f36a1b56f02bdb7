"""Any encoder that open_clip knows: OpenAI's, MetaCLIP, MobileCLIP, SigLIP and others."""

from pathlib import Path

import open_clip
from torch import Tensor

from moclip.encoders.base import Encoder, EncoderError
from moclip.errors import nearest
from moclip.models.backbones import WeightsError


class OpenCLIPEncoder(Encoder):
    """Two towers of open_clip in FP32, with their preprocessing, tokenizer, logit scale and bias.

    Parameters
    ----------
    model : a model of ``open_clip.list_models()`` (``ViT-B-32``).
    pretrained : one of its tags (``openai``), or a file of weights for it.
    cache : folder of downloaded weights; the Hugging Face cache if None.
    """

    def __init__(self, model: str, pretrained: str, cache: Path | str | None = None) -> None:
        super().__init__()
        self.name = f"open_clip:{model}/{pretrained}"
        _check(model, pretrained)
        tag = open_clip.get_pretrained_cfg(model, pretrained) or {}
        options = {"cache_dir": str(cache)} if cache else {}
        try:
            self.model, _, self.transform = open_clip.create_model_and_transforms(
                model,
                pretrained if tag else str(Path(pretrained).expanduser()),
                force_quick_gelu=tag.get("quick_gelu", False),  # open_clip itself only warns
                **options,
            )
            self.tokenizer = open_clip.get_tokenizer(model, **options)
        except Exception as error:  # pickle, zip, a wrong state dict, the network: all kinds
            raise WeightsError(
                f"{self.name} could not be loaded ({type(error).__name__}: {error}). Remedies: connect to the network "
                "once; copy a filled Hugging Face cache here and set HF_HOME, or name its folder (encoder.cache); or "
                f"name a local file: encoder.name=open_clip:{model}//path/to/weights.safetensors (OpenAI's TorchScript "
                "archives: clip:/path). Without such weights: encoder.name=offline"
            ) from error
        self.image_architecture = self.text_architecture = f"open_clip {model}"
        self.feature_dim = int(open_clip.get_model_config(model)["embed_dim"])
        self.logit_scale = self.model.logit_scale.exp().item()
        self.logit_bias = 0.0 if self.model.logit_bias is None else self.model.logit_bias.item()
        self.image_tower = self.model.visual
        self.freeze()

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image(images)

    def _encode_texts(self, texts: list[str]) -> Tensor:
        tokens = self.tokenizer(texts)  # (P, L)
        length = tokens.shape[1]
        # open_clip truncates long texts silently: with room for one more token, a truncated text has other tokens.
        longer = self.tokenizer(texts, context_length=length + 1)[:, :length]
        if cut := [text for text, same in zip(texts, (tokens == longer).all(dim=1), strict=True) if not same]:
            raise EncoderError(
                f"Input {cut[0]} is too long for context length {length}; shorten the class text or the template"
            )
        return self.model.encode_text(tokens.to(next(self.parameters()).device))


def _check(model: str, pretrained: str) -> None:
    """Check both names: open_clip would fall back to random weights, or report another problem."""
    models = open_clip.list_models()
    if model not in models:
        raise EncoderError(f"open_clip has no model {model!r}{nearest(model, models)}; it has: {', '.join(models)}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not open_clip.get_pretrained_cfg(model, pretrained) and not Path(pretrained).expanduser().is_file():
        raise WeightsError(
            f"open_clip:{model}/{pretrained}: {pretrained!r} is neither a file nor a tag of {model}"
            f"{nearest(pretrained, tags)}; tags: {', '.join(tags) or 'none'}. Without: encoder.name=offline"
        )
