"""A folder of the user's own videos: its folders are the classes.

Two layouts: ``root/train/<class>/*.mp4`` with ``root/test/<class>/*.mp4`` (and optionally ``root/val``), or
``root/<class>/*.mp4``, which is split here, by source and with a seed.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from moclip.config.sections import safe_name
from moclip.datasets.base import Clip, DataError, VideoDataset, few, hold_out_groups, words

EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
SPLITS = ("train", "val", "test")
WHOLE = "whole"  # instead of the splits, if the folder itself holds the classes
LAYOUTS = "expected <class>/*.mp4 in it, or train/<class>/*.mp4 and test/<class>/*.mp4 (and optionally val/)"


def VideoFolder(  # noqa: N802 - reads like the other data sets
    root: Path | str, val_fraction: float = 0.0, test_fraction: float = 0.25, seed: int = 0
) -> VideoDataset:
    """Clips of a folder whose folders are classes.

    The classes have the order of ``root/classes.txt`` (one name per line). Without that file they have the order of the
    sorted folder names, since there is no official one.

    Clips that were cut from one recording (or show one scene) are not independent and must not be split between
    training and test. ``root/groups.csv`` says which clips belong together: columns ``file`` (relative to ``root``) and
    ``group``, one row per clip; a group may span classes. Without it each file counts as its own source, and the
    description says so.

    Parameters
    ----------
    root : the folder. Files that do not end in one of ``EXTENSIONS`` (in any case), or begin with a dot, are ignored.
    val_fraction : share of each class's training groups that is held out for validation.
    test_fraction : share of each class's groups that is held out for testing, at least one; unused if there is
        ``root/test``.
    seed : of both cuts.

    Raises
    ------
    DataError
        The folder, ``classes.txt`` or ``groups.csv`` cannot be used as they are.
    """
    root = Path(root).expanduser().resolve()
    places = _layout(root)
    classes = _read_classes(root, places.values())
    splits = {split: _read_clips(root, place, classes) for split, place in places.items()}
    files = {clip.path.relative_to(root).as_posix(): clip for clips in splits.values() for clip in clips}
    count = Counter(clip.name for clip in files.values())
    if double := [f"{file} ({clip.name})" for file, clip in files.items() if count[clip.name] > 1]:
        raise DataError(
            f"{root}: files would have the same name: {few(double)}; rename all but one (names are paths without "
            "extension, with '-' for all but letters, digits, '.', '_' and '-')"
        )
    groups = _read_groups(root / "groups.csv", files)
    for split, clips in splits.items():
        splits[split] = [replace(c, group=groups.get(c.path.relative_to(root).as_posix(), c.name)) for c in clips]
    sources = "sources from groups.csv" if groups else "each file taken as its own source"
    how = "split by its own folders"
    if WHOLE in splits:
        splits["train"], splits["test"] = hold_out_groups(splits.pop(WHOLE), test_fraction, seed, 1, True)
        how = f"about {100 * test_fraction:g} % of each class's sources held out for testing (seed {seed})"
    if val_fraction:
        if "val" in splits:
            raise DataError(f"{root / 'val'} exists, and val_fraction={val_fraction} would cut another; set it to 0")
        splits["train"], splits["val"] = hold_out_groups(splits["train"], val_fraction, seed, 1, True)
    _check_splits(root, splits, classes)
    return VideoDataset(
        name=safe_name(root.name).lstrip(".") or "videos",  # a leading dot marks files that are being written
        description=f"own videos ({len(classes)} classes), {how}, {sources}",
        classes=classes,
        class_texts={name: words(name) for name in classes},
        train=splits["train"],
        val=splits.get("val", ()),
        test=splits["test"],
    )


def _layout(root: Path) -> dict[str, Path]:
    """Split -> its folder. Without folders of splits, `WHOLE` -> the folder itself; a class may be called ``train``."""
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; {LAYOUTS}")
    names = {folder.name for folder in _folders(root)}
    if not names:
        raise DataError(f"{root}: no folders in it; {LAYOUTS}")
    splits = {name.lower(): root / name for name in sorted(names) if name.lower() in SPLITS}  # Train is train
    if len(names) > len(splits) and not any(_folders(folder) for folder in splits.values()):
        return {WHOLE: root}
    if len(names) > len(splits) or not {"train", "test"} <= splits.keys():
        raise DataError(f"{root}: found the folders {few(names)}; {LAYOUTS}, and no other folders")
    return {split: splits[split] for split in SPLITS if split in splits}


def _read_classes(root: Path, places: Collection[Path]) -> tuple[str, ...]:
    """Class names in the order of ``classes.txt``, or of the alphabet."""
    if empty := [place for place in places if not _folders(place)]:
        raise DataError(f"{empty[0]}: no class folders in it; put videos into {empty[0]}/<class>/")
    found = sorted({folder.name for place in places for folder in _folders(place)})
    names, path = found, root / "classes.txt"
    if path.is_file():
        names = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
        if double := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(f"{path}: lists twice {few(double)}")
        if lost := set(names) - set(found):
            raise DataError(f"{path}: lists {few(lost)}, but the class folders are {few(found)}")
        if unlisted := set(found) - set(names):
            raise DataError(f"{path}: does not list {few(unlisted)}; add the names, or move the folders away")
    if len(names) < 2:
        raise DataError(f"{root}: only one class ({names[0]}); at least two are needed, a folder each")
    return tuple(names)


def _read_clips(root: Path, place: Path, classes: Sequence[str]) -> list[Clip]:
    """Clips of one split (or of the whole folder), each its own group."""
    clips = []
    for folder in _folders(place):
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        files = [path for path in inside if path.suffix.lower() in EXTENSIONS and not path.is_dir()]
        if not files:
            found = f"only {few(path.name for path in inside)}" if inside else "it is empty"
            raise DataError(f"{folder}: no video in it ({found}); add {' '.join(EXTENSIONS)} or remove it")
        for path in files:
            name = _clip_name(root, path)
            clips.append(Clip(path, classes.index(folder.name), folder.name, name, name))
    return clips


def _clip_name(root: Path, path: Path) -> str:
    """A clip's name, from its path under ``root`` without extension."""
    inside = path.relative_to(root).with_suffix("").as_posix()
    if inside.isascii():
        return safe_name(inside)
    try:  # letters of other scripts all become '-': a hash distinguishes such names
        return f"{safe_name(inside)}-{hashlib.sha256(inside.encode()).hexdigest()[:8]}"
    except UnicodeEncodeError:
        shown = str(path).encode(errors="replace").decode()
        raise DataError(f"{shown}: its name is not UTF-8 (such bytes are shown as ?); rename it") from None


