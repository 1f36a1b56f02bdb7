"""MovingPhotos: a generated data set in which what is seen and how it moves can be told apart.

Objects cut from the photos that scikit-image, scikit-learn and matplotlib bundle (``ATTRIBUTION.md``) move over
textured backgrounds under a moving camera; clips are encoded as real MPEG-4 or H.264. It is synthetic.

Design ``mixed``: a class is an (object, motion) pair. Objects and motions recur, and therefore neither stream alone can
pass the ceiling that follows from the class graph. Fusion's gain is there by construction.
Design ``independent``: a class is an object, and the motion is drawn independently of it. The object is blurred,
covered and cropped: appearance alone errs and leaves room for a gain, but none can come from the kind of motion.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from moclip.datasets.base import Clip, VideoDataset, hold_out_groups
from moclip.datasets.moving_photos.draws import Degradation, draw_spec
from moclip.datasets.moving_photos.photos import OBJECTS, photos_hash
from moclip.datasets.moving_photos.render import MOTIONS, ClipSpec, iterate
from moclip.io import keys
from moclip.io.artefacts import load_json, save_json
from moclip.io.parallel import for_each_file
from moclip.io.paths import data_dir
from moclip.io.progress import track

FPS, GOP = 25.0, 12
MAX_FRAMES = 64  # in more, a moving camera would look past the edge of the background

_TABLES = yaml.safe_load(Path(__file__).with_name("classes.yaml").read_text(encoding="utf-8"))
MIXED: dict[str, list[str]] = _TABLES["mixed"]
OBJECT_TEXTS: dict[str, str] = _TABLES["object texts"]
MOTION_TEXTS: dict[str, str] = _TABLES["motion texts"]
TEST_GROUPS = {"mixed": 8, "independent": 12}
DEGRADATIONS = {"mixed": Degradation(strength=0.0), "independent": Degradation()}


def class_graph(design: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Class name -> (object, the motions that its clips show, equally likely), in the order of labels."""
    if design == "mixed":
        return {thing + motion: (thing, (motion,)) for thing, motions in MIXED.items() for motion in motions}
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
    return {stream: float(sum(max(options) for options in seen.values())) for stream, seen in shares.items()}


