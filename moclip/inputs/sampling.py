"""Which frames: TSN's sparse sampling (Wang et al. 2018, section 3.1).

The n candidates of a clip (the frames that carry motion: I-frames have none) are cut into S equal segments. Training
draws one at random from each, testing takes the middle of each. If n < S, segments share frames; no segment is dropped.
"""

import numpy as np

from moclip.video import Motion


def tsn_frames(motion: Motion, segments: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """One frame from each segment of a clip, drawn at random, or without ``rng`` the middle one: int64 (S,).

    Raises
    ------
    ValueError
        No frame of the clip has motion vectors.
    """
    candidates = np.flatnonzero(motion.has_motion)
    if rng is None:
        return candidates[centre_segments(len(candidates), segments)]
    return candidates[random_segments(len(candidates), segments, rng)]


def random_segments(count: int, segments: int, rng: np.random.Generator) -> np.ndarray:
    """One random index from each of ``segments`` equal parts of ``range(count)``: int64 (S,), ascending.

    Raises
    ------
    ValueError
        ``count`` is 0.
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
    which : ``middle`` (count // 2, as CLIP's authors), ``first``, ``random`` (one, as the published code takes it, but
        seeded) or ``uniform:K`` (the centres of K equal parts; ``uniform:1`` is ``middle``).
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
