"""MoCLIP-Lite: action recognition from a frozen image-text encoder and the motion vectors of compressed video.

Every name here is loaded on first use: ``import moclip`` itself loads no torch, no av, no timm.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> module that defines it. `moclip.io.keys` reads the source of this dictionary: keep it literal.
_LAZY = {
    "create_model": "moclip.models",
    "eval_views": "moclip.inputs.views",
    "list_models": "moclip.models",
    "load_config": "moclip.config.load",
    "load_dataset": "moclip.datasets",
    "load_encoder": "moclip.encoders",
    "load_recogniser": "moclip.engine.recogniser",
    "probe": "moclip.video",
    "read_frames": "moclip.video",
    "read_motion": "moclip.video",
    "to_input": "moclip.inputs.views",
    "train_views": "moclip.inputs.views",
    "transcode": "moclip.video",
}

__all__ = ["__version__", *_LAZY]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """A public function, or a room (``moclip.datasets``)."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    module = f"{__name__}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # the room exists, but something that it imports does not
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
