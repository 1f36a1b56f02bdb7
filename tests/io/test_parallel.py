"""Work on many files: processes or any executor, failures at the end, nothing else lost."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from moclip.io.parallel import ClipsError, for_each_file
from moclip.video import encode, probe, transcode


@pytest.mark.parametrize("own_executor", [False, True])
def test_a_bad_file_is_reported_and_the_others_are_done(tmp_path: Path, own_executor: bool) -> None:
    for name in "ac":
        encode(np.zeros((3, 32, 48, 3), np.uint8), tmp_path / f"{name}.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    jobs = [(tmp_path / f"{name}.mp4", tmp_path / f"{name}.m4v") for name in "abc"]
    with (
        ThreadPoolExecutor(2) as executor,
        pytest.raises(ClipsError, match=r"1 of 3 clips failed(.|\n)*b\.mp4") as caught,
    ):
        for_each_file(transcode, jobs, "test", workers=1, executor=executor if own_executor else None)
    assert [path for path, _ in caught.value.failures] == [tmp_path / "b.mp4"]
    assert probe(tmp_path / "a.m4v").frames == probe(tmp_path / "c.m4v").frames == 3
    assert not (tmp_path / "b.m4v").exists()


def test_failures_are_returned_where_they_are_skipped(tmp_path: Path) -> None:
    encode(np.zeros((3, 32, 48, 3), np.uint8), tmp_path / "b.mp4")
    (tmp_path / "a.mp4").write_bytes(b"")
    jobs = [(tmp_path / f"{name}.mp4", tmp_path / f"{name}.m4v") for name in "cba"]
    with ThreadPoolExecutor(2) as executor:
        failures = for_each_file(transcode, jobs, "test", executor=executor, on_error="skip")
        assert for_each_file(transcode, jobs[1:2], "test", executor=executor, on_error="skip") == []
    assert [path for path, _ in failures] == [tmp_path / "a.mp4", tmp_path / "c.mp4"]
    assert "is empty" in failures[0][1] and "no such file" in failures[1][1]
    assert probe(tmp_path / "b.m4v").frames == 3


def test_on_error_is_checked() -> None:
    with pytest.raises(ValueError, match="'raise' or 'skip', not 'ignore'"):
        for_each_file(transcode, [], "test", on_error="ignore")


def test_results_arrive_here_and_no_more_is_handed_out_than_can_be_overseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moclip.io.parallel.UNDER_WAY", 5)
    jobs = [(tmp_path / f"{n:02}",) for n in range(23)]
    for (path,) in jobs[:-1]:
        path.write_bytes(path.name.encode())
    handed, ended, most = [], {}, []
    with ThreadPoolExecutor(2) as executor:
        submit = executor.submit
        monkeypatch.setattr(executor, "submit", lambda *job: handed.append(job) or submit(*job))

        def done(job: tuple[Path], result: bytes) -> None:
            most.append(len(handed) - len(ended))
            ended[job[0]] = result

        failures = for_each_file(Path.read_bytes, jobs, "test", executor=executor, on_error="skip", done=done)
    assert ended == {path: path.name.encode() for (path,) in jobs[:-1]}
    assert [path for path, _ in failures] == [jobs[-1][0]]
    assert max(most) == 5 and len(handed) == 23


def test_processes_that_die_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"test: the worker processes died(.|\n)*__main__"):
        for_each_file(os._exit, [(3,)] * 2000, "test", workers=1)


def test_no_jobs_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moclip.io.parallel.ProcessPoolExecutor", None)
    for_each_file(transcode, [], "test")
