"""The photos that MovingPhotos is made of: which file of which wheel, and where in it an object or a texture lies.

Nothing is downloaded: every file is part of an installed wheel (scikit-image, scikit-learn, matplotlib). Authors and
licences are listed in ``ATTRIBUTION.md`` beside this file.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

# short name -> (package, path inside it)
PHOTOS: dict[str, tuple[str, str]] = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "motorcycle_left": ("skimage", "data/motorcycle_left.png"),
    "motorcycle_right": ("skimage", "data/motorcycle_right.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "ihc": ("skimage", "data/ihc.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
}


@dataclass(frozen=True)
class Crop:
    """Where an object lies in a photo: centre and side of a square, in the photo's pixels."""

    photo: str
    x: float
    y: float
    side: float


# object -> its crops, from several photos where the wheels have them
OBJECTS: dict[str, tuple[Crop, ...]] = {
    "Astronaut": (Crop("astronaut", 225, 135, 230), Crop("astronaut", 195, 200, 310), Crop("astronaut", 222, 115, 170)),
    "Cat": (Crop("chelsea", 205, 150, 290), Crop("chelsea", 230, 145, 230), Crop("chelsea", 180, 130, 230)),
    "Coins": (
        Crop("coins", 85, 75, 140),
        Crop("coins", 200, 180, 150),
        Crop("coins", 305, 130, 150),
        Crop("coins", 110, 225, 150),
        Crop("coins", 290, 240, 125),
    ),
    "CoffeeCup": (Crop("coffee", 290, 190, 360), Crop("coffee", 305, 130, 240), Crop("coffee", 330, 195, 290)),
    "Flower": (Crop("flower", 335, 222, 310), Crop("flower", 330, 210, 240), Crop("flower", 350, 230, 200)),
    "Motorcycle": (
        Crop("motorcycle_left", 370, 300, 400),
        Crop("motorcycle_right", 450, 310, 360),
        Crop("motorcycle_left", 250, 310, 340),
        Crop("motorcycle_right", 330, 290, 400),
    ),
    "Officer": (
        Crop("grace_hopper", 255, 175, 300),
        Crop("grace_hopper", 255, 330, 400),
        Crop("grace_hopper", 255, 200, 220),
    ),
    "Pagoda": (Crop("china", 200, 225, 340), Crop("china", 200, 150, 250), Crop("china", 195, 270, 270)),
    "Photographer": (Crop("camera", 215, 200, 340), Crop("camera", 230, 140, 230), Crop("camera", 190, 290, 380)),
    "Rocket": (
        Crop("rocket", 320, 265, 300),
        Crop("rocket", 320, 280, 230),
        Crop("astronaut", 410, 125, 200),
        Crop("astronaut", 415, 175, 180),
    ),
}

TEXTURES: tuple[str, ...] = ("brick", "grass", "gravel", "ihc", "hubble")


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


def photos_hash(names: Iterable[str] = tuple(PHOTOS)) -> str:
    """Hash of the photo files: another version of a wheel may carry other pixels, hence other clips."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + hashlib.sha256(photo_path(name).read_bytes()).digest())
    return digest.hexdigest()[:16]
