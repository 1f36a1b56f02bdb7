"""Models by name: ``list_models()`` says which, ``create_model(name, ...)`` builds one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from moclip.config import nearest
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN
from moclip.models.table1 import RIVALS, coviar, emv, two_stream
from moclip.models.table1.clip import CLIPHead, CLIPZeroShot
from moclip.models.table1.trunks import ScoreFusion
from moclip.models.table1.x_clip import XCLIP


def _fused(system: str, **arguments: Any) -> nn.Module:
    """A system of Table I that averages its parts' scores: one input a part -> (B, C)."""
    rival = RIVALS[system]
    parts = {part: create_model(part, **arguments) for part in rival.parts}
    return ScoreFusion(parts, rival.weights, rival.average)


_MODELS: dict[str, Callable[..., nn.Module]] = {
    "clip_head": CLIPHead,
    "clip_zero_shot": CLIPZeroShot,
    "coviar": partial(_fused, "coviar"),
    "coviar_iframe": coviar.iframe,
    "coviar_mv": coviar.motion,
    "coviar_residual": coviar.residual,
    "dtmv_cnn": emv.emv_cnn,
    "dtmv_rgb": partial(_fused, "dtmv_rgb"),
    "emv_cnn": emv.emv_cnn,
    "fusion": FusionHead,
    "mv_tsn": MVTSN,
    "two_stream": partial(_fused, "two_stream"),
    "two_stream_spatial": two_stream.spatial,
    "two_stream_temporal": two_stream.temporal,
    "x_clip": XCLIP,
}


def list_models() -> list[str]:
    """Names that `create_model` knows; what the systems of Table I are stands in `moclip.models.table1`."""
    return sorted(_MODELS)


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Build a model.

    Parameters
    ----------
    name : one of `list_models()`.
    **arguments : the model's own, ``num_classes`` always; see its class. The systems of Table I take ``width``, a
        factor on their widths (1 is their paper's), but for ``mv_tsn`` and ``fusion``, this paper's own.

    Raises
    ------
    ValueError
        Unknown name; the message names the nearest.
    """
    if name not in _MODELS:
        raise ValueError(f"unknown model {name!r}{nearest(name, list_models())}; there are: {', '.join(list_models())}")
    return _MODELS[name](**arguments)
