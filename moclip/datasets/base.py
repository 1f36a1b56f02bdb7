"""What a data set is, for every room above: clips with a label, a group and a name, cut into splits."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from moclip.io.fingerprints import fingerprints

REMEDY = "fetch or mend these clips, or leave them out: -p data.on_error=skip (every table then says how many)"
NO_MOTION = "no frame has motion vectors: a single frame, I-frames alone, or nothing but cuts"


@dataclass(frozen=True)
class Clip:
    """One labelled video.

    Attributes
    ----------
    path : the file to read.
    label : index into the data set's ``classes`` (0-based, the class file's order).
    class_name : ``classes[label]``; predictions are joined by this and ``name``, never by index.
    group : clips of a group come from one source, so that they are not independent; no group crosses a split.
    name : unique in the data set, stable across machines (``v_Archery_g01_c01``).
    """

    path: Path
    label: int
    class_name: str
    group: str
    name: str


@dataclass(frozen=True)
class VideoDataset:
    """Clips of a data set, cut into splits.

    Attributes
    ----------
    name : short name, used in file names (``mixed``, ``ucf101-fold1``).
    description : what the clips are, for table captions; says ``synthetic`` where they are.
    classes : class names in the official order; ``Clip.label`` points here.
    train, val, test : the splits. ``val`` is empty unless it was asked for; it is then cut from the training groups.
    class_texts : class name -> how a person would say it, put into prompts.
    horizontal_flip : False where a flip would change the class (left and right, clockwise and counter-clockwise).
    ceilings : stream -> highest accuracy that the design allows that stream alone; empty where unknown.
    fingerprint : hash of what the clips are; the same seed gives the same fingerprint.
    missing : clips that the lists name and the folder lacks, as paths under the data set's root.
    unused : files that the lists name and no split takes (HMDB51's tag 0).
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
    fingerprint: str = ""
    missing: Sequence[str] = ()
    unused: Sequence[Path] = ()

    def __post_init__(self) -> None:
        clips = [*self.train, *self.val, *self.test]
        names = [clip.name for clip in clips]
        if len(set(names)) != len(names):
            double = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"{self.name}: a clip stands in the lists more than once: {double[:5]}")
        splits = {"train": self.train, "val": self.val, "test": self.test}
        groups = {split: {(clip.class_name, clip.group) for clip in members} for split, members in splits.items()}
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            if shared := sorted(groups[one] & groups[other]):
                raise ValueError(f"{self.name}: groups in both {one} and {other}: {shared[:5]}")
        for clip in clips:
            if self.classes[clip.label] != clip.class_name:
                raise ValueError(
                    f"{clip.name}: label {clip.label} is {self.classes[clip.label]!r}, not {clip.class_name!r}"
                )

    @property
    def clips(self) -> list[Clip]:
        """All clips: train, val, test."""
        return [*self.train, *self.val, *self.test]

    def manifest(self) -> dict[str, Any]:
        """What the data set is, without paths: the artefact from which tables take their captions."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        return {
            "name": self.name,
            "description": self.description,
            "classes": list(self.classes),
            "ceilings": self.ceilings,
            "fingerprint": self.fingerprint,
            "counts": {split: len(clips) for split, clips in splits.items()},
            "clips": [
                {"name": clip.name, "class_name": clip.class_name, "group": clip.group, "split": split}
                for split, clips in splits.items()
                for clip in clips
            ],
        }


def words(name: str) -> str:
    """A class name with spaces, for prompts: ``ApplyLipstick``, ``apply_lipstick``, ``apply-lipstick``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.sub(r"[_-]+", " ", spaced).split())


def hold_out_groups(train: Sequence[Clip], fraction: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Cut a validation split from training clips, whole groups at a time, the same share of every class.

    Returns
    -------
    (train, val) : both in the order of the input. Every class keeps at least one training group.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must lie in [0, 1), not {fraction}")
    rng = np.random.default_rng(seed)
    held: set[tuple[str, str]] = set()
    for class_name in sorted({clip.class_name for clip in train}):
        groups = sorted({clip.group for clip in train if clip.class_name == class_name})
        count = min(round(fraction * len(groups)), len(groups) - 1)
        held |= {(class_name, str(group)) for group in rng.permutation(groups)[:count]}
    val = [clip for clip in train if (clip.class_name, clip.group) in held]
    return [clip for clip in train if (clip.class_name, clip.group) not in held], val


def few_clips(dataset: VideoDataset, count: int | None) -> VideoDataset:
    """The data set with at most ``count`` clips of each class in each split, of as many groups as there are."""
    import pandas as pd  # late: slow to import

    if count is None:
        return dataset

    def first(clips: Sequence[Clip]) -> list[Clip]:
        table = pd.DataFrame([(clip.class_name, clip.group) for clip in clips], columns=["class", "group"])
        turn = table.groupby(["class", "group"]).cumcount()  # clips of its group that stand before it
        rows = table.loc[turn.sort_values(kind="stable").index].groupby("class").head(count).index
        return [clips[row] for row in sorted(rows)]

    train, val, test = first(dataset.train), first(dataset.val), first(dataset.test)
    description = f"{dataset.description}, at most {count} clips a class and split"
    return replace(
        dataset, train=train, val=val, test=test, description=description, fingerprint=f"{dataset.fingerprint}-{count}"
    )


def fingerprint_files(clips: Sequence[Clip], workers: int | None = None) -> str:
    """SHA-256 over (name, label, bytes) of every clip: says whether two machines hold the same data set.

    ``workers`` are those of `moclip.io.fingerprints.fingerprints`.
    """
    digest = hashlib.sha256()
    hashes = fingerprints([clip.path for clip in clips], workers)
    for clip in sorted(clips, key=lambda clip: clip.name):
        digest.update(f"{clip.name}\0{clip.label}\0".encode())
        digest.update(bytes.fromhex(hashes[clip.path]))
    return digest.hexdigest()[:16]
