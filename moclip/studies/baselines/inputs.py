"""Inputs of Table I's systems: small, in 8 bit, computed once per clip and cached by content for all runs.

Every kind comes from our own reader: pictures, stored motion, residuals; flow is computed from the pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from moclip.config.sections import Baselines
from moclip.datasets.base import Clip
from moclip.errors import MoclipError
from moclip.inputs.sampling import centre_segments
from moclip.inputs.transforms import InputScale
from moclip.io import keys
from moclip.io.cache import Keep, Missing, cached_rows
from moclip.io.parallel import for_each_file
from moclip.video import load_motion, read_frames, read_residual
from moclip.video.fields import quantise
from moclip.video.store import content_path

STACK = 10  # fields in a stack
FRAMES = 8  # of a ``clip``
SAVED_AT_ONCE = 256  # clips per file of the cache


def baseline_inputs(
    clips: Sequence[Clip],
    kinds: Sequence[str],
    store: Path,
    settings: Baselines,
    scale: InputScale,
    workers: int | None = None,
    scheduler: str | None = None,
) -> dict[str, np.ndarray]:
    """Inputs of all clips, by kind.

    Parameters
    ----------
    kinds : keys of `moclip.studies.baselines.systems.INPUTS`.
    store : folder that `moclip.engine.features.extract_motion` filled.
    settings : ``size`` and ``views`` are used.
    scale : units and bound of vectors and flow.
    workers, scheduler : of `moclip.io.parallel.for_each_file`.

    Returns
    -------
    dict
        kind -> uint8 (N, V, C, S, S): V views at the centres of equal parts of the clip; of ``clip`` one view, of 8
        frames. 128 is no motion and no residual; vectors and flow reach the ends of the range at ``scale.bound``.

    Raises
    ------
    ClipsError
        Some clips could not be read; it names all of them. Accumulated vectors and residuals need clips without
        B-frames.
    """
    videos = {clip.sha256: clip.path for clip in clips}  # copies of a video are read once

    def compute(missing: Missing, keep: Keep) -> None:
        def done(job: tuple[Path, ...], inputs: dict[str, np.ndarray]) -> None:
            keep({job[1].stem: inputs})  # a motion file is named by the content of its video

        jobs = [
            (videos[value], content_path(store, value), tuple(kinds), settings.size, settings.views, scale)
            for value, kinds in missing.items()
        ]
        for_each_file(read_inputs, jobs, "inputs of the baselines", workers, scheduler, done=done)

    facts = {"size": settings.size, "views": settings.views, "units": scale.units, "bound": scale.bound}
    key = keys.key("baseline_inputs", facts)
    return cached_rows("baseline_inputs", key, kinds, [clip.sha256 for clip in clips], compute, SAVED_AT_ONCE)


def read_inputs(
    path: Path, motion_file: Path, kinds: Sequence[str], size: int, views: int, scale: InputScale
) -> dict[str, np.ndarray]:
    """Inputs of one clip, by kind: uint8 (V, C, size, size); see `baseline_inputs`.

    All pictures come from one decoding; `read_residual` decodes again, for pictures as coded.
    """
    motion = load_motion(motion_file)
    last, moving, intra = len(motion) - 1, np.flatnonzero(motion.has_motion), np.flatnonzero(motion.types == "I")
    at = moving[centre_segments(len(moving), views)]  # (V,)
    # Stacks lie around the same frames. A field needs a frame before it; a short clip repeats its last field.
    first = np.clip(at - STACK // 2, 1, max(1, last - STACK + 1))
    stacks = np.minimum(first[:, None] + np.arange(STACK), last).ravel()  # (V * 10,)
    frames = {"frame": at, "iframe": intra[centre_segments(len(intra), views)]}
    frames |= {"clip": centre_segments(last + 1, FRAMES), "flow_stack": np.concatenate([stacks - 1, stacks])}
    wanted = sorted({int(frame) for kind in kinds for frame in frames.get(kind, ())})
    pictures = dict(zip(wanted, read_frames(path, wanted), strict=True)) if wanted else {}
    factor = scale.factor(motion.width, motion.fps)

    def vectors(pixels: np.ndarray) -> np.ndarray:
        """(..., H, W, 2) in pixels -> uint8 (K, 2, size, size)."""
        return _small(quantise(pixels * factor, scale.bound), size)

    def read(kind: str) -> np.ndarray:
        """uint8 (K, C, size, size), the pictures or fields of one kind."""
        if kind == "motion":
            return vectors(motion.fields(at))
        if kind == "motion_stack":
            # An I-frame has no vectors, which does not mean that nothing moves: the frame before it is used instead.
            known = moving[np.maximum(np.searchsorted(moving, stacks, "right") - 1, 0)]
            return vectors(motion.fields(known, "raw"))
        if kind == "flow_stack":
            return vectors(optical_flow(pictures, stacks))
        if kind == "residual":
            return _small(np.clip(read_residual(path, motion, at) + 128, 0, 255).astype(np.uint8), size)
        return _small(np.stack([pictures[frame] for frame in frames[kind]]), size)

    return {kind: read(kind).reshape(1 if kind == "clip" else views, -1, size, size) for kind in kinds}


def optical_flow(pictures: Mapping[int, np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Flow from the frame before each of ``frames``: float32 (K, H, W, 2) in pixels, +x right, +y down.

    ``pictures`` has these frames and the ones before them by index, each uint8 (H, W, 3).

    Dense inverse search (Kroeger et al., ECCV 2016), OpenCV's preset FAST. A flow vector stands at the pixel of the
    frame before, a motion vector at the pixel of the frame itself; both have the sign destination minus source.
    """
    cv2 = _opencv()
    grey = {frame: cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for frame, picture in pictures.items()}
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flows = {frame: search.calc(grey[frame - 1], grey[frame], None) for frame in np.unique(frames)}
    return np.stack([flows[frame] for frame in frames])


def _small(pictures: np.ndarray, size: int) -> np.ndarray:
    """The centre square of each picture at another size: uint8 (K, H, W, C) -> (K, C, size, size)."""
    cv2 = _opencv()
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    squares = pictures[:, top : top + side, left : left + side]
    resized = [cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA) for square in squares]
    return np.stack(resized).transpose(0, 3, 1, 2)


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise MoclipError(f"OpenCV is not installed ({error}); run: pip install 'moclip-lite[table1]'") from error
    cv2.setNumThreads(1)  # one process per core is enough
    return cv2  # type: ignore[no-any-return]
