"""The manifest of a data set: what `moclip.datasets.prepare.prepare` found, and whether it still holds.

``<folder>/<name>.json`` has one entry per clip: its path under the data set's root, class, group, split, the SHA-256 of
that file, and the SHA-256 of the file that is read (another one where clips are re-encoded). No absolute path is in it.
``<name>.stat`` beside it remembers what each file looked like when it was hashed. It only saves time: it is part of no
key, and may be removed.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from moclip.datasets.base import VideoDataset, few
from moclip.io import keys
from moclip.io.artefacts import save_json


def write(
    path: Path, shipped: VideoDataset, ready: VideoDataset, left_out: Mapping[str, str], key: dict[str, Any], root: Path
) -> None:
    """Write the manifest of a data set.

    Parameters
    ----------
    shipped : the listed clips, with the hashes of their files.
    ready : the clips to read: the same without those of ``left_out``.
    left_out : name of a clip -> the reason.
    key : of what was made (`moclip.io.keys`).
    root : the folder to which paths are relative.
    """
    entries = _entries(shipped, root)
    sha256 = {clip.name: clip.sha256 for clip in ready.clips}
    facts = ("name", "description", "classes", "class_texts", "horizontal_flip", "ceilings", "fingerprint")
    save_json(
        path,
        {name: getattr(ready, name) for name in facts}
        | {
            "counts": {split: len(clips) for split, clips in ready.splits.items()},
            "key": key,
            "clips": [entry | {"sha256": sha256[entry["name"]]} for entry in entries if entry["name"] in sha256],
            "left_out": [entry | {"reason": left_out[entry["name"]]} for entry in entries if entry["name"] in left_out],
        },
    )


def differences(manifest: Mapping[str, Any], listed: VideoDataset, key: dict[str, Any], root: Path) -> list[str]:
    """What changed since a manifest was written, in words, as far as lists, settings and code tell."""
    identity = ("path", "name", "class_name", "group", "split")
    old, new = (
        {tuple(entry[name] for name in identity) for entry in entries}
        for entries in ([*manifest["clips"], *manifest["left_out"]], _entries(listed, root))
    )
    words = keys.differences(manifest["key"], key)
    if manifest["classes"] != list(listed.classes):
        words.append("the classes or their order changed")
    words += counted("clips are new", {path for path, *_ in new} - {path for path, *_ in old})
    words += counted("clips are gone", {path for path, *_ in old} - {path for path, *_ in new})
    return words or counted("clips have another class, group or split", {path for path, *_ in new - old})


def counted(what: str, paths: Collection[str]) -> list[str]:
    """``3 clips are new (a, b, c)``; nothing for none."""
    return [f"{len(paths)} {what} ({few(paths)})"] if paths else []


def _entries(dataset: VideoDataset, root: Path) -> list[dict[str, str]]:
    """One entry per clip of a data set of shipped files, in the order of ``dataset.clips``."""
    return [
        {"name": clip.name, "class_name": clip.class_name, "group": clip.group, "split": split,
         "path": clip.path.relative_to(root).as_posix(), "source_sha256": clip.sha256}
        for split, clips in dataset.splits.items()
        for clip in clips
    ]  # fmt: skip
