"""A folder of one's own videos: layouts, classes, sources, and what each mistake is told."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from moclip.config.load import load_config
from moclip.config.sections import ConfigError
from moclip.datasets import load_dataset
from moclip.datasets.base import DataError, VideoDataset, words
from moclip.datasets.prepare import listed, prepare
from moclip.datasets.video_folder import EXTENSIONS, VideoFolder
from moclip.inputs.clips import LoadedClips
from moclip.inputs.views import EvalViews, to_input
from moclip.video import encode, probe
from moclip.video.store import content_path, store_motion

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write empty files (nobody opens them before they are re-encoded) and return their folder."""

    def write(files: Iterable[str], name: str = "own") -> Path:
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.encode())
        return tmp_path / name

    return write


def files_of(classes: str = "Jump Run", count: int = 8) -> list[str]:
    return [f"{name}/{number}.mp4" for name in classes.split() for number in range(count)]


def names(clips: Iterable) -> list[str]:
    return [clip.name for clip in clips]


def film(path: Path, width: int, height: int, fps: float, codec: str = "mpeg4", frames: int = 14) -> None:
    """Noise that pans by two pixels a frame."""
    world = np.random.default_rng(0).integers(0, 256, (height // 8, (width + 2 * frames) // 8 + 1, 3), np.uint8)
    world = world.repeat(8, 0).repeat(8, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    encode([world[:, 2 * t : 2 * t + width] for t in range(frames)], path, fps=fps, codec=codec)


# --- a folder of classes --------------------------------------------------------------------------------------------


def test_folders_are_classes_and_a_quarter_of_each_is_tested(make):
    root = make([*files_of("run_fast JumpRope-high"), "run_fast/notes.txt", "run_fast/.hidden.mp4", ".cache/a.mp4"])
    data = load_dataset("video_folder", root=root)
    assert data.classes == ("JumpRope-high", "run_fast") and data.name == "own"
    assert data.class_texts == {"JumpRope-high": "Jump Rope high", "run_fast": "run fast"}
    assert (len(data.train), len(data.val), len(data.test)) == (12, 0, 4)
    assert [c.class_name for c in data.test].count("run_fast") == 2
    clip = next(clip for clip in data.clips if clip.path == root / "run_fast" / "3.mp4")
    assert (clip.name, clip.label, clip.class_name) == ("run_fast-3", 1, "run_fast")
    assert data.horizontal_flip
    assert data.description == (
        "own videos (2 classes), about 25 % of each class's sources held out for testing (seed 0), "
        "each file taken as its own source"
    )


def test_the_split_repeats_and_follows_its_seed(make):
    root = make(files_of())
    first = VideoFolder(root, val_fraction=0.2, seed=3)
    assert VideoFolder(root, val_fraction=0.2, seed=3) == first
    assert any(names(VideoFolder(root, seed=seed).test) != names(first.test) for seed in range(4, 9))
    assert (len(first.train), len(first.val), len(first.test)) == (10, 2, 4)
    assert len(VideoFolder(root, test_fraction=0.5).test) == 8
    assert len(VideoFolder(root, test_fraction=0.01).test) == 2, "each class is tested"
    assert len(VideoFolder(root, test_fraction=0.99).train) == 2, "each class is trained"


def test_classes_txt_sets_the_order(make):
    root = make(files_of())
    (root / "classes.txt").write_text("\ufeffRun\r\n\r\nJump\r\n", encoding="utf-8")
    data = VideoFolder(root)
    assert data.classes == ("Run", "Jump") and {c.class_name: c.label for c in data.clips} == {"Run": 0, "Jump": 1}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_extensions_in_any_case(make, extension):
    root = make([*files_of("Jump"), *(f"Run/{number}{extension.upper()}" for number in range(4))])
    assert sum(clip.class_name == "Run" for clip in VideoFolder(root).clips) == 4


def test_a_class_may_be_called_train(make):
    data = VideoFolder(make(files_of("car train test")))
    assert data.classes == ("car", "test", "train") and len(data.clips) == 24


def test_names_of_other_scripts_stay_apart(make):
    data = VideoFolder(make([f"{name}/{file}.mp4" for name in ("跑步", "跳") for file in ("一", "二", "三")]))
    assert len(set(names(data.clips))) == 6 and all(name.isascii() for name in names(data.clips))


def test_a_name_that_is_no_utf_8_is_shown_as_far_as_it_can_be(make):
    root = make(files_of())
    os.rename(root / "Run" / "0.mp4", os.fsencode(root) + b"/Run/caf\xe9.mp4")
    with pytest.raises(DataError, match=r"Run/caf\?\.mp4: its name is not UTF-8.*rename it"):
        VideoFolder(root)


def test_the_fingerprint_sees_what_is_in_the_files(make):
    root = make(files_of())
    before = load_dataset("video_folder", root=root).fingerprint
    assert load_dataset("video_folder", root=root, seed=1).fingerprint == before != ""
    (root / "Jump" / "0.mp4").write_bytes(b"another")
    assert load_dataset("video_folder", root=root).fingerprint != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ApplyLipstick", "Apply Lipstick"),
        ("apply_lipstick", "apply lipstick"),
        ("apply--lipstick_", "apply lipstick"),
        ("TShirtOff", "T Shirt Off"),
        ("watchingTVNews", "watching TV News"),
        ("YoYo", "Yo Yo"),
        ("Yo Yo", "Yo Yo"),
    ],
)
def test_words(name, text):
    assert words(name) == text


# --- sources --------------------------------------------------------------------------------------------------------


def write_groups(root: Path, groups: dict[str, str], header: str = "file,group") -> None:
    (root / "groups.csv").write_text("\n".join([header, *(f"{file},{group}" for file, group in groups.items())]) + "\n")


def splits_of_groups(data: VideoDataset) -> dict[str, set[str]]:
    where: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        for clip in getattr(data, split):
            where.setdefault(clip.group, set()).add(split)
    return where


@pytest.mark.parametrize("seed", range(5))
def test_clips_of_a_source_stay_together(make, seed):
    root = make(files_of())
    write_groups(root, {file: f"{file[0]}{int(file[-5]) // 2}" for file in files_of()})  # two clips each: J0 .. R3
    data = VideoFolder(root, val_fraction=0.3, test_fraction=0.25, seed=seed)
    where = splits_of_groups(data)
    assert len(where) == 8 and all(len(splits) == 1 for splits in where.values())
    assert (len(data.train), len(data.val), len(data.test)) == (8, 4, 4)
    assert data.description.endswith("sources from groups.csv")


@pytest.mark.parametrize("seed", range(5))
def test_a_source_that_spans_classes_stays_together_too(make, seed):
    root = make(files_of("Jump Run Sit"))
    write_groups(root, {file: f"recording {file[-5]}" for file in files_of("Jump Run Sit")})
    data = VideoFolder(root, val_fraction=0.2, test_fraction=0.25, seed=seed)
    where = splits_of_groups(data)
    assert len(where) == 8 and all(len(splits) == 1 for splits in where.values())
    assert (len(data.train), len(data.val), len(data.test)) == (15, 3, 6)


def test_groups_may_stand_in_any_order_with_other_columns(make):
    root = make(files_of(count=2))
    rows = [f"x,{number},./{file}" for number, file in enumerate(reversed(files_of(count=2)))]
    (root / "groups.csv").write_text("\n".join(["\ufeffnote, group, file", *rows]), encoding="utf-8")
    assert {clip.name: clip.group for clip in VideoFolder(root).clips} == {
        "Jump-0": "3", "Jump-1": "2", "Run-0": "1", "Run-1": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Jump/9.mp4": "a"}, r"groups\.csv: lists Jump/9\.mp4, no clip in .*own; files are relative"),
        ({"Jump/1.mp4": ""}, r"line 3 gives 'Jump/1\.mp4' no group"),
        ({"./Jump/1.mp4": "b"}, r"puts 'Jump/1\.mp4' into 'Jump/1\.mp4' and 'b'"),
        ({"Jump/1.mp4": None}, r"1 of 16 clips are not listed: Jump/1\.mp4; give each a group"),
    ],
)
def test_groups_csv_mistakes(make, change, message):
    root = make(files_of())
    listed = {file: file for file in files_of()} | change
    write_groups(root, {file: group for file, group in listed.items() if group is not None})
    with pytest.raises(DataError, match=message):
        VideoFolder(root)


