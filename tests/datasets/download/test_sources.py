"""The whole way from a server to counted clips, with archives of a handful of empty clips."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moclip.datasets import hmdb51, ucf101
from moclip.datasets.base import DataError
from moclip.datasets.download.sources import SOURCES, download

Server = tuple[Path, str, dict]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, make_archive: dict) -> Iterator[Server]:
    """A folder, the address under which a local server gives it out, and what makes archives."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/", make_archive
    server.shutdown()
    server.server_close()


def ucf_archives(folder: Path, make: dict, train: int = 2, test: int = 1) -> None:
    files = [f"Archery/v_Archery_g{group:02d}_c01.avi" for group in range(1, 1 + train + test)]
    lists = {"ucfTrainTestlist/classInd.txt": b"1 Archery\n"}
    for fold in (1, 2, 3):
        lists[f"ucfTrainTestlist/testlist{fold:02d}.txt"] = "\n".join(files[:test]).encode()
        lists[f"ucfTrainTestlist/trainlist{fold:02d}.txt"] = "\n".join(f"{file} 1" for file in files[test:]).encode()
    make["zip"](folder / "UCF101TrainTestSplits-RecognitionTask.zip", lists)
    make["rar"](folder / "UCF101.rar", {f"UCF-101/{file}": file.encode() for file in files})


def hmdb_archives(folder: Path, make: dict) -> None:
    lists, inner = {}, {}
    for name in ("wave", "walk"):
        files = {f"{film}_{name}_f_cm_np1_ba_med_0.avi": tag for tag, film in enumerate(("third", "one", "two"))}
        for fold in (1, 2, 3):
            lines = "".join(f"{file} {tag} \n" for file, tag in files.items())
            lists[f"testTrainMulti_7030_splits/{name}_test_split{fold}.txt"] = lines.encode()
        path = make["rar"](folder / "inner.rar", {f"{name}/{file}": b"clip" for file in files})
        inner[f"{name}.rar"] = path.read_bytes()
        path.unlink()
    make["rar"](folder / "test_train_splits.rar", lists)
    make["rar"](folder / "hmdb51_org.rar", inner)


def test_ucf101(mirror: Server, tmp_path: Path) -> None:
    folder, address, make = mirror
    ucf_archives(folder, make)
    said: list[str] = []
    data = download("ucf101", tmp_path / "data", mirror=address, say=said.append)
    assert (len(data.train), len(data.test), data.classes) == (2, 1, ("Archery",))
    assert data.test[0].path == tmp_path / "data" / "UCF-101" / "Archery" / "v_Archery_g01_c01.avi"
    assert data.test[0].path.read_bytes() == b"Archery/v_Archery_g01_c01.avi"
    assert said[-1] == "fold 3: 2 training and 1 test clips, all there" and any("SHA-256" in line for line in said)
    (folder / "UCF101.rar").unlink()
    assert download("ucf101", tmp_path / "data", mirror=address).train == data.train, "nothing is fetched again"


def test_hmdb51_whose_clips_lie_in_an_archive_a_class(mirror: Server, tmp_path: Path) -> None:
    folder, address, make = mirror
    hmdb_archives(folder, make)
    data = download("hmdb51", tmp_path / "data", mirror=address)
    assert data.classes == ("walk", "wave") and (len(data.train), len(data.test), len(data.unused)) == (2, 2, 2)
    assert data.train[0].group == "one" and data.train[0].path.read_bytes() == b"clip"


def test_clips_that_the_archive_lacks(mirror: Server, tmp_path: Path) -> None:
    folder, address, make = mirror
    ucf_archives(folder, make)
    make["rar"](folder / "UCF101.rar", {"UCF-101/Archery/v_Archery_g01_c01.avi": b""})
    with pytest.raises(FileNotFoundError, match="2 of 3 listed clips are not under"):
        download("ucf101", tmp_path / "data", mirror=address)


def test_lists_of_wrong_length(mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, address, make = mirror
    ucf_archives(folder, make)
    whole = replace(ucf101.UCF101, class_count=1)  # these lists then count as those of the whole data set
    monkeypatch.setattr(ucf101, "UCF101", whole)
    with pytest.raises(DataError, match="lists 2 training and 1 test clips, the official split 9537"):
        download("ucf101", tmp_path / "data", mirror=address)


def test_official_addresses_are_encrypted_and_name_the_archives() -> None:
    assert all(url.startswith("https://") for source in SOURCES.values() for url in source.archives)
    assert SOURCES["ucf101"].archives[-1].endswith("/UCF101.rar") and hmdb51.CLASS_COUNT == 51