@dataclass(frozen=True)
class Design:
    """What is generated.

    Attributes
    ----------
    name : {"mixed", "independent"}
    train_groups, test_groups : groups per class (test: 8 in ``mixed``, 12 in ``independent``); test groups come first.
    clips_per_group : clips that share object crop, outline and background but not camera, start and speed.
    classes : some of the design's classes, in the order of their labels; all by default.
    seed : same seed, same clips; also of the validation cut.
    frames : length of a clip, 2 to 64; 160 x 120 pixels, 25 per second, an I-frame every 12.
    codec, quality : as ``moclip.video.encode`` takes them.
    degradation : how hard the object is to recognise; by default the design's own.

    Raises
    ------
    ValueError
        An unknown design or class, or no room for clips.
    """

    name: str = "mixed"
    train_groups: int = 10
    test_groups: int | None = None
    clips_per_group: int = 2
    classes: Sequence[str] | None = None
    seed: int = 0
    frames: int = 48
    codec: str = "mpeg4"
    quality: int | None = None
    degradation: Degradation | None = None

    def __post_init__(self) -> None:
        graph = class_graph(self.name)
        if unknown := sorted(set(self.classes or ()) - set(graph)):
            raise ValueError(f"no class {unknown[0]!r} in design {self.name!r}: it has {', '.join(graph)}")
        groups = min(self.train_groups, self.test_groups or 0)
        if groups < 0 or self.clips_per_group < 1 or not 2 <= self.frames <= MAX_FRAMES:
            raise ValueError(f"groups must be at least 0, clips_per_group at least 1, frames 2 to {MAX_FRAMES}")

    @property
    def graph(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """`class_graph`, for the classes of this design alone."""
        graph = class_graph(self.name)
        return {name: graph[name] for name in (self.classes or graph)}

    def key(self) -> dict[str, Any]:
        """All that shapes a clip (`moclip.io.keys.key`). The numbers of groups and classes change no clip."""
        shape = {name: getattr(self, name) for name in ("name", "seed", "frames", "codec", "quality")}
        shape["degradation"] = asdict(self._degradation())
        return keys.key("generated", shape, {"photos": photos_hash()})

    def draw(self, class_name: str, group: str, clip: str) -> ClipSpec:
        """What one clip shows. It depends on these names, seed and degradation: a smaller data set has the same clips.

        Parameters
        ----------
        group, clip : ``g01``, ``c01``: the clip's group, and its name in there.
        """
        thing, motions = class_graph(self.name)[class_name]
        return draw_spec(thing, motions, (self.name, class_name, group), clip, self.seed, self._degradation())

    def _degradation(self) -> Degradation:
        return self.degradation or DEGRADATIONS[self.name]


def MovingPhotos(  # noqa: N802 - reads like the other data sets
    design: Design | str = "mixed",
    root: Path | str | None = None,
    val_fraction: float = 0.0,
    workers: int | None = None,
    generate: bool = True,
) -> VideoDataset:
    """The data set, its missing clips generated first.

    Parameters
    ----------
    design : what to generate; a name stands for ``Design(name)``.
    root : folder of the clips, ``<root>/<Class>/<name>.mp4``, with all that shapes them in ``design.json``. By default
        ``data/moving_photos/<design>-<hash of that>``: other parameters go to another folder.
    val_fraction : share of the training groups that is held out for validation.
    workers : processes; all cores by default. They import the main script, which therefore keeps its work under
        ``if __name__ == "__main__":``.
    generate : False lists the clips, whether they are there or not.

    Raises
    ------
    ValueError
        ``root`` holds clips of other parameters.
    """
    design = Design(design) if isinstance(design, str) else design
    graph = design.graph
    folder = Path(root) if root else data_dir() / "moving_photos" / f"{design.name}-{keys.digest(design.key())}"
    train: list[Clip] = []
    test: list[Clip] = []
    test_groups = TEST_GROUPS[design.name] if design.test_groups is None else design.test_groups
    for label, name in enumerate(graph):
        for number in range(1, test_groups + design.train_groups + 1):
            for take in range(1, design.clips_per_group + 1):
                stem = f"v_{name}_g{number:02d}_c{take:02d}"
                clip = Clip(folder / name / f"{stem}.mp4", label, name, f"g{number:02d}", stem)
                (test if number <= test_groups else train).append(clip)
    if generate:
        _generate(design, folder, [*train, *test], workers)
    fitted, val = hold_out_groups(train, val_fraction, design.seed)
    return VideoDataset(
        name=design.name,
        description=f"MovingPhotos (synthetic), design {design.name}, seed {design.seed}",
        classes=tuple(graph),
        train=fitted,
        val=val,
        test=test,
        class_texts={name: _text(design.name, thing, motions) for name, (thing, motions) in graph.items()},
        horizontal_flip=False,
        ceilings=ceilings(graph),
    )


def _text(design: str, thing: str, motions: tuple[str, ...]) -> str:
    noun = OBJECT_TEXTS.get(thing, thing.lower())
    return f"{noun} {MOTION_TEXTS[motions[0]]}" if design == "mixed" else noun


def _generate(design: Design, folder: Path, clips: Sequence[Clip], workers: int | None) -> None:
    """Render and encode the clips that ``folder`` lacks, several at a time; what is finished stays if work is cut off.

    ``design.json`` says what shaped the clips; a folder of other ones is refused.
    """
    path, key = folder / "design.json", design.key()
    if not path.exists():
        save_json(path, key)
    elif changes := keys.differences(load_json(path), key):
        raise ValueError(
            f"{path} belongs to clips of other parameters ({'; '.join(changes)}): choose another root or none, or "
            "remove this folder"
        )
    missing = [clip for clip in clips if not clip.path.is_file()]
    jobs = [(design.draw(clip.class_name, clip.group, clip.name[-3:]), clip.path, design) for clip in missing]
    if workers == 1 or len(jobs) <= 8:  # a process takes as long to start as 8 clips to make
        for job in track(jobs, "generating clips", unit="clip"):
            _write_clip(*job)
    else:
        for_each_file(_write_clip, jobs, "generating clips", workers)


def _write_clip(spec: ClipSpec, path: Path, design: Design) -> None:
    from moclip.video import encode  # av is loaded only where clips are made

    times = range(-(design.frames // 2), design.frames - design.frames // 2)
    encode(iterate(spec, times), path, fps=FPS, codec=design.codec, gop=GOP, quality=design.quality)
