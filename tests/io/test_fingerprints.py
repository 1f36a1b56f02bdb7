"""SHA-256 of files: every file once."""

import hashlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from moclip.io import fingerprints as module
from moclip.io.fingerprints import BATCH, fingerprints
from moclip.io.parallel import ClipsError

LONG_AGO = 10**18  # 2001


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def settled(monkeypatch):
    """Files that were written a moment ago count as old."""
    monkeypatch.setattr(module, "FRESH", -(10**9))


@pytest.fixture
def read(monkeypatch):
    """Which files were read."""
    seen = []
    original = module.sha256_file
    monkeypatch.setattr(module, "sha256_file", lambda path: seen.append(path) or original(path))
    return seen


def write(path, content):
    path.write_bytes(content)
    return path


def sha(content):
    return hashlib.sha256(content).hexdigest()


def test_every_file_is_read_once(tmp_path, settled, read):
    paths = [write(tmp_path / name, name.encode()) for name in "abc"]
    expected = {path: sha(path.name.encode()) for path in paths}
    assert fingerprints([*paths, paths[0]]) == expected and sorted(read) == paths
    assert fingerprints(paths) == expected and len(read) == 3
    assert fingerprints([]) == {}


@pytest.mark.parametrize("how", ["size", "mtime", "neither"])
def test_a_file_that_changed_is_read_again(tmp_path, settled, how):
    path = write(tmp_path / "a", b"one")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert fingerprints([path])[path] == sha(b"one")
    content = b"other" if how == "size" else b"two"
    write(path, content)
    if how != "mtime":  # as in a re-encoded clip, which has its source's time stamp
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert fingerprints([path])[path] == sha(content)


def test_a_file_written_a_moment_ago_is_not_trusted_to_stay(tmp_path, read):
    path = write(tmp_path / "a", b"one")
    for count in (1, 2):
        fingerprints([path])
        assert len(read) == count


def test_files_that_cannot_be_read_are_named_and_the_others_kept(tmp_path, settled, read):
    path, folder = write(tmp_path / "a", b"one"), tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ClipsError, match="2 of 3") as caught:
        fingerprints([folder, path, tmp_path / "none"])
    assert [failed for failed, _ in caught.value.failures] == [folder, tmp_path / "none"]
    del read[:]
    assert fingerprints([path])[path] == sha(b"one") and read == []


def test_another_executor_reads(tmp_path):
    paths = [write(tmp_path / name, name.encode()) for name in "ab"]
    with ThreadPoolExecutor(1) as executor:
        executor.submit = lambda *job, submit=executor.submit: handed.append(job) or submit(*job)
        handed = []
        assert fingerprints(paths, executor=executor) == {path: sha(path.name.encode()) for path in paths}
    assert len(handed) == 2


def test_what_was_read_before_an_end_is_kept(tmp_path, settled, read, monkeypatch):
    """In batches, so that a kill loses few."""
    paths = [write(tmp_path / f"{n:03}", b"x") for n in range(BATCH + 5)]
    table = module._table

    def until_the_end(statement, rows=()):
        return pytest.fail("end") if 0 < len(rows) < BATCH else table(statement, rows)

    monkeypatch.setattr(module, "_table", until_the_end)
    with pytest.raises(pytest.fail.Exception, match="end"):
        fingerprints(paths, workers=1)
    monkeypatch.undo()
    with sqlite3.connect(tmp_path / "home" / "cache" / "fingerprints.sqlite") as kept:
        assert kept.execute("SELECT count(*) FROM files").fetchone() == (BATCH,)


@pytest.mark.parametrize("trouble", ["damaged", "no folder"])
def test_without_a_table_files_are_read(tmp_path, own_home, settled, trouble, caplog):
    path = write(tmp_path / "a", b"one")
    if trouble == "damaged":
        (own_home / "cache").mkdir(parents=True)
        write(own_home / "cache" / "fingerprints.sqlite", b"no database" * 100)
    else:
        write(own_home, b"a file where the folder should be")
    assert fingerprints([path])[path] == sha(b"one")
    assert "not kept" in caplog.text
