"""MovingPhotos: a generated data set in which what is seen and how it moves can be told apart.

Objects cut from the photos that scikit-image, scikit-learn and matplotlib bundle (``ATTRIBUTION.md``) move over
textured backgrounds under a moving camera; clips are encoded as real MPEG-4 or H.264. It is synthetic.

Design ``mixed``: a class is an (object, motion) pair; objects and motions recur, so that neither stream alone can pass
the ceiling that follows from the class graph. Fusion's gain is there by construction.
Design ``independent``: a class is an object and the motion is drawn whatever the class; the object is blurred, covered
and cut small, so that appearance alone errs and a gain would have room, but none can come from the motion's kind.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path

from moclip.datasets.base import Clip, VideoDataset, fingerprint_files, hold_out_groups
from moclip.datasets.moving_photos.draws import Degradation, draw_spec
from moclip.datasets.moving_photos.photos import OBJECTS, photos_hash
from moclip.datasets.moving_photos.render import MOTIONS, ClipSpec, iterate
from moclip.io.files import atomic_path, sha256_file
from moclip.io.parallel import for_each_file
from moclip.io.paths import data_dir
from moclip.io.progress import track

DRAWN_BY = ("draws.py", "photos.py", "render.py")  # the code that shapes clips: a change of it asks for new ones
FPS, GOP = 25.0, 12
MAX_FRAMES = 64  # in more, a moving camera would look past the edge of the background

# Sixteen classes on ten objects and ten motions; whoever shares its object with no class shares its motion with one.
MIXED: tuple[tuple[str, str], ...] = (
    ("Astronaut", "Approach"),
    ("Astronaut", "Right"),
    ("Cat", "Left"),
    ("Cat", "Recede"),
    ("CoffeeCup", "Clockwise"),
    ("CoffeeCup", "CounterClockwise"),
    ("Coins", "Down"),
    ("Flower", "Approach"),
    ("Flower", "Clockwise"),
    ("Motorcycle", "Left"),
    ("Motorcycle", "Shake"),
    ("Officer", "Down"),
    ("Pagoda", "Up"),
    ("Photographer", "Right"),
    ("Rocket", "Bounce"),
    ("Rocket", "Up"),
)
TEST_GROUPS = {"mixed": 8, "independent": 12}
OBJECT_TEXTS = {"CoffeeCup": "coffee cup", "Coins": "old coins", "Officer": "navy officer"}
MOTION_TEXTS = {
    "Left": "moving left",
    "Right": "moving right",
    "Up": "moving up",
    "Down": "moving down",
    "Approach": "coming closer",
    "Recede": "moving away",
    "Clockwise": "turning clockwise",
    "CounterClockwise": "turning counter-clockwise",
    "Shake": "shaking from side to side",
    "Bounce": "bouncing up and down",
}
DEGRADATIONS = {"mixed": Degradation(strength=0.0), "independent": Degradation()}


def class_graph(design: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Class name -> (object, the motions that its clips show, equally likely), in the order of labels."""
    if design == "mixed":
        return {thing + motion: (thing, (motion,)) for thing, motion in MIXED}
    if design == "independent":
        return {thing: (thing, MOTIONS) for thing in OBJECTS}
    raise ValueError(f"design {design!r} is not one of {', '.join(TEST_GROUPS)}")


def ceilings(graph: dict[str, tuple[str, tuple[str, ...]]]) -> dict[str, float]:
    """Highest expected accuracy of a stream that knows its side of the clip and nothing else; classes equally likely.

    Returns
    -------
    ``appearance`` : the object is known. ``motion`` : the motion is known. ``fusion`` : both are.
    """
    # Fractions: ten tenths are one.
    shares: dict[str, dict[object, list[Fraction]]] = {"appearance": {}, "motion": {}, "fusion": {}}
    for thing, motions in graph.values():
        for motion in motions:
            share = Fraction(1, len(graph) * len(motions))
            for stream, seen in (("motion", motion), ("fusion", (thing, motion))):
                shares[stream].setdefault(seen, []).append(share)
        shares["appearance"].setdefault(thing, []).append(Fraction(1, len(graph)))
    return {stream: float(sum(max(rivals) for rivals in seen.values())) for stream, seen in shares.items()}


def draw_clip(design: str, class_name: str, group: str, clip: str, seed: int, degradation: Degradation) -> ClipSpec:
    """What one clip shows. It depends on these arguments alone, so that a smaller data set holds the same clips."""
    thing, motions = class_graph(design)[class_name]
    return draw_spec(thing, motions, (design, class_name, group), clip, seed, degradation)


