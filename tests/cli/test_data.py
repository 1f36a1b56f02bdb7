"""``moclip data``, as one types it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch

from moclip.cli import main as cli
from moclip.config.load import load_config
from moclip.config.sections import Config
from moclip.datasets.base import NO_MOTION
from moclip.datasets.prepare import load_prepared, prepare, reencoded_path
from moclip.engine.features import extract_motion, seen_frames
from moclip.engine.predictions import write_predictions
from moclip.io.artefacts import load_predictions
from moclip.io.files import sha256_file
from moclip.io.paths import run_dir
from moclip.report import tables
from moclip.report.statistics import Bootstrap
from moclip.studies.shortcuts import data_stats
from moclip.video import encode, probe

ROOT = Path(__file__).parents[2]
CLASSES = ("Hammering", "HammerThrow")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """One film per class and group, all of other content."""
    rng, made = np.random.default_rng(0), {}
    for key in [(name, group) for name in CLASSES for group in (1, 2, 3)]:
        picture = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        made[key] = tmp_path_factory.mktemp("film") / "film.avi"
        encode([np.roll(picture, 3 * t, 1) for t in range(14)], made[key], gop=5, b_frames=1)
    return made


@pytest.fixture
def film(films: dict[tuple[str, int], Path]) -> Path:
    """The film of Hammering's group 2, with which tests repair that clip."""
    return films["Hammering", 2]


@pytest.fixture
def arguments(films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name a small UCF101: two classes, three groups each."""
    root, lists = tmp_path / "UCF-101", tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Hammering\n2 HammerThrow\n")
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for group in (1, 2, 3):
            inside = f"{name}/v_{name}_g{group:02d}_c01.avi"
            shutil.copy(films[name, group], root / inside)
            lines["test" if group == 1 else "train"].append(inside)
    for split, content in lines.items():
        (lists / f"{split}list01.txt").write_text("\n".join(content))
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    return [
        "--profile",
        "ucf101-small",
        "-p",
        f"data.root={root}",
        "-p",
        f"data.annotation_path={lists}",
        "--workers",
        "1",
    ]


@pytest.fixture
def moclip_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call ``moclip data`` in this process; returns exit code, output, error output."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["moclip", "data", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def config_of(arguments: list[str], **more: object) -> Config:
    values = dict(word.split("=") for word in arguments if "=" in word)
    return load_config("ucf101-small", {**values, "data.workers": 1, **more})


def without_run(text: str) -> str:
    """Output without the run's name, which tells the overrides."""
    return re.sub(r"/runs/[^/]+/", "/runs/.../", text)


@pytest.mark.parametrize("name", ["download", "prepare", "verify", "stats"])
def test_each_command_teaches_by_an_example(moclip_data, name: str) -> None:
    code, out, _ = moclip_data(name, "--help")
    assert code == 0 and f"Example: moclip data {name}" in out


def test_prepare_is_what_reproduce_reads(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    code, out, _ = moclip_data("prepare", *arguments)
    assert code == 0 and "4 training, 0 validation, 2 test clips" in out and "re-encoded at 340x256" in out
    manifest = tmp_path / "home" / "runs" / config_of(arguments).run / "data" / "ucf101-fold1.json"
    assert str(manifest) in out
    (data,) = load_prepared(config_of(arguments).data, manifest.parent)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "home" / "data" / "reencoded").rglob("*.m4v")}
    assert {clip.path for clip in data.clips} == set(made) and data.fingerprint in out
    assert all((probe(path).width, probe(path).gop) == (340, 12) for path in made)
    moclip_data("prepare", *arguments)
    assert made == {path: path.stat().st_mtime_ns for path in made}, "what is there stays"
    entry = json.loads(manifest.read_text())["clips"][0]
    assert (tmp_path / "UCF-101" / entry["path"]).is_file() and entry["sha256"] != entry["source_sha256"]


