"""From the data section of a configuration to clips that are ready to read.

`prepare` does the work once: it lists, generates, re-encodes, checks and hashes, and writes a manifest per data set.
`load_prepared` reads the manifests and checks that they still hold.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from moclip.config.sections import ConfigError, Data, MinFrames
from moclip.datasets import load_dataset, manifest
from moclip.datasets.base import NO_MOTION, REMEDY, Clip, VideoDataset
from moclip.datasets.facts import Facts, facts_of
from moclip.datasets.moving_photos import Design, MovingPhotos
from moclip.errors import MoclipError
from moclip.io import keys
from moclip.io.artefacts import load_json
from moclip.io.files import atomic_path, sha256_file
from moclip.io.fingerprints import FileHashes
from moclip.io.parallel import ClipsError, for_each_file
from moclip.io.paths import data_dir
from moclip.video import VideoError, transcode
from moclip.video.scan import read_chunks

SUFFIX = ".m4v"
REENCODED = ", re-encoded at 340x256 (MPEG-4, GOP 12)"

log = logging.getLogger(__name__)


class NotPreparedError(MoclipError, FileNotFoundError):
    """A data set that is not prepared, or was prepared from something else."""

    def __init__(self, path: Path, reasons: Sequence[str]) -> None:
        found = f"{path} is out of date ({'; '.join(reasons)})" if reasons else f"{path} is missing"
        super().__init__(f"{found}; run notebook 01_zero_shot first, or `moclip data prepare` with the same options")


def listed(data: Data, generate: bool = False) -> list[VideoDataset]:
    """The data sets that a data section names, the main one first; MovingPhotos has one per design.

    Clips are as shipped or generated; none is opened or hashed.

    Parameters
    ----------
    generate : make the clips of MovingPhotos that are missing.

    Raises
    ------
    ConfigError
        The section lacks what the data set needs.
    DataError, FileNotFoundError
        The user's folders or lists cannot be used as they are.
    """
    data.check()
    root = _root(data)
    if data.name == "moving_photos":
        datasets = []
        for name, groups in data.designs.items():
            design = Design(name, groups.train, groups.test, data.clips_per_group, seed=data.seed)
            place = root / name if data.root else None
            datasets.append(MovingPhotos(design, place, data.val_fraction, data.workers, generate))
    else:
        more = ("test_fraction",) if data.name == "video_folder" else ("annotation_path", "fold", "allow_partial")
        options = {name: getattr(data, name) for name in ("val_fraction", "seed", *more)}
        datasets = [load_dataset(data.name, hashes=False, root=root, **options)]
    if data.horizontal_flip is None:
        return datasets
    return [replace(dataset, horizontal_flip=data.horizontal_flip) for dataset in datasets]


def prepare(data: Data, folder: Path, rehash: bool = False) -> list[VideoDataset]:
    """Make the data sets of a data section ready, the main one first, and write their manifests.

    What is there already stays: generated clips by the key of their design, re-encoded clips by the content of their
    source. Those that differ from the last manifest are made again. Clips that fail, missing clips and their reasons
    are written to ``data/reports/<name>/``.

    Parameters
    ----------
    folder : gets ``<name>.json`` per data set (``runs/<run>/data``); manifests of other data sets are removed.
    rehash : read every file, even if it looks unchanged.

    Raises
    ------
    ConfigError, DataError, FileNotFoundError
        As `listed`; or no training or no test clip is long enough.
    ClipsError
        Clips that could not be read or re-encoded, or have no motion vectors; the others are kept. With
        ``on_error="skip"`` such clips are left out, and only a split without any clip is an error.
    """
    datasets = [_prepare(dataset, data, folder, rehash) for dataset in listed(data, generate=True)]
    names = {dataset.name for dataset in datasets}
    for path in [*folder.glob("*.json"), *folder.glob("*.stat")]:
        if path.stem not in names:
            path.unlink()
    return datasets


def load_prepared(data: Data, folder: Path, original: bool = False, rehash: bool = False) -> list[VideoDataset]:
    """The data sets that `prepare` made ready, the main one first.

    Each file is looked at (`stat`). It is read again only if size, times or inode are not those of the hashed one.

    Parameters
    ----------
    folder : that of `prepare`.
    original : the same clips with their streams as shipped, even if they were re-encoded.
    rehash : read every file.

    Raises
    ------
    NotPreparedError
        A manifest is missing, or its files, lists, settings or code have changed since.
    """
    return [_load(dataset, data, folder, original, rehash) for dataset in listed(data)]


@cache
def _digest() -> str:
    """Of the code and libraries that re-encode; asked for once per clip."""
    return keys.digest(keys.key("reencoded", {}))


def reencoded_path(sha256: str) -> Path:
    """Where the re-encoded form of the video with that SHA-256 is kept."""
    return data_dir() / "reencoded" / _digest() / sha256[:2] / f"{sha256}{SUFFIX}"


def reencoded(shipped: VideoDataset) -> VideoDataset:
    """The hashed clips of a data set at the places of their re-encoded forms, which need not exist; without hashes."""
    return shipped.with_clips(
        lambda clip: replace(clip, path=reencoded_path(clip.sha256), sha256=""),
        description=shipped.description + REENCODED,
    )


def reports_dir(dataset: VideoDataset) -> Path:
    """Where reports on a data set's files are written."""
    return data_dir() / "reports" / dataset.name


