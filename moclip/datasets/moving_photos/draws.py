"""Random draws of MovingPhotos: what a clip shows, from its names and the seed alone."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from moclip.datasets.moving_photos import render
from moclip.datasets.moving_photos.photos import OBJECTS, TEXTURES, photo
from moclip.datasets.moving_photos.render import ClipSpec, Patch, Surface


@dataclass(frozen=True)
class Degradation:
    """How hard the object is to recognise; each clip draws up to ``strength`` times these.

    Attributes
    ----------
    strength : 0 leaves the object as it is.
    blur : standard deviation, pixels.
    occlusion : share of the cut-out that patches cover.
    crop : share of the crop's side that is cut away: less of the object is seen, at the same size in the frame.
    """

    strength: float = 1.0
    blur: float = 2.1
    occlusion: float = 0.42
    crop: float = 0.42


def draw_spec(
    thing: str, motions: tuple[str, ...], group: tuple[str, ...], clip: str, seed: int, degradation: Degradation
) -> ClipSpec:
    """What one clip shows: the group's draws, which its clips share, and the clip's own.

    Every number is drawn even if it is not used: the strength of the degradation does not change the other draws.

    Parameters
    ----------
    thing, motions : a key of ``OBJECTS``, and the motions to draw from.
    group : names of the design, the class and the group; seeds the group's draws.
    clip : name of the clip in its group; with ``group`` it seeds the clip's own draws.
    """
    rng = _generator(seed, *group)
    background = _draw_surface(rng, render.FIELD_WIDTH / render.FIELD_HEIGHT)
    crop = OBJECTS[thing][rng.integers(len(OBJECTS[thing]))]
    aspect, exponent = math.exp(rng.uniform(-0.3, 0.3)), rng.uniform(2, 8)
    side = crop.side * rng.uniform(0.9, 1.05)
    cut = degradation.strength * degradation.crop * rng.uniform(0, 1)
    away = rng.uniform(-0.04, 0.04, 2) * crop.side + rng.uniform(-0.5, 0.5, 2) * cut * side
    box = _box_inside(crop.photo, crop.x + away[0], crop.y + away[1], side * (1 - cut), aspect)

    rng = _generator(seed, *group, clip)
    blur = degradation.strength * degradation.blur * rng.uniform(0, 1)
    covered = degradation.strength * degradation.occlusion * rng.uniform(0, 1)
    patches = [_draw_patch(rng, covered / 3) for _ in range(3)]
    return ClipSpec(
        background=background,
        photo=crop.photo,
        box=box,
        exponent=exponent,
        blur=blur,
        patches=tuple(patches) if covered else (),
        x=render.WIDTH / 2 + rng.uniform(-12, 12),
        y=render.HEIGHT / 2 + rng.uniform(-8, 8),
        size=rng.uniform(54, 68),
        angle=rng.uniform(-0.2, 0.2),
        motion=motions[rng.integers(len(motions))],
        speed=rng.uniform(1.5, 2.2),
        period=rng.uniform(10, 18),
        phase=rng.uniform(0, 2 * math.pi),
        camera=render.CAMERAS[rng.integers(len(render.CAMERAS))],
        camera_speed=rng.uniform(0.4, 0.8),
        camera_angle=rng.uniform(-math.pi, math.pi),
        camera_period=rng.uniform(14, 24),
    )


def _generator(seed: int, *key: str) -> np.random.Generator:
    """Random numbers of one group or clip; SHA-256, since Python's own hash differs from run to run."""
    words = np.frombuffer(hashlib.sha256("\0".join(key).encode()).digest(), dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence([seed, *words.tolist()]))


def _draw_surface(rng: np.random.Generator, aspect: float) -> Surface:
    """A random piece of a random texture in random colours, dark to light."""
    name = TEXTURES[rng.integers(len(TEXTURES))]
    image = photo(name)
    height = min(image.height, image.width / aspect) * rng.uniform(0.6, 1.0)
    left = rng.uniform(0, image.width - height * aspect)
    top = rng.uniform(0, image.height - height)
    box = left, top, left + height * aspect, top + height
    return Surface(name, box, tuple(rng.integers(0, 90, 3).tolist()), tuple(rng.integers(130, 256, 3).tolist()))


def _draw_patch(rng: np.random.Generator, share: float) -> Patch:
    """A patch over ``share`` of the cut-out's area."""
    stretch = math.exp(rng.uniform(-0.5, 0.5))
    width, height = math.sqrt(share) * stretch, math.sqrt(share) / stretch
    x, y = rng.uniform(0.1, 0.9, 2).tolist()
    return Patch(_draw_surface(rng, 1.0), x, y, width, height)


def _box_inside(name: str, x: float, y: float, side: float, aspect: float) -> tuple[float, float, float, float]:
    """Rectangle of ``side``'s area and the given aspect about (x, y), pushed (and, if need be, shrunk) into the photo.

    The aspect is kept: it is drawn independently of the object and must not reveal it.
    """
    image = photo(name)
    width, height = side * math.sqrt(aspect), side / math.sqrt(aspect)
    shrink = min(1.0, image.width / width, image.height / height)
    width, height = width * shrink, height * shrink
    left = min(max(x - width / 2, 0.0), image.width - width)
    top = min(max(y - height / 2, 0.0), image.height - height)
    return float(left), float(top), float(left + width), float(top + height)
