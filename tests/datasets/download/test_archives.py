"""Archives: what comes out, what is refused before anything is written, and rar without a program for it."""

import stat
import sys
import zipfile
from pathlib import Path

import pytest

from moclip.datasets.download import archives
from moclip.datasets.download.archives import unpack
from moclip.datasets.download.transfer import DownloadError


@pytest.mark.parametrize("kind", ["zip", "rar"])
def test_files_come_out_and_stay(tmp_path: Path, kind: str, make_archive) -> None:
    members = {"A/one.avi": b"1" * 5000, "A/b/two.avi": b"", "three": b"3"}
    archive = make_archive[kind](tmp_path / "x.archive", members)
    target = tmp_path / "out"
    paths = unpack(archive, target)
    assert {path.relative_to(target).as_posix(): path.read_bytes() for path in paths} == members
    (target / "A" / "one.avi").write_bytes(b"1" * 100)  # of a run without our way of writing
    (target / "three").write_bytes(b"!")
    unpack(archive, target)
    assert (target / "A" / "one.avi").read_bytes() == members["A/one.avi"], "too short, so that it came again"
    assert (target / "three").read_bytes() == b"!", "of the right size, so that it stayed"


@pytest.mark.parametrize("name", ["../evil", "/evil", "A/../../evil", "..\\evil", "C:\\evil", "A/.."])
@pytest.mark.parametrize("kind", ["zip", "rar"])
def test_nothing_leaves_the_folder(tmp_path: Path, name: str, kind: str, make_archive) -> None:
    archive = make_archive[kind](tmp_path / "x.archive", {"good.avi": b"good", name: b"evil"})
    with pytest.raises(DownloadError, match=r"would be written|neither a zip"):
        unpack(archive, tmp_path / "deep" / "out")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
    assert not written, "not even what stands before it in the archive"


def test_links_are_refused(tmp_path: Path, make_archive) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
    with pytest.raises(DownloadError, match="or is a link; refused"):
        unpack(tmp_path / "x.zip", tmp_path / "out")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "A").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DownloadError, match="elsewhere/evil; refused"):
        unpack(make_archive["zip"](tmp_path / "y.zip", {"A/evil": b""}), tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "rar"])
def test_damage_is_found_and_leaves_no_file(tmp_path: Path, kind: str, make_archive) -> None:
    content = bytes(range(256)) * 40
    archive = make_archive[kind](tmp_path / "x.archive", {"one": content})
    raw = bytearray(archive.read_bytes())
    raw[200] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(DownloadError, match="fetch the archive again"):
        unpack(archive, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.rar").write_bytes(b"<html>not found</html>")
    with pytest.raises(DownloadError, match="neither a zip nor a rar archive"):
        unpack(tmp_path / "x.rar", tmp_path / "out")


def test_without_rarfile(tmp_path: Path, make_archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rarfile", None)
    with pytest.raises(DownloadError, match=r"pip install 'moclip-lite\[download\]'; and install one of unrar"):
        unpack(make_archive["rar"](tmp_path / "x.rar", {"one": b"1"}), tmp_path / "out")


def test_without_a_program_for_rar(tmp_path: Path, make_archive, monkeypatch: pytest.MonkeyPatch) -> None:
    import rarfile

    for tool in ("UNRAR_TOOL", "UNAR_TOOL", "BSDTAR_TOOL", "SEVENZIP_TOOL", "SEVENZIP2_TOOL"):
        monkeypatch.setattr(rarfile, tool, "no-such-program")
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    archive = make_archive["rar"](tmp_path / "x.rar", {"one": b"compressed, or so it says"}, method=0x33)
    with pytest.raises(DownloadError, match="cannot be unpacked .* install one of unrar, unar"):
        unpack(archive, tmp_path / "out")


def test_a_disk_that_is_too_small(tmp_path: Path, make_archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="GB are free"):
        unpack(make_archive["zip"](tmp_path / "x.zip", {"one": bytes(100)}), tmp_path / "out")