def _root(data: Data) -> Path:
    """The folder to which a manifest's paths are relative."""
    return data.root.expanduser().resolve() if data.root else data_dir()


def _key(data: Data) -> dict[str, Any]:
    """The key of what `prepare` makes; where the files lie and what the lists say is no part of it."""
    what = "generated" if data.name == "moving_photos" else "reencoded" if data.reencode else "facts"
    return keys.key(what, data.model_dump(include={"reencode", "on_error", "min_frames"}))


def _prepare(dataset: VideoDataset, data: Data, folder: Path, rehash: bool) -> VideoDataset:
    """Make one data set ready and write its manifest."""
    path = folder / f"{dataset.name}.json"
    hashes = FileHashes(path.with_suffix(".stat"), rehash)
    if _remove_damaged(path, hashes, data):
        listed(data, generate=True)  # again: it makes generated clips that are missing
    _report(dataset, "missing", dataset.missing)
    reasons: dict[str, str] = {}
    ready = shipped = _hashed(dataset, hashes, reasons, data)
    hashes.save()
    if data.reencode:
        reasons |= _reencode_missing([clip for clip in shipped.clips if clip.sha256], data)
        ready = _hashed(reencoded(shipped), hashes, reasons, data)
    facts: dict[str, Facts] = {}
    if data.min_frames != MinFrames() or (data.on_error == "skip" and not data.reencode):
        facts, problems = facts_of([c for c in ready.clips if c.name not in reasons], data.workers, data.scheduler)
        reasons |= problems
        reasons |= {name: fact.note or NO_MOTION for name, fact in facts.items() if not sum(fact.lengths)}
    failures = [(clip.path, reasons[clip.name]) for clip in shipped.clips if clip.name in reasons]
    if failures and data.on_error == "raise":
        raise ClipsError(failures, len(shipped.clips), REMEDY)
    _report(dataset, "unreadable", [f"{file}: {reason}" for file, reason in failures])
    ready = _without(ready, reasons, "unreadable", ClipsError(failures, len(shipped.clips)))
    fewest = data.min_frames
    short = {
        clip.name: f"{facts[clip.name].decoded} frames"
        for split, clips in ready.splits.items()
        for clip in clips
        if facts and facts[clip.name].decoded < (fewest.test if split == "test" else fewest.train)
    }
    too_short = ConfigError(f"{dataset.name}: no training or no test clip has data.min_frames={fewest!r}")
    rule = f"under {fewest.train} frames in training, {fewest.test} in testing"
    ready = _without(ready, short, rule, too_short)
    hashes.save()
    manifest.write(path, shipped, ready, reasons | short, _key(data), _root(data))
    return ready


def _load(dataset: VideoDataset, data: Data, folder: Path, original: bool, rehash: bool) -> VideoDataset:
    """One data set from its manifest, which must still hold."""
    path, root = folder / f"{dataset.name}.json", _root(data)
    if not path.is_file():
        raise NotPreparedError(path, ())
    known = load_json(path)
    if changes := manifest.differences(known, dataset, _key(data), root):
        raise NotPreparedError(path, changes)
    entries = {entry["name"]: entry for entry in known["clips"]}
    shipped = dataset.with_clips(
        lambda clip: replace(clip, sha256=entries[clip.name]["source_sha256"]) if clip.name in entries else None
    )
    ready = (reencoded(shipped) if data.reencode else shipped).with_clips(
        lambda clip: replace(clip, sha256=entries[clip.name]["sha256"])
    )
    expected = {clip.path: clip.sha256 for clip in [*shipped.clips, *ready.clips]}
    expected |= {root / entry["path"]: entry["source_sha256"] for entry in known["left_out"]}
    hashes = FileHashes(path.with_suffix(".stat"), rehash)
    found, _ = hashes.of(list(expected), data.workers)
    hashes.save()
    if changed := [str(file) for file, sha256 in expected.items() if found.get(file, "") != sha256]:
        raise NotPreparedError(path, manifest.counted("files were changed or removed", changed))
    description = known["description"]
    if original:
        ready, description = shipped, description.replace(REENCODED, "")
    return replace(ready, description=description)


