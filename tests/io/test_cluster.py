"""The same bytes by every road: one process, two, threads, a Dask cluster."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from moclip.datasets.prepare import reencode
from moclip.engine.features import extract_motion
from moclip.io import cluster
from moclip.io.cluster import SchedulerError, dask_executor
from moclip.io.files import sha256_file
from moclip.io.fingerprints import fingerprints
from moclip.io.parallel import ClipsError, for_each_file


@pytest.fixture(scope="module")
def address():
    """A scheduler and two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None, protocol="tcp://") as started:
        yield started.scheduler_address


@pytest.fixture(params=["one process", "two processes", "threads", "dask"])
def road(request):
    """Arguments that choose who works."""
    if request.param == "dask":
        yield {"executor": request.getfixturevalue("address")}
    elif request.param == "threads":
        with ThreadPoolExecutor(2) as executor:
            yield {"executor": executor}
    else:
        yield {"workers": 1 if request.param == "one process" else 2}


def contents(folder, kind="safetensors"):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob(f"*.{kind}")}


def test_motion_is_stored_alike_and_a_bad_clip_is_reported_at_the_end(photos, store, tmp_path, road):
    bad = replace(photos.clips[1], path=tmp_path / "cut.mp4", name="cut")
    bad.path.write_bytes(photos.clips[1].path.read_bytes()[:600])
    with pytest.raises(ClipsError, match=r"1 of 13 clips failed(.|\n)*cut\.mp4: VideoError: ") as caught:
        extract_motion([bad, *photos.clips], tmp_path / "store", **road)
    assert [path for path, _ in caught.value.failures] == [bad.path]
    assert contents(tmp_path / "store") == contents(store)


def test_clips_are_encoded_and_hashed_alike(photos, tmp_path, road):
    few = replace(photos, train=photos.train[:2], test=photos.test[:1])
    here, there = (reencode(few, tmp_path / name, **how) for name, how in (("one", {"workers": 1}), ("two", road)))
    assert len(contents(tmp_path / "one", "m4v")) == 3
    assert contents(tmp_path / "one", "m4v") == contents(tmp_path / "two", "m4v")
    assert here.fingerprint == there.fingerprint
    paths = [clip.path for clip in there.clips]
    assert fingerprints(paths, **road) == {path: sha256_file(path) for path in paths}


def test_nobody_is_asked_where_nothing_is_to_do():
    for_each_file(sha256_file, [], "test", executor="tcp://127.0.0.1:1")


def test_a_scheduler_that_does_not_answer_is_an_error_soon():
    with (
        pytest.raises(SchedulerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 within 1 s"),
        dask_executor("tcp://127.0.0.1:1", timeout=1),
    ):
        pass


def test_an_address_that_is_none_is_an_error():
    with pytest.raises(SchedulerError, match="no Dask scheduler answers at cluster"), dask_executor("cluster", 1):
        pass


def test_without_dask_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(SchedulerError, match=r"pip install 'moclip-lite\[distributed\]'"),
        dask_executor("tcp://127.0.0.1:1"),
    ):
        pass


def test_workers_of_other_versions_are_refused(address, monkeypatch):
    monkeypatch.setattr(cluster.metadata, "version", lambda name: "0.1")  # of this process
    with pytest.raises(SchedulerError, match=r"worker tcp://.* has .*'av': '0.1'.*differ"), dask_executor(address):
        pass
