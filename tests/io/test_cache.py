"""Rows kept by name, in chunks."""

import numpy as np

from moclip.io.cache import add_rows, read_rows


def test_rows_come_back_by_name(tmp_path):
    rows = {name: np.full(3, value, np.float32) for value, name in enumerate("abcde")}
    add_rows(tmp_path, {name: rows[name] for name in "ab"})
    add_rows(tmp_path, {name: rows[name] for name in "cde"})
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    found = read_rows(tmp_path, {"e", "b", "unknown"})
    assert set(found) == {"b", "e"}
    for name, row in found.items():
        assert row.dtype == np.float32
        np.testing.assert_array_equal(row, rows[name])
    assert read_rows(tmp_path / "none", {"a"}) == {}


def test_a_file_that_cannot_be_read_counts_as_absent(tmp_path, caplog):
    add_rows(tmp_path, {"a": np.ones(2)})
    add_rows(tmp_path, {"b": np.ones(2)})
    first, second = sorted(tmp_path.glob("*.safetensors"))
    kept = set(read_rows(tmp_path, {"a", "b"}))
    first.write_bytes(b"")
    assert len(read_rows(tmp_path, {"a", "b"})) == 1 and kept == {"a", "b"}
    second.write_bytes(second.read_bytes()[:-4])
    assert read_rows(tmp_path, {"a", "b"}) == {}
    assert "computed again" in caplog.text
