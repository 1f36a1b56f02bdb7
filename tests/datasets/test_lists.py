"""The three forms of a list, and what is wrong with a wrong one."""

from pathlib import Path

import pytest

from moclip.datasets import lists
from moclip.datasets.base import DataError

CLASSES = ("B", "A")
WHERE = "that is where it should be"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "list.txt"
    path.write_text("\r\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize(
    ("lines", "numbers"),
    [
        (["B/x.avi", "A/y.avi"], [None, None]),
        (["B/x.avi 1", "", "A/y.avi 2"], [1, 2]),
        (["B/x.avi 0", "A/y.avi 1"], [0, 1]),
        (["B/x.avi B 0", "A/y.avi A 1"], [0, 1]),
        (["A/y.avi 1"], [1]),
    ],
)
def test_three_forms(tmp_path: Path, lines: list[str], numbers: list[int | None]) -> None:
    path = write(tmp_path, *lines)
    rows = lists.read_rows(path)
    assert [row.number for row in rows] == numbers
    assert all(row.class_name == row.inside[0] and row.inside.endswith(".avi") for row in rows)
    lists.check_numbers(path, rows, CLASSES)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["B/x.avi 1", "A/y.avi"], "'A/y.avi' is none of .* or not of the form of the lines before it"),
        (["B/x.avi 1 B 0"], "is none of"),
        (["B/x.avi one"], "is none of"),
        (["B/x.avi -1"], "is none of"),
        (["x.avi 1"], "has no folder"),
        (["B/x.avi A 1"], "is listed as 'A', but lies in the folder 'B'"),
        ([], "lists no clip"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        lists.read_rows(write(tmp_path, *lines))


@pytest.mark.parametrize("lines", [["B/x.avi 0", "A/y.avi 2"], ["B/x.avi 2", "A/y.avi 1"], ["B/x.avi 1", "A/y.avi 1"]])
def test_numbers_that_are_not_the_labels(tmp_path: Path, lines: list[str]) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(DataError, match=r"has number \d, but classInd.txt says \d"):
        lists.check_numbers(path, lists.read_rows(path), CLASSES)


def test_without_a_class_file_a_class_has_one_number(tmp_path: Path) -> None:
    rows = [lists.Row("A/x", 7), lists.Row("B/x", 0), lists.Row("A/y", 7)]
    lists.check_numbers_of_classes(tmp_path, rows)
    for wrong in (lists.Row("A/z", 8), lists.Row("C/x", 7)):
        with pytest.raises(DataError, match="number"):
            lists.check_numbers_of_classes(tmp_path, [*rows, wrong])


def test_missing_lists_say_where_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a.txt is missing, and so are b.txt; that is"):
        lists.find_list(tmp_path, ["a.txt", "b.txt"], WHERE)
    (tmp_path / "b.txt").touch()
    assert lists.find_list(tmp_path, ["a.txt", "b.txt"], WHERE) == tmp_path / "b.txt"
