"""Frozen image-text encoders by name."""

from pathlib import Path
from typing import Any

from torchvision.transforms import InterpolationMode, Resize

from moclip.encoders.base import Encoder, EncoderError, Preprocess
from moclip.errors import nearest

KNOWN = ["clip:ViT-B/32", "clip:/path/to/weights.pt", "open_clip:<model>/<pretrained>", "offline", "offline:conse"]


def load_encoder(name: str, cache: Path | str | None = None, resize: str = "own") -> tuple[Encoder, Preprocess]:
    """An encoder and its preprocessing.

    Parameters
    ----------
    name : ``clip:<model>`` (``clip:ViT-B/32``) or ``clip:/path/to/weights.pt`` for OpenAI's CLIP;
        ``open_clip:<model>/<pretrained>`` for open_clip, where ``<pretrained>`` is one of its tags or a file
        (``open_clip:ViT-B-32/laion2b_s34b_b79k``, ``open_clip:ViT-B-32//path/to/weights.pt``); ``offline`` for the
        encoder whose weights come with pip packages, ``offline:conse`` for its variant.
    cache : folder of downloaded weights; each library's default if None (``~/.cache/clip``, the Hugging Face cache).
    resize : ``own``, or ``bilinear`` instead of the encoder's resampling, as in MoCLIP-Lite's published code.

    Returns
    -------
    (encoder, preprocess)
        A frozen `Encoder`, and a function from one RGB frame, uint8 (H, W, 3), to its input, float (3, S, S).

    Raises
    ------
    moclip.models.backbones.WeightsError
        The weights cannot be loaded; the message names the remedies.
    EncoderError
        Unknown name.
    """
    kind, _, which = name.partition(":")
    encoder: Encoder
    if kind == "clip" and which:
        from moclip.encoders.clip import CLIPEncoder

        encoder = CLIPEncoder(which, cache)
    elif kind == "open_clip" and "/" in which:
        from moclip.encoders.openclip import OpenCLIPEncoder

        model, _, pretrained = which.partition("/")
        encoder = OpenCLIPEncoder(model, pretrained, cache)
    elif name in ("offline", "offline:conse"):
        from moclip.encoders.offline import ConSEEncoder, OfflineEncoder

        encoder = ConSEEncoder() if which else OfflineEncoder()
    else:
        raise EncoderError(f"unknown encoder {name!r}{nearest(name, KNOWN)}; there are: {', '.join(KNOWN)}")
    if resize == "bilinear":
        _resize_bilinear(encoder.transform)
    return encoder, encoder.preprocess


def _resize_bilinear(transform: Any) -> None:
    """All encoders here have a torchvision ``Compose`` with one ``Resize`` in it."""
    (step,) = (step for step in transform.transforms if isinstance(step, Resize))
    step.interpolation = InterpolationMode.BILINEAR