def _read_groups(path: Path, files: Collection[str]) -> dict[str, str]:
    """File -> group, for all of ``files`` and nothing else; empty without such a list."""
    if not path.is_file():
        return {}
    rows = csv.DictReader(_read_text(path).splitlines(), skipinitialspace=True)
    if not {"file", "group"} <= set(rows.fieldnames or []):
        raise DataError(f"{path}: expected the columns 'file,group', found {','.join(rows.fieldnames or [])!r}")
    groups: dict[str, str] = {}
    for row in rows:
        file, group = PurePosixPath(row["file"] or "").as_posix(), (row["group"] or "").strip()
        if not group:
            raise DataError(f"{path}: line {rows.line_num} gives {file!r} no group")
        if groups.setdefault(file, group) != group:
            raise DataError(f"{path}: puts {file!r} into {groups[file]!r} and {group!r}; keep one")
    if lost := set(groups) - set(files):
        raise DataError(f"{path}: lists {few(lost)}, no clip in {path.parent}; files are relative to it")
    if unlisted := set(files) - set(groups):
        raise DataError(
            f"{path}: {len(unlisted)} of {len(files)} clips are not listed: {few(unlisted)}; "
            "give each a group; a clip that shares its source with no other gets a group of its own"
        )
    return groups


def _check_splits(root: Path, splits: Mapping[str, Sequence[Clip]], classes: Sequence[str]) -> None:
    """Training and test must hold all classes, and no group may be in two splits."""
    for split in ("train", "test"):
        for name in sorted(set(classes) - {clip.class_name for clip in splits[split]}):
            if not (root / name).is_dir():
                raise DataError(f"{root / split}: no clips of the class {name}; add {name}/ with videos there")
            groups = {clip.group for clips in splits.values() for clip in clips if clip.class_name == name}
            raise DataError(
                f"{root / name}: its sources ({len(groups)}: {few(groups)}) cannot be split into training and test; "
                "add clips from other sources"
            )
    where: dict[str, str] = {}
    for split, clips in splits.items():
        for group in sorted({clip.group for clip in clips}):
            if where.setdefault(group, split) != split:
                raise DataError(
                    f"{root}: group {group!r} of groups.csv is in {where[group]}/ and in {split}/; "
                    "clips of one source must stay together: move them"
                )


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8; save it in that encoding") from None
