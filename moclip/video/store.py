"""Motion on disk: one file a clip, read back without PyAV's help."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from moclip.paths import atomic_path, sha256_file
from moclip.video.errors import VideoError
from moclip.video.motion import Motion, read_motion

VERSION = 2  # 1: raw streams were taken for 25 frames a second
_ARRAYS = ("grid", "mask", "types", "has_motion")
_NUMBERS = ("scale", "block", "width", "height")


def save_motion(motion: Motion, path: Path | str, source_fingerprint: str) -> None:
    """Write the motion of one clip to a compressed ``.npz`` file.

    The same motion gives the same bytes. About 170 bytes a frame at 340x256.

    Parameters
    ----------
    motion : Motion
    path : path-like
        Ends in ``.npz``; written to a temporary name and renamed.
    source_fingerprint : str
        SHA-256 of the video file (`moclip.paths.sha256_file`); `load_motion` gives it back as ``motion.source``.

    Raises
    ------
    ValueError
        Another suffix.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"motion is kept in .npz files, not in {path.name}")
    fields = {name: getattr(motion, name) for name in (*_ARRAYS, *_NUMBERS, "fps")}
    with atomic_path(path) as temporary:
        # numpy stamps members with 1980-01-01, so that nothing in the file depends on the day
        np.savez_compressed(temporary, version=VERSION, compat=motion.compat or "", source=source_fingerprint, **fields)


def load_motion(path: Path | str) -> Motion:
    """Read what `save_motion` wrote; compat fields come out as they went in.

    Raises
    ------
    VideoError
        The file is missing, damaged, or was written by another version of this format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["version"]) != VERSION:
                raise VideoError(path, f"motion format {int(file['version'])}, expected {VERSION}", "extract it again")
            return Motion(
                **{name: file[name] for name in _ARRAYS},
                **{name: file[name].item() for name in (*_NUMBERS, "fps", "source")},
                compat=file["compat"].item() or None,
            )
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise VideoError(path, f"no motion file ({error})", "extract it again") from error


def is_stored(video: Path | str, path: Path | str) -> bool:
    """True where ``path`` holds the motion of this very file, byte for byte."""
    try:
        return Path(path).is_file() and load_motion(path).source == sha256_file(video)
    except VideoError:  # damaged, or of another version: not this video's motion
        return False


def store_motion(video: Path | str, path: Path | str) -> None:
    """Read a video's motion and keep it in ``path``."""
    save_motion(read_motion(video), path, sha256_file(video))
