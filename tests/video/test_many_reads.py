"""Many reads at once and one after the other: the same results, and nothing left behind."""

import dataclasses
import gc
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from moclip.video import VideoError, encode, probe, read_frames, read_motion, read_residual, transcode


def same(one, other):
    return all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        for a, b in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    )


def test_many_threads_read_the_same_files(tmp_path, pan, encode_as):
    encode(pan(2, 1), tmp_path / "a.mp4")
    encode_as("libx264", tmp_path / "b.mp4", {"bf": "2"})
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "c.mp4").write_bytes(data[: len(data) // 2])
    alone = {name: read_motion(tmp_path / name) for name in ("a.mp4", "b.mp4")}

    def work(name):
        if name == "c.mp4":
            with pytest.raises(VideoError, match=r"c\.mp4"):
                read_motion(tmp_path / name)
        else:
            assert same(read_motion(tmp_path / name), alone[name])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, ["a.mp4", "b.mp4", "c.mp4"] * 20))


def test_motion_and_errors_cross_processes(tmp_path, pan):
    encode(pan(2, 1), tmp_path / "a.mp4")
    (tmp_path / "empty.mp4").touch()
    motion = read_motion(tmp_path / "a.mp4")
    assert same(pickle.loads(pickle.dumps(motion)), motion)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(read_motion, tmp_path / name) for name in ("a.mp4", "a.mp4", "empty.mp4", "none.mp4")]
        assert same(futures[0].result(), motion) and same(futures[1].result(), motion)
        for future, name in zip(futures[2:], ("empty.mp4", "none.mp4"), strict=True):
            with pytest.raises(VideoError) as caught:
                future.result()
            assert caught.value.path == tmp_path / name and caught.value.cause


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_nothing_stays_open(tmp_path, pan, encode_as):
    encode(pan(2, 1), tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    encode(pan(2, 1), tmp_path / "a.avi")
    (tmp_path / "half.avi").write_bytes((tmp_path / "a.avi").read_bytes()[:6000])
    encode_as("ffv1", tmp_path / "silent.avi")
    (tmp_path / "text.avi").write_text("not a video at all\n" * 200)
    paths = [tmp_path / "missing.avi", tmp_path, *sorted(tmp_path.iterdir())]
    (tmp_path / "out").mkdir()

    def transcode_it(path):
        transcode(path, tmp_path / "out" / "out.m4v", width=48, height=32)

    def first_frame(path):
        read_frames(path, [0])

    still = read_motion(tmp_path / "a.mp4")

    def first_residual(path):
        read_residual(path, still, [0])

    for number in range(12):
        for path in paths:
            for read in (probe, read_motion, first_frame, first_residual, transcode_it):
                try:
                    read(path)
                except VideoError:
                    continue
        if number == 0:
            gc.collect()
            before = open_files()
    gc.collect()
    assert open_files() <= before


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs /proc")
def test_memory_does_not_grow(tmp_path, pan):
    # benchmarks/leak_motion.py does this 20,000 times. A read that kept its pictures would keep 130 kB each time.
    encode(pan(2, 1), tmp_path / "a.m4v")
    data = (tmp_path / "a.m4v").read_bytes()
    (tmp_path / "half.m4v").write_bytes(data[: len(data) // 2])

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for number in range(400):
        if number == 100:
            gc.collect()
            before = resident()
        read_motion(tmp_path / "a.m4v")
        with pytest.raises(VideoError):
            read_motion(tmp_path / "half.m4v")
    gc.collect()
    assert resident() - before < 300 * 40_000
