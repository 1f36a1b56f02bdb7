"""Work on many files: processes or a Dask cluster, failures at the end, nothing else lost."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from moclip.engine.features import extract_motion
from moclip.errors import MoclipError
from moclip.io import parallel
from moclip.io.parallel import ClipsError, for_each_file
from moclip.video import transcode

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address():
    """A scheduler and two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None, protocol="tcp://") as started:
        yield started.scheduler_address


@pytest.fixture(params=["one process", "two processes", "dask"])
def way(request):
    """Arguments that choose who works."""
    if request.param == "dask":
        return {"scheduler": request.getfixturevalue("address")}
    return {"workers": 1 if request.param == "one process" else 2}


def contents(folder, kind="safetensors"):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob(f"*.{kind}")}


# --- the same bytes --------------------------------------------------------------------------------------------------


def test_motion_is_stored_alike_and_a_bad_clip_is_reported_at_the_end(photos, store, tmp_path, way):
    bad = replace(photos.clips[1], path=tmp_path / "cut.mp4", name="cut", sha256="0" * 64)
    bad.path.write_bytes(photos.clips[1].path.read_bytes()[:600])
    with pytest.raises(ClipsError, match=r"1 of 13 clips failed(.|\n)*cut\.mp4: VideoError: ") as caught:
        extract_motion([bad, *photos.clips], tmp_path / "store", **way)
    assert [path for path, _ in caught.value.failures] == [bad.path]
    assert contents(tmp_path / "store") == contents(store)


def test_clips_are_encoded_alike(photos, tmp_path, way):
    for name, how in (("one", {"workers": 1}), ("two", way)):
        jobs = [(clip.path, tmp_path / name / f"{clip.name}.m4v") for clip in photos.clips[:3]]
        for_each_file(transcode, jobs, "test", **how)
    assert len(contents(tmp_path / "one", "m4v")) == 3
    assert contents(tmp_path / "one", "m4v") == contents(tmp_path / "two", "m4v")


# --- failures --------------------------------------------------------------------------------------------------------


def test_failures_are_returned_where_they_are_skipped(tmp_path, way):
    (tmp_path / "b").write_bytes(b"text")
    failures = for_each_file(Path.read_bytes, [(tmp_path / n,) for n in "cba"], "test", on_error="skip", **way)
    assert [path for path, _ in failures] == [tmp_path / "a", tmp_path / "c"]
    assert failures[0][1].startswith("FileNotFoundError: ")
    assert for_each_file(Path.read_bytes, [(tmp_path / "b",)], "test", on_error="skip", **way) == []


KILLING = """
import os, signal, sys, time
from pathlib import Path
from moclip.io import parallel
from moclip.io.parallel import for_each_file

def work(path, source):
    text = source.read_text()
    if text == "kill":
        time.sleep(0.3)  # a decoder crashes after it has opened a file
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "hang":
        time.sleep(99)
    path.write_text(text)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    parallel.LONGEST = 5.0
    jobs = [(folder / f"{path.name}.out", path) for path in sorted(folder.iterdir())]
    print(for_each_file(work, jobs, "test", workers=2, on_error="skip"))
"""


def test_a_worker_that_dies_or_hangs_names_its_clip_and_the_rest_is_done(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}").write_text({7: "kill", 11: "hang", 12: "kill"}.get(number, "fine"))
    script = tmp_path.with_suffix(".py")
    script.write_text(KILLING)
    run = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert run.returncode == 0, run.stderr
    failures = eval(run.stdout, {"PosixPath": Path})
    died, hung = "the process that read it died (exit code -9; ", "the process that read it did not end within 5 s"
    assert [(path.name, reason.startswith((died, hung))) for path, reason in failures] == [
        ("07.out", True),
        ("11.out", True),
        ("12.out", True),
    ]
    assert failures[0][1].startswith(died) and failures[1][1] == hung
    assert len(list(tmp_path.glob("*.out"))) == 27


def test_workers_that_cannot_start_are_an_error_with_the_remedy(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLING.replace('if __name__ == "__main__":', "if True:"))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a").write_text("fine")
    command = [sys.executable, script, tmp_path / "clips"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert run.returncode == 1 and 'stand under `if __name__ == "__main__":`' in run.stderr


@pytest.mark.parametrize("text", ["hang", "fine"])  # a busy worker, an idle one
def test_workers_end_with_a_killed_parent(tmp_path, text):
    script = tmp_path.with_suffix(".py")
    waits = KILLING.replace("path.write_text(text)", "path.write_text(str(os.getpid()))").replace(
        'text == "hang"', 'text == "hang" and path.write_text(str(os.getpid()))'
    )
    waits = waits.replace("parallel.LONGEST = 5.0", "parallel.LONGEST = 99.0").replace(
        'on_error="skip")', 'on_error="skip", done=lambda *_: time.sleep(99))'
    )
    script.write_text(waits)
    (tmp_path / "a").write_text(text)
    result = tmp_path / "a.out"
    with subprocess.Popen([sys.executable, script, tmp_path], cwd=ROOT) as process:
        wait_for(lambda: result.is_file() and result.read_text())
        worker = Path(f"/proc/{result.read_text()}")
        assert worker.exists()
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not worker.exists() or "Z" in (worker / "stat").read_text().rpartition(")")[2].split()[0])


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_results_arrive_here_and_few_jobs_are_submitted_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "UNDER_WAY", 5)
    jobs = [(tmp_path / f"{n:02}",) for n in range(23)]
    for (path,) in jobs[:-1]:
        path.write_bytes(path.name.encode())
    submitted, ended, most = [], {}, []
    schedule = parallel.ProcessPool.schedule
    monkeypatch.setattr(
        parallel.ProcessPool, "schedule", lambda *given, **more: submitted.append(1) or schedule(*given, **more)
    )

    def done(job, result):
        most.append(len(submitted) - len(ended))
        ended[job[0]] = result

    failures = for_each_file(Path.read_bytes, jobs, "test", 2, on_error="skip", done=done)
    assert ended == {path: path.name.encode() for (path,) in jobs[:-1]}
    assert [path for path, _ in failures] == [jobs[-1][0]]
    assert max(most) == 5 and len(submitted) == 23


def test_without_jobs_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(parallel, "ProcessPool", None)
    assert for_each_file(os.stat, [], "test") == []
    assert for_each_file(os.stat, [], "test", scheduler="tcp://127.0.0.1:1") == []


# --- the cluster -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:1", "cluster"])
def test_a_scheduler_that_does_not_answer_is_an_error_soon(wrong):
    with pytest.raises(MoclipError, match=f"no Dask scheduler answers at {wrong} within 1 s"):
        parallel._cluster(wrong, timeout=1).__enter__()


def test_without_dask_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MoclipError, match=r"pip install 'moclip-lite\[distributed\]'"):
        for_each_file(os.stat, [(Path("a"),)], "test", scheduler="tcp://127.0.0.1:1")


def test_workers_of_other_versions_are_refused(address, monkeypatch):
    monkeypatch.setattr("moclip.io.keys._installed", lambda library: "0.1")  # of this process
    with pytest.raises(MoclipError, match=r"worker tcp://.* has .*'av': '0.1'.*differ"):
        for_each_file(os.stat, [(Path("a"),)], "test", scheduler=address)
