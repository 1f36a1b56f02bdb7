"""Motion on disk: one file per clip. Any frame can be read without unpacking the others, and without PyAV.

A file is in the safetensors format. ``packed`` holds chunks of frames one after another. A chunk starts at every
I-frame and after 32 frames, and is a zlib stream of its grids and masks on the coarsest grid that holds them exactly
(`_pack`). Beside it are ``types`` and ``has_motion`` of each frame and, for each chunk, ``starts`` (its first frame),
``offsets`` (its place in ``packed``) and ``blocks`` (its block size). The header holds numbers, names and a checksum.
"""

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from moclip.io.files import atomic_path, sha256_file
from moclip.video.blocks import Chunk, grid_shape, refine
from moclip.video.errors import VideoError
from moclip.video.layout import CHUNK, COARSEST
from moclip.video.motion import Motion
from moclip.video.scan import open_motion

SUFFIX = ".safetensors"
_FACTS = ("scale", "block_size", "width", "height", "fps", "codec", "container", "source")
_LETTERS = "IPB"


def content_path(store: Path, sha256: str) -> Path:
    """Where a store keeps the motion of the video with this SHA-256, regardless of the video's name."""
    return store / sha256[:2] / f"{sha256}{SUFFIX}"


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
        parts = []
        for chunk, side in enumerate(self._arrays["blocks"].tolist()):
            planes, shape = self._unpack(chunk)
            mask = planes[4 * math.prod(shape) :].reshape(shape)
            parts.append(refine(mask, side, self.block_size, self.height, self.width))
        return np.concatenate(parts)

    def grids(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Block grids of some frames: int16 (S, gh, gw, 2)."""
        if "grid" in self.__dict__:
            return super().grids(frames)
        from moclip.video import _kernels  # numba: most of a second to import

        indices = self._indices(frames)
        out = np.empty((len(indices), *grid_shape(self.height, self.width, self.block_size), 2), np.int16)
        starts = self._arrays["starts"]
        chunks = starts.searchsorted(indices, "right") - 1
        for chunk in sorted(set(chunks.tolist())):
            places = np.flatnonzero(chunks == chunk)
            planes, shape = self._unpack(chunk)
            times = int(self._arrays["blocks"][chunk]) // self.block_size
            _kernels.unfold(planes, shape, indices[places] - starts[chunk], times.bit_length() - 1, out, places)
        return out

    def _unpack(self, chunk: int) -> tuple[np.ndarray, tuple[int, int, int]]:
        """What `_pack` packed: uint8 (5 * n * gh * gw,), and the shape (n, gh, gw) of the chunk's own grid."""
        starts, offsets = self._arrays["starts"], self._arrays["offsets"]
        rows, columns = grid_shape(self.height, self.width, int(self._arrays["blocks"][chunk]))
        shape = int(starts[chunk + 1] - starts[chunk]), rows, columns
        planes = zlib.decompress(self._arrays["packed"].data[offsets[chunk] : offsets[chunk + 1]])
        if len(planes) != 5 * math.prod(shape):  # compiled code does not check indices
            raise ValueError(
                f"chunk {chunk} has {len(planes)} bytes, which does not fit {shape}: extract the motion again"
            )
        return np.frombuffer(planes, np.uint8), shape


def save_motion(motion: Motion, path: Path | str, source: str, key: str = "") -> None:
    """Write the motion of one clip to a file.

    The same motion gives the same bytes, about 130 to 350 per frame at 340x256: the more moves, the more bytes.

    Parameters
    ----------
    motion : Motion
    path : path-like
        Ends in ``.safetensors``; written to a temporary name and renamed.
    source : str
        SHA-256 of the video file (`moclip.io.files.sha256_file`); `load_motion` returns it as ``motion.source``.
    key : str
        What the file depends on besides the video; see `is_stored`.

    Raises
    ------
    ValueError
        Another suffix.
    """
    facts = {name: getattr(motion, name) for name in _FACTS}
    _write(path, _cut(motion), facts | {"source": source, "key": key})


def store_motion(source: Path | str, path: Path | str, key: str = "") -> None:
    """Read a video's motion into a file, in constant memory; the same bytes as `save_motion` writes.

    Raises
    ------
    VideoError
        As `read_motion`.
    ValueError
        As `save_motion`.
    """
    with open_motion(source) as (facts, chunks):  # reports a bad file before it is hashed
        facts.update(source=sha256_file(source), key=key)
        _write(path, chunks, facts)  # the rest of `facts` is known when the chunks are read


def load_motion(path: Path | str) -> Motion:
    """Read a motion file; nothing is unpacked until it is needed.

    Raises
    ------
    VideoError
        The file is missing, damaged, or was written in another layout.
    """
    arrays, facts = _load(path)
    del facts["key"]
    types = np.array(list(_LETTERS))[arrays["types"]]
    motion = object.__new__(StoredMotion)  # the constructor would want all grids
    motion.__dict__.update(facts, types=types, has_motion=arrays["has_motion"].view(bool), _arrays=arrays)
    return motion


def is_stored(path: Path | str, sha256: str, key: str = "") -> bool:
    """True where ``path`` holds, undamaged, the motion of the video with this SHA-256, written with this key."""
    try:
        facts = _load(path)[1]
    except VideoError:
        return False
    return (facts["source"], facts["key"]) == (sha256, key)


def _cut(motion: Motion) -> Iterable[Chunk]:
    start = 0
    for t in range(1, len(motion) + 1):
        if t == len(motion) or t - start == CHUNK or motion.types[t] == "I":
            part = slice(start, t)
            types, has_motion = motion.types[part].tolist(), motion.has_motion[part].tolist()
            yield Chunk(motion.grids(range(start, t)), motion.mask[part], types, has_motion, motion.block_size)
            start = t


def _pack(chunk: Chunk) -> tuple[bytes, int]:
    """A chunk's zlib stream, and its block size there.

    All x, then all y, with the sign in the lowest bit (0, -1, 1, -2 ... become 0, 1, 2, 3 ...); the low bytes of all,
    then the high bytes, then the masks: long runs of equal bytes.
    """
    grid, mask, block_size = chunk.grid, chunk.mask, chunk.block_size
    while block_size < COARSEST:
        fine, coarse = (grid, mask), (grid[:, ::2, ::2], mask[:, ::2, ::2])
        fit = (2 * block_size, block_size, grid.shape[1] * block_size, grid.shape[2] * block_size)
        if not all(np.array_equal(refine(part, *fit), whole) for part, whole in zip(coarse, fine, strict=True)):
            break
        (grid, mask), block_size = coarse, 2 * block_size
    planes = np.moveaxis(grid, -1, 0)
    folded = ((planes << 1) ^ (planes >> 15)).astype("<u2")
    low, high = (folded & 255).astype(np.uint8), (folded >> 8).astype(np.uint8)
    return zlib.compress(low.tobytes() + high.tobytes() + mask.tobytes(), 6), block_size


def _write(path: Path | str, chunks: Iterable[Chunk], facts: dict[str, Any]) -> None:
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"motion is kept in {SUFFIX} files, not in {path.name}")
    columns = [(*_pack(chunk), chunk.types, chunk.has_motion, chunk.block_size) for chunk in chunks]
    packed, blocks, types, has_motion, block_sizes = zip(*columns, strict=True)
    arrays = {
        "starts": np.cumsum([0, *map(len, types)]).astype("<i8"),
        "offsets": np.cumsum([0, *map(len, packed)]).astype("<i8"),
        "blocks": np.array(blocks, np.uint8),
        "types": np.array([_LETTERS.index(kind) for kind in chain(*types)], np.uint8),
        "has_motion": np.array(list(chain(*has_motion)), np.uint8),
        "packed": np.frombuffer(b"".join(packed), np.uint8),
    }
    facts = facts | {"block_size": min(block_sizes)}
    with atomic_path(path) as temporary:
        # One metadata key: several would be written in an order that changes from process to process.
        save_file(arrays, temporary, {"motion": json.dumps(facts | {"check": _check(facts, arrays)}, sort_keys=True)})


def _load(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts of a motion file."""
    try:
        data = Path(path).read_bytes()
        arrays = load(data)
        # Its reader of metadata maps the file into memory, which takes longer than to read these small ones.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"]["motion"])
        if facts.pop("check") != _check(facts, arrays):
            raise ValueError("damaged")
        if set(facts) != {*_FACTS, "key"}:
            raise ValueError("of another layout")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VideoError(path, f"no motion file ({error})", "extract it again") from error
    return arrays, facts


def _check(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    check = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        check = zlib.crc32(arrays[name].data, zlib.crc32(name.encode(), check))
    return check