def test_original_streams_on_request(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    code, out, _ = moclip_data("prepare", *arguments, "--original")
    assert code == 0 and "nothing re-encoded" in out and "data.reencode=false" in out
    assert not (tmp_path / "home" / "data" / "reencoded").exists()
    config = config_of(arguments, **{"data.reencode": False})
    (data,) = load_prepared(config.data, run_dir(config.run) / "data")
    assert all(clip.path.is_relative_to(tmp_path / "UCF-101") for clip in data.clips)


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    (whole,) = prepare(config_of(arguments).data, tmp_path / "run")
    wanted = {clip.path: clip.path.read_bytes() for clip in whole.clips}
    manifest = (tmp_path / "run" / "ucf101-fold1.json").read_bytes()
    folder = tmp_path / "home" / "data" / "reencoded"
    shutil.rmtree(folder)
    command = [sys.executable, "-m", "moclip", "data", "prepare", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        end = time.monotonic() + 60
        while not list(folder.glob("*/*/[!.]*.m4v")) and time.monotonic() < end:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    assert list(folder.glob("*/*/[!.]*.m4v")), "it was killed after the first clip"
    *_, lost = wanted  # regardless of how far it came, one is missing
    lost.unlink(missing_ok=True)
    leftover = lost.with_name(".abc.123.m4v")  # as a kill in the middle of a clip leaves it
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"half")
    assert moclip_data("prepare", *arguments)[0] == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.m4v")} == wanted, "no other file is left"
    (again,) = (tmp_path / "home" / "runs").glob("*/data/ucf101-fold1.json")
    assert again.read_bytes() == manifest


@pytest.fixture
def bad(arguments: list[str], tmp_path: Path) -> list[Path]:
    """Two of the four training clips: one cut off, one of text and no shorter than the clip was."""
    cut, text = (tmp_path / "UCF-101" / name / f"v_{name}_g02_c01.avi" for name in CLASSES)
    cut.write_bytes(cut.read_bytes()[:2000])
    text.write_bytes(b"no video".ljust(text.stat().st_size))
    return [cut, text]


def test_a_clip_that_fails_is_reported_and_the_rest_is_kept(moclip_data, arguments, bad, tmp_path: Path) -> None:
    code, _, err = moclip_data("prepare", *arguments)
    assert code == 2 and "2 of 6 clips failed" in err and all(str(path) in err for path in bad)
    assert "data.on_error=skip" in err, "the remedy"
    assert len(list((tmp_path / "home" / "data" / "reencoded").rglob("*.m4v"))) == 4


@pytest.mark.parametrize("streams", [[], ["--original"]])
def test_clips_that_fail_are_left_out_on_request(moclip_data, arguments, bad, film, streams, tmp_path: Path) -> None:
    skip = [*arguments, *streams, "-p", "data.on_error=skip"]
    code, out, err = moclip_data("prepare", *skip)
    assert code == 0 and "2 training, 0 validation, 2 test clips" in out, err
    assert "2 of 6 clips left out (unreadable)" in out
    report = tmp_path / "home" / "data" / "reports" / "ucf101-fold1" / "unreadable.txt"
    lines = report.read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(path) for path in bad]
    assert all("VideoError" in line and len(line.partition(": ")[2]) > 20 for line in lines), "each with its reason"
    found = moclip_data("verify", *arguments, "-p", "data.on_error=skip")[1]
    assert "4 clips, 56 frames" in found and "2 unreadable" in found, "verify passes over nothing"
    shutil.copy(film, bad[0])
    once = moclip_data("prepare", *skip)[1]
    assert "3 training" in once and "1 of 6 clips left out" in once and len(report.read_text().splitlines()) == 1
    shutil.copy(film, bad[1])
    whole = moclip_data("prepare", *skip)[1]
    assert "4 training" in whole and "left out" not in whole and not report.exists(), "mended clips are back"
    assert len({text.rpartition("fingerprint ")[2] for text in (out, once, whole)}) == 3
    assert without_run(moclip_data("prepare", *arguments, *streams)[1]) == without_run(whole), "nothing else changed"


