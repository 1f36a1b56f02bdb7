"""Render one clip of MovingPhotos: a photo cut-out moves over a texture, and the camera moves both.

Every movement is centred on the middle frame. There the object has its drawn position, size and angle, and the camera
is at rest: the one frame that an appearance encoder sees says nothing about the motion.

Coordinates are pixels of the frame, +x right, +y down; angles are radians, clockwise as seen; time is counted in
frames from the middle frame.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from moclip.datasets.moving_photos.photos import photo

WIDTH, HEIGHT = 160, 120
FIELD_WIDTH, FIELD_HEIGHT = 240, 190  # background: what the camera can see at its farthest, and a little more
OVERSAMPLE = 1.5  # the cut-out is this much finer than in the middle frame: `Approach` enlarges it
ZOOM_LEVER = 80.0  # pixels: v pixels per frame mean v / 80 in log scale; objects keep between half and twice their size
TURN_LEVER = 40.0  # pixels: v pixels per frame mean v / 40 radians per frame
CAMERA_TURN_LEVER = 60.0
SOFT_EDGE = 2.0  # pixels over which the mask fades

# Motion -> the kind of movement, as the camera's are called, and its direction (see `movement`).
MOVEMENTS = {"Left": ("pan", (-1, 0)), "Right": ("pan", (1, 0)), "Up": ("pan", (0, -1)), "Down": ("pan", (0, 1))}
MOVEMENTS |= {"Approach": ("zoom", (0, 1)), "Recede": ("zoom", (0, -1))}
MOVEMENTS |= {"Clockwise": ("rotate", (0, 1)), "CounterClockwise": ("rotate", (0, -1))}
MOVEMENTS |= {"Shake": ("shake", (1, 0)), "Bounce": ("shake", (0, 1))}
MOTIONS = tuple(MOVEMENTS)
CAMERAS = ("pan", "zoom", "rotate", "shake", "still")


@dataclass(frozen=True)
class Surface:
    """A piece of a grey texture between two colours: ``box`` is (left, top, right, bottom) in the photo's pixels."""

    texture: str
    box: tuple[float, float, float, float]
    dark: tuple[int, ...]
    light: tuple[int, ...]

    def image(self, width: int, height: int) -> Image.Image:
        """The piece as an RGB image."""
        grey = photo(self.texture).resize((width, height), Image.Resampling.BICUBIC, box=self.box, reducing_gap=3.0)
        return ImageOps.colorize(grey, self.dark, self.light)


@dataclass(frozen=True)
class Patch:
    """Something that covers part of the object and moves with it; place and size are shares of the cut-out's."""

    surface: Surface
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class ClipSpec:
    """All that a clip shows; rendering draws no random number.

    Attributes
    ----------
    background : what the camera moves over.
    photo, box : the cut-out's photo and its rectangle there (left, top, right, bottom; photo pixels).
    exponent : outline |x|^p + |y|^p = 1, from an ellipse (2) to a rounded box (8).
    blur : standard deviation of a Gaussian over the cut-out, pixels of the middle frame.
    patches : what hides parts of the cut-out.
    x, y, size, angle : the object in the middle frame; size is the root of width times height.
    motion : one of ``MOTIONS``; speed in pixels per frame (of a lever arm, for sizes and angles).
    period, phase : of ``Shake`` and ``Bounce``, frames and radians.
    camera : one of ``CAMERAS``; camera_speed in pixels per frame, camera_angle the direction of pan and shake (its sign
        of sine also that of zoom and rotation), camera_period in frames.
    """

    background: Surface
    photo: str
    box: tuple[float, float, float, float]
    exponent: float
    blur: float
    patches: tuple[Patch, ...]
    x: float
    y: float
    size: float
    angle: float
    motion: str
    speed: float
    period: float
    phase: float
    camera: str
    camera_speed: float
    camera_angle: float
    camera_period: float


@dataclass(frozen=True)
class Pose:
    """Where something is: translation in pixels, scale relative to the middle frame, angle in radians."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    angle: float = 0.0


def movement(
    kind: str, direction: tuple[float, float], speed: float, lever: float, period: float, phase: float, time: float
) -> Pose:
    """How far something has moved ``time`` frames after the middle frame.

    Parameters
    ----------
    kind : one of ``CAMERAS``. A shake has the given mean speed and is zero at time 0 for every phase.
    direction : of pan and shake; the sign of its second part is that of zoom and rotation.
    lever : of rotation, pixels.
    """
    (dx, dy), sign = direction, 1 if direction[1] >= 0 else -1
    if kind == "pan":
        return Pose(dx * speed * time, dy * speed * time)
    if kind == "zoom":
        return Pose(scale=math.exp(sign * speed / ZOOM_LEVER * time))
    if kind == "rotate":
        return Pose(angle=sign * speed / lever * time)
    if kind == "shake":
        amplitude = speed * period / 4  # a swing covers four amplitudes per period
        sway = amplitude * (math.sin(2 * math.pi / period * time + phase) - math.sin(phase))
        return Pose(dx * sway, dy * sway)
    return Pose()  # still


def camera_pose(spec: ClipSpec, time: float) -> Pose:
    """How the camera shifts, scales and turns the scene about the frame's centre; no change in the middle frame."""
    direction = math.cos(spec.camera_angle), math.sin(spec.camera_angle)
    return movement(spec.camera, direction, spec.camera_speed, CAMERA_TURN_LEVER, spec.camera_period, 0.0, time)