def MovingPhotos(  # noqa: N802 - reads like the other data sets
    design: str = "mixed",
    root: Path | str | None = None,
    *,
    seed: int = 0,
    train_groups: int = 10,
    test_groups: int | None = None,
    clips_per_group: int = 2,
    classes: Sequence[str] | None = None,
    frames: int = 48,
    codec: str = "mpeg4",
    quality: int | None = None,
    val_fraction: float = 0.0,
    degradation: Degradation | None = None,
    workers: int | None = None,
) -> VideoDataset:
    """The data set, its missing clips generated first.

    Parameters
    ----------
    design : {"mixed", "independent"}
    root : folder of the clips, ``<root>/<Class>/<name>.mp4``, with all that shapes them in ``design.json``. By default
        ``data/moving_photos/<design>-<hash of that>``, so that other parameters go to another folder.
    seed : same seed, same clips; also of the validation cut.
    train_groups, test_groups : groups a class (test: 8 in ``mixed``, 12 in ``independent``); test groups come first.
    clips_per_group : clips that share object crop, outline and background but not camera, start and speed.
    classes : some of the design's classes, in the order of their labels; all by default.
    frames : length of a clip, 2 to 64; 160 x 120 pixels, 25 a second, an I-frame every 12.
    codec, quality : as ``moclip.video.encode`` takes them.
    val_fraction : share of the training groups that is held out for validation.
    degradation : how hard the object is to recognise; by default the design's own.
    workers : processes; all cores by default. They import the main script, which therefore keeps its own work under
        ``if __name__ == "__main__":``.

    Raises
    ------
    ValueError
        An unknown design or class, no room for clips, or a ``root`` that holds clips of other parameters.
    """
    graph = class_graph(design)
    if unknown := sorted(set(classes or ()) - set(graph)):
        raise ValueError(f"no class {unknown[0]!r} in design {design!r}: it has {', '.join(graph)}")
    graph = {name: graph[name] for name in (classes or graph)}
    test_groups = TEST_GROUPS[design] if test_groups is None else test_groups
    if min(train_groups, test_groups) < 0 or clips_per_group < 1 or not 2 <= frames <= MAX_FRAMES:
        raise ValueError(f"groups must be at least 0, clips_per_group at least 1, frames 2 to {MAX_FRAMES}")
    degradation = DEGRADATIONS[design] if degradation is None else degradation
    folder = _claim_folder(root, design, seed, frames, codec, quality, degradation)

    train: list[Clip] = []
    test: list[Clip] = []
    for label, name in enumerate(graph):
        for number in range(1, test_groups + train_groups + 1):
            for take in range(1, clips_per_group + 1):
                stem = f"v_{name}_g{number:02d}_c{take:02d}"
                clip = Clip(folder / name / f"{stem}.mp4", label, name, f"g{number:02d}", stem)
                (test if number <= test_groups else train).append(clip)

    missing = [clip for clip in [*train, *test] if not clip.path.is_file()]
    specs = [draw_clip(design, clip.class_name, clip.group, clip.name[-3:], seed, degradation) for clip in missing]
    _generate(specs, [clip.path for clip in missing], frames, codec, quality, workers)
    fitted, val = hold_out_groups(train, val_fraction, seed)
    return VideoDataset(
        name=design,
        description=f"MovingPhotos (synthetic), design {design}, seed {seed}",
        classes=tuple(graph),
        train=fitted,
        val=val,
        test=test,
        class_texts={name: _text(design, thing, motions) for name, (thing, motions) in graph.items()},
        horizontal_flip=False,
        ceilings=ceilings(graph),
        fingerprint=fingerprint_files([*train, *test]),
    )


def _text(design: str, thing: str, motions: tuple[str, ...]) -> str:
    noun = OBJECT_TEXTS.get(thing, thing.lower())
    return f"{noun} {MOTION_TEXTS[motions[0]]}" if design == "mixed" else noun


def _claim_folder(
    root: Path | str | None,
    design: str,
    seed: int,
    frames: int,
    codec: str,
    quality: int | None,
    degradation: Degradation,
) -> Path:
    """The clips' folder, with ``design.json``; number of groups and classes are no part of it: they change no clip."""
    shape = {"design": design, "seed": seed, "frames": frames, "codec": codec, "quality": quality}
    shape |= {
        "degradation": asdict(degradation),
        "generator": [sha256_file(Path(__file__).with_name(name))[:16] for name in DRAWN_BY],
        "photos": photos_hash(),
    }
    text = json.dumps(shape, indent=1, sort_keys=True) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    folder = data_dir() / "moving_photos" / f"{design}-{digest}" if root is None else Path(root)
    manifest = folder / "design.json"
    if not manifest.exists():
        with atomic_path(manifest) as temporary:
            temporary.write_text(text)
    elif manifest.read_text() != text:
        raise ValueError(
            f"{manifest} belongs to clips of other parameters (found {manifest.read_text()}, wanted {text}); "
            "choose another root, or none"
        )
    return folder


def _generate(
    specs: Sequence[ClipSpec],
    paths: Sequence[Path],
    frames: int,
    codec: str,
    quality: int | None,
    workers: int | None,
) -> None:
    """Render and encode clips, several at a time; what is finished stays when the work is cut off."""
    write = partial(_write_clip, frames=frames, codec=codec, quality=quality)
    if workers == 1 or len(specs) <= 8:  # a process takes as long to start as 8 clips to make
        for spec, path in zip(track(specs, "generating clips", unit="clip") if specs else (), paths, strict=True):
            write(spec, path)
    else:
        for_each_file(write, list(zip(specs, paths, strict=True)), "generating clips", workers)


def _write_clip(spec: ClipSpec, path: Path, *, frames: int, codec: str, quality: int | None) -> None:
    from moclip.video import encode  # av is loaded only where clips are made

    times = range(-(frames // 2), frames - frames // 2)
    encode(iterate(spec, times), path, fps=FPS, codec=codec, gop=GOP, quality=quality)
