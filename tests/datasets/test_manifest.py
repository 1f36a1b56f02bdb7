"""When a prepared data set still holds: every way in which its files, lists, settings or code may change under it."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moclip.config.sections import Data, Groups, MinFrames
from moclip.datasets import moving_photos, prepare
from moclip.datasets.base import Clip, VideoDataset
from moclip.datasets.prepare import NotPreparedError, load_prepared
from moclip.io.files import sha256_file
from moclip.io.fingerprints import FileHashes
from moclip.video import encode, probe

CLASSES, GROUPS = ("Hammering", "HammerThrow"), (1, 2, 3)
FRAMES = 14


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """A small UCF101: two classes, three groups, and its lists; every file of other content and the same size."""
    folder = tmp_path_factory.mktemp("originals")
    rng, lines = np.random.default_rng(0), {"train": [], "test": []}
    for name in CLASSES:
        for group in GROUPS:
            inside = f"{name}/v_{name}_g{group:02d}_c01.avi"
            picture = rng.integers(0, 256, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            (folder / "UCF-101" / name).mkdir(parents=True, exist_ok=True)
            encode([np.roll(picture, 3 * t, 1) for t in range(FRAMES)], folder / "UCF-101" / inside, gop=5)
            lines["test" if group == 1 else "train"].append(inside)
    files = list((folder / "UCF-101").rglob("*.avi"))
    largest = max(path.stat().st_size for path in files)
    for path in files:
        path.write_bytes(path.read_bytes().ljust(largest, b"\0"))  # an .avi may be longer than its chunks
    (folder / "lists").mkdir()
    (folder / "lists" / "classInd.txt").write_text("1 Hammering\n2 HammerThrow\n")
    for split, content in lines.items():
        (folder / "lists" / f"{split}list01.txt").write_text("\n".join(content))
    return folder


@pytest.fixture(scope="module")
def encoded_once(originals, tmp_path_factory) -> Path:
    """A home in which these clips are re-encoded."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOCLIP_HOME", str(home))
        prepare.prepare(settings(originals / "UCF-101", reencode=True), home / "run")
    assert len(state(home)) == len(CLASSES) * len(GROUPS)
    return home / "data" / "reencoded"


@pytest.fixture
def root(originals, encoded_once, tmp_path, monkeypatch) -> Path:
    """A copy of the clips and lists, with a home of its own."""
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    shutil.copytree(originals, tmp_path / "data")
    shutil.copytree(encoded_once, tmp_path / "home" / "data" / "reencoded")
    return tmp_path / "data" / "UCF-101"


@pytest.fixture
def run(tmp_path) -> Path:
    return tmp_path / "run" / "data"


def settings(root: Path, **more) -> Data:
    fields = {"name": "ucf101", "root": root, "annotation_path": root.parent / "lists", "workers": 1} | more
    return Data(**fields)


def own_videos(root: Path, **more) -> Data:
    return Data(**{"name": "video_folder", "root": root, "workers": 1} | more)


def clip(root: Path, name: str = "Hammering", group: int = 2) -> Path:
    return root / name / f"v_{name}_g{group:02d}_c01.avi"


def swap(first: Path, second: Path) -> None:
    first.rename(first.with_name("third"))
    second.rename(first)
    first.with_name("third").rename(second)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.m4v")}


# --- what is written and read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reencode", [False, True])
def test_what_is_prepared_is_what_is_loaded(root, run, reencode):
    data = settings(root, reencode=reencode, val_fraction=0.5, horizontal_flip=False)
    made = prepare.prepare(data, run)
    assert load_prepared(data, run) == made and load_prepared(data, run, rehash=True) == made
    assert all(clip.sha256 == sha256_file(clip.path) for clip in made[0].clips)
    assert {(probe(clip.path).width, probe(clip.path).frames) for clip in made[0].clips} == (
        {(340, FRAMES)} if reencode else {(96, FRAMES)}
    )
    assert not made[0].horizontal_flip
    assert load_prepared(data.model_copy(update={"horizontal_flip": None}), run)[0].horizontal_flip
    (shipped,) = load_prepared(data, run, original=True)
    assert all(clip.path.is_relative_to(root) and clip.sha256 == sha256_file(clip.path) for clip in shipped.clips)
    assert [clip.name for clip in shipped.clips] == [clip.name for clip in made[0].clips]
    assert "re-encoded" not in shipped.description


