"""Data sets that come with official lists: how lists are read, what they must satisfy, and what is made of them.

A list has one of three forms, told apart by the number of columns.

| columns | whose form | numbers |
|---|---|---|
| ``Class/clip.avi`` | UCF101's test lists | none |
| ``Class/clip.avi 35`` | UCF101's training lists, and the ``path label`` lists of many toolboxes | from 1, or from 0 |
| ``Class/clip.avi Class 34`` | CoViAR | from 0; for HMDB51 in an order of its own |

The class of a clip is always its folder. Numbers are checked but never used: lists of one data set count differently.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moclip.datasets.base import Clip, DataError, VideoDataset, few, hold_out_groups


@dataclass(frozen=True)
class Row:
    """A line of a list: the clip's path under the root, and the number that the line gives its class."""

    inside: str
    number: int | None = None

    @property
    def class_name(self) -> str:
        """The clip's folder."""
        return self.inside.partition("/")[0]


@dataclass(frozen=True)
class ListedDataset:
    """A data set with official lists; call it for the clips of one official split.

    Attributes
    ----------
    title : the data set's name in prose.
    class_count : of the full data set.
    counts : fold -> (training, test) clips of the full lists.
    read : (annotation_path, fold) -> classes in the order of their labels, and ``train``, ``test``, ``unused`` -> rows.
    group : row -> the clip's group.
    class_text : class name -> how a person would say it.
    groups_cross : groups may be on both sides of the official split; such a group becomes two and is counted.
    """

    title: str
    class_count: int
    counts: Mapping[int, tuple[int, int]]
    read: Callable[[Path, int], tuple[Sequence[str], Mapping[str, Sequence[Row]]]]
    group: Callable[[Row], str]
    class_text: Callable[[str], str]
    groups_cross: bool = False

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
        DataError
            Lists that contradict each other, or that hold all classes and not the official number of clips.
        FileNotFoundError
            Missing lists, or missing clips (unless ``allow_partial``).
        """
        if fold not in self.counts:
            raise DataError(f"{self.title} has folds 1, 2 and 3, not {fold!r}")
        root, folder = Path(root).expanduser(), Path(annotation_path).expanduser()
        classes, rows = self.read(folder, fold)
        complete = len(classes) == self.class_count
        found, official = (len(rows["train"]), len(rows["test"])), self.counts[fold]
        if complete and found != official:
            raise DataError(
                f"{folder}: fold {fold} lists {found[0]} training and {found[1]} test clips, "
                f"the official split {official[0]} and {official[1]}; fetch the lists again"
            )
        groups = [{(row.class_name, self.group(row)) for row in rows[split]} for split in ("train", "test")]
        both = groups[0] & groups[1] if self.groups_cross else set()

        def clip(row: Row, split: str) -> Clip:
            group = self.group(row) + (f" ({split})" if (row.class_name, self.group(row)) in both else "")
            path = root / row.inside
            return Clip(path, classes.index(row.class_name), row.class_name, group, path.stem)

        train, test = ([clip(row, split) for row in rows[split]] for split in ("train", "test"))
        remarks = [f"{len(both)} sources on both sides of the lists' own split"] if both else []
        if missing := _missing([*train, *test], root, allow_partial):
            train, test = ([clip for clip in clips if clip.path not in missing] for clips in (train, test))
            remarks.append(f"{len(missing)} listed clips missing")
        train, val = hold_out_groups(train, val_fraction, seed)
        whose = f"official split {fold}" if complete else f"split {fold} of its own lists"
        return VideoDataset(
            name=f"{self.title.lower()}-fold{fold}",
            description=", ".join([f"{self.title} ({len(classes)} classes)", whose, *remarks]),
            classes=classes,
            train=train,
            val=val,
            test=test,
            class_texts={name: self.class_text(name) for name in classes},
            missing=list(missing.values()),
            unused=[root / row.inside for row in rows.get("unused", ())],
        )


def read_lines(path: Path) -> list[str]:
    """Lines that are not blank."""
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def common_names(name: str, split: str, fold: int) -> tuple[str, str]:
    """File names of CoViAR's list and of the ``path label`` list that toolboxes use, which call the test split val."""
    return f"{name}_split{fold}_{split}.txt", f"{name}_{'val' if split == 'test' else split}_split_{fold}_videos.txt"