def test_a_clip_without_vectors_is_left_out_of_original_streams_alone(moclip_data, arguments, tmp_path: Path) -> None:
    path = tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25, options={"strict": "unofficial"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((144, 160), np.uint8), "yuv420p")))
        out.mux(stream.encode())
    skip = [*arguments, "-p", "data.on_error=skip"]
    assert "4 training" in moclip_data("prepare", *skip)[1], "re-encoded, it has vectors"
    assert "1 of 6 clips left out" in moclip_data("prepare", *skip, "--original")[1]
    (report,) = (tmp_path / "home").rglob("unreadable.txt")
    assert report.read_text() == f"{path}: FFmpeg exports no motion vectors from mjpeg\n"


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (frames, 96, 160, 3), np.uint8)


HARD_CUT = np.concatenate([noise(1), np.full((1, 96, 160, 3), 128, np.uint8)])  # a P-frame without a single vector
WITHOUT_MOTION = {
    "one frame": (noise(1), {}, [[], ["--original"]]),
    "a hard cut": (HARD_CUT, {"codec": "libx264"}, [[], ["--original"]]),
    "I-frames alone": (noise(6), {"gop": 1}, [["--original"]]),  # re-encoded, it has vectors
}


@pytest.mark.parametrize(
    ("kind", "streams"), [(kind, streams) for kind, (*_, all_of) in WITHOUT_MOTION.items() for streams in all_of]
)
def test_a_clip_without_motion_is_left_out(moclip_data, arguments, film, kind, streams, tmp_path: Path) -> None:
    """Nothing that a motion network could be shown."""
    path = tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi"
    pictures, options, _ = WITHOUT_MOTION[kind]
    encode(pictures, tmp_path / "clip.mp4", **options)
    shutil.copy(tmp_path / "clip.mp4", path)
    skip = ["prepare", *arguments, *streams, "-p", "data.on_error=skip"]
    said = moclip_data(*skip)[1]
    assert "3 training" in said and "1 of 6 clips left out (unreadable)" in said
    (report,) = (tmp_path / "home").rglob("unreadable.txt")
    (line,) = report.read_text().splitlines()
    assert line.startswith(f"{path}: ") and line.endswith(NO_MOTION) and line.count(str(path)) == 1
    assert moclip_data(*skip)[1] == said, "nothing of it was kept"
    if not streams:
        code, _, err = moclip_data("prepare", *arguments)
        assert code == 2 and f"{path}: " in err and NO_MOTION in err and "data.on_error=skip" in err
    shutil.copy(film, path)
    assert "4 training" in moclip_data(*skip)[1] and not report.exists(), "mended"


@pytest.mark.parametrize("streams", [[], ["--original"]])
def test_a_clip_in_which_nothing_moves_is_a_clip(moclip_data, arguments, streams, tmp_path: Path) -> None:
    """Vectors of no length are known; they are not the same as none."""
    path = tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi"
    encode(noise(1).repeat(4, axis=0), path)
    assert "4 training" in moclip_data("prepare", *arguments, *streams, "-p", "data.on_error=skip")[1]


def test_a_clip_that_cannot_be_re_encoded_is_left_out_on_request(moclip_data, arguments, tmp_path: Path) -> None:
    """It can be read, but what is made of it cannot be put in its place."""
    path = tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi"
    blocked = reencoded_path(sha256_file(path))
    (blocked / "folder").mkdir(parents=True)
    code, _, err = moclip_data("prepare", *arguments)
    assert code == 2 and "1 of 6 clips failed" in err and str(path) in err and "data.on_error=skip" in err
    skip = ["prepare", *arguments, "-p", "data.on_error=skip"]
    code, out, err = moclip_data(*skip)
    assert (
        code == 0 and "3 training" in out and "re-encoded at 340x256 (MPEG-4, GOP 12), 1 of 6 clips left out" in out
    ), err
    (report,) = (tmp_path / "home").rglob("unreadable.txt")
    assert report.read_text().startswith(f"{path}: IsADirectoryError: ") and report.read_text().count("\n") == 1
    shutil.rmtree(blocked)
    whole = moclip_data(*skip)[1]
    assert "4 training" in whole and "left out" not in whole and not report.exists(), "mended"
    assert without_run(moclip_data("prepare", *arguments)[1]) == without_run(whole)


