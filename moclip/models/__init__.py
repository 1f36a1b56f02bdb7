"""Models by name: ``list_models()`` says which, ``create_model(name, ...)`` builds one."""

from collections.abc import Callable
from typing import Any

from torch import nn

from moclip.config import nearest
from moclip.models.fusion import FusionHead
from moclip.models.mv_tsn import MVTSN

_MODELS: dict[str, Callable[..., nn.Module]] = {"fusion": FusionHead, "mv_tsn": MVTSN}


def list_models() -> list[str]:
    """Names that `create_model` knows."""
    return sorted(_MODELS)


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Build a model.

    Parameters
    ----------
    name : one of `list_models()`.
    **arguments : the model's own; see its class.

    Raises
    ------
    ValueError
        Unknown name; the message names the nearest.
    """
    if name not in _MODELS:
        raise ValueError(f"unknown model {name!r}{nearest(name, list_models())}; there are: {', '.join(list_models())}")
    return _MODELS[name](**arguments)
