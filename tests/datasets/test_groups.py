"""No group crosses a split, in any data set, whatever its lists and fractions; and what labels are joined by."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moclip.datasets import VideoDataset, load_dataset
from moclip.datasets.moving_photos import Design
from moclip.datasets.ucf101 import CLASSES
from moclip.io.artefacts import load_predictions, load_scores, save_predictions

GROUPS = st.lists(st.integers(2, 5), min_size=2, max_size=4)  # of each class
FRACTION = st.sampled_from([0.0, 0.2, 0.5, 0.9])


def assert_no_group_crosses(data: VideoDataset, whole: bool = False) -> None:
    """``whole``: a group's name is one source in whatever class it stands."""
    splits = [data.train, data.val, data.test]
    members = [{clip.group if whole else (clip.class_name, clip.group) for clip in split} for split in splits]
    assert not members[0] & members[1] and not members[0] & members[2] and not members[1] & members[2]
    names = [clip.name for clip in data.clips]
    assert len(set(names)) == len(names) and data.train and data.test


@given(
    groups=GROUPS, takes=st.integers(1, 3), fold=st.sampled_from([1, 2, 3]), fraction=FRACTION, seed=st.integers(0, 9)
)
@settings(max_examples=25, deadline=None)
def test_ucf101(groups: list[int], takes: int, fold: int, fraction: float, seed: int) -> None:
    with TemporaryDirectory() as name:
        root, lists = Path(name) / "UCF-101", Path(name)
        names = CLASSES[34 : 34 + len(groups)]
        (lists / "classInd.txt").write_text("".join(f"{n} {c}\n" for n, c in enumerate(names, 1)))
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for number, (class_name, count) in enumerate(zip(names, groups, strict=True), 1):
            for group in range(count):
                for take in range(takes):
                    inside = f"{class_name}/v_{class_name}_g{group:02d}_c{take:02d}.avi"
                    (root / inside).parent.mkdir(parents=True, exist_ok=True)
                    (root / inside).touch()
                    tests = group % 3 == fold % 3 if count > 2 else group == 0
                    lines["test" if tests else "train"].append(inside if tests else f"{inside} {number}")
        for split in lines:
            (lists / f"{split}list{fold:02d}.txt").write_text("\n".join(lines[split]))
        data = load_dataset("ucf101", root=root, annotation_path=lists, fold=fold, val_fraction=fraction, seed=seed)
        assert_no_group_crosses(data)
        assert len(data.clips) == takes * sum(groups)


@given(
    tags=st.lists(st.lists(st.sampled_from("012"), min_size=1, max_size=4), min_size=3, max_size=8), fraction=FRACTION
)
@settings(max_examples=40, deadline=None)
def test_hmdb51_even_where_the_lists_cut_a_source(tags: list[list[str]], fraction: float) -> None:
    """``tags[k]`` are those of source k's clips."""
    tags = [["1"], ["2"], *tags]
    with TemporaryDirectory() as name:
        root, lists = Path(name) / "org", Path(name)
        for class_name in ("wave", "walk"):
            (root / class_name).mkdir(parents=True)
            lines = []
            for film, own in enumerate(tags):
                for take, tag in enumerate(own):
                    file = f"film_{film}_{class_name}_f_cm_np1_ba_med_{take}.avi"
                    (root / class_name / file).touch()
                    lines.append(f"{file} {tag}")
            (lists / f"{class_name}_test_split1.txt").write_text("\n".join(lines))
        data = load_dataset("hmdb51", root=root, annotation_path=lists, val_fraction=fraction)
        assert_no_group_crosses(data)
        assert len(data.clips) == 2 * sum(tag != "0" for own in tags for tag in own)
        cut = sum({"1", "2"} <= set(own) for own in tags)
        assert (f"{2 * cut} sources on both sides" in data.description) == bool(cut)


@given(
    places=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6)), min_size=4, max_size=14),
    val=FRACTION,
    test=st.sampled_from([0.1, 0.3, 0.6]),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_video_folder_where_groups_span_classes(
    places: list[tuple[str, int]], val: float, test: float, seed: int
) -> None:
    """A clip a (class, group); each class has sources of its own beside them, so that it can be split."""
    places = [*places, *((name, 10 + number + 10 * (name == "b")) for name in "ab" for number in range(3))]
    with TemporaryDirectory() as name:
        root = Path(name) / "videos"
        rows = ["file,group"]
        for number, (class_name, group) in enumerate(places):
            (root / class_name).mkdir(parents=True, exist_ok=True)
            (root / class_name / f"{number}.mp4").write_bytes(bytes([number]))
            rows.append(f"{class_name}/{number}.mp4,source{group}")
        (root / "groups.csv").write_text("\n".join(rows))
        data = load_dataset("video_folder", root=root, val_fraction=val, test_fraction=test, seed=seed)
        assert_no_group_crosses(data, whole=True)
        assert len(data.clips) == len(places)


@pytest.mark.parametrize("design", ["mixed", "independent"])
@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_moving_photos(design: str, fraction: float, tmp_path: Path) -> None:
    classes = {"mixed": ["CatLeft", "CoinsDown"], "independent": ["Cat", "Coins"]}[design]
    chosen = Design(design, train_groups=3, test_groups=2, clips_per_group=2, classes=classes, frames=4)
    data = load_dataset("moving_photos", design=chosen, root=tmp_path, val_fraction=fraction, workers=1)
    assert_no_group_crosses(data)
    assert len(data.clips) == 2 * 5 * 2


def test_joining_by_index_would_be_wrong_and_ours_is_right(tmp_path: Path) -> None:
    """One system counts classes by the official list, the other by sorted(): both are right about every clip."""
    truth = ["Hammering", "HammerThrow", "JumpingJack", "JumpRope", "Archery"]
    orders = {"mv_only": list(CLASSES), "zero_shot": sorted(CLASSES)}
    names = [f"v_{name}_g01_c01" for name in truth]
    header = {"dataset": "ucf101-fold1", "data": "", "protocol": "", "n_train": 0, "views": 1}
    folder = tmp_path / "ucf101-fold1"
    for system, classes in orders.items():
        scores = np.zeros((len(truth), len(classes)))
        for row, name in enumerate(truth):
            scores[row, classes.index(name)] = 9
        save_predictions(
            folder,
            system,
            0,
            clips={"video": names, "group": ["g01"] * 5, "class_name": truth},
            classes=classes,
            scores=scores,
            header=header,
        )
    # By index, as in the published code: the place of the highest score is taken for a place in the other's list.
    by_index = {}
    for system in orders:
        scores, _, _ = load_scores(folder / f"{system}-seed0.safetensors")
        by_index[system] = scores.argmax(axis=1)
    official = np.array([CLASSES.index(name) for name in truth])
    assert (by_index["mv_only"] == official).all()
    assert (by_index["zero_shot"] == official).tolist() == [False, False, False, False, True]
    # By names, as everything here is joined.
    rows = load_predictions(tmp_path, ["ucf101-fold1"])
    assert rows["correct"].all() and len(rows) == 2 * len(truth)
    joined = rows.pivot(index="video", columns="system", values="pred")
    assert (joined["mv_only"] == joined["zero_shot"]).all()
    added = sum(
        scores[:, [classes.index(name) for name in CLASSES]]
        for scores, _, classes in (load_scores(folder / f"{system}-seed0.safetensors") for system in orders)
    )
    assert (added.argmax(axis=1) == official).all(), "scores are added column by column, by the class's name"
