"""Lists of clips as people pass them on: three forms of a line, told apart by their columns, and what all must satisfy.

| columns | whose form | numbers |
|---|---|---|
| ``Class/clip.avi`` | UCF101's test lists | none |
| ``Class/clip.avi 35`` | UCF101's training lists, and the ``path label`` lists of many toolboxes | from 1, or from 0 |
| ``Class/clip.avi Class 34`` | CoViAR | from 0; for HMDB51 in an order of its own |

A clip's class is always its folder. Numbers are checked and never used: lists of one data set count in several ways.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moclip.config.sections import safe_name
from moclip.datasets.base import Clip
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


def read_lines(path: Path, where: str) -> list[str]:
    """Lines that are not blank; ``where`` says what the file belongs to, should it be missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {where}")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


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
        A line of another form, or whose class is not its folder; or no line at all.
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


def check_one_number_a_class(path: Path, rows: Iterable[Row]) -> None:
    """Where no class file fixes the numbers, a class must at least have one number, and a number one class."""
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


def check_counts(folder: Path, fold: int, found: tuple[int, int], official: tuple[int, int]) -> None:
    """The number of training and test clips must be the official one."""
    if found != official:
        raise ListError(
            f"{folder}: fold {fold} lists {found[0]} training and {found[1]} test clips, "
            f"the official split {official[0]} and {official[1]}; fetch the lists again"
        )


def keep_present(splits: Mapping[str, Sequence[Clip]], root: Path, allow_partial: bool) -> tuple[str, ...]:
    """Paths under ``root`` of the listed clips that are not there.

    Raises
    ------
    MissingClipsError
        There are some, and ``allow_partial`` is off.
    """
    listed = [clip for clips in splits.values() for clip in clips]
    missing = tuple(clip.path.relative_to(root).as_posix() for clip in listed if not clip.path.is_file())
    if missing and (not allow_partial or len(missing) == len(listed)):
        instead = "check root" if len(missing) == len(listed) else "check root, or pass allow_partial=True to go on"
        raise MissingClipsError(
            f"{len(missing)} of {len(listed)} listed clips are not under {root}, the first: {', '.join(missing[:3])}; "
            f"{instead} (data.allow_partial=true on the command line; `moclip data verify` lists all of them)"
        )
    return missing


def file_names(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, with a hash added to names that would be one and the same file name (``a!b`` and ``a(b``)."""
    count = Counter((clip.class_name, safe_name(clip.name)) for clip in clips)
    return [
        clip
        if count[clip.class_name, safe_name(clip.name)] == 1
        else replace(clip, name=f"{clip.name}-{hashlib.sha256(clip.name.encode()).hexdigest()[:8]}")
        for clip in clips
    ]


def fingerprint_sizes(clips: Sequence[Clip]) -> str:
    """SHA-256 over (name, label, size in bytes) of every clip: reading 7 GB at each start would take a minute."""
    digest = hashlib.sha256()
    for clip in sorted(clips, key=lambda clip: clip.name):
        digest.update(f"{clip.name}\0{clip.label}\0{clip.path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
