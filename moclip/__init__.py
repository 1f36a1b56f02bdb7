"""MoCLIP-Lite: action recognition from a frozen image-text encoder and the motion vectors of compressed video.

Everything here loads on first use, so that ``import moclip`` costs nothing: no torch, no av, no timm.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> module that defines it. Read statically by `moclip.reproduce.closure` too: keep it a plain dictionary.
_LAZY = {
    "create_model": "moclip.models",
    "list_models": "moclip.models",
    "load_config": "moclip.config.load",
    "load_dataset": "moclip.datasets",
    "load_encoder": "moclip.encoders",
    "probe": "moclip.video",
    "read_frames": "moclip.video",
    "read_motion": "moclip.video",
    "transcode": "moclip.video",
}

__all__ = ["__version__", *_LAZY]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """A public function from its room, or a room itself (``moclip.datasets``)."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    module = f"{__name__}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # the room is there, something that it needs is not: say which
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
