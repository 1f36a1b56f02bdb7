"""Which frames: TSN's sparse sampling (Wang et al. 2018, section 3.1).

A clip's n candidates (the frames that carry motion: I-frames have none) are cut into S equal segments. Training draws
one at random from each, testing takes the middle of each. Segments may share a frame where n < S; nothing is dropped.
The `reference_` functions draw as the published code does, from all frames, with its offsets.
"""

from itertools import pairwise

import numpy as np


def random_segments(count: int, segments: int, rng: np.random.Generator) -> np.ndarray:
    """One random index from each of ``segments`` equal parts of ``range(count)``: int64 (S,), ascending.

    Raises
    ------
    ValueError
        ``count`` is 0: there is nothing to draw from.
    """
    edges = _edges(count, segments)
    # Real-valued edges, so that every index is as likely as every other, whether or not S divides n.
    drawn = edges[:-1] + rng.random(segments) * np.diff(edges)
    return np.minimum(np.floor(drawn).astype(np.int64), count - 1)


def centre_segments(count: int, segments: int) -> np.ndarray:
    """The middle index of each of ``segments`` equal parts of ``range(count)``: int64 (S,), ascending."""
    _edges(count, segments)  # refuses what cannot be cut
    return (2 * np.arange(segments, dtype=np.int64) + 1) * count // (2 * segments)  # whole numbers: a half stays a half


def appearance_frames(count: int, which: str, seed: int = 0, content: str = "") -> list[int]:
    """The frames that the encoder sees, of ``count``.

    Parameters
    ----------
    which : ``middle`` (count // 2, as CLIP's authors), ``first``, ``random`` (one, as MoCLIP-Lite's published code,
        but seeded) or ``uniform:K`` (the centres of K equal parts; ``uniform:1`` is ``middle``).
    seed, content : of a random frame: the encoder's seed and the video's SHA-256 in hexadecimal. A video has the same
        frame in every list and under every name.
    """
    if which.startswith("uniform:"):
        return centre_segments(count, int(which.removeprefix("uniform:"))).tolist()  # type: ignore[no-any-return]
    if which == "random":
        return [int(np.random.default_rng([seed, int(content, 16)]).integers(count))]
    return [{"middle": count // 2, "first": 0}[which]]


def _edges(count: int, segments: int) -> np.ndarray:
    if count < 1 or segments < 1:
        raise ValueError(f"cannot draw {segments} segments from {count} frames with motion")
    return np.linspace(0, count, segments + 1)


def reference_frames(types: np.ndarray, segments: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """The published code's frames of a clip: int64 (S,), in presentation order.

    Parameters
    ----------
    types : U1 (T,), see `moclip.video.Motion`.
    segments : S.
    rng : draws a frame from each of `reference_ranges` (training); without it `reference_centres` (testing).

    Returns
    -------
    Frames of the file. CoViAR does not count the last one, so that it is never taken; an index beyond the clip, which
    that code turns into a field of zeros, becomes the last frame counted. Instead of an I-frame, which has no motion,
    the P-frame before it; at the clip's beginning the first one after it.
    """
    count = max(len(types) - 1, 1)
    if rng is None:
        drawn = np.array(reference_centres(count, segments))
    else:
        drawn = np.array([rng.integers(first, last) for first, last in reference_ranges(count, segments)])
    moving = np.flatnonzero(types != "I")
    before = np.searchsorted(moving, np.minimum(drawn, count - 1), side="right") - 1
    return moving[np.maximum(before, 0)]


def reference_ranges(count: int, segments: int) -> list[tuple[int, int]]:
    """Where the published code draws its training frames: [first, last) of each segment, in frames of CoViAR's count.

    Parameters
    ----------
    count : frames as CoViAR counts them (``len`` of a `moclip.video.CoviarMotion`).
    segments : S.
    """
    _edges(count, segments)
    size = (count - 2) / segments  # the last frame is never drawn, and frame 0 neither
    edges = [round(size * segment) + 1 for segment in range(segments + 1)]  # round() takes a half to the even number
    return [(first, max(first + 1, last)) for first, last in pairwise(edges)]


def reference_centres(count: int, segments: int) -> list[int]:
    """The frames that the published code tests; where ``count`` is S + 1, the last one may lie beyond the clip."""
    _edges(count, segments)
    return [round((count - 1) / segments * (segment + 0.5)) + 1 for segment in range(segments)]
