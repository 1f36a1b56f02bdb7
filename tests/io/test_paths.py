"""Files get there whole or not at all."""

import hashlib
import os
import signal
import stat
import subprocess
import sys

import pytest

from moclip.config.sections import safe_name
from moclip.io import paths
from moclip.io.files import atomic_path, sha256_file


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "folder" / "a.csv"
    for text in ("old", "new"):
        with atomic_path(path) as temporary:
            assert temporary.parent == path.parent and temporary.suffix == ".csv" and temporary.name.startswith(".")
            temporary.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.csv"]


def test_a_reader_keeps_the_file_that_it_opened(tmp_path):
    """The new file takes the name; nothing is written into the old one."""
    path = tmp_path / "a.csv"
    path.write_text("old and longer")
    with open(path) as reader:
        with atomic_path(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old and longer" and path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.csv"]
    with pytest.raises(error), atomic_path(tmp_path / "b.csv") as temporary:
        raise error
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    code = f"""
import time
from moclip.io.files import atomic_path
with atomic_path({str(path)!r}) as temporary:
    temporary.write_text("half")
    print("written", flush=True)
    time.sleep(99)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == ["a.csv"]


def test_the_file_has_the_rights_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.unlink()  # as safetensors does
            temporary.touch(0o600)
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_home_moves_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "a" / ".." / "b"))
    assert paths.home() == tmp_path / "b"
    folders = [paths.data_dir(), paths.cache_dir(), paths.run_dir("r"), paths.figures_dir("r")]
    assert [str(folder.relative_to(tmp_path / "b")) for folder in folders] == ["data", "cache", "runs/r", "figures/r"]
    monkeypatch.delenv("MOCLIP_HOME")
    assert paths.home() == paths.project_root()
    assert (paths.project_root() / "moclip" / "io" / "paths.py").is_file() and paths.notebooks_dir().is_dir()


def test_names_and_hashes(tmp_path):
    assert safe_name("v_Yo Yo/g01:c02.mp4") == "v_Yo-Yo-g01-c02.mp4"
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"x" * 100_000).hexdigest()
