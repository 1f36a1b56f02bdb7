"""UCF101 from its lists: label order, the HandstandPushups folder, missing clips; real clips where they are at hand."""

import os
from pathlib import Path

import pytest

from moclip.datasets import load_dataset
from moclip.datasets.ucf101 import CLASSES, COUNTS, UCF101, class_text

# In classInd's order, not the alphabet's: sorted() would put HammerThrow before Hammering.
FEW = ("Hammering", "HammerThrow", "HandstandPushups")


def make_tree(folder: Path, classes: tuple[str, ...] = FEW, clips: bool = True) -> dict[str, Path]:
    """Empty clips of groups 1 (test) and 2, 3 (training), two each, and their lists."""
    root, lists = folder / "UCF-101", folder / "lists"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes, start=1)))
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for number, name in enumerate(classes, start=1):
        stem = name.replace("Handstand", "HandStand") if name == "HandstandPushups" else name
        for group in (1, 2, 3):
            for take in (1, 2):
                inside = f"{name}/v_{stem}_g{group:02d}_c{take:02d}.avi"
                lines["test" if group == 1 else "train"].append(inside if group == 1 else f"{inside} {number}")
                if clips:
                    (root / inside).parent.mkdir(parents=True, exist_ok=True)
                    (root / inside).touch()
    for split, content in lines.items():
        (lists / f"{split}list01.txt").write_text("\r\n".join(content) + "\r\n")  # the official lists end lines so
    return {"root": root, "annotation_path": lists}


def test_official_order() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 101
    places = {"ApplyEyeMakeup": 0, "Hammering": 34, "HammerThrow": 35, "JumpingJack": 46, "JumpRope": 47, "YoYo": 100}
    assert {name: CLASSES.index(name) for name in places} == places
    wrong = [name for name, other in zip(CLASSES, sorted(CLASSES), strict=True) if name != other]
    assert wrong == ["Hammering", "HammerThrow", "JumpingJack", "JumpRope"]


def test_class_texts_are_those_of_clip() -> None:
    odd = {
        "HandstandPushups": "Hand Stand Pushups",
        "HandstandWalking": "Handstand Walking",
        "Skijet": "Skijet",
        "Shotput": "Shotput",
        "YoYo": "Yo Yo",
        "WallPushups": "Wall Pushups",
        "TaiChi": "Tai Chi",
        "CleanAndJerk": "Clean And Jerk",
    }
    assert {name: class_text(name) for name in odd} == odd
    assert all(class_text(name).replace(" ", "").lower() == name.lower() for name in CLASSES)


def test_reads_lists_labels_and_groups(tmp_path: Path) -> None:
    data = UCF101(**make_tree(tmp_path))
    assert data.classes == FEW and (len(data.train), len(data.test)) == (12, 6)
    assert {clip.class_name: clip.label for clip in data.clips} == {name: i for i, name in enumerate(FEW)}
    handstand = [clip for clip in data.test if clip.class_name == "HandstandPushups"]
    assert [clip.name for clip in handstand] == ["v_HandStandPushups_g01_c01", "v_HandStandPushups_g01_c02"]
    assert handstand[0].group == "g01" and handstand[0].path.parent.name == "HandstandPushups"
    assert data.class_texts["HandstandPushups"] == "Hand Stand Pushups" and data.horizontal_flip
    assert data.name == "ucf101-fold1" and "missing" not in data.description


def test_validation_is_cut_by_group(tmp_path: Path) -> None:
    data = UCF101(**make_tree(tmp_path), val_fraction=0.5)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 6, 6)
    assert not {(c.class_name, c.group) for c in data.train} & {(c.class_name, c.group) for c in data.val}


