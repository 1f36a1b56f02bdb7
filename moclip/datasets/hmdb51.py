"""HMDB51 from its official lists (Kuehne, Jhuang, Garrote, Poggio and Serre, ICCV 2011).

HMDB51 has no class file. Its classes are numbered here in the alphabetical order of their names, which is that of its
list files and folders. CoViAR's lists number them in another order: predictions are joined by class name, never by
number.

A file is called ``<source>_<class>_<body>_<camera>_<people>_<view>_<quality>_<number>.avi`` (body h, u, f or l; camera
cm or nm; np1 ...; view fr, ba, le or ri; quality goo, med or bad). Its **group** is ``<source>``, the video that it was
cut from. That is as much as the names tell: two parts of one film (``Italian_Job_1``, ``Italian_Job_2``) count as two
sources, and a film may be in training with one class and in the test with another.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moclip.datasets import lists
from moclip.datasets.base import Clip, words

COUNTS = (3570, 1530)  # training and test clips of each fold: 70 and 30 per class
CLASS_COUNT = 51
TAGS = {"0": "unused", "1": "train", "2": "test"}
WHERE = "annotation_path is the folder of HMDB51's <class>_test_split<1, 2, 3>.txt files"
# What follows <source>_<class> in a file's name.
_TAIL = re.compile(r"_[hufl]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")


def read(root: Path, folder: Path, fold: int) -> lists.Listed:
    """What the lists of a fold say; ``folder`` holds them.

    It reads ``<class>_test_split<fold>.txt`` (lines ``<clip>.avi <tag>``; 1 trains, 2 tests, 0 is unused), or CoViAR's
    or ``path label`` lists.
    """
    inside = _read_lists(folder, fold)
    classes = tuple(sorted({path.partition("/")[0] for members in inside.values() for path in members}))
    train, test, remarks = _separate(
        *([_clip(root, path, classes) for path in inside[split]] for split in ("train", "test"))
    )
    return lists.Listed(classes, train, test, [root / path for path in inside["unused"]], remarks)


def source(file_name: str, class_name: str) -> str:
    """The video that a clip was cut from, by its name; the whole name where it does not follow the convention."""
    stem = Path(file_name).stem
    found = _TAIL.search(stem)
    return stem[: found.start()].removesuffix(f"_{class_name}") if found else stem


def _clip(root: Path, inside: str, classes: Sequence[str]) -> Clip:
    class_name, _, file_name = inside.partition("/")
    group = source(file_name, class_name)
    return Clip(root / inside, classes.index(class_name), class_name, group, Path(file_name).stem)


def _read_lists(folder: Path, fold: int) -> dict[str, list[str]]:
    """``train``, ``test``, ``unused`` -> paths under the root, from the lists that the folder holds."""
    if official := sorted(folder.glob(f"*_test_split{fold}.txt")):
        return _read_official(official, fold)
    inside: dict[str, list[str]] = {"unused": []}
    every: list[lists.Row] = []
    for split in ("train", "test"):
        try:
            path = lists.find_list(folder, lists.common_names("hmdb51", split, fold), WHERE)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no *_test_split{fold}.txt in {folder}, and {error}") from None
        rows = lists.read_rows(path, WHERE)
        every += rows
        lists.check_numbers_of_classes(path, every)
        inside[split] = [row.inside for row in rows]
    return inside


def _read_official(paths: Sequence[Path], fold: int) -> dict[str, list[str]]:
    """The lists of all classes, one file per class."""
    inside: dict[str, list[str]] = {split: [] for split in TAGS.values()}
    for path in paths:
        class_name = path.name.removesuffix(f"_test_split{fold}.txt")
        for line in lists.read_lines(path, WHERE):
            file_name, _, tag = line.rpartition(" ")
            if tag not in TAGS or not file_name.strip() or "/" in file_name:
                raise lists.ListError(f"{path}: expected '<clip>.avi 0, 1 or 2', found {line!r}")
            inside[TAGS[tag]].append(f"{class_name}/{file_name.strip()}")
    return inside


def _separate(train: list[Clip], test: list[Clip]) -> tuple[list[Clip], list[Clip], list[str]]:
    """Training clips, test clips, remarks: a source that the lists put into both becomes two groups and is counted."""
    sources = [{(clip.class_name, clip.group) for clip in clips} for clips in (train, test)]
    both = sources[0] & sources[1]

    def renamed(clip: Clip, split: str) -> Clip:
        return replace(clip, group=f"{clip.group} ({split})") if (clip.class_name, clip.group) in both else clip

    remark = f"{len(both)} sources on both sides of the lists' own split"
    return [renamed(c, "train") for c in train], [renamed(c, "test") for c in test], [remark] if both else []


HMDB51 = lists.ListedDataset("HMDB51", CLASS_COUNT, dict.fromkeys((1, 2, 3), COUNTS), read, words)