def test_the_manifest_says_what_the_data_are_and_no_place(root, run):
    (data,) = prepare.prepare(settings(root, reencode=True), run)
    text = (run / "ucf101-fold1.json").read_text()
    assert str(root) not in text and str(root.parents[1]) not in text
    read = json.loads(text)
    assert read["counts"] == {"train": 4, "val": 0, "test": 2} and read["classes"] == list(CLASSES)
    assert (read["fingerprint"], read["description"]) == (data.fingerprint, data.description)
    first = read["clips"][0]
    assert first["path"] == "Hammering/v_Hammering_g02_c01.avi" and first["split"] == "train"
    assert first["source_sha256"] == sha256_file(root / first["path"])
    assert first["sha256"] == data.train[0].sha256 == sha256_file(data.train[0].path)


def test_manifests_of_other_data_go(root, run):
    run.mkdir(parents=True)
    for name in ("mixed.json", "mixed.stat"):
        (run / name).write_text("{}")
    prepare.prepare(settings(root), run)
    assert sorted(path.name for path in run.iterdir()) == ["ucf101-fold1.json", "ucf101-fold1.stat"]


def test_nothing_prepared_says_what_to_run(root, run):
    with pytest.raises(
        NotPreparedError, match=r"ucf101-fold1\.json is missing; run notebook 01_zero_shot first, or `mo"
    ):
        load_prepared(settings(root), run)


# --- what changes nothing -------------------------------------------------------------------------------------------


def moved(root: Path) -> Path:
    shutil.copytree(root.parent, root.parents[1] / "elsewhere")
    shutil.rmtree(root.parent)
    return root.parents[1] / "elsewhere" / root.name


def touched(root: Path) -> Path:
    os.utime(clip(root), (1e9, 1e9))
    return root


def rewritten(root: Path) -> Path:
    for path in root.rglob("*.avi"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return root


def with_notes(root: Path) -> Path:
    (root / "Hammering" / "notes.txt").write_text("good ones")
    (root / "notes.txt").write_text("all of them")
    return root


@pytest.mark.parametrize("change", [moved, touched, rewritten, with_notes])
@pytest.mark.parametrize("make", [settings, own_videos])
def test_files_of_the_same_content_hold(root, run, change: Callable[[Path], Path], make):
    (before,) = prepare.prepare(make(root, reencode=True), run)
    encoded, written = state(root.parents[1] / "home"), (run / f"{before.name}.json").read_bytes()
    data = make(change(root), reencode=True)
    assert load_prepared(data, run) == [before]
    assert prepare.prepare(data, run) == [before] and (run / f"{before.name}.json").read_bytes() == written
    assert state(root.parents[1] / "home") == encoded, "nothing is encoded again"


def test_a_root_with_a_tilde_is_that_of_home(root, run, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parents[1]))
    made = prepare.prepare(settings(root), run)
    data = settings(root).model_copy(update={"root": Path("~/data/UCF-101")})
    assert load_prepared(data, run) == made
    clip(root).write_bytes(b"another")
    with pytest.raises(NotPreparedError, match="files were changed"):
        load_prepared(data, run)


def test_what_is_known_is_not_read_again(root, run, monkeypatch):
    prepare.prepare(settings(root, reencode=True), run)
    read: list[Path] = []
    monkeypatch.setattr("moclip.io.fingerprints.sha256_file", lambda path: read.append(path) or sha256_file(path))
    load_prepared(settings(root, reencode=True), run)
    assert not read
    touched(root)
    load_prepared(settings(root, reencode=True), run)
    assert read == [clip(root)], "the touched one, and it is remembered"
    load_prepared(settings(root, reencode=True), run)
    assert len(read) == 1
    (run / "ucf101-fold1.stat").write_text("damaged")
    load_prepared(settings(root, reencode=True), run)
    assert len(read) == 1 + 2 * len(CLASSES) * len(GROUPS), "without the memory, all"


# --- what changes something -----------------------------------------------------------------------------------------


def replaced(root: Path) -> None:
    """Another video of the same size and time stamp."""
    path, other = clip(root), clip(root, group=3)
    stamp = path.stat()
    assert stamp.st_size == other.stat().st_size
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def swapped(root: Path) -> None:
    """Two files of two classes, by `mv`: neither has a new time stamp."""
    swap(clip(root, "Hammering"), clip(root, "HammerThrow"))


def swapped_classes(root: Path) -> None:
    """All files of two classes, as if their folders were exchanged."""
    for group in GROUPS:
        swap(clip(root, "Hammering", group), clip(root, "HammerThrow", group))


def of_one_time(root: Path) -> None:
    """All files with new contents, and all with one time stamp."""
    paths = sorted(root.rglob("*.avi"))
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)
        os.utime(path, (1e9, 1e9))