def seen_pose(spec: ClipSpec, time: float) -> Pose:
    """The object's pose in the frame: its own motion seen through the camera."""
    thing = movement(*MOVEMENTS[spec.motion], spec.speed, TURN_LEVER, spec.period, spec.phase, time)
    camera = camera_pose(spec, time)
    cos, sin = math.cos(camera.angle) * camera.scale, math.sin(camera.angle) * camera.scale
    x, y = spec.x + thing.x - WIDTH / 2, spec.y + thing.y - HEIGHT / 2
    return Pose(
        WIDTH / 2 + camera.x + cos * x - sin * y,
        HEIGHT / 2 + camera.y + sin * x + cos * y,
        thing.scale * camera.scale,
        spec.angle + thing.angle + camera.angle,
    )


def iterate(spec: ClipSpec, times: range) -> Iterator[np.ndarray]:
    """Frames one by one, uint8 (HEIGHT, WIDTH, 3), at the given times (0 is the middle frame)."""
    field = spec.background.image(FIELD_WIDTH, FIELD_HEIGHT)
    cut_out, mask = _cut_out(spec)
    for time in times:
        yield np.asarray(_draw(field, cut_out, mask, camera_pose(spec, time), seen_pose(spec, time)))


def _cut_out(spec: ClipSpec) -> tuple[Image.Image, Image.Image]:
    """The object's picture (RGB) and its soft-edged mask (L), ``OVERSAMPLE`` times finer than in the middle frame."""
    aspect = (spec.box[2] - spec.box[0]) / (spec.box[3] - spec.box[1])
    width = round(spec.size * math.sqrt(aspect) * OVERSAMPLE)
    height = round(spec.size / math.sqrt(aspect) * OVERSAMPLE)
    picture = photo(spec.photo).resize((width, height), Image.Resampling.BICUBIC, box=spec.box, reducing_gap=3.0)
    if spec.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(spec.blur * OVERSAMPLE))
    for patch in spec.patches:
        size = max(1, round(patch.width * width)), max(1, round(patch.height * height))
        corner = round(patch.x * width - size[0] / 2), round(patch.y * height - size[1] / 2)
        picture.paste(patch.surface.image(*size), corner)
    y, x = np.mgrid[(1 - height) / height : 1 : 2 / height, (1 - width) / width : 1 : 2 / width]
    radius = (np.abs(x) ** spec.exponent + np.abs(y) ** spec.exponent) ** (1 / spec.exponent)
    alpha = (1 - radius) * min(width, height) / 2 / (SOFT_EDGE * OVERSAMPLE)
    mask = Image.fromarray((alpha.clip(0, 1) * 255).round().astype(np.uint8))
    return picture, mask


def _draw(field: Image.Image, cut_out: Image.Image, mask: Image.Image, camera: Pose, thing: Pose) -> Image.Image:
    """One frame: the background through the camera, the object over it."""
    seen = Pose(WIDTH / 2 + camera.x, HEIGHT / 2 + camera.y, camera.scale, camera.angle)
    frame = _transform(field, seen, (WIDTH, HEIGHT))
    scale = thing.scale / OVERSAMPLE
    cos, sin = abs(math.cos(thing.angle)) * scale / 2, abs(math.sin(thing.angle)) * scale / 2
    reach_x, reach_y = cos * mask.width + sin * mask.height, sin * mask.width + cos * mask.height
    left, top = max(0, math.floor(thing.x - reach_x)), max(0, math.floor(thing.y - reach_y))
    right, bottom = min(WIDTH, math.ceil(thing.x + reach_x)), min(HEIGHT, math.ceil(thing.y + reach_y))
    if left < right and top < bottom:  # only the object's rectangle is computed: most of the frame is background
        inside = Pose(thing.x - left, thing.y - top, scale, thing.angle)
        size = right - left, bottom - top
        frame.paste(_transform(cut_out, inside, size), (left, top), _transform(mask, inside, size))
    return frame


def _transform(image: Image.Image, pose: Pose, size: tuple[int, int]) -> Image.Image:
    """``image`` with its centre at (pose.x, pose.y), scaled and turned, on a canvas of ``size``; black outside."""
    cos, sin = math.cos(pose.angle) / pose.scale, math.sin(pose.angle) / pose.scale
    # Pillow wants the inverse: where in `image` a pixel of the canvas comes from
    shift_x = image.width / 2 - cos * pose.x - sin * pose.y
    shift_y = image.height / 2 + sin * pose.x - cos * pose.y
    data = (cos, sin, shift_x, -sin, cos, shift_y)
    return image.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