def test_groups_csv_with_other_columns_or_encoding(make):
    root = make(files_of())
    write_groups(root, {"Jump/1.mp4": "a"}, header="video,source")
    with pytest.raises(DataError, match=r"columns 'file,group', found 'video,source'"):
        VideoFolder(root)
    (root / "groups.csv").write_bytes("file,group\nJump/1.mp4,größe\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"groups\.csv: not UTF-8"):
        VideoFolder(root)


def test_a_class_of_one_source_cannot_be_split(make):
    root = make([*files_of(), "Sit/only.mp4"])
    with pytest.raises(DataError, match=r"Sit: its sources \(1: Sit-only\) cannot be split"):
        VideoFolder(root)
    (root / "Sit" / "more.mp4").touch()
    write_groups(root, {file: file for file in files_of()} | {"Sit/only.mp4": "s", "Sit/more.mp4": "s"})
    with pytest.raises(DataError, match=r"Sit: its sources \(1: s\) cannot be split"):
        VideoFolder(root)


# --- train/, val/ and test/ -----------------------------------------------------------------------------------------


def test_its_own_split(make):
    root = make([f"{split}/{file}" for split in ("train", "test") for file in files_of(count=2)])
    data = VideoFolder(root)
    assert names(data.train) == ["train-Jump-0", "train-Jump-1", "train-Run-0", "train-Run-1"]
    assert names(data.test) == ["test-Jump-0", "test-Jump-1", "test-Run-0", "test-Run-1"] and not data.val
    assert "split by its own folders, each file taken as its own source" in data.description
    assert len(VideoFolder(root, val_fraction=0.5).val) == 2
    make(["val/Run/7.mp4"])
    assert names(VideoFolder(root).val) == ["val-Run-7"]
    with pytest.raises(DataError, match="val exists, and val_fraction=0.5 would cut another"):
        VideoFolder(root, val_fraction=0.5)


def test_its_own_split_must_keep_sources_together(make):
    files = [f"{split}/{file}" for split in ("train", "test") for file in files_of(count=2)]
    root = make(files)
    # One recording, two classes, both splits: a leak, though no class has it in both.
    write_groups(root, {file: file for file in files} | {"train/Jump/0.mp4": "film", "test/Run/1.mp4": "film"})
    with pytest.raises(DataError, match="group 'film' of groups.csv is in train/ and in test/"):
        VideoFolder(root)


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.mp4"], r"own: no folders in it; expected <class>/\*\.mp4 in it, or train/"),
        (files_of("Jump"), r"own: only one class \(Jump\); at least two"),
        ([*files_of(), "Sit/notes.txt"], r"own/Sit: no video in it \(only notes\.txt\); add \.mp4"),
        ([*files_of(), "Sit/deep/a.mp4"], r"own/Sit: no video in it \(only deep\)"),
        ([*files_of(), "Jump/0.avi"], r"same name: Jump/0\.avi \(Jump-0\), Jump/0\.mp4 \(Jump-0\); rename all but one"),
        ([*files_of(), "Jump/a b.mp4", "Jump/a-b.mp4"], r"Jump/a b\.mp4 \(Jump-a-b\), Jump/a-b\.mp4"),
        (["train/Jump/a.mp4", "train/Run/a.mp4"], r"found the folders train; expected"),
        (["train/Jump/a.mp4", "test/Jump/b.mp4", *files_of()], "found the folders Jump, Run, test, train; .*no other"),
        (["train/a.mp4", "test/a.mp4"], r"own/train: no class folders in it; put videos into .*own/train/<class>/"),
        (["train/Jump/a.mp4", "test/Jump/b.mp4"], "only one class"),
        (
            ["train/Jump/a.mp4", "train/Run/a.mp4", "test/Jump/b.mp4"],
            r"own/test: no clips of the class Run; add Run/ with videos there",
        ),
        (
            ["train/Jump/a.mp4", "test/Run/a.mp4", "test/Jump/b.mp4"],
            r"own/train: no clips of the class Run; add Run/ with videos there",
        ),
    ],
)
def test_mistakes_are_named(make, files, message):
    with pytest.raises(DataError, match=message):
        VideoFolder(make(files))


