"""Motion on disk: one file per clip. Any frame can be read without unpacking the others.

A file is in the safetensors format. ``packed`` holds chunks of frames one after another. A chunk starts at every
I-frame and after 32 frames, and is a zlib stream of its grids and masks on the coarsest grid that holds them exactly
(`_pack`). Beside it are ``types`` (in ASCII) and ``has_motion`` of each frame and, for each chunk, ``starts`` (its
first frame), ``offsets`` (its place in ``packed``) and ``blocks`` (its block size). The header holds numbers, names and
a checksum.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from moclip.io.files import atomic_path, sha256_file
from moclip.video.errors import VideoError
from moclip.video.layout import CHUNK, COARSEST, grid_shape, refine
from moclip.video.motion import PER_FRAME, Motion
from moclip.video.scan import read_chunks

SUFFIX = ".safetensors"
_FACTS = ("scale", "block_size", "width", "height", "fps", "codec", "container", "source")


def content_path(store: Path, sha256: str) -> Path:
    """Where a store keeps the motion of the video with this SHA-256, regardless of the video's name."""
    return store / sha256[:2] / f"{sha256}{SUFFIX}"


class StoredMotion(Motion):
    """A motion in memory as it lies on disk; `grids`, `raw`, `accumulated` and `fields` unpack the chunks they need.

    ``grid`` and ``mask`` unpack everything on first use.
    """

    key: str
    _arrays: dict[str, np.ndarray]

    @cached_property
    def grid(self) -> np.ndarray:  # type: ignore[override]
        """int16 (T, gh, gw, 2), see `Motion`."""
        return self.grids(np.arange(len(self)))

    @cached_property
    def mask(self) -> np.ndarray:  # type: ignore[override]
        """uint8 (T, gh, gw), see `Motion`."""
        fit = self.block_size, self.height, self.width
        sides = self._arrays["blocks"].tolist()
        return np.concatenate([refine(self._unpack(chunk)[4], side, *fit) for chunk, side in enumerate(sides)])

    def grids(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Block grids of some frames: int16 (S, gh, gw, 2)."""
        from moclip.video import _kernels  # numba: most of a second to import

        indices = self._indices(frames)
        out = np.empty((len(indices), *grid_shape(self.height, self.width, self.block_size), 2), np.int16)
        starts = self._arrays["starts"]
        chunks = starts.searchsorted(indices, "right") - 1
        for chunk in sorted(set(chunks.tolist())):
            places = np.flatnonzero(chunks == chunk)
            planes = self._unpack(chunk)
            shift = (int(self._arrays["blocks"][chunk]) // self.block_size).bit_length() - 1
            _kernels.unfold(planes.ravel(), planes.shape[1:], indices[places] - starts[chunk], shift, out, places)
        return out

    def _unpack(self, chunk: int) -> np.ndarray:
        """What `_pack` packed, on the chunk's own grid: uint8 (5, n, gh, gw)."""
        starts, offsets = self._arrays["starts"], self._arrays["offsets"]
        shape = grid_shape(self.height, self.width, int(self._arrays["blocks"][chunk]))
        planes = zlib.decompress(self._arrays["packed"].data[offsets[chunk] : offsets[chunk + 1]])
        # A ValueError where the length does not fit. Compiled code does not check indices.
        return np.frombuffer(planes, np.uint8).reshape(5, starts[chunk + 1] - starts[chunk], *shape)


def save_motion(motion: Motion, path: Path | str, source: str, key: str = "") -> None:
    """Write the motion of one clip to a file.

    The same motion gives the same bytes, about 130 to 350 per frame at 340x256: the more moves, the more bytes.

    Parameters
    ----------
    motion : Motion
    path : path-like
        By custom ``.safetensors``; written to a temporary name and renamed.
    source : str
        SHA-256 of the video file (`moclip.io.files.sha256_file`); `load_motion` returns it as ``motion.source``.
    key : str
        What the file depends on besides the video; see `is_stored`.
    """
    since = np.arange(len(motion)) - np.maximum.accumulate(np.where(motion.types == "I", np.arange(len(motion)), 0))
    inner = np.flatnonzero(since % CHUNK == 0)[1:]  # where the chunks begin, without the first
    parts = zip(*(np.split(getattr(motion, name), inner) for name in PER_FRAME), strict=True)
    chunks = (replace(motion, **dict(zip(PER_FRAME, part, strict=True))) for part in parts)
    _write(path, map(_pack, chunks), source, key)


def store_motion(source: Path | str, path: Path | str, key: str = "") -> None:
    """Read a video's motion into a file, in constant memory; the same bytes as `save_motion` writes.

    Raises
    ------
    VideoError
        As `read_motion`.
    """
    # In this order: a bad file is reported before it is hashed.
    _write(path, list(map(_pack, read_chunks(source))), sha256_file(source), key)


def load_motion(path: Path | str) -> StoredMotion:
    """Read a motion file; nothing is unpacked until it is needed.

    Raises
    ------
    VideoError
        The file is missing, damaged, or was written in another layout.
    """
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
    motion = object.__new__(StoredMotion)  # the constructor would want all grids
    types = arrays["types"].view("S1").astype("U1")
    motion.__dict__.update(facts, types=types, has_motion=arrays["has_motion"].view(bool), _arrays=arrays)
    return motion


def is_stored(path: Path | str, sha256: str, key: str = "") -> bool:
    """True where ``path`` holds, undamaged, the motion of the video with this SHA-256, written with this key."""
    try:
        motion = load_motion(path)
    except VideoError:
        return False
    return (motion.source, motion.key) == (sha256, key)


def _pack(chunk: Motion) -> tuple[bytes, int, Motion]:
    """A chunk's zlib stream, its block size there, and the chunk.

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
    return zlib.compress(low.tobytes() + high.tobytes() + mask.tobytes(), 6), block_size, chunk


def _write(path: Path | str, rows: Iterable[tuple[bytes, int, Motion]], source: str, key: str) -> None:
    """Write packed chunks; of the chunks themselves, only the grid and the mask are not read here."""
    packed, blocks, chunks = zip(*rows, strict=True)
    arrays = {
        "starts": np.cumsum([0, *map(len, chunks)]).astype("<i8"),
        "offsets": np.cumsum([0, *map(len, packed)]).astype("<i8"),
        "blocks": np.array(blocks, np.uint8),
        "types": np.concatenate([chunk.types for chunk in chunks]).astype("S1").view(np.uint8),
        "has_motion": np.concatenate([chunk.has_motion for chunk in chunks]).view(np.uint8),
        "packed": np.frombuffer(b"".join(packed), np.uint8),
    }
    # The last chunk has the smallest block size, and the scale and rate of the whole.
    facts = {name: getattr(chunks[-1], name) for name in _FACTS} | {"source": source, "key": key}
    with atomic_path(path) as temporary:
        # One metadata key: several would be written in an order that changes from process to process.
        save_file(arrays, temporary, {"motion": json.dumps(facts | {"check": _check(facts, arrays)}, sort_keys=True)})


def _check(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    names = sorted(arrays)
    parts = [json.dumps([facts, names], sort_keys=True).encode(), *(arrays[name].tobytes() for name in names)]
    return zlib.crc32(b"".join(parts))
