"""UCF101 from its official lists (Soomro, Zamir and Shah 2012, CRCV-TR-12-01).

Labels come from ``classInd.txt``. ``sorted()`` over the directories would swap Hammering with HammerThrow and
JumpingJack with JumpRope. Files are ``<root>/<Class>/v_<Class>_gXX_cYY.avi``, and the group is ``gXX``. Beside the
official lists, it reads CoViAR's (``ucf101_split1_train.txt``) and ``path label`` lists
(``ucf101_train_split_1_videos.txt``), see `moclip.datasets.lists`.
"""

import re
from pathlib import Path

from moclip.datasets import lists
from moclip.datasets.base import DataError, words

# fold -> (training, test) clips of the full lists; the same 13,320 clips in each
COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
WHERE = "annotation_path is the folder of UCF101's ucfTrainTestlist files"


def class_text(name: str) -> str:
    """A class name with spaces, as in openai/CLIP's ``data/prompts.md``: ``Apply Eye Makeup``."""
    if name == "HandstandPushups":  # the one name that CLIP's list does not split at its capitals
        return "Hand Stand Pushups"
    return words(name)


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of a ``classInd.txt``, which numbers them from 1."""
    classes = []
    for count, line in enumerate(lists.read_lines(path), start=1):
        number, _, name = line.partition(" ")
        if number != str(count) or not name.strip():
            raise DataError(f"{path}: expected '{count} <class>', found {line!r}")
        classes.append(name.strip())
    return tuple(classes)


CLASS_FILE = Path(__file__).with_name("classInd.txt")  # the official one
CLASSES = read_classes(CLASS_FILE)


def read(folder: Path, fold: int) -> tuple[tuple[str, ...], dict[str, list[lists.Row]]]:
    """Classes, and the rows of each split of a fold.

    It reads ``classInd.txt``, ``trainlist0N.txt`` and ``testlist0N.txt``, or CoViAR's or ``path label`` lists; without
    ``classInd.txt`` the classes of the last two are the official 101.
    """
    paths = {
        split: lists.find_list(
            folder, (f"{split}list{fold:02d}.txt", *lists.common_names("ucf101", split, fold)), WHERE
        )
        for split in ("train", "test")
    }
    class_file = folder / "classInd.txt"
    if paths["train"].name.startswith("trainlist"):
        lists.find_list(folder, [class_file.name], WHERE)
    classes = read_classes(class_file if class_file.is_file() else CLASS_FILE)
    rows = {split: lists.read_rows(path) for split, path in paths.items()}
    for split, path in paths.items():
        lists.check_numbers(path, rows[split], classes)
    return classes, rows


def group(row: lists.Row) -> str:
    """``gXX`` of a clip's file name."""
    # The class is the folder: files in HandstandPushups are called v_HandStandPushups_...
    name = row.inside.rpartition("/")[2]
    if found := re.search(r"_(g\d+)_c\d+\.", name):
        return found[1]
    raise DataError(f"{row.inside!r} carries no group; expected v_<Class>_gXX_cYY.avi")


UCF101 = lists.ListedDataset("UCF101", len(CLASSES), COUNTS, read, group, class_text)
