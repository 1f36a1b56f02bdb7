"""Splits, groups and labels, and the fingerprint."""

from dataclasses import replace
from pathlib import Path

import pytest

from moclip.datasets import DATASETS, load_dataset
from moclip.datasets.base import Clip, VideoDataset, hash_clips, hold_out_groups
from moclip.io.parallel import ClipsError


def make_clips(groups: int = 5, takes: int = 2, classes: tuple[str, ...] = ("B", "A")) -> list[Clip]:
    return [
        Clip(Path(f"{name}_g{group}_c{take}.mp4"), label, name, f"g{group}", f"{name}_g{group}_c{take}")
        for label, name in enumerate(classes)
        for group in range(groups)
        for take in range(takes)
    ]


def test_held_out_groups_are_whole_and_of_every_class() -> None:
    clips = make_clips()
    train, val = hold_out_groups(clips, 0.4, seed=3)
    assert sorted(c.name for c in [*train, *val]) == sorted(c.name for c in clips)
    assert not {(c.class_name, c.group) for c in train} & {(c.class_name, c.group) for c in val}
    for name in "AB":
        assert len({c.group for c in val if c.class_name == name}) == 2
    assert hold_out_groups(clips, 0.4, seed=3) == (train, val)
    assert any(hold_out_groups(clips, 0.4, seed=seed)[1] != val for seed in range(4, 9))


def test_a_class_of_one_group_stays_in_training() -> None:
    clips = make_clips(groups=1)
    assert hold_out_groups(clips, 0.9, seed=0) == (clips, [])
    assert hold_out_groups(clips, 0.0, seed=0) == (clips, [])
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        hold_out_groups(clips, 1.0, seed=0)


def test_a_data_set_refuses_leaks_and_wrong_labels() -> None:
    clips = make_clips()
    first, second = clips[:2]  # two takes of one group
    with pytest.raises(ValueError, match="groups in both train and test"):
        VideoDataset("x", "", ("B", "A"), train=[first], test=[second])
    with pytest.raises(ValueError, match="groups in both train and val"):
        VideoDataset("x", "", ("B", "A"), train=[first], val=[second], test=[])
    with pytest.raises(ValueError, match="more than once"):
        VideoDataset("x", "", ("B", "A"), train=[first, first], test=[])
    with pytest.raises(ValueError, match="label 0 is 'A'"):
        VideoDataset("x", "", ("A", "B"), train=clips, test=[])
    # the same group name in two classes is no leak
    other = next(clip for clip in clips if clip.class_name == "A" and clip.group == first.group)
    assert VideoDataset("x", "", ("B", "A"), train=[first], test=[other]).clips == [first, other]


def test_fingerprint_sees_bytes_names_and_labels_but_not_order_or_folder(tmp_path: Path) -> None:
    def write(folder: str, content: bytes, name: str = "a", label: int = 0) -> Clip:
        path = tmp_path / folder / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return Clip(path, label, "A", "g1", name)

    def fingerprint(*clips: Clip) -> str:
        data = VideoDataset("x", "", ("A", "A"), [replace(clip, group=clip.name) for clip in clips], [])
        assert not data.fingerprint, "nothing is hashed yet"
        return hash_clips(data, workers=1).fingerprint

    one, two = write("x", b"1"), write("x", b"2", "b")
    print_ = fingerprint(one, two)
    assert print_ == fingerprint(two, one) == fingerprint(write("y", b"1"), two)
    assert print_ != fingerprint(write("z", b"9"), two)
    assert print_ != fingerprint(write("x", b"1", label=1), two)
    assert print_ != fingerprint(one)
    one.path.unlink()
    with pytest.raises(ClipsError, match=r"1 of 1 clips failed(.|\n)*a\.mp4"):
        fingerprint(one)


def test_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'ucf101'"):
        load_dataset("UCF-101")
    with pytest.raises(ValueError, match="did you mean 'moving_photos'"):
        load_dataset("MovingPhotos")
    with pytest.raises(ValueError, match="there are: " + ", ".join(sorted(DATASETS))):
        load_dataset("zzz")
