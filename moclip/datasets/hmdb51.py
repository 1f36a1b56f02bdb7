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
from pathlib import Path

from moclip.datasets import lists
from moclip.datasets.base import DataError, words

COUNTS = (3570, 1530)  # training and test clips of each fold: 70 and 30 per class
CLASS_COUNT = 51
TAGS = {"0": "unused", "1": "train", "2": "test"}
WHERE = "annotation_path is the folder of HMDB51's <class>_test_split<1, 2, 3>.txt files"
# What follows <source>_<class> in a file's name.
_TAIL = re.compile(r"_[hufl]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")


def read(folder: Path, fold: int) -> tuple[tuple[str, ...], dict[str, list[lists.Row]]]:
    """Classes, and the rows of each split of a fold.

    It reads ``<class>_test_split<fold>.txt`` (lines ``<clip>.avi <tag>``; 1 trains, 2 tests, 0 is unused), or CoViAR's
    or ``path label`` lists.
    """
    rows: dict[str, list[lists.Row]] = {split: [] for split in TAGS.values()}
    official = sorted(folder.glob(f"*_test_split{fold}.txt"))
    for path in official:
        class_name = path.name.removesuffix(f"_test_split{fold}.txt")
        for line in lists.read_lines(path):
            file_name, _, tag = line.rpartition(" ")
            if tag not in TAGS or not file_name.strip() or "/" in file_name:
                raise DataError(f"{path}: expected '<clip>.avi 0, 1 or 2', found {line!r}")
            rows[TAGS[tag]].append(lists.Row(f"{class_name}/{file_name.strip()}"))
    if not official:
        missing = f"there is no *_test_split{fold}.txt either; {WHERE}"
        for split in ("train", "test"):
            path = lists.find_list(folder, lists.common_names("hmdb51", split, fold), missing)
            rows[split] = lists.read_rows(path)
            lists.check_numbers_of_classes(path, rows["train"] + rows["test"])
    return tuple(sorted({row.class_name for members in rows.values() for row in members})), rows


def source(row: lists.Row) -> str:
    """The video that a clip was cut from, by its name; the whole name where it does not follow the convention."""
    stem = Path(row.inside).stem
    tail = _TAIL.search(stem)
    return stem[: tail.start()].removesuffix(f"_{row.class_name}") if tail else stem


HMDB51 = lists.ListedDataset(
    "HMDB51", CLASS_COUNT, dict.fromkeys((1, 2, 3), COUNTS), read, source, words, groups_cross=True
)
