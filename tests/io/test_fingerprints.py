"""SHA-256 of many files."""

import hashlib

import pytest

from moclip.io.fingerprints import FileHashes, fingerprints
from moclip.io.parallel import ClipsError


def test_files_are_hashed_and_those_that_cannot_be_read_are_named(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / name for name in ("folder", "b", "a", "none", "b")]
    hashes, failures = FileHashes().of(paths, workers=2)
    assert hashes == {tmp_path / name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"}
    assert [path for path, _ in failures] == [tmp_path / "folder", tmp_path / "none"]
    assert failures[1][1] == "FileNotFoundError: No such file or directory"
    with pytest.raises(ClipsError, match="2 of 5"):
        fingerprints(paths)
    assert FileHashes().of([]) == ({}, [])


def test_a_known_file_is_read_again_where_it_looks_different(tmp_path, monkeypatch):
    path, read = tmp_path / "a", []
    path.write_text("a")
    monkeypatch.setattr("moclip.io.fingerprints.sha256_file", lambda path: read.append(path) or path.read_text())
    for text, count in (("a", 1), ("a", 1), ("b", 2)):
        if path.read_text() != text:
            path.with_name("new").write_text(text)  # of the same size
            path.with_name("new").rename(path)
        known = FileHashes(tmp_path / "known")
        assert known.of([path])[0] == {path: text} and len(read) == count
        assert known.of([path])[0] == {path: text} and len(read) == count, "also without `save`"
        known.save()
    assert FileHashes(tmp_path / "known", rehash=True).of([path])[0] == {path: "b"} and len(read) == 3
