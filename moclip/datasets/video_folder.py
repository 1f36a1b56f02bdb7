"""A folder of the user's own videos: its folders are the classes.

Two layouts: ``root/train/<class>/*.mp4`` with ``root/test/<class>/*.mp4`` (and optionally ``root/val``), or
``root/<class>/*.mp4``, which is split here, by source and with a seed.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from moclip.config.sections import safe_name
from moclip.datasets.base import Clip, VideoDataset, few, hold_out_groups, words
from moclip.errors import MoclipError

EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
SPLITS = ("train", "val", "test")
WHOLE = "whole"  # instead of the splits, if the folder itself holds the classes
LAYOUTS = "expected <class>/*.mp4 in it, or train/<class>/*.mp4 and test/<class>/*.mp4 (and optionally val/)"


class VideoFolderError(MoclipError, ValueError):
    """A folder that is no data set yet; the message says what was found and what to do."""


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
    VideoFolderError
        The folder, ``classes.txt`` or ``groups.csv`` cannot be used as they are.
    """
    root = Path(root).expanduser().resolve()
    places = _layout(root)
    classes = _read_classes(root, places)
    splits = {split: _read_clips(root, place, classes) for split, place in places.items()}
    clips = [clip for members in splits.values() for clip in members]
    _check_names(root, clips)
    sources = "each file taken as its own source"
    if (root / "groups.csv").is_file():
        groups = _read_groups(root / "groups.csv", {_inside(root, clip.path) for clip in clips})
        for split, members in splits.items():
            splits[split] = [replace(clip, group=groups[_inside(root, clip.path)]) for clip in members]
        sources = "sources from groups.csv"
    splits, how = _cut(root, splits, val_fraction, test_fraction, seed)
    _check_splits(root, splits, classes)
    return VideoDataset(
        name=safe_name(root.name).lstrip(".") or "videos",  # a leading dot marks files that are being written
        description=f"own videos ({len(classes)} classes), {how}, {sources}",
        classes=classes,
        train=splits["train"],
        val=splits.get("val", []),
        test=splits["test"],
        class_texts={name: words(name) for name in classes},
    )


def _layout(root: Path) -> dict[str, Path]:
    """Split -> its folder. Without folders of splits, `WHOLE` -> the folder itself; a class may be called ``train``."""
    if not root.is_dir():
        raise VideoFolderError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; {LAYOUTS}")
    names = {folder.name for folder in _folders(root)}
    if not names:
        raise VideoFolderError(f"{root}: no folders in it; {LAYOUTS}")
    splits = {name.lower(): root / name for name in sorted(names) if name.lower() in SPLITS}  # Train is train
    if len(names) > len(splits) and not any(_folders(folder) for folder in splits.values()):
        return {WHOLE: root}
    if len(names) > len(splits) or not {"train", "test"} <= splits.keys():
        raise VideoFolderError(f"{root}: found the folders {few(names)}; {LAYOUTS}, and no other folders")
    return {split: splits[split] for split in SPLITS if split in splits}


def _read_classes(root: Path, places: Mapping[str, Path]) -> tuple[str, ...]:
    for place in places.values():
        if not _folders(place):
            raise VideoFolderError(f"{place}: no class folders in it; put videos into {place}/<class>/")
    found = sorted({folder.name for place in places.values() for folder in _folders(place)})
    names, path = found, root / "classes.txt"
    if path.is_file():
        names = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
        if len(set(names)) < len(names):
            raise VideoFolderError(f"{path}: lists twice {few({n for n in names if names.count(n) > 1})}")
        if lost := set(names) - set(found):
            raise VideoFolderError(f"{path}: lists {few(lost)}, but the class folders are {few(found)}")
        if unlisted := set(found) - set(names):
            raise VideoFolderError(f"{path}: does not list {few(unlisted)}; add the names, or move the folders away")
    if len(names) < 2:
        raise VideoFolderError(f"{root}: only one class ({names[0]}); at least two are needed, a folder each")
    return tuple(names)


def _read_clips(root: Path, place: Path, classes: Sequence[str]) -> list[Clip]:
    """Clips of one split (or of the whole folder), each its own group."""
    clips = []
    for folder in _folders(place):
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        files = [path for path in inside if path.suffix.lower() in EXTENSIONS and not path.is_dir()]
        if not files:
            found = f"only {few(path.name for path in inside)}" if inside else "it is empty"
            raise VideoFolderError(f"{folder}: no video in it ({found}); add {' '.join(EXTENSIONS)} or remove it")
        for path in files:
            if any(
                "\udc80" <= letter <= "\udcff" for letter in str(path)
            ):  # how Python represents bytes that are no letter
                shown = str(path).encode(errors="replace").decode()
                raise VideoFolderError(f"{shown}: its name is not UTF-8 (such bytes are shown as ?); rename it")
            name = _clip_name(_inside(root, path.with_suffix("")))
            clips.append(Clip(path, classes.index(folder.name), folder.name, name, name))
    return clips


