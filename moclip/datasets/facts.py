"""What a clip's file is: opened, decoded to its end, counted, hashed. Cached by content: it is done once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from moclip.datasets.base import Clip
from moclip.io import keys
from moclip.io.artefacts import load_json, save_json
from moclip.io.fingerprints import FileHashes
from moclip.io.parallel import for_each_file
from moclip.io.paths import cache_dir
from moclip.video import INTER, VideoError, probe, read_frames, read_motion


@dataclass(frozen=True)
class Facts:
    """One file.

    Attributes
    ----------
    sha256, bytes : of the file.
    codec, width, height, fps : as `moclip.probe` gives them; fps 0.0 where the file does not say.
    frames, decoded : coded frames, and those that a decoder gives (fewer where the encoder marked some as not coded).
    gop : median distance of I-frames, in frames; None with a single I-frame: the distance is at least the clip's
        length.
    i_share, b_share : share of I- and B-frames among the decoded ones; None where the codec exports no vectors.
    scale : units per pixel of ``lengths``.
    lengths : block vectors by the length of their longer component, in units: ``lengths[n]`` vectors of n / scale
        pixels. Empty where the codec exports no vectors.
    note : why there are no vectors, though the clip can be decoded.
    """

    sha256: str
    bytes: int
    codec: str
    width: int
    height: int
    fps: float
    frames: int
    decoded: int
    gop: int | None
    i_share: float | None = None
    b_share: float | None = None
    scale: int = 1
    lengths: list[int] = field(default_factory=list)
    note: str = ""

    @property
    def seconds(self) -> float:
        """Duration; 0.0 where the frame rate is unknown."""
        return self.frames / self.fps if self.fps else 0.0

    @property
    def i_distance(self) -> float:
        """Frames per I-frame: near ``gop``, and with a single I-frame the length of the clip."""
        return 1 / self.i_share if self.i_share else float(self.gop or self.frames)

    @property
    def kbit_s(self) -> float:
        """Bit rate of the whole file, in 1000 bit/s; 0.0 where the frame rate is unknown."""
        return 8 * self.bytes / 1000 / self.seconds if self.seconds else 0.0

    def saturated(self, bound: float, factor: float = 1.0) -> float:
        """Share of block vectors with a component beyond ``bound``, after multiplying by ``factor``; nan without any.

        The same number as `moclip.inputs.clips.LoadedClips.saturated`, for one clip.
        """
        beyond = np.arange(len(self.lengths)) / self.scale * factor > bound
        count = np.array(self.lengths)
        return float(count[beyond].sum() / count.sum()) if count.sum() else float("nan")


def read_facts(path: Path, sha256: str) -> Facts:
    """Open a file (of that SHA-256), decode it to its end and count.

    Raises
    ------
    VideoError
        It is no video, or damaged.
    """
    info, motion = probe(path), None
    note = f"FFmpeg exports no motion vectors from {info.codec}"
    if info.exports_motion:
        try:
            motion, note = read_motion(path), ""
        except VideoError as error:
            note = error.cause  # may still decode: another size in the middle, for one
    counted: dict[str, Any] = {"decoded": info.frames}
    if motion is None:
        read_frames(path, [info.frames - 1])
    else:
        types, longer = motion.types, np.abs(motion.grid[motion.mask == INTER].astype(int)).max(axis=-1, initial=0)
        counted = {
            "decoded": len(types),
            "i_share": float(np.mean(types == "I")),
            "b_share": float(np.mean(types == "B")),
        }
        counted |= {"scale": motion.scale, "lengths": np.bincount(longer).tolist()}
    known = {name: getattr(info, name) for name in ("codec", "width", "height", "fps", "frames", "gop")}
    return Facts(sha256=sha256, bytes=path.stat().st_size, note=note, **known, **counted)


def facts_of(
    clips: Sequence[Clip], workers: int | None = None, scheduler: str | None = None
) -> tuple[dict[str, Facts], dict[str, str]]:
    """Facts of many clips, from the cache where it knows a file's bytes; clips without a hash are hashed first.

    ``workers`` and ``scheduler`` are those of `moclip.io.parallel.for_each_file`.

    Returns
    -------
    (facts, problems) : by clip name; a clip is in one of the two.
    """
    hashes, failures = FileHashes().of([clip.path for clip in clips if not clip.sha256], workers)
    hashes |= {clip.path: clip.sha256 for clip in clips if clip.sha256}
    folder = cache_dir() / "facts" / keys.digest(keys.key("facts", {}))
    cached = {path: folder / sha[:2] / f"{sha}.json" for path, sha in hashes.items()}
    jobs = [(path, hashes[path], target) for path, target in cached.items() if not target.is_file()]
    failures += for_each_file(_write_facts, jobs, "reading clips", workers, scheduler, on_error="skip")
    reasons = dict(failures)
    facts = {clip.name: Facts(**load_json(cached[clip.path])) for clip in clips if clip.path not in reasons}
    return facts, {clip.name: reasons[clip.path] for clip in clips if clip.path in reasons}


def _write_facts(path: Path, sha: str, target: Path) -> None:
    save_json(target, asdict(read_facts(path, sha)))
