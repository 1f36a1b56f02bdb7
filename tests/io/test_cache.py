"""Rows kept by content."""

import numpy as np
import pytest

from moclip.io.cache import cached_rows

KEY = {"code": {"video": "a"}, "settings": {"size": 3}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    return tmp_path / "cache" / "test"


class Computer:
    """Rows that say their name; counts what was asked."""

    def __init__(self, stops_at=None):
        self.asked, self.stops_at = [], stops_at

    def __call__(self, missing, keep):
        for name, kinds in missing.items():
            if name == self.stops_at:
                raise KeyboardInterrupt
            self.asked += [f"{name}-{kind}" for kind in kinds]
            keep({name: {kind: np.full(3, ord(name) + len(kind), np.float32) for kind in kinds}})


def test_rows_come_in_order_and_what_is_kept_is_not_computed_again(folder):
    first, second = Computer(), Computer()
    rows = cached_rows("test", KEY, ["x", "yy"], list("cab"), first)
    assert first.asked == ["c-x", "c-yy", "a-x", "a-yy", "b-x", "b-yy"]
    np.testing.assert_array_equal(rows["yy"][:, 0], [ord(name) + 2 for name in "cab"])
    assert rows["x"].dtype == np.float32 and rows["x"].shape == (3, 3)
    rows = cached_rows("test", KEY, ["x", "zzz"], list("dada"), second)
    assert second.asked == ["d-x", "d-zzz", "a-zzz"]
    np.testing.assert_array_equal(rows["x"][:, 0], [ord(name) + 1 for name in "dada"])
    third = Computer()
    cached_rows("test", {**KEY, "settings": {"size": 4}}, ["x"], ["a"], third)
    assert third.asked == ["a-x"], "another key"
    assert len(list(folder.iterdir())) == 2


def test_what_was_computed_before_an_end_is_kept_in_batches(folder):
    with pytest.raises(KeyboardInterrupt):
        cached_rows("test", KEY, ["x"], list("abcdef"), Computer(stops_at="f"), at_once=2)
    assert len(list(folder.rglob("*.safetensors"))) == 3
    again = Computer()
    cached_rows("test", KEY, ["x"], list("abcdef"), again)
    assert again.asked == ["f-x"]


def test_a_file_that_cannot_be_read_counts_as_absent(folder, caplog):
    cached_rows("test", KEY, ["x"], list("ab"), Computer(), at_once=1)
    first, second = sorted(folder.rglob("*.safetensors"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-4])
    again = Computer()
    cached_rows("test", KEY, ["x"], list("ab"), again)
    assert again.asked == ["a-x", "b-x"] and "computed again" in caplog.text