def test_missing_clips_are_named_or_counted(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    whole = UCF101(**tree)
    lost = tree["root"] / "Hammering" / "v_Hammering_g02_c01.avi"
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 18 .*v_Hammering_g02_c01\.avi.*allow_partial=True"):
        UCF101(**tree)
    data = UCF101(**tree, allow_partial=True)
    assert len(data.train) == 11 and "1 listed clips missing" in data.description
    assert list(data.missing) == ["Hammering/v_Hammering_g02_c01.avi"] and not whole.missing


@pytest.mark.parametrize("form", ["{inside} {name} {label}", "{inside} {label}"])
def test_other_people_s_lists_give_the_same_clips(tmp_path: Path, form: str) -> None:
    tree = make_tree(tmp_path)
    official = UCF101(**tree)
    names = {"train": "train", "test": "val"}
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "classInd.txt").write_text((tree["annotation_path"] / "classInd.txt").read_text())
    for split in ("train", "test"):
        coviar, plain = f"ucf101_split1_{split}.txt", f"ucf101_{names[split]}_split_1_videos.txt"
        inside = [(f"{clip.class_name}/{clip.path.name}", clip) for clip in getattr(official, split)]
        lines = [form.format(inside=path, name=clip.class_name, label=clip.label) for path, clip in inside]
        (theirs / (coviar if "name" in form else plain)).write_text("\n".join(lines))
    data = UCF101(tree["root"], theirs)
    assert data.train == official.train and data.test == official.test and data.classes == official.classes
    (theirs / "classInd.txt").write_text("1 HammerThrow\n2 Hammering\n3 HandstandPushups\n")  # as sorted() has them
    with pytest.raises(ValueError, match="has number 0, but classInd.txt says"):
        UCF101(tree["root"], theirs)


def test_lists_that_come_without_a_class_file_have_the_official_classes(tmp_path: Path) -> None:
    for split, group in (("train", "g08"), ("test", "g01")):
        names = {"Archery": 2, "Hammering": 34}
        lines = "".join(f"{name}/v_{name}_{group}_c01.avi {name} {label}\n" for name, label in names.items())
        (tmp_path / f"ucf101_split1_{split}.txt").write_text(lines)
    with pytest.raises(ValueError, match="lists 2 training and 2 test clips, the official split 9537 and 3783"):
        UCF101(tmp_path, tmp_path)
    (tmp_path / "ucf101_split1_test.txt").write_text(lines.replace("34", "35"))  # its place under sorted()
    with pytest.raises(ValueError, match="has number .*, but classInd.txt says"):
        UCF101(tmp_path, tmp_path)


def test_missing_lists(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"trainlist02\.txt is missing"):
        UCF101(**tree, fold=2)
    with pytest.raises(ValueError, match="folds 1, 2 and 3"):
        UCF101(**tree, fold=0)
    with pytest.raises(FileNotFoundError, match=r"trainlist01\.txt is missing, and so are ucf101_split1_train\.txt"):
        UCF101(tree["root"], tmp_path)
    (tree["annotation_path"] / "classInd.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"classInd\.txt is missing"):
        UCF101(**tree)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("trainlist01.txt", "Hammering/v_Hammering_g02_c01.avi 2", "number 2, but classInd.txt says 1"),
        ("testlist01.txt", "Juggling/v_Juggling_g01_c01.avi", "no class in classInd"),
        ("testlist01.txt", "Hammering/clip.avi", "carries no group"),
        ("classInd.txt", "2 Hammering", "expected '1 <class>'"),
    ],
)
def test_contradictions(tmp_path: Path, file: str, line: str, message: str) -> None:
    tree = make_tree(tmp_path)
    (tree["annotation_path"] / file).write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        UCF101(**tree)


def test_101_classes_must_have_the_official_counts(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, CLASSES, clips=False)
    with pytest.raises(ValueError, match="lists 404 training and 202 test clips, the official split 9537 and 3783"):
        UCF101(**tree, allow_partial=True)
    assert all(sum(counts) == 13320 for counts in COUNTS.values())


@pytest.mark.skipif("MOCLIP_UCF101_ROOT" not in os.environ, reason="MOCLIP_UCF101_ROOT is not set")
def test_real_clips() -> None:
    """The variable names the folder that holds UCF-101/ and ucfTrainTestlist/."""
    folder = Path(os.environ["MOCLIP_UCF101_ROOT"])
    for fold in (1, 2, 3):
        data = load_dataset("ucf101", root=folder / "UCF-101", annotation_path=folder / "ucfTrainTestlist", fold=fold)
        assert data.train and data.test and set(data.classes) <= set(CLASSES)
        assert all(clip.name.startswith("v_") and clip.class_name in str(clip.path) for clip in data.clips)
        assert {clip.class_name for clip in data.test} == set(data.classes)
