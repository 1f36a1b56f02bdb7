"""What a file is: counted right, read once, and no clip lost to another's fault."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from moclip.datasets import facts
from moclip.datasets.base import Clip, VideoDataset
from moclip.datasets.facts import facts_of, read_facts
from moclip.datasets.verify import MISSING, UNLISTED, UNREADABLE, summary, verify
from moclip.inputs.clips import LoadedClips
from moclip.inputs.transforms import InputScale
from moclip.io.files import sha256_file
from moclip.video import encode
from moclip.video.store import content_path, store_motion


def moving(count: int, step: int = 2) -> list[np.ndarray]:
    """A textured picture that moves to the right, ``step`` pixels a frame."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 200, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    return [np.ascontiguousarray(picture[:96, 200 - step * t : 360 - step * t]) for t in range(count)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    encode(moving(20), path, fps=10, gop=8)
    return path


@pytest.fixture
def folder(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three sound clips, one cut in the middle, one that is text; and notes that no list names."""
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    root = tmp_path / "videos"
    (root / "A").mkdir(parents=True)
    for name in ("one", "two", "three"):
        shutil.copy(film, root / "A" / f"{name}.avi")
    (root / "A" / "cut.avi").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    (root / "A" / "text.avi").write_text("these are no pictures")
    (root / "A" / "notes.txt").write_text("remember the milk")
    (root / "A" / ".hidden").touch()
    return root


def dataset(root: Path) -> VideoDataset:
    names = {"train": ["one", "cut", "two"], "test": ["text", "three", "gone"]}
    clips = {
        split: [Clip(root / "A" / f"{name}.avi", 0, "A", name, name) for name in own] for split, own in names.items()
    }
    return VideoDataset("x", "", ("A",), clips["train"], clips["test"], missing=["A/lost.avi"])


def test_counts_of_a_known_film(film: Path) -> None:
    own = read_facts(film, sha256_file(film))
    assert (own.codec, own.width, own.height, own.fps) == ("mpeg4", 160, 96, 10)
    assert (own.frames, own.decoded, own.gop) == (20, 20, 8)
    assert own.i_share == 3 / 20 and own.b_share == 0
    assert own.seconds == 2 and own.kbit_s == pytest.approx(8 * film.stat().st_size / 2000)
    assert own.i_distance == pytest.approx(20 / 3)
    assert own.bytes == film.stat().st_size and own.sha256 == sha256_file(film) and not own.note


def test_b_frames_and_a_single_i_frame(tmp_path: Path) -> None:
    encode(moving(10), tmp_path / "film.mp4", gop=30, b_frames=2)
    own = read_facts(tmp_path / "film.mp4", "")
    assert own.gop is None and own.i_distance == own.frames == 10 and own.i_share == 0.1
    assert own.b_share == 0.6, "I BBP BBP BBP"


def test_lengths_are_those_of_the_vectors(film: Path, tmp_path: Path) -> None:
    encode(moving(10, step=4), tmp_path / "film.mp4", gop=10)
    own = read_facts(tmp_path / "film.mp4", "")
    assert np.argmax(own.lengths) / own.scale == 4, "most blocks move four pixels a frame"
    assert own.saturated(3.9) > 0.8 > own.saturated(4) and own.saturated(8, factor=2.1) > 0.8


def test_saturated_is_what_the_loader_counts(tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    halves = zip(moving(12, step=2), moving(12, step=5), strict=True)
    encode([np.concatenate([slow[:48], fast[:48]]) for slow, fast in halves], film, fps=10)
    clip = Clip(film, 0, "A", "g", "film", sha256_file(film))
    store_motion(film, content_path(tmp_path, clip.sha256))
    loaded = LoadedClips([clip], tmp_path)
    for scale in (InputScale("pixels", 3.0), InputScale("equivalent", 3.0)):
        own = read_facts(film, "")
        assert own.saturated(scale.bound, scale.factor(own.width, own.fps)) == pytest.approx(loaded.saturated(scale))
        assert 0 < loaded.saturated(scale) < 1


def test_codecs_without_vectors_are_decoded_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(moving(5), tmp_path / "film.mp4")
    monkeypatch.setattr(facts, "read_motion", None)  # not to be called
    info = facts.probe(tmp_path / "film.mp4")
    monkeypatch.setattr(
        facts, "probe", lambda path: type(info)(**{**vars(info), "codec": "vp9", "exports_motion": False})
    )
    own = read_facts(tmp_path / "film.mp4", "")
    assert own.decoded == 5 and own.b_share is None and not own.lengths and "no motion vectors from vp9" in own.note
    assert np.isnan(own.saturated(20))


def test_a_file_is_read_once_whatever_it_is_called(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [clip for clip in dataset(folder).clips if clip.name in ("one", "two")]
    first, problems = facts_of(clips, workers=1)
    assert not problems and first["one"] == first["two"]
    kept = list((folder.parent / "home" / "cache" / "facts").rglob("*.json"))
    assert len(kept) == 1, "the files' bytes are the same"
    changed = json.loads(kept[0].read_text()) | {"codec": "from the cache"}
    kept[0].write_text(json.dumps(changed))
    assert facts_of(clips, workers=1)[0]["two"].codec == "from the cache"


def test_every_problem_is_found_and_nothing_else_is_lost(folder: Path) -> None:
    table = verify(dataset(folder), folder, workers=1)
    problems = table[table["problem"] != ""]
    found = {Path(row["path"]).name: row["problem"] for row in problems.to_dict("records")}
    assert found == {
        "cut.avi": UNREADABLE,
        "text.avi": UNREADABLE,
        "gone.avi": MISSING,
        "lost.avi": MISSING,
        "notes.txt": UNLISTED,
    }
    reasons = problems.set_index("video")["reason"]
    assert "breaks off" in reasons["cut"] and "damaged or no video" in reasons["text"]
    assert str(folder) not in reasons["cut"], "the path stands in its own column"
    sound = table[table["problem"] == ""].set_index("video")
    assert sorted(sound.index) == ["one", "three", "two"] and (sound["frames"] == 20).all()
    assert sound.loc["three", "split"] == "test" and (sound["sha256"].str.len() == 64).all()
    lines = "\n".join(summary(table))
    assert "3 clips, 60 frames" in lines and "mpeg4 (3)" in lines and "160x96 (3)" in lines
    assert "2 unreadable" in lines and "2 listed but missing" in lines and "1 there but not listed" in lines


def test_a_sound_folder_has_no_problems(folder: Path) -> None:
    for name in ("cut.avi", "text.avi", "notes.txt"):
        (folder / "A" / name).unlink()
    clips = [Clip(folder / "A" / f"{name}.avi", 0, "A", name, name) for name in ("one", "two", "three")]
    table = verify(VideoDataset("x", "", ("A",), clips[:2], clips[2:]), folder, workers=1)
    assert (table["problem"] == "").all() and len(table) == 3


def test_unused_files_are_known(folder: Path) -> None:
    clips = [Clip(folder / "A" / "one.avi", 0, "A", "one", "one")]
    others = [path for path in (folder / "A").iterdir() if path.name != "one.avi"]
    data = VideoDataset("x", "", ("A",), clips, [], unused=others)
    assert (verify(data, folder, workers=1)["problem"] == "").all()


def test_nothing_sound_at_all(tmp_path: Path) -> None:
    table = verify(VideoDataset("x", "", ("A",), [], [], missing=["A/lost.avi"]), tmp_path)
    assert summary(table)[0].startswith("0 clips, 0 frames") and "1 listed but missing" in summary(table)
