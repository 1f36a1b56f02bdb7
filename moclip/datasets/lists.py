"""Data sets that come with official lists: how lists are read, what they must satisfy, and what is made of them.

A list has one of three forms, told apart by the number of columns.

| columns | whose form | numbers |
|---|---|---|
| ``Class/clip.avi`` | UCF101's test lists | none |
| ``Class/clip.avi 35`` | UCF101's training lists, and the ``path label`` lists of many toolboxes | from 1, or from 0 |
| ``Class/clip.avi Class 34`` | CoViAR | from 0; for HMDB51 in an order of its own |

The class of a clip is always its folder. Numbers are checked but never used: lists of one data set count differently.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moclip.datasets.base import Clip, VideoDataset, hold_out_groups
from moclip.errors import MoclipError


class ListError(MoclipError, ValueError):
    """Lists that contradict themselves, each other or the data set; the message says where."""


class MissingClipsError(MoclipError, FileNotFoundError):
    """Listed clips that are not in the folder."""


@dataclass(frozen=True)
class Row:
    """A line of a list: the clip's path under the root, its folder, and the number that the line gives its class."""

    inside: str
    class_name: str
    number: int | None


@dataclass(frozen=True)
class Listed:
    """What the lists of one fold say.

    Attributes
    ----------
    classes : in the order of their labels.
    train, test : all listed clips, whether their files are there or not.
    unused : files that the lists name and no split uses.
    remarks : for the description.
    """

    classes: tuple[str, ...]
    train: list[Clip]
    test: list[Clip]
    unused: Sequence[Path] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class ListedDataset:
    """A data set with official lists; call it for the clips of one official split.

    Attributes
    ----------
    title : the data set's name in prose.
    class_count : of the full data set.
    counts : fold -> (training, test) clips of the full lists.
    read : (root, annotation_path, fold) -> what the lists say.
    class_text : class name -> how a person would say it.
    """

    title: str
    class_count: int
    counts: Mapping[int, tuple[int, int]]
    read: Callable[[Path, Path, int], Listed]
    class_text: Callable[[str], str]

    def __call__(
        self,
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
        root : folder of the class folders.
        annotation_path : folder of the official lists, of CoViAR's or of ``path label`` lists; the module of the data
            set says which files it looks for.
        fold : 1, 2 or 3.
        val_fraction, seed : share of the training groups that is held out for validation, and the seed of that cut.
        allow_partial : use the clips that are there if others are missing; ``missing`` of the result lists those. A
            subset with lists of its own (fewer classes) is not partial.

        Raises
        ------
        ListError
            Lists that contradict each other, or that hold all classes and not the official number of clips.
        FileNotFoundError
            Missing lists, or missing clips (unless ``allow_partial``).
        """
        if fold not in self.counts:
            raise ListError(f"{self.title} has folds 1, 2 and 3, not {fold!r}")
        root, folder = Path(root).expanduser(), Path(annotation_path).expanduser()
        listed = self.read(root, folder, fold)
        complete = len(listed.classes) == self.class_count
        found, official = (len(listed.train), len(listed.test)), self.counts[fold]
        if complete and found != official:
            raise ListError(
                f"{folder}: fold {fold} lists {found[0]} training and {found[1]} test clips, "
                f"the official split {official[0]} and {official[1]}; fetch the lists again"
            )
        missing = missing_clips([*listed.train, *listed.test], root, allow_partial)
        lost = {root / path for path in missing}
        train, test = ([clip for clip in clips if clip.path not in lost] for clips in (listed.train, listed.test))
        train, val = hold_out_groups(train, val_fraction, seed)
        whose = f"official split {fold}" if complete else f"split {fold} of its own lists"
        remarks = [*listed.remarks, *([f"{len(missing)} listed clips missing"] if missing else [])]
        return VideoDataset(
            name=f"{self.title.lower()}-fold{fold}",
            description=", ".join([f"{self.title} ({len(listed.classes)} classes)", whose, *remarks]),
            classes=listed.classes,
            train=train,
            val=val,
            test=test,
            class_texts={name: self.class_text(name) for name in listed.classes},
            missing=missing,
            unused=listed.unused,
        )


def read_lines(path: Path, where: str) -> list[str]:
    """Lines that are not blank; ``where`` says where the file belongs, for the error if it is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {where}")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def common_names(name: str, split: str, fold: int) -> tuple[str, str]:
    """File names of CoViAR's list and of the ``path label`` list that toolboxes use, which call the test split val."""
    return f"{name}_split{fold}_{split}.txt", f"{name}_{'val' if split == 'test' else split}_split_{fold}_videos.txt"


def find_list(folder: Path, names: Sequence[str], where: str) -> Path:
    """The first of ``names`` that ``folder`` has."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = f", and so are {', '.join(names[1:])}" if len(names) > 1 else ""
    raise FileNotFoundError(f"{folder / names[0]} is missing{others}; {where}")


def read_rows(path: Path, where: str) -> list[Row]:
    """Rows of a list in any of the three forms; all its lines must have the same one.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ListError
        A line of another form, a line whose class is not its folder, or no line at all.
    """
    rows: list[Row] = []
    columns = 0
    for line in read_lines(path, where):
        words = line.split()
        columns = columns or len(words)
        if not 1 <= len(words) <= 3 or len(words) != columns or (columns > 1 and not words[-1].isdecimal()):
            raise ListError(
                f"{path}: {line!r} is none of '<class>/<clip>', '<class>/<clip> <number>', "
                f"'<class>/<clip> <class> <number>', or not of the form of the lines before it"
            )
        class_name, slash, _ = words[0].partition("/")
        if not slash:
            raise ListError(f"{path}: {words[0]!r} has no folder, which would be its class; expected <class>/<clip>")
        if columns == 3 and words[1] != class_name:
            raise ListError(f"{path}: {words[0]!r} is listed as {words[1]!r}, but lies in the folder {class_name!r}")
        rows.append(Row(words[0], class_name, int(words[-1]) if columns > 1 else None))
    if not rows:
        raise ListError(f"{path} lists no clip; fetch it again")
    return rows


def check_numbers(path: Path, rows: Sequence[Row], labels: Mapping[str, int], source: str) -> None:
    """Numbers of a list must be the labels, all counted from 0 or all from 1.

    Parameters
    ----------
    labels : class name -> label, from 0.
    source : what the labels come from, for the message.
    """
    first = 0 if all(row.number in (None, labels[row.class_name]) for row in rows) else 1
    for row in rows:
        if row.number not in (None, labels[row.class_name] + first):
            raise ListError(
                f"{path}: {row.inside!r} has number {row.number}, but {source} says {labels[row.class_name] + first}"
            )


def check_numbers_of_classes(path: Path, rows: Iterable[Row]) -> None:
    """Without a class file, each class must still have one number, and each number one class."""
    of_class: dict[str, int] = {}
    of_number: dict[int, str] = {}
    for row in rows:
        if row.number is None:
            continue
        number = of_class.setdefault(row.class_name, row.number)
        name = of_number.setdefault(row.number, row.class_name)
        if (number, name) != (row.number, row.class_name):
            raise ListError(
                f"{path}: number {row.number} of {row.inside!r} is {name!r}, and {row.class_name!r} {number}"
            )


def missing_clips(listed: Sequence[Clip], root: Path, allow_partial: bool) -> list[str]:
    """Paths under ``root`` of the listed clips that are not there, in the order of the lists.

    Raises
    ------
    MissingClipsError
        There are some and ``allow_partial`` is off, or no clip is there.
    """
    missing = [clip.path.relative_to(root).as_posix() for clip in listed if not clip.path.is_file()]
    if missing and (not allow_partial or len(missing) == len(listed)):
        partial = "" if len(missing) == len(listed) else ", or pass allow_partial=True to use the others"
        raise MissingClipsError(
            f"{len(missing)} of {len(listed)} listed clips are not under {root}, the first: "
            f"{', '.join(missing[:3])}; check root{partial} (data.allow_partial=true on the command line; "
            "`moclip data verify` lists all of them)"
        )
    return missing
