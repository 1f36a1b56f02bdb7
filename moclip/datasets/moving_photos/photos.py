"""The photos that MovingPhotos is made of: which file of which wheel, and where in it an object or a texture lies.

Nothing is downloaded: every file is part of an installed wheel (scikit-image, scikit-learn, matplotlib). Authors and
licences are listed in ``ATTRIBUTION.md`` beside this file, places in ``photos.yaml``.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from PIL import Image


@dataclass(frozen=True)
class Crop:
    """Where an object lies in a photo: centre and side of a square, in the photo's pixels."""

    photo: str
    x: float
    y: float
    side: float


_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
PHOTOS: dict[str, tuple[str, str]] = {name: tuple(place) for name, place in _TABLES["photos"].items()}
OBJECTS: dict[str, tuple[Crop, ...]] = {
    name: tuple(Crop(*crop) for crop in crops) for name, crops in _TABLES["objects"].items()
}
TEXTURES: tuple[str, ...] = tuple(_TABLES["textures"])


def photo_path(name: str) -> Path:
    """File of a photo, found without importing the package that carries it.

    Raises
    ------
    FileNotFoundError
        If the package, or the file in it, is missing.
    """
    package, inside = PHOTOS[name]
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / inside).is_file():
            return path
    raise FileNotFoundError(
        f"photo {name!r}: no {inside} in the installed package {package!r}; "
        "install scikit-image, scikit-learn and matplotlib from their wheels"
    )


@cache
def photo(name: str) -> Image.Image:
    """The photo as RGB (a texture as grey, ``L``), kept in memory: a process cuts many crops from few photos."""
    with Image.open(photo_path(name)) as image:
        return image.convert("L" if name in TEXTURES else "RGB")


def photos_hash() -> str:
    """Hash of the photo files: another version of a wheel may carry other pixels, hence other clips."""
    digest = hashlib.sha256()
    for name in sorted(PHOTOS):
        digest.update(name.encode() + hashlib.sha256(photo_path(name).read_bytes()).digest())
    return digest.hexdigest()[:16]
