"""What a data set is, for every room above: clips with a label, a group and a name, cut into splits."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from moclip.errors import MoclipError
from moclip.io.fingerprints import fingerprints

REMEDY = "replace or repair these clips, or leave them out: -p data.on_error=skip (every table then says how many)"
NO_MOTION = "no frame has motion vectors: a single frame, I-frames alone, or nothing but cuts"


class DataError(MoclipError, ValueError):
    """A folder or lists that cannot be used as they are; the message says what was found and what to do."""


@dataclass(frozen=True)
class Clip:
    """One labelled video.

    Attributes
    ----------
    path : the file to read.
    label : index into the data set's ``classes`` (0-based, in the order of the class file).
    class_name : ``classes[label]``; predictions are joined by this and ``name``, never by index.
    group : clips of a group come from one source and are not independent; no group crosses a split.
    name : unique in the data set, stable across machines (``v_Archery_g01_c01``).
    sha256 : of the file, in hexadecimal; empty until the file was hashed (`hash_clips`).
    """

    path: Path
    label: int
    class_name: str
    group: str
    name: str
    sha256: str = ""


@dataclass(frozen=True)
class VideoDataset:
    """Clips of a data set, cut into splits.

    Attributes
    ----------
    name : short name, used in file names (``mixed``, ``ucf101-fold1``).
    description : what the clips are, for table captions; says ``synthetic`` where they are.
    classes : class names in the official order; ``Clip.label`` is an index into this.
    train, val, test : the splits. ``val`` is empty unless it was asked for; it is then cut from the training groups.
    class_texts : class name -> how a person would say it, for prompts.
    horizontal_flip : False where a flip would change the class (left and right, clockwise and counter-clockwise).
    ceilings : stream -> highest accuracy that the design allows that stream alone; empty where unknown.
    missing : clips that the lists name and the folder lacks, as paths under the data set's root.
    unused : files that the lists name and no split uses (HMDB51's tag 0).
    """

    name: str
    description: str
    classes: Sequence[str]
    train: Sequence[Clip]
    test: Sequence[Clip]
    val: Sequence[Clip] = ()
    class_texts: dict[str, str] = field(default_factory=dict)
    horizontal_flip: bool = True
    ceilings: dict[str, float] = field(default_factory=dict)
    missing: Sequence[str] = ()
    unused: Sequence[Path] = ()

    def __post_init__(self) -> None:
        names = Counter(clip.name for clip in self.clips)
        if double := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"{self.name}: the lists name a clip more than once: {few(double)}")
        groups = {split: {(clip.class_name, clip.group) for clip in members} for split, members in self.splits.items()}
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            if shared := sorted(groups[first] & groups[second]):
                raise ValueError(f"{self.name}: groups in both {first} and {second}: {shared[:5]}")
        for clip in self.clips:
            if self.classes[clip.label] != clip.class_name:
                raise ValueError(
                    f"{clip.name}: label {clip.label} is {self.classes[clip.label]!r}, not {clip.class_name!r}"
                )

    @property
    def splits(self) -> dict[str, Sequence[Clip]]:
        """``train``, ``val``, ``test`` -> their clips."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def clips(self) -> list[Clip]:
        """All clips: train, val, test."""
        return [clip for members in self.splits.values() for clip in members]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over (name, label, bytes) of every clip: whether two machines hold the same data set.

        Empty as long as a clip has no hash.
        """
        digest = hashlib.sha256()
        for clip in sorted(self.clips, key=lambda clip: clip.name):
            if not clip.sha256:
                return ""
            digest.update(f"{clip.name}\0{clip.label}\0".encode() + bytes.fromhex(clip.sha256))
        return digest.hexdigest()[:16]

    def with_clips(self, change: Callable[[Clip], Clip | None], **fields: Any) -> "VideoDataset":
        """The data set with ``change(clip)`` in place of each clip, without those for which it is None.

        Parameters
        ----------
        **fields : other fields of the result.
        """
        for split, members in self.splits.items():
            fields[split] = [changed for clip in members if (changed := change(clip)) is not None]
        return replace(self, **fields)


def few(names: Iterable[str]) -> str:
    """At most five names, in order."""
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def words(name: str) -> str:
    """A class name with spaces, for prompts: ``ApplyLipstick``, ``apply_lipstick``, ``apply-lipstick``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.sub(r"[_-]+", " ", spaced).split())


def hold_out_groups(
    clips: Sequence[Clip], fraction: float, seed: int, least: int = 0, groups_span_classes: bool = False
) -> tuple[list[Clip], list[Clip]]:
    """Hold out a share of the groups of every class, whole groups at a time.

    Parameters
    ----------
    fraction : share of each class's groups, in [0, 1).
    least : groups that each class gives even if the share rounds to fewer.
    groups_span_classes : equal group names mean one source in all classes, not one source per class.

    Returns
    -------
    (rest, held_out) : both in the order of the input. A group stays in the rest if some class would have none left.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must lie in [0, 1), not {fraction}")

    def source(clip: Clip) -> tuple[str, str]:
        return ("" if groups_span_classes else clip.class_name, clip.group)

    rng = np.random.default_rng(seed)
    sources: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)  # of each class
    classes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # of each source
    for clip in clips:
        sources[clip.class_name].add(source(clip))
        classes[source(clip)].add(clip.class_name)
    left = Counter({class_name: len(members) for class_name, members in sources.items()})
    wanted = Counter({class_name: max(least, round(fraction * count)) for class_name, count in left.items()})
    held: set[tuple[str, str]] = set()
    for class_name in sorted(sources):
        members = sorted(sources[class_name])
        for group in (members[place] for place in rng.permutation(len(members))):
            if wanted[class_name] > 0 and group not in held and all(left[name] > 1 for name in classes[group]):
                held.add(group)
                left.subtract(classes[group])
                wanted.subtract(classes[group])
    return [c for c in clips if source(c) not in held], [c for c in clips if source(c) in held]


def hash_clips(dataset: VideoDataset, workers: int | None = None) -> VideoDataset:
    """The data set with the SHA-256 of every clip; each file is read once.

    Parameters
    ----------
    workers : threads; all cores if None.

    Raises
    ------
    ClipsError
        Files that cannot be read.
    """
    hashes = fingerprints([clip.path for clip in dataset.clips], workers)
    return dataset.with_clips(lambda clip: replace(clip, sha256=hashes[clip.path]))