@pytest.mark.slow
@pytest.mark.parametrize("change", [replaced, swapped, swapped_classes, of_one_time])
def test_other_contents_are_seen_and_lead_to_what_a_fresh_start_gives(root, run, tmp_path, change, monkeypatch):
    data = settings(root, reencode=True)
    (before,) = prepare.prepare(data, run)
    encoded = state(tmp_path / "home")
    change(root)
    with pytest.raises(NotPreparedError, match=r"files were changed or removed \(.*UCF-101.*run notebook 01"):
        load_prepared(data, run)
    (after,) = prepare.prepare(data, run)
    assert load_prepared(data, run) == [after] and after.fingerprint != before.fingerprint
    assert state(tmp_path / "home") == encoded, "these videos were encoded before, under other names"
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "fresh"))
    (fresh,) = prepare.prepare(data, tmp_path / "fresh-run")
    assert [(c.name, c.sha256) for c in fresh.clips] == [(c.name, c.sha256) for c in after.clips]
    manifests = [(folder / "ucf101-fold1.json").read_text() for folder in (run, tmp_path / "fresh-run")]
    assert manifests[0] == manifests[1]


def test_a_new_video_is_encoded_and_the_others_stay(root, run, tmp_path):
    data = settings(root, reencode=True)
    prepare.prepare(data, run)
    encoded = state(tmp_path / "home")
    picture = np.random.default_rng(9).integers(0, 256, (64, 96, 3), np.uint8)
    encode([np.roll(picture, t, 1) for t in range(6)], clip(root))
    os.utime(clip(root), (1e9, 1e9))  # older than what it replaces, as files of an archive are
    (after,) = prepare.prepare(data, run)
    assert {probe(c.path).frames for c in after.clips if c.name == clip(root).stem} == {6}
    now = state(tmp_path / "home")
    assert len(now) == len(encoded) + 1 and encoded.items() <= now.items()


def test_a_re_encoded_file_that_was_changed_or_lost_is_seen(root, run):
    data = settings(root, reencode=True)
    (before,) = prepare.prepare(data, run)
    first, second = (clip.path for clip in before.train[:2])
    content = first.read_bytes()
    for damage in (lambda: first.write_bytes(second.read_bytes()), first.unlink):
        damage()
        with pytest.raises(NotPreparedError, match="files were changed or removed"):
            load_prepared(data, run)
        assert prepare.prepare(data, run) == [before] and first.read_bytes() == content


def test_a_linked_class_folder_that_changes_behind_its_link(root, run):
    shutil.move(root / "Hammering", root.parent / "there")
    (root / "Hammering").symlink_to(root.parent / "there")
    for make in (settings, own_videos):
        data = make(root)
        made = prepare.prepare(data, run)
        assert load_prepared(data, run) == made
    swap(root.parent / "there" / clip(root).name, clip(root, "HammerThrow"))
    for make in (settings, own_videos):
        with pytest.raises(NotPreparedError):
            load_prepared(make(root), run)


def test_a_class_folder_with_another_name(root, run, tmp_path):
    data = own_videos(root, reencode=True)
    prepare.prepare(data, run)
    encoded = state(tmp_path / "home")
    (root / "HammerThrow").rename(root / "Throwing")
    with pytest.raises(
        NotPreparedError, match=r"classes or their order.*3 clips are new \(Throw.*3 clips are gone \(Ham"
    ):
        load_prepared(data, run)
    (after,) = prepare.prepare(data, run)
    assert after.classes == ("Hammering", "Throwing") and state(tmp_path / "home") == encoded


def test_a_new_clip_of_ones_own(root, run):
    prepare.prepare(own_videos(root), run)
    shutil.copy(clip(root), clip(root, group=4))
    with pytest.raises(NotPreparedError, match=r"1 clips are new \(Hammering/v_Hammering_g04_c01.avi\)"):
        load_prepared(own_videos(root), run)


def test_other_lists(root, run):
    data = settings(root)
    prepare.prepare(data, run)
    lists = data.annotation_path
    (lists / "classInd.txt").write_text("1 HammerThrow\n2 Hammering\n")
    with pytest.raises(NotPreparedError, match="the classes or their order changed"):
        load_prepared(data, run)
    (lists / "classInd.txt").write_text("1 Hammering\n2 HammerThrow\n")
    train, test = (lists / f"{split}list01.txt" for split in ("train", "test"))
    swap(train, test)
    with pytest.raises(NotPreparedError, match="6 clips have another class, group or split"):
        load_prepared(data, run)
    swap(train, test)
    load_prepared(data, run)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reencode": True}, "reencode False -> True"),
        ({"on_error": "skip"}, "on_error raise -> skip"),
        ({"min_frames": MinFrames(train=5)}, "min_frames.*train.*5"),
        ({"val_fraction": 0.5}, "2 clips have another class, group or split"),
    ],
)
def test_other_settings(root, run, more, words):
    prepare.prepare(settings(root), run)
    with pytest.raises(NotPreparedError, match=words):
        load_prepared(settings(root, **more), run)
    prepare.prepare(settings(root, **more), run)
    load_prepared(settings(root, **more), run)