def find_list(folder: Path, names: Sequence[str], where: str) -> Path:
    """The first of ``names`` that ``folder`` has; ``where`` says where they belong, for the error."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = f", and so are {', '.join(names[1:])}" if len(names) > 1 else ""
    raise FileNotFoundError(f"{folder / names[0]} is missing{others}; {where}")


def read_rows(path: Path) -> list[Row]:
    """Rows of a list in any of the three forms; all its lines must have the same one.

    Raises
    ------
    DataError
        A line of another form, a line whose class is not its folder, or no line at all.
    """
    rows: list[Row] = []
    columns = 0
    for line in read_lines(path):
        words = line.split()
        columns = columns or len(words)
        if not 1 <= len(words) <= 3 or len(words) != columns or (columns > 1 and not words[-1].isdecimal()):
            raise DataError(
                f"{path}: {line!r} is none of '<class>/<clip>', '<class>/<clip> <number>', "
                f"'<class>/<clip> <class> <number>', or not of the form of the lines before it"
            )
        row = Row(words[0], int(words[-1]) if columns > 1 else None)
        if row.class_name == row.inside:
            raise DataError(f"{path}: {row.inside!r} has no folder, which would be its class; expected <class>/<clip>")
        if columns == 3 and words[1] != row.class_name:
            raise DataError(
                f"{path}: {row.inside!r} is listed as {words[1]!r}, but lies in the folder {row.class_name!r}"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{path} lists no clip; fetch it again")
    return rows


def check_numbers(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """All rows must be of one of ``classes``, which are those of ``classInd.txt``.

    Their numbers must be the labels, all counted from 0 or all from 1.
    """
    labels = {name: label for label, name in enumerate(classes)}
    if unknown := [row.inside for row in rows if row.class_name not in labels]:
        raise DataError(f"{path}: {unknown[0]!r} is of no class in classInd.txt")
    first = 0 if all(row.number in (None, labels[row.class_name]) for row in rows) else 1
    for row in rows:
        if row.number not in (None, label := labels[row.class_name] + first):
            raise DataError(f"{path}: {row.inside!r} has number {row.number}, but classInd.txt says {label}")


def check_numbers_of_classes(path: Path, rows: Iterable[Row]) -> None:
    """Without a class file, each class must still have one number, and each number one class."""
    pairs = {(row.class_name, row.number) for row in rows if row.number is not None}
    count = Counter(part for pair in pairs for part in pair)
    if wrong := [f"{name} has number {number}" for name, number in pairs if count[name] + count[number] > 2]:
        raise DataError(f"{path}: a class must have one number, and a number one class, but {few(wrong)}")


def _missing(listed: Sequence[Clip], root: Path, allow_partial: bool) -> dict[Path, str]:
    """Path -> path under ``root`` of the listed clips that are not there, in the order of the lists.

    Raises
    ------
    FileNotFoundError
        There are some and ``allow_partial`` is off, or no clip is there.
    """
    missing = {clip.path: clip.path.relative_to(root).as_posix() for clip in listed if not clip.path.is_file()}
    if missing and (not allow_partial or len(missing) == len(listed)):
        partial = "" if len(missing) == len(listed) else ", or pass allow_partial=True to use the others"
        raise FileNotFoundError(
            f"{len(missing)} of {len(listed)} listed clips are not under {root}, the first: "
            f"{', '.join(list(missing.values())[:3])}; check root{partial} (data.allow_partial=true on the command "
            "line; `moclip data verify` lists all of them)"
        )
    return missing
