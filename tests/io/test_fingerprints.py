"""SHA-256 of many files."""

import hashlib

import pytest

from moclip.io.fingerprints import fingerprints, sha256_of
from moclip.io.parallel import ClipsError


def test_files_are_hashed_and_those_that_cannot_be_read_are_named(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / name for name in ("folder", "b", "a", "none", "b")]
    hashes, failures = sha256_of(paths, workers=2)
    assert hashes == {tmp_path / name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"}
    assert [path for path, _ in failures] == [tmp_path / "folder", tmp_path / "none"]
    assert "FileNotFoundError" in failures[1][1]
    with pytest.raises(ClipsError, match="2 of 5"):
        fingerprints(paths)
    assert sha256_of([]) == ({}, [])