def test_generated_clips_may_be_left_out_too(moclip_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    small = ["prepare", "--profile", "smoke", "--workers", "1", "-p", "data.designs={mixed: {train: 1, test: 1}}"]
    whole = moclip_data(*small)[1]
    clip = sorted((tmp_path / "data" / "moving_photos").rglob("*_g02_*.mp4"))[0]
    clip.write_bytes(clip.read_bytes()[:600])
    code, out, err = moclip_data(*small, "-p", "data.on_error=skip")
    assert code == 0 and "1 of " in out and "left out (unreadable)" in out, err
    clip.unlink()
    assert without_run(moclip_data(*small, "-p", "data.on_error=skip")[1]) == without_run(whole), "made again"


def test_every_table_says_how_many_clips_were_left_out(arguments, bad, tmp_path: Path) -> None:
    """From the clips to results.csv: what is left can be read, and the count goes with every prediction."""
    config = config_of(arguments, **{"data.on_error": "skip"})
    for reencode in (True, False):
        (data,) = prepare(config.data.model_copy(update={"reencode": reencode}), tmp_path / "run")
        assert [clip.group for clip in data.train] == ["g03", "g03"] and not {c.path for c in data.clips} & set(bad)
        extract_motion(data.clips, tmp_path / "store", workers=1)
        assert all(seen_frames(clip.path, "middle").any() for clip in data.clips)
        folder = tmp_path / f"predictions-{reencode}"
        write_predictions(folder, "zero_shot", 0, config, data, torch.eye(2), n_train=0, views=1)
        table = tables.results(load_predictions(folder, [data.name]), Bootstrap(9, 0.95))
        assert "2 of 6 clips left out (unreadable)" in table["data"].item() and table["n_test"].item() == 2


def test_without_a_clip_that_can_be_read_nothing_is_prepared(moclip_data, arguments, tmp_path: Path) -> None:
    for path in (tmp_path / "UCF-101").glob("*/*_g01_*.avi"):  # the test clips
        path.write_text("no video")
    code, _, err = moclip_data("prepare", *arguments, "-p", "data.on_error=skip")
    assert code == 2 and "2 of 6 clips failed" in err and "on_error" not in err


def test_missing_clips_go_into_a_report(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi").unlink()
    code, _, err = moclip_data("prepare", *arguments)
    assert code == 2 and "1 of 6 listed clips are not under" in err and "moclip data verify" in err
    code, out, _ = moclip_data("prepare", *arguments, "-p", "data.allow_partial=true")
    assert code == 0 and "3 training" in out and "1 listed clips missing" in out
    report = tmp_path / "home" / "data" / "reports" / "ucf101-fold1" / "missing.txt"
    assert report.read_text() == "Hammering/v_Hammering_g02_c01.avi\n"
    source = tmp_path / "UCF-101" / "HammerThrow" / "v_HammerThrow_g02_c01.avi"
    shutil.copy(source, tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi")
    assert moclip_data("prepare", *arguments)[0] == 0 and not report.exists(), "no report of what is there again"


def test_verify(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    code, out, _ = moclip_data("verify", *arguments)
    table = pd.read_csv(tmp_path / "home" / "data" / "reports" / "ucf101-fold1" / "clips.csv")
    assert code == 0 and "6 clips, 84 frames" in out and len(table) == 6 and table["problem"].isna().all()
    (tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi").unlink()
    (tmp_path / "UCF-101" / "Hammering" / "notes.txt").write_text("notes")
    code, out, _ = moclip_data("verify", *arguments, "--to", str(tmp_path / "out"))
    assert code == 1 and "1 listed but missing" in out and "1 there but not listed" in out
    assert len(pd.read_csv(tmp_path / "out" / "ucf101-fold1" / "clips.csv")) == 7


def test_verify_prepared(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    code, out, _ = moclip_data("verify", *arguments, "--prepared")
    assert code == 1 and "6 listed but missing" in out, "verify reads, it makes nothing"
    moclip_data("prepare", *arguments)
    code, out, _ = moclip_data("verify", *arguments, "--prepared")
    assert code == 0 and "340x256 (6)" in out and "B-frames    in 0 clips" in out
    code, _, err = moclip_data("verify", *arguments, "--prepared", "-p", "data.reencode=false")
    assert code == 2 and "re-encodes nothing" in err


def test_stats(moclip_data, arguments: list[str], tmp_path: Path) -> None:
    bad = tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g02_c01.avi"
    bad.write_text("no video")
    code, out, _ = moclip_data("stats", *arguments)
    folder = tmp_path / "home" / "data" / "reports" / "ucf101-fold1"
    assert code == 0 and "1 clips cannot be read" in out
    assert (folder / "stats.png").read_bytes()[:4] == b"\x89PNG" and (folder / "stats.pdf").read_bytes()[:4] == b"%PDF"
    classes = pd.read_csv(folder / "stats-classes.csv").set_index("class_name")
    assert list(classes.index) == list(CLASSES), "in the class file's order"
    assert classes["train"].to_dict() == {"Hammering": 1, "HammerThrow": 2} and (classes["b_clips"] == 1).all()
    assert len(pd.read_csv(folder / "stats-clips.csv")) == 5


def test_stats_of_videos_without_a_frame_rate(moclip_data, arguments: list[str], monkeypatch) -> None:
    known = data_stats.facts_of

    def unknown(*arguments: object):
        found, problems = known(*arguments)
        return {name: replace(own, fps=0.0) for name, own in found.items()}, problems

    monkeypatch.setattr(data_stats, "facts_of", unknown)
    code, _, err = moclip_data("stats", *arguments, "-p", "motion.units=equivalent")
    assert code == 2 and "use motion.units=pixels" in err
    assert moclip_data("stats", *arguments)[0] == 0


def test_generated_clips_need_no_folder(moclip_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    small = ["--profile", "smoke", "--workers", "1", "-p", "data.designs={mixed: {train: 1, test: 1}}"]
    code, out, _ = moclip_data("verify", *small)
    assert code == 0 and "mixed: " in out and "mpeg4" in out


def test_an_unknown_data_set(moclip_data) -> None:
    code, _, err = moclip_data("download", "ucf102", "--to", "x")
    assert code == 2 and "ucf101" in err


def test_insecure_is_said_aloud(moclip_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moclip.datasets.download.transfer.time.sleep", lambda seconds: None)
    arguments = ["--to", str(tmp_path), "--mirror", "http://127.0.0.1:9"]
    for more, warned in (([], False), (["--insecure"], True)):
        code, _, err = moclip_data("download", "hmdb51", *arguments, *more)
        assert code == 1 and "no answer" in err and ("WARNING" in err) == warned


def test_the_folders_are_asked_for(moclip_data) -> None:
    code, _, err = moclip_data("prepare", "--profile", "hmdb51")
    assert code == 2 and "hmdb51 needs data.root" in err and "moclip data download hmdb51" in err


@pytest.mark.skipif("MOCLIP_UCF101_ROOT" not in os.environ, reason="MOCLIP_UCF101_ROOT is not set")
def test_real_clips_with_bad_ones_planted(moclip_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy made of links: one clip cut in half, one replaced by text, and notes beside them."""
    real = Path(os.environ["MOCLIP_UCF101_ROOT"])
    clips = sorted((real / "UCF-101").glob("*/*.avi"))
    for clip in clips:
        link = tmp_path / "UCF-101" / clip.parent.name / clip.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(clip)
    cut, text = (tmp_path / "UCF-101" / clip.parent.name / clip.name for clip in (clips[0], clips[-1]))
    for path in (cut, text):
        path.unlink()
    cut.write_bytes(clips[0].read_bytes()[: clips[0].stat().st_size // 2])
    text.write_text("no video")
    (cut.parent / "notes.txt").write_text("notes")
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    folders = ["-p", f"data.root={tmp_path / 'UCF-101'}", "-p", f"data.annotation_path={real / 'ucfTrainTestlist'}"]
    code, out, _ = moclip_data("verify", "--profile", "ucf101-small", *folders)
    assert code == 1 and "2 unreadable" in out and "1 there but not listed" in out
    assert f"{len(clips) - 2} clips, " in out and cut.name in out and text.name in out and "missing" not in out
    folders += ["-p", "data.reencode=false", "-p", "data.on_error=skip"]
    code, out, _ = moclip_data("prepare", "--profile", "ucf101-small", *folders)
    assert code == 0 and f"2 of {len(clips)} clips left out (unreadable)" in out
