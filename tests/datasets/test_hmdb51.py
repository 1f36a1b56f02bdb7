"""HMDB51 from its lists: tags, sources, counts, other people's lists."""

from pathlib import Path

import pytest

from moclip.datasets import load_dataset
from moclip.datasets.hmdb51 import CLASS_COUNT, COUNTS, HMDB51, source
from moclip.datasets.lists import Row

TAIL = "f_cm_np1_ba_med"


def make_tree(folder: Path, classes: tuple[str, ...] = ("wave", "brush_hair"), fold: int = 1) -> dict[str, Path]:
    """Three sources a class with two clips each: one trains, one tests, one is unused."""
    root, lists = folder / "hmdb51_org", folder / "splits"
    lists.mkdir(parents=True, exist_ok=True)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        lines = []
        for tag, film in ((1, "Some_Film_1"), (2, "other!(x)"), (0, "third")):
            for number in (0, 1):
                file = f"{film}_{name}_{TAIL}_{number}.avi"
                (root / name / file).write_bytes(file.encode())
                lines.append(f"{file} {tag} ")  # the official lists end lines with a blank
        (lists / f"{name}_test_split{fold}.txt").write_text("\n".join(lines) + "\n")
    return {"root": root, "annotation_path": lists}


def test_tags_labels_and_groups(tmp_path: Path) -> None:
    data = load_dataset("hmdb51", **make_tree(tmp_path))
    assert data.classes == ("brush_hair", "wave"), "by the alphabet: there is no class file"
    assert (len(data.train), len(data.test), len(data.unused)) == (4, 4, 4)
    assert {clip.group for clip in data.train} == {"Some_Film_1"} and {clip.group for clip in data.test} == {
        "other!(x)"
    }
    assert {clip.class_name: clip.label for clip in data.clips} == {"brush_hair": 0, "wave": 1}
    assert data.class_texts["brush_hair"] == "brush hair" and data.name == "hmdb51-fold1"
    assert data.clips[0].path.read_bytes().decode() == data.clips[0].path.name
    assert "missing" not in data.description and "both sides" not in data.description


@pytest.mark.parametrize(
    ("file", "class_name", "expected"),
    [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "brush_hair", "April_09"),
        ("Return_of_the_King_12_clap_u_nm_np1_fr_goo_4.avi", "clap", "Return_of_the_King_12"),
        ("rope_climb_Olivia_Age_4_climb_f_cm_np1_ba_med_1.avi", "climb", "rope_climb_Olivia_Age_4"),
        ("Seamus_OD-_rope_climb_climb_f_cm_np1_ba_med_0.avi", "climb", "Seamus_OD-_rope_climb"),
        ("21_turn_h_cm_np1_fr_goo_12.avi", "turn", "21"),
        ("named_otherwise_l_nm_np12_le_bad_3.avi", "turn", "named_otherwise"),
        ("no_convention_at_all_3.avi", "turn", "no_convention_at_all_3"),
    ],
)  # fmt: skip
def test_source_from_a_file_s_name(file: str, class_name: str, expected: str) -> None:
    assert source(Row(f"{class_name}/{file}")) == expected


def test_validation_is_cut_by_source(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    more = [f"film{number}_wave_{TAIL}_{take}.avi" for number in range(4) for take in range(3)]
    for file in more:
        (tree["root"] / "wave" / file).touch()
    path = tree["annotation_path"] / "wave_test_split1.txt"
    path.write_text(path.read_text() + "".join(f"{file} 1\n" for file in more))
    data = HMDB51(**tree, val_fraction=0.4)
    assert len({clip.group for clip in data.val}) == 2, "of five sources"
    assert not {(c.class_name, c.group) for c in data.train} & {(c.class_name, c.group) for c in data.val}


def test_missing_clips(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    lost = tree["root"] / "wave" / f"Some_Film_1_wave_{TAIL}_1.avi"
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 8 .*wave/Some_Film_1_wave.*allow_partial=True"):
        HMDB51(**tree)
    data = HMDB51(**tree, allow_partial=True)
    assert list(data.missing) == [f"wave/{lost.name}"] and "1 listed clips missing" in data.description
    assert len(data.train) == 3


def test_nothing_there_is_not_partial(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    with pytest.raises(FileNotFoundError, match="8 of 8 .* check root"):
        HMDB51(tmp_path / "elsewhere", tree["annotation_path"], allow_partial=True)


@pytest.mark.parametrize("line", ["clip.avi 3", "clip.avi", "wave/clip.avi 1", "2"])
def test_contradictions(tmp_path: Path, line: str) -> None:
    tree = make_tree(tmp_path)
    (tree["annotation_path"] / "wave_test_split1.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match="expected '<clip>.avi 0, 1 or 2'"):
        HMDB51(**tree)


def test_missing_lists(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"hmdb51_split2_train.txt is missing.*no \*_test_split2.txt either"):
        HMDB51(**tree, fold=2)
    with pytest.raises(ValueError, match="folds 1, 2 and 3"):
        HMDB51(**tree, fold=4)


def test_51_classes_must_have_the_official_counts(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, tuple(f"class_{n:02d}" for n in range(CLASS_COUNT)))
    with pytest.raises(ValueError, match="lists 102 training and 102 test clips, the official split 3570 and 1530"):
        HMDB51(**tree, allow_partial=True)
    assert COUNTS == (70 * CLASS_COUNT, 30 * CLASS_COUNT)


def test_coviar_s_lists_give_the_same_clips_whatever_their_numbers(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    official = HMDB51(**tree)
    numbers = {"wave": 0, "brush_hair": 1}  # CoViAR's order is not the alphabet's
    theirs = tmp_path / "datalists"
    theirs.mkdir()
    for split in ("train", "test"):
        lines = [
            f"{c.class_name}/{c.path.name} {c.class_name} {numbers[c.class_name]}" for c in getattr(official, split)
        ]
        (theirs / f"hmdb51_split1_{split}.txt").write_text("\n".join(lines))
    read = HMDB51(tree["root"], theirs)
    assert read.train == official.train and read.test == official.test and read.classes == official.classes
    path = theirs / "hmdb51_split1_test.txt"
    path.write_text(path.read_text().replace("wave 0", "wave 1"))
    with pytest.raises(ValueError, match="number 1"):
        HMDB51(tree["root"], theirs)


def test_a_source_on_both_sides_is_counted_and_kept_apart(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    path = tree["annotation_path"] / "wave_test_split1.txt"
    path.write_text(path.read_text().replace("_1.avi 1 ", "_1.avi 2 "))  # the film's second clip now tests
    data = HMDB51(**tree)
    assert "1 sources on both sides of the lists' own split" in data.description
    assert not {(c.class_name, c.group) for c in data.train} & {(c.class_name, c.group) for c in data.test}