def _hashed(dataset: VideoDataset, hashes: FileHashes, reasons: dict[str, str], data: Data) -> VideoDataset:
    """The data set with its clips' hashes.

    Clips whose name is in ``reasons`` are not read; those that cannot be read are added to it.
    """
    found, failures = hashes.of([clip.path for clip in dataset.clips if clip.name not in reasons], data.workers)
    unread = dict(failures)
    reasons |= {clip.name: unread[clip.path] for clip in dataset.clips if clip.path in unread}
    return dataset.with_clips(lambda clip: replace(clip, sha256=found.get(clip.path, "")))


def _remove_damaged(path: Path, hashes: FileHashes, data: Data) -> bool:
    """Whether files that `prepare` made differ from its last manifest; they are removed, to be made again."""
    known = load_json(path) if path.is_file() else {}
    if known.get("key") != _key(data) or not (data.reencode or data.name == "moving_photos"):
        return False
    made = {
        reencoded_path(entry["source_sha256"]) if data.reencode else _root(data) / entry["path"]: entry["sha256"]
        for entry in known["clips"]
    }
    found, _ = hashes.of(list(made), data.workers)
    damaged = [target for target, sha256 in found.items() if sha256 != made[target]]
    for target in damaged:
        target.unlink()
    return bool(damaged)


def _reencode_missing(clips: Sequence[Clip], data: Data) -> dict[str, str]:
    """Re-encode the hashed clips whose re-encoded form is missing; return name and reason of each that fails."""
    folder = data_dir() / "reencoded" / _digest()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # one at a time: an unfinished file in there was left by a killed run
        for leftover in folder.glob(f"*/.*{SUFFIX}"):
            leftover.unlink()
        targets = {reencoded_path(clip.sha256): clip.path for clip in clips}  # clips of equal content have one
        jobs = [(source, target) for target, source in targets.items() if not target.is_file()]
        failures = dict(for_each_file(_reencode, jobs, "re-encoding", data.workers, data.scheduler, on_error="skip"))
    failed = {target.stem: failures[source] for source, target in jobs if source in failures}
    return {clip.name: failed[clip.sha256] for clip in clips if clip.sha256 in failed}


def _reencode(source: Path, target: Path) -> None:
    """Re-encode into CoViAR's format (340 x 256, MPEG-4, GOP 12, no B-frames); the source's hash names ``target``.

    Streams as shipped may reveal classes by their encoder's settings (UCF101's do). Re-encoded one way they cannot.
    """
    with atomic_path(target) as temporary:
        transcode(source, temporary)
        # Usually the first chunk has some.
        if not any(chunk.has_motion.any() for chunk in read_chunks(temporary)):
            raise VideoError(source, NO_MOTION)
        if sha256_file(source) != target.stem:
            raise VideoError(source, "it was changed while it was re-encoded")


def _without(dataset: VideoDataset, names: Collection[str], why: str, otherwise: MoclipError) -> VideoDataset:
    """The data set without some clips, which its description counts; raise ``otherwise`` if a split would be empty."""
    if not names:
        return dataset
    description = f"{dataset.description}, {len(names)} of {len(dataset.clips)} clips left out ({why})"
    rest = dataset.with_clips(lambda clip: None if clip.name in names else clip, description=description)
    if not (rest.train and rest.test):
        raise otherwise
    return rest


def _report(dataset: VideoDataset, what: str, lines: Sequence[str]) -> None:
    """Write ``<what>.txt``, one line per clip; without lines there is none."""
    path = reports_dir(dataset) / f"{what}.txt"
    path.unlink(missing_ok=True)
    if lines:
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines))
        log.warning("%s: %d of the listed clips are %s, see %s", dataset.name, len(lines), what, path)