def test_an_empty_class_folder(make):
    root = make(files_of())
    (root / "Sit").mkdir()
    with pytest.raises(DataError, match=r"own/Sit: no video in it \(it is empty\)"):
        VideoFolder(root)


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="absent: no such folder; expected"):
        VideoFolder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: not a folder"):
        VideoFolder(tmp_path / "file")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Jump", r"classes\.txt: does not list Run"),
        ("Jump\nRun\nSit", r"classes\.txt: lists Sit, but the class folders are Jump, Run"),
        ("Jump\nRun\nJump", r"classes\.txt: lists twice Jump"),
    ],
)
def test_classes_txt_must_match_the_folders(make, lines, message):
    root = make(files_of())
    (root / "classes.txt").write_text(lines)
    with pytest.raises(DataError, match=message):
        VideoFolder(root)


@pytest.mark.parametrize("shares", [{"test_fraction": 1}, {"val_fraction": 1}])
def test_shares_out_of_range(make, shares):
    with pytest.raises(ValueError, match=r"fraction must lie in \[0, 1\)"):
        VideoFolder(make(files_of()), **shares)


# --- by the configuration -------------------------------------------------------------------------------------------


def test_the_profile_says_how_to_name_the_folder():
    with pytest.raises(ConfigError, match="data.root: --profile folder -p data.root=/path"):
        listed(load_config("folder").data)


