"""TSN's sampling: in range, in order, fair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moclip.inputs.sampling import appearance_frames, centre_segments, random_segments

COUNTS, SEGMENTS = st.integers(1, 400), st.integers(1, 64)


@given(COUNTS, SEGMENTS, st.integers(0, 2**32))
def test_drawn_indices_lie_in_their_own_segments(count, segments, seed):
    drawn = random_segments(count, segments, np.random.default_rng(seed))
    assert drawn.dtype == np.int64 and drawn.shape == (segments,)
    assert (np.diff(drawn) >= 0).all()
    for segment, index in enumerate(drawn):  # [n s / S, n (s + 1) / S) in whole numbers, the first rounded down
        assert segment * count // segments <= index <= min(-(-(segment + 1) * count // segments), count) - 1


@pytest.mark.parametrize(("count", "segments"), [(10, 3), (7, 7), (5, 3), (22, 8), (3, 5), (1, 2)])
def test_every_index_is_equally_likely(count, segments):
    rng = np.random.default_rng(0)
    drawn = np.concatenate([random_segments(count, segments, rng) for _ in range(4000)])
    seen = np.bincount(drawn, minlength=count)
    assert len(seen) == count
    if count > 1:
        assert stats.chisquare(seen).pvalue > 1e-3


def test_the_seed_decides():
    one, two, other = (random_segments(100, 8, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (one == two).all() and (one != other).any()


@pytest.mark.parametrize(
    ("count", "segments", "expected"),
    [
        (12, 3, [2, 6, 10]),
        (10, 3, [1, 5, 8]),  # middles 1.67, 5, 8.33
        (9, 3, [1, 4, 7]),
        (2, 3, [0, 1, 1]),  # middles 0.33, 1, 1.67
        (1, 4, [0, 0, 0, 0]),
        (14, 5, [1, 4, 7, 9, 12]),  # middles 1.4, 4.2, 7 exactly, 9.8, 12.6
        (7, 1, [3]),
    ],
)
def test_centres_by_hand(count, segments, expected):
    assert centre_segments(count, segments).tolist() == expected


def test_centres_are_exact():
    """Against whole-number arithmetic: floor(n (2 s + 1) / (2 S))."""
    wrong = [
        (count, segments)
        for count in range(1, 200)
        for segments in range(1, 41)
        if centre_segments(count, segments).tolist() != [count * (2 * s + 1) // (2 * segments) for s in range(segments)]
    ]
    assert wrong == []


@given(COUNTS, SEGMENTS)
def test_centres_do_not_depend_on_direction_of_time(count, segments):
    """Played backwards, the middles are the same frames, within the rounding of even segments."""
    centres = centre_segments(count, segments)
    assert centres.dtype == np.int64 and (np.diff(centres) >= 0).all() and centres[0] >= 0 and centres[-1] < count
    assert np.abs((count - 1 - centres)[::-1] - centres).max() <= 1


@pytest.mark.parametrize(("count", "segments"), [(0, 3), (-1, 3), (3, 0)])
def test_nothing_to_draw_from(count, segments):
    with pytest.raises(ValueError, match=f"{segments} segments from {count} frames"):
        centre_segments(count, segments)
    with pytest.raises(ValueError, match="frames with motion"):
        random_segments(count, segments, np.random.default_rng(0))


# --- what the image encoder sees ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "which", "expected"),
    [
        (24, "middle", [12]), (7, "middle", [3]), (1, "middle", [0]), (24, "first", [0]), (24, "uniform:1", [12]),
        (24, "uniform:3", [4, 12, 20]), (7, "uniform:2", [1, 5]), (2, "uniform:4", [0, 0, 1, 1]),
    ],
)  # fmt: skip
def test_appearance_frames_by_hand(count, which, expected):
    assert appearance_frames(count, which) == expected


def test_random_appearance_frames_are_fair_and_repeatable():
    contents = [f"{number:064x}" for number in range(4000)]
    drawn = [appearance_frames(10, "random", 0, content)[0] for content in contents]
    assert drawn == [appearance_frames(10, "random", 0, content)[0] for content in contents]
    assert stats.chisquare(np.bincount(drawn, minlength=10)).pvalue > 1e-3
    other = [appearance_frames(10, "random", 1, content)[0] for content in contents]
    assert 0.05 < np.mean(np.array(drawn) == np.array(other)) < 0.15, "another seed, another draw"