def test_settings_that_change_no_clip_hold(root, run):
    made = prepare.prepare(settings(root), run)
    assert load_prepared(settings(root, workers=2, scheduler="tcp://nowhere:1"), run) == made


def test_a_clip_that_was_left_out_and_repaired_is_seen(root, run):
    sound = clip(root).read_bytes()
    clip(root).write_bytes(b"no video")
    data = settings(root, on_error="skip")
    (short,) = prepare.prepare(data, run)
    assert len(short.train) == 3 and load_prepared(data, run) == [short]
    assert "1 of 6 clips left out (unreadable)" in load_prepared(data, run)[0].description
    clip(root).write_bytes(sound)
    with pytest.raises(NotPreparedError, match="1 files were changed"):
        load_prepared(data, run)
    assert len(prepare.prepare(data, run)[0].train) == 4


# --- code and libraries ---------------------------------------------------------------------------------------------


def test_other_code_of_transcode_encodes_again_and_keeps_the_old(root, run, tmp_path, monkeypatch):
    data = settings(root, reencode=True)
    prepare.prepare(data, run)
    encoded = state(tmp_path / "home")
    key = prepare.keys.key
    changed = lambda *words: key(*words) | {"code": {"video.transcode": "another"}}  # noqa: E731
    for name, other in (("code", changed), ("av", lambda *words: key(*words) | {"versions": {"av": "0.1"}})):
        monkeypatch.setattr(prepare.keys, "key", other)
        prepare._digest.cache_clear()
        with pytest.raises(NotPreparedError, match=name):
            load_prepared(data, run)
        prepare.prepare(data, run)
        load_prepared(data, run)
        now = state(tmp_path / "home")
        assert len(now) == len(encoded) + 6 and encoded.items() <= now.items()
        encoded = now
    monkeypatch.undo()
    prepare._digest.cache_clear()


def test_generated_clips(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    data = Data(
        name="moving_photos", designs={"independent": Groups(train=1, test=1)}, clips_per_group=1, seed=5, workers=1
    )
    monkeypatch.setattr(moving_photos.dataset, "OBJECTS", {"Cat": moving_photos.dataset.OBJECTS["Cat"]})
    (before,) = prepare.prepare(data, run)
    assert load_prepared(data, run) == [before] and len(before.clips) == 2
    first = before.clips[0].path
    first.unlink()
    with pytest.raises(NotPreparedError, match="files were changed or removed"):
        load_prepared(data, run)
    assert not first.exists(), "looking makes nothing"
    assert prepare.prepare(data, run) == [before]
    first.write_bytes(before.clips[1].path.read_bytes())
    with pytest.raises(NotPreparedError, match="files were changed or removed"):
        load_prepared(data, run)
    assert prepare.prepare(data, run) == [before] and sha256_file(first) == before.clips[0].sha256, "made again"
    monkeypatch.setattr(moving_photos.dataset, "photos_hash", lambda: "of another wheel")
    with pytest.raises(NotPreparedError, match="2 clips are new.*2 clips are gone"):
        load_prepared(data, run)


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_data_set_of_the_size_of_ucf101_is_looked_at_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    root = tmp_path / "videos"
    for number in range(101):
        (root / f"class{number:03d}").mkdir(parents=True)
        for take in range(132):
            (root / f"class{number:03d}" / f"{take:03d}.mp4").write_bytes(b"%d %d" % (number, take))
    data = own_videos(root)
    prepare.prepare(data, tmp_path / "run")
    start = time.process_time()
    (loaded,) = load_prepared(data, tmp_path / "run")
    assert len(loaded.clips) == 13332 and time.process_time() - start < 10


def test_a_memory_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a")
    hashes = FileHashes(path / "no-folder" / "x.stat")
    found, failures = hashes.of([path, tmp_path / "lost.mp4"], 1)
    hashes.save()
    assert found == {path: sha256_file(path)} and [lost for lost, _ in failures] == [tmp_path / "lost.mp4"]
    data = VideoDataset(
        "x", "", ("A",), [Clip(path, 0, "A", "a", "a"), Clip(path.with_name("b"), 0, "A", "b", "b")], []
    )
    reasons: dict[str, str] = {}
    hashed = prepare._hashed(data, hashes, reasons, own_videos(tmp_path))
    assert [clip.sha256 for clip in hashed.clips] == [sha256_file(path), ""] and list(reasons) == ["b"]
