"""Frozen image-text encoders by name."""

from moclip.config import nearest
from moclip.models.encoders.base import Encoder, Preprocess


def load_encoder(name: str) -> tuple[Encoder, Preprocess]:
    """An encoder and the preprocessing that belongs to it.

    Parameters
    ----------
    name : ``clip:<model>`` (``clip:ViT-B/32``) or ``clip:/path/to/weights.pt`` for OpenAI's CLIP; ``offline`` for the
        encoder whose weights come with pip packages.

    Returns
    -------
    (encoder, preprocess)
        A frozen `Encoder`, and a function from one RGB frame, uint8 (H, W, 3), to its input, float (3, S, S).

    Raises
    ------
    moclip.models.weights.WeightsError
        The weights cannot be had; the message names the remedies.
    ValueError
        Unknown name.
    """
    kind, _, weights = name.partition(":")
    if kind == "clip" and weights:
        from moclip.models.encoders import clip

        return clip.load(weights)
    if name == "offline":
        from moclip.models.encoders import offline

        return offline.load()
    known = ["clip:ViT-B/32", "clip:/path/to/weights.pt", "offline"]
    raise ValueError(f"unknown encoder {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
