"""The clips and the variants of the protocol study."""

from pathlib import Path

from moclip.datasets.base import Clip, VideoDataset
from moclip.studies.protocols.runner import few_clips


def test_few_clips_are_of_as_many_groups_as_there_are():
    def clips(split, groups):
        names = [(label, group, n) for label in range(2) for group in groups for n in range(3)]
        return [Clip(Path("x"), a, "ab"[a], group, f"{split}-{a}-{group}-{n}") for a, group, n in names]

    whole = VideoDataset("d", "films", ("a", "b"), train=clips("train", "tuv"), test=clips("test", "xy"))
    few = few_clips(whole, 4)
    assert [clip.name for clip in few.train if clip.label == 0] == [
        "train-0-t-0",
        "train-0-t-1",
        "train-0-u-0",
        "train-0-v-0",
    ]
    assert [clip.name for clip in few.test if clip.label == 1] == [
        "test-1-x-0",
        "test-1-x-1",
        "test-1-y-0",
        "test-1-y-1",
    ]
    assert few.description == "films, at most 4 clips per class and split" and not few.val
    assert few_clips(whole, None) is whole and few_clips(whole, 99).clips == whole.clips