def settings(root: Path, **changes):
    return load_config("folder", {"data": {"root": str(root), "workers": 1, **changes}}).data


def test_settings_reach_the_data_set(make):
    root = make(files_of())
    (data,) = prepare(
        settings(root, reencode=False, test_fraction=0.5, val_fraction=0.25, seed=4), root.with_name("run")
    )
    assert data == load_dataset("video_folder", root=root, test_fraction=0.5, val_fraction=0.25, seed=4)
    (still,) = prepare(settings(root, reencode=False, horizontal_flip=False), root.with_name("run"))
    assert data.horizontal_flip and not still.horizontal_flip


def test_reencoded_one_way_whatever_they_were(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    root = tmp_path / "own"
    film(root / "Jump" / "a.avi", 64, 48, fps=25)
    film(root / "Jump" / "b.mp4", 96, 64, fps=50, codec="libx264")
    film(root / "Run" / "a.mp4", 48, 96, fps=12.5)
    film(root / "Run" / "b.m4v", 64, 64, fps=30)
    (data,) = prepare(settings(root), tmp_path / "run")
    infos = {clip.name: probe(clip.path) for clip in data.clips}
    assert {(info.codec, info.width, info.height, info.gop) for info in infos.values()} == {("mpeg4", 340, 256, 12)}
    assert {name: info.fps for name, info in infos.items()} == {"Jump-a": 25, "Jump-b": 50, "Run-a": 12.5, "Run-b": 30}
    assert data.description.endswith("re-encoded at 340x256 (MPEG-4, GOP 12)")

    # In equivalent units clips of all sizes and rates make one input.
    config = load_config("folder", {"mv.views": 3})
    for clip in data.clips:
        store_motion(clip.path, content_path(tmp_path / "store", clip.sha256))
    clips = LoadedClips(data.clips, tmp_path / "store")
    protocol = EvalViews.from_sections(config.mv, config.motion, data.horizontal_flip)
    rates = [protocol.scale.factor(motion.width, motion.fps) for motion in clips]
    assert rates == pytest.approx([infos[clip.name].fps / 25 for clip in data.clips])
    assert to_input(clips.test_views(range(4), protocol)).shape == (4, config.mv.views, 2, 96, 96)
