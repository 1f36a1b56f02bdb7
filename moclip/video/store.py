"""Motion on disk: one file a clip, read back without PyAV's help, any frame without unpacking the others.

A safetensors file. ``packed`` holds the chunks one after another: a chunk starts at every I-frame and after 32 frames,
and is a zlib stream of its grids and masks on the coarsest cells that hold them exactly (`_pack`). ``types``,
``has_motion``, ``starts`` (first frame of a chunk), ``offsets`` (its place in ``packed``) and ``blocks`` (side of its
cells) are beside it; numbers, names and a checksum are in the header.
"""

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from moclip.io.files import atomic_path, sha256_file
from moclip.video.blocks import Chunk, refine
from moclip.video.errors import VideoError
from moclip.video.layout import CHUNK, COARSEST
from moclip.video.motion import Motion
from moclip.video.scan import open_motion

VERSION = 3
SUFFIX = ".safetensors"
_FACTS = ("scale", "width", "height", "fps", "codec", "container", "source")
_LETTERS = "IPB"


class StoredMotion(Motion):
    """A motion in memory as it lies on disk; `grids`, `raw`, `accumulated` and `fields` unpack the chunks they need.

    ``grid`` and ``mask`` unpack everything on first use.
    """

    _arrays: dict[str, np.ndarray]

    @cached_property
    def grid(self) -> np.ndarray:  # type: ignore[override]
        """int16 (T, gh, gw, 2), see `Motion`."""
        return self.grids(np.arange(len(self)))

    @cached_property
    def mask(self) -> np.ndarray:  # type: ignore[override]
        """uint8 (T, gh, gw), see `Motion`."""
        parts = [np.empty((0, *self._shape(self.block_size)), np.uint8)]
        for chunk, side in enumerate(self._arrays["blocks"].tolist()):
            planes, shape = self._unpack(chunk)
            mask = planes[4 * math.prod(shape) :].reshape(shape)
            parts.append(refine(mask, side, self.block_size, self.height, self.width))
        return np.concatenate(parts)[: len(self)]

    def __len__(self) -> int:
        """Number of frames T."""
        return len(self.types)

    def grids(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Block grids of some frames: int16 (S, gh, gw, 2)."""
        if "grid" in self.__dict__:
            return super().grids(frames)
        from moclip.video import _kernels  # numba: most of a second to import

        wanted = self._indices(frames)
        out = np.empty((len(wanted), *self._shape(self.block_size), 2), np.int16)
        starts = self._arrays["starts"]
        homes = starts.searchsorted(wanted, "right") - 1
        for chunk in sorted(set(homes.tolist())):
            here = np.flatnonzero(homes == chunk)
            planes, shape = self._unpack(chunk)
            times = int(self._arrays["blocks"][chunk]) // self.block_size
            _kernels.unfold(planes, shape, wanted[here] - starts[chunk], times.bit_length() - 1, out, here)
        return out

    def _shape(self, block_size: int) -> tuple[int, int]:
        return math.ceil(self.height / block_size), math.ceil(self.width / block_size)

    def _unpack(self, chunk: int) -> tuple[np.ndarray, tuple[int, int, int]]:
        """What `_pack` packed: the bytes of a chunk, uint8 (5 * n * gh * gw,), and (n, gh, gw) of its own cells."""
        starts, offsets = self._arrays["starts"], self._arrays["offsets"]
        shape = int(starts[chunk + 1] - starts[chunk]), *self._shape(int(self._arrays["blocks"][chunk]))
        raw = zlib.decompress(self._arrays["packed"].data[offsets[chunk] : offsets[chunk + 1]])
        if len(raw) != 5 * math.prod(shape):  # what is compiled looks no more whether an index is inside
            raise ValueError(
                f"chunk {chunk} has {len(raw)} bytes, not those of {shape} cells: extract the motion again"
            )
        return np.frombuffer(raw, np.uint8), shape


def save_motion(motion: Motion, path: Path | str, source_fingerprint: str) -> None:
    """Write the motion of one clip to a file.

    The same motion gives the same bytes. About 130 to 350 bytes a frame at 340x256, the more the more moves.

    Parameters
    ----------
    motion : Motion
    path : path-like
        Ends in ``.safetensors``; written to a temporary name and renamed.
    source_fingerprint : str
        SHA-256 of the video file (`moclip.io.files.sha256_file`); `load_motion` gives it back as ``motion.source``.

    Raises
    ------
    ValueError
        Another suffix.
    """
    facts = {name: getattr(motion, name) for name in _FACTS} | {"source": source_fingerprint}
    _write(path, _cut(motion), facts, motion.block_size)


def load_motion(path: Path | str) -> Motion:
    """Read a motion file; nothing is unpacked until it is needed.

    Raises
    ------
    VideoError
        The file is missing, damaged, or was written by another version of this format.
    """
    try:
        arrays, facts = _read(Path(path).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VideoError(path, f"no motion file ({error})", "extract it again") from error
    if facts.pop("version", None) != VERSION:
        raise VideoError(path, f"not motion format {VERSION}", "extract it again")
    types = np.frombuffer(_LETTERS.encode(), np.uint8)[arrays["types"]].view("S1").astype("U1")
    return _lazy(arrays, types, arrays["has_motion"].view(bool), facts)


def is_stored(source: str, path: Path | str) -> bool:
    """True where ``path`` holds, undamaged, the motion of the video with this SHA-256."""
    try:
        return Path(path).is_file() and load_motion(path).source == source
    except VideoError:  # damaged, or of another version: not this video's motion
        return False


def store_motion(video: Path | str, path: Path | str) -> None:
    """Read a video's motion and keep it in ``path``, in constant memory; the same bytes as `save_motion` writes."""
    with open_motion(video) as (facts, chunks):  # says what is wrong with a file, before it is hashed
        _write(path, chunks, facts | {"source": sha256_file(video)}, None, late=facts)


def _lazy(arrays: dict[str, np.ndarray], types: np.ndarray, has_motion: np.ndarray, facts: dict[str, Any]) -> Motion:
    motion = object.__new__(StoredMotion)
    # Past the constructor, which wants all grids.
    motion.__dict__.update(facts, types=types, has_motion=has_motion, _arrays=arrays)
    return motion


def _cut(motion: Motion) -> Iterable[Chunk]:
    start = 0
    for t in range(1, len(motion) + 1):
        if t == len(motion) or t - start == CHUNK or motion.types[t] == "I":
            part = slice(start, t)
            kinds, has = motion.types[part].tolist(), motion.has_motion[part].tolist()
            yield Chunk(motion.grids(range(start, t)), motion.mask[part], kinds, has, motion.block_size)
            start = t


def _pack(chunk: Chunk) -> tuple[bytes, int]:
    """A chunk's zlib stream, and the side of its cells.

    All x, then all y, with the sign in the lowest bit (0, -1, 1, -2 ... become 0, 1, 2, 3 ...); the low bytes of all,
    then the high bytes, then the masks: long runs of equal bytes.
    """
    grid, mask, block_size = chunk.grid, chunk.mask, chunk.block_size
    while block_size < COARSEST:
        coarse = grid[:, ::2, ::2], mask[:, ::2, ::2]
        height, width = grid.shape[1] * block_size, grid.shape[2] * block_size
        if any(
            (refine(part, 2 * block_size, block_size, height, width) != whole).any()
            for part, whole in zip(coarse, (grid, mask), strict=True)
        ):
            break
        (grid, mask), block_size = coarse, 2 * block_size
    planes = np.moveaxis(grid, -1, 0)
    folded = ((planes << 1) ^ (planes >> 15)).astype("<u2")
    low, high = (folded & 255).astype(np.uint8), (folded >> 8).astype(np.uint8)
    return zlib.compress(low.tobytes() + high.tobytes() + mask.tobytes(), 6), block_size


def _write(
    path: Path | str,
    chunks: Iterable[Chunk],
    facts: dict[str, Any],
    block_size: int | None,
    late: dict[str, Any] | None = None,
) -> None:
    """Chunks and facts to a file; ``late`` are facts that are known only after the last chunk."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"motion is kept in {SUFFIX} files, not in {path.name}")
    packed: list[bytes] = []
    blocks: list[int] = []
    counts: list[int] = []
    types: list[int] = []
    has_motion: list[bool] = []
    finest = block_size or COARSEST
    for chunk in chunks:
        data, side = _pack(chunk)
        packed.append(data)
        blocks.append(side)
        counts.append(len(chunk.types))
        types += map(_LETTERS.index, chunk.types)
        has_motion += chunk.has_motion
        finest = min(finest, chunk.block_size)
    arrays = {
        "starts": np.cumsum([0, *counts]).astype("<i8"),
        "offsets": np.cumsum([0, *map(len, packed)]).astype("<i8"),
        "blocks": np.array(blocks, np.uint8),
        "types": np.array(types, np.uint8),
        "has_motion": np.array(has_motion, np.uint8),
        "packed": np.frombuffer(b"".join(packed), np.uint8),
    }
    facts = facts | (late or {}) | {"block_size": finest, "version": VERSION}
    with atomic_path(path) as temporary:
        # One metadata key: several would be written in an order that changes from process to process.
        save_file(arrays, temporary, {"motion": json.dumps(facts | {"check": _check(facts, arrays)}, sort_keys=True)})


def _read(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts of a file that `_write` wrote, without copying; ValueError where anything is amiss."""
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    facts = json.loads(header.pop("__metadata__")["motion"])
    types = {"I64": "<i8", "U8": "u1"}
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[begin + first : begin + last], types[entry["dtype"]])
        if arrays[name].nbytes != last - first or [len(arrays[name])] != entry["shape"]:
            raise ValueError("cut off")
    if facts.pop("check") != _check(facts, arrays):
        raise ValueError("damaged")
    return arrays, facts


def _check(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    check = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        check = zlib.crc32(arrays[name].data, zlib.crc32(name.encode(), check))
    return check
