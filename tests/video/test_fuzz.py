"""A fixed, small number of the mutations that benchmarks/fuzz_motion.py makes by the thousand."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moclip.video import encode

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_motion.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_motion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments, **environment):
    """The command's exit status and what it prints."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def clips(tmp_path, pan, encode_as):
    encode(pan(2, 1), tmp_path / "a.m4v")
    encode(pan(2, 1), tmp_path / "b.avi", b_frames=2)
    encode(pan(2, 1), tmp_path / "c.mp4", codec="libx264")
    encode_as("mpeg2video", tmp_path / "d.mpg")
    encode_as("flv", tmp_path / "e.flv")
    encode_as("wmv2", tmp_path / "f.wmv")
    return sorted(tmp_path.iterdir())


def test_damaged_files_are_read_or_refused(clips, golden):
    status, result = run("--count", 300, "--timeout", 60, *clips, golden / "pan_m4q5.mp4")
    assert result["bad"] == [] and status == 0
    assert result["mutations"] == 300 and min(result["outcomes"].values()) > 20  # both outcomes, and often
    assert result["open_files"][0] == result["open_files"][1]
    assert result["peak_mib"] < 1000


@pytest.mark.skipif("MOCLIP_UCF101_ROOT" not in os.environ, reason="MOCLIP_UCF101_ROOT is not set")
def test_damaged_real_clips_are_read_or_refused():
    clips = sorted(Path(os.environ["MOCLIP_UCF101_ROOT"]).rglob("*_g08_c01.avi"))[:5]
    status, result = run("--count", 100, "--timeout", 60, *clips)
    assert result["bad"] == [] and status == 0
    assert result["mutations"] == 100 and min(result["outcomes"].values()) > 5


BROKEN = """
import dataclasses, os, time
from moclip.video import VideoError, read_motion
still = read_motion(os.environ["STILL"])
still.accumulated(1)  # compiled before the clock runs

def read(path):
    if path.suffix == ".abort": os.abort()
    if path.suffix == ".sleep": time.sleep(60)
    if path.suffix == ".raise": raise KeyError("lost")
    if path.suffix == ".memory": bytearray(64 << 30)
    if path.suffix == ".other": raise VideoError("another.avi", "damaged")
    if path.suffix == ".shape": return dataclasses.replace(still, grid=still.grid[:, :-1])
    if path.suffix == ".mask": return dataclasses.replace(still, mask=still.mask + 2)
    if path.suffix == ".error": raise VideoError(path, "damaged")
    return still
"""
OUTCOMES = {
    "abort": "died (status -6)", "sleep": "hangs (over 2 s)", "raise": "raw KeyError", "memory": "raw MemoryError",
    "other": "another path in the error", "shape": "raw AssertionError", "mask": "raw AssertionError",
    "error": "VideoError", "fine": "read",
}  # fmt: skip


@pytest.mark.slow
def test_what_must_not_be_is_seen(tmp_path, pan, fuzz):
    # A reader that misbehaves by the file's suffix: the command must say how, with the seed, and go on.
    encode(pan(2, 1), tmp_path / "still.mp4")
    (tmp_path / "broken_reader.py").write_text(BROKEN)
    files = [tmp_path / f"a.{suffix}" for suffix in OUTCOMES]
    for file in files:
        file.write_bytes(bytes(100))
    seeds = {}
    for seed in range(200):  # the first seed of each file
        seeds.setdefault(fuzz.mutation(files, seed)[0].suffix[1:], seed)
    count = max(seeds.values()) + 1
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    status, result = run(
        "--count", count, "--timeout", 2, "--reader", "broken_reader:read", *files,
        PYTHONPATH=search, STILL=str(tmp_path / "still.mp4"),
    )  # fmt: skip
    assert status == 1 and result["mutations"] == count and set(result["outcomes"]) == set(OUTCOMES.values())
    found = {(reply["file"].removeprefix("a."), reply["outcome"]) for reply in result["bad"]}
    assert found == {item for item in OUTCOMES.items() if item[0] not in ("error", "fine")}
    assert {seeds[name] for name, _ in found} <= {reply["seed"] for reply in result["bad"]}


def test_every_kind_of_damage_is_done(fuzz):
    data = np.random.default_rng(0).bytes(5000)
    done = {}
    for seed in range(200):
        kind, damaged = fuzz.mutate(data, np.random.default_rng(seed))
        assert damaged == fuzz.mutate(data, np.random.default_rng(seed))[1]
        done.setdefault(kind, []).append(damaged)
    assert set(done) == set(fuzz.KINDS)
    for kind, results in done.items():
        assert np.mean([result != data for result in results]) > 0.8, kind
    assert all(data.startswith(result) for result in done["truncate"])
    assert all(result[600:] == data[600:] for result in done["damage the header"])
    for kind in ("flip bits", "set bytes", "swap"):
        assert all(len(result) == len(data) for result in done[kind])


def test_one_mutation_can_be_made_again(tmp_path, clips, fuzz):
    kept = tmp_path / "kept"
    subprocess.run([sys.executable, SCRIPT, *clips, "--seed", "7", "--keep", kept], check=True)
    assert kept.read_bytes() == fuzz.mutation(clips, 7)[2]
