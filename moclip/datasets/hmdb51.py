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
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moclip.datasets import lists
from moclip.datasets.base import Clip, VideoDataset, hold_out_groups, words

COUNTS = (3570, 1530)  # training and test clips of each fold: 70 and 30 a class
CLASS_COUNT = 51
TAGS = {"0": "unused", "1": "train", "2": "test"}
WHERE = "annotation_path is the folder of HMDB51's <class>_test_split<1, 2, 3>.txt files"
# What follows <source>_<class> in a file's name.
_TAIL = re.compile(r"_[hufl]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")


def HMDB51(  # noqa: N802 - reads like the other data sets
    root: Path | str,
    annotation_path: Path | str,
    fold: int = 1,
    val_fraction: float = 0.0,
    seed: int = 0,
    allow_partial: bool = False,
) -> VideoDataset:
    """Clips of one official split.

    Parameters
    ----------
    root : folder of the class folders, ``<root>/<class>/<clip>.avi``.
    annotation_path : folder of ``<class>_test_split<fold>.txt`` (lines ``<clip>.avi <tag>``; 1 trains, 2 tests, 0 is
        unused); or of CoViAR's or ``path label`` lists.
    fold : 1, 2 or 3.
    val_fraction, seed : share of the training groups that is held out for validation, and the cut's seed.
    allow_partial : go on with the clips that are there when others are missing; ``missing`` of the result lists those.
        A subset with lists of fewer classes is not partial.

    Raises
    ------
    ListError
        Lists that contradict each other, or whose length is not the official one though there are 51 classes.
    FileNotFoundError
        Missing lists, or missing clips (unless ``allow_partial``).
    """
    if fold not in (1, 2, 3):
        raise lists.ListError(f"HMDB51 has folds 1, 2 and 3, not {fold!r}")
    root, folder = Path(root).expanduser(), Path(annotation_path).expanduser()
    inside = _read_lists(folder, fold)
    classes = tuple(sorted({path.partition("/")[0] for members in inside.values() for path in members}))
    listed = {split: [_clip(root, path, classes) for path in inside[split]] for split in ("train", "test")}
    if len(classes) == CLASS_COUNT:
        lists.check_counts(folder, fold, (len(listed["train"]), len(listed["test"])), COUNTS)
    missing = lists.keep_present(listed, root, allow_partial)
    named = lists.file_names([*listed["train"], *listed["test"]])
    listed = {"train": named[: len(listed["train"])], "test": named[len(listed["train"]) :]}
    listed, remarks = _keep_apart(listed)
    present = {split: [clip for clip in clips if clip.path.is_file()] for split, clips in listed.items()}
    train, val = hold_out_groups(present["train"], val_fraction, seed)
    if missing:
        remarks.append(f"{len(missing)} listed clips missing")
    whose = f"official split {fold}" if len(classes) == CLASS_COUNT else f"split {fold} of its own lists"
    return VideoDataset(
        name=f"hmdb51-fold{fold}",
        description=", ".join([f"HMDB51 ({len(classes)} classes)", whose, *remarks]),
        classes=classes,
        train=train,
        val=val,
        test=present["test"],
        class_texts={name: words(name) for name in classes},
        fingerprint=lists.fingerprint_sizes([*present["train"], *present["test"]]),
        missing=missing,
        unused=[root / path for path in inside["unused"]],
    )


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
    """``train``, ``test``, ``unused`` -> paths under the root, from whichever lists the folder holds."""
    if official := sorted(folder.glob(f"*_test_split{fold}.txt")):
        return _read_official(official, fold)
    inside: dict[str, list[str]] = {"unused": []}
    every: list[lists.Row] = []
    for split, other in (("train", "train"), ("test", "val")):
        names = (f"hmdb51_split{fold}_{split}.txt", f"hmdb51_{other}_split_{fold}_videos.txt")
        try:
            path = lists.find_list(folder, names, WHERE)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no *_test_split{fold}.txt in {folder}, and {error}") from None
        rows = lists.read_rows(path, WHERE)
        every += rows
        lists.check_one_number_a_class(path, every)
        inside[split] = [row.inside for row in rows]
    return inside


def _read_official(paths: Sequence[Path], fold: int) -> dict[str, list[str]]:
    """The lists of all classes, a file each."""
    inside: dict[str, list[str]] = {split: [] for split in TAGS.values()}
    for path in paths:
        class_name = path.name.removesuffix(f"_test_split{fold}.txt")
        for line in lists.read_lines(path, WHERE):
            file_name, _, tag = line.rpartition(" ")
            if tag not in TAGS or not file_name.strip() or "/" in file_name:
                raise lists.ListError(f"{path}: expected '<clip>.avi 0, 1 or 2', found {line!r}")
            inside[TAGS[tag]].append(f"{class_name}/{file_name.strip()}")
    return inside


def _keep_apart(listed: dict[str, list[Clip]]) -> tuple[dict[str, list[Clip]], list[str]]:
    """The lists are what they are: a source that they put on both sides of a class becomes two groups, and is counted.

    Returns
    -------
    (clips by split, remarks for the description)
    """
    where: dict[tuple[str, str], set[str]] = defaultdict(set)
    for split, clips in listed.items():
        for clip in clips:
            where[clip.class_name, clip.group].add(split)
    both = {key for key, splits in where.items() if len(splits) > 1}
    apart = {
        split: [
            replace(clip, group=f"{clip.group} ({split})") if (clip.class_name, clip.group) in both else clip
            for clip in clips
        ]
        for split, clips in listed.items()
    }
    remark = f"{len(both)} sources on both sides of the lists' own split"
    return apart, [remark] if both else []
