"""Is a data set what its lists say? Every clip is opened and counted, every file of the folder accounted for."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from moclip.datasets.base import VideoDataset
from moclip.datasets.facts import facts_of

UNREADABLE, MISSING, UNLISTED = "unreadable", "listed but missing", "there but not listed"
ASIDE = {"classes.txt", "groups.csv"}  # files of a video_folder that are no clips
FACTS = ["sha256", "bytes", "codec", "width", "height", "fps", "frames", "decoded", "gop", "i_share", "b_share", "note",
         "i_distance", "seconds", "kbit_s"]  # fmt: skip


def clip_table(dataset: VideoDataset, workers: int | None = None) -> pd.DataFrame:
    """One row per clip: where it belongs, what its file is, and what is wrong with it.

    Returns
    -------
    DataFrame
        video, class_name, group, split, path, `FACTS` (see `moclip.datasets.facts.Facts`), problem (empty if
        there is none), reason.
    """
    facts, problems = facts_of([clip for clip in dataset.clips if clip.path.is_file()], workers)
    columns = ["video", "class_name", "group", "split", "path", *FACTS, "problem", "reason"]
    rows = []
    for split, clips in dataset.splits.items():
        for clip in clips:
            problem = "" if clip.name in facts else UNREADABLE if clip.name in problems else MISSING
            values = [getattr(facts.get(clip.name), name, None) for name in FACTS]
            place = [clip.name, clip.class_name, clip.group, split, str(clip.path)]
            rows.append([*place, *values, problem, problems.get(clip.name, "")])
    return pd.DataFrame(rows, columns=columns)


def verify(dataset: VideoDataset, root: Path | None = None, workers: int | None = None) -> pd.DataFrame:
    """`clip_table`, with a row for each listed clip that is missing and each file under ``root`` that no list names.

    Parameters
    ----------
    dataset : loaded with ``allow_partial=True`` if it has that option.
    root : the folder that should hold the listed clips and nothing else; None skips the search for other files. Names
        that begin with a dot are ignored.
    """
    table = clip_table(dataset, workers)
    if root is None:
        return table
    root = root.expanduser()
    known = {path.resolve() for path in [*(clip.path for clip in dataset.clips), *dataset.unused]}
    others = [path for path in _files(root) if path.resolve() not in known and path.name not in ASIDE]
    lost = [{"path": str(root / name), "problem": MISSING} for name in dataset.missing]
    lost += [{"path": str(path), "problem": UNLISTED} for path in others]
    return pd.concat([table, pd.DataFrame(lost, columns=table.columns)], ignore_index=True) if lost else table


def summary(table: pd.DataFrame) -> list[str]:
    """What `verify` found, as lines: encoders, sizes, rates, GOPs, B-frames, lengths, then the problems."""
    sound = table[table["problem"] == ""].dropna(subset=["frames"])
    lines = [f"{len(sound)} clips, {int(sound['frames'].sum())} frames, {sound['bytes'].sum() / 1e6:.1f} MB: sound"]
    if len(sound):
        gop, length = sound["gop"].astype(float), sound["seconds"]
        apart = f"one in {gop.min():.0f} to {gop.max():.0f} frames, median {gop.median():.0f}; "
        sizes = sound["width"].astype(int).astype(str) + "x" + sound["height"].astype(int).astype(str)
        lines += [
            f"  codec       {_counts(sound['codec'])}",
            f"  size        {_counts(sizes)}",
            f"  frames/s    {_counts(sound['fps'].map('{:.5g}'.format))}",
            f"  I-frames    {apart if gop.notna().any() else ''}a single one in {int(gop.isna().sum())} clips",
            f"  B-frames    in {int((sound['b_share'].fillna(0) > 0).sum())} clips",
            f"  length      {length.min():.1f} to {length.max():.1f} s, median {length.median():.1f} s",
        ]
        if uneven := int((sound["decoded"] != sound["frames"]).sum()):
            lines.append(f"  {uneven} clips hold frames that are marked as not coded (`decoded` is less than `frames`)")
    for kind in (UNREADABLE, MISSING, UNLISTED):
        bad = table[table["problem"] == kind].fillna({"reason": ""})
        lines += [f"{len(bad)} {kind}"] if len(bad) else []
        lines += [f"  {row.path}: {row.reason}".removesuffix(": ") for row in bad.head(10).itertuples()]
        lines += [f"  ... and {len(bad) - 10} more"] if len(bad) > 10 else []
    return lines


def _files(root: Path) -> list[Path]:
    """All files under ``root`` except hidden ones, in order."""
    found = (path for path in root.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def _counts(values: pd.Series) -> str:
    """``mpeg4 (90), h264 (3)``, at most six."""
    counted = values.value_counts()
    shown: Sequence[str] = [f"{name} ({count})" for name, count in counted.head(6).items()]
    return ", ".join(shown) + (f" and {len(counted) - 6} more" if len(counted) > 6 else "")