def _clip_name(inside: str) -> str:
    name = safe_name(inside)
    if inside.isascii():
        return name
    # Letters of other scripts all became '-': a hash distinguishes such names.
    return f"{name}-{hashlib.sha256(inside.encode()).hexdigest()[:8]}"


def _check_names(root: Path, clips: Sequence[Clip]) -> None:
    first: dict[str, Path] = {}
    for clip in clips:
        if other := first.get(clip.name):
            raise VideoFolderError(
                f"{root}: {_inside(root, other)} and {_inside(root, clip.path)} would both be called {clip.name!r} "
                "(the path without extension, with '-' for all but letters, digits, '.', '_' and '-'); rename one"
            )
        first[clip.name] = clip.path


def _read_groups(path: Path, files: set[str]) -> dict[str, str]:
    """File -> group, for all of ``files`` and nothing else."""
    rows = csv.DictReader(_read_text(path).splitlines(), skipinitialspace=True)
    if not {"file", "group"} <= set(rows.fieldnames or []):
        raise VideoFolderError(f"{path}: expected the columns 'file,group', found {','.join(rows.fieldnames or [])!r}")
    groups: dict[str, str] = {}
    for row in rows:
        file, group = (PurePosixPath(row["file"] or "").as_posix(), (row["group"] or "").strip())
        if not group:
            raise VideoFolderError(f"{path}: line {rows.line_num} gives {file!r} no group")
        if groups.setdefault(file, group) != group:
            raise VideoFolderError(f"{path}: puts {file!r} into {groups[file]!r} and {group!r}; keep one")
    if lost := groups.keys() - files:
        raise VideoFolderError(f"{path}: lists {few(lost)}, no clip in {path.parent}; files are relative to it")
    if unlisted := files - groups.keys():
        raise VideoFolderError(
            f"{path}: {len(unlisted)} of {len(files)} clips are not listed: {few(unlisted)}; "
            "give each a group; a clip that shares its source with no other gets a group of its own"
        )
    return groups


def _cut(
    root: Path, splits: dict[str, list[Clip]], val_fraction: float, test_fraction: float, seed: int
) -> tuple[dict[str, list[Clip]], str]:
    """The splits, with test and validation clips held out if there are no folders for them, and words for how."""
    if not (0 <= val_fraction < 1 and 0 < test_fraction < 1):
        raise VideoFolderError(
            f"val_fraction must lie in [0, 1), test_fraction in (0, 1), not {val_fraction} and {test_fraction}"
        )
    if val_fraction and "val" in splits:
        raise VideoFolderError(
            f"{root / 'val'} exists, and val_fraction={val_fraction} would cut another one; set it to 0"
        )
    splits, how = dict(splits), "split by its own folders"
    if WHOLE in splits:
        splits["train"], splits["test"] = hold_out_groups(splits.pop(WHOLE), test_fraction, seed, 1, True)
        how = f"about {100 * test_fraction:g} % of each class's sources held out for testing (seed {seed})"
    if val_fraction:
        splits["train"], splits["val"] = hold_out_groups(splits["train"], val_fraction, seed, 1, True)
    return splits, how


def _check_splits(root: Path, splits: Mapping[str, Sequence[Clip]], classes: Sequence[str]) -> None:
    """Training and test must hold all classes, and no group may be in two splits."""
    for split in ("train", "test"):
        for class_name in classes:
            if class_name not in {clip.class_name for clip in splits[split]}:
                raise VideoFolderError(_why_missing(root, splits, split, class_name))
    where: dict[str, str] = {}
    for split, clips in splits.items():
        for group in sorted({clip.group for clip in clips}):
            if where.setdefault(group, split) != split:
                raise VideoFolderError(
                    f"{root}: group {group!r} of groups.csv is in {where[group]}/ and in {split}/; "
                    "clips of one source must stay together: move them"
                )


def _why_missing(root: Path, splits: Mapping[str, Sequence[Clip]], split: str, class_name: str) -> str:
    if not (root / class_name).is_dir():
        return f"{root / split}: no clips of the class {class_name}; add {class_name}/ with videos there"
    groups = {clip.group for clips in splits.values() for clip in clips if clip.class_name == class_name}
    return (
        f"{root / class_name}: its sources ({len(groups)}: {few(groups)}) cannot be split into training and test; "
        "add clips from other sources"
    )


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _inside(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError:
        raise VideoFolderError(f"{path}: not UTF-8; save it in that encoding") from None
