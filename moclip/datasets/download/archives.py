"""Unpack zip and rar archives: nothing outside the folder, no file half written, no file twice."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from moclip.datasets.download.transfer import DownloadError
from moclip.io.files import atomic_path
from moclip.io.progress import track

INSTALL_RARFILE = "pip install 'moclip-lite[download]'"
INSTALL_TOOL = "install one of unrar, unar, 7z (with its rar codec) or bsdtar; Debian, Ubuntu: apt install unar"


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack all files of ``archive`` under ``folder``.

    Every name is checked before the first file is written. Files that are there with the archive's size stay: a killed
    run resumes.

    Returns
    -------
    Paths of all files of the archive, in its order.

    Raises
    ------
    DownloadError
        A member that would land outside ``folder`` or is a link; a damaged or encrypted archive; too little disk;
        no program that can unpack rar.
    """
    with _open(archive) as reader:
        members = {_target(archive, member, folder): member for member in reader.infolist() if not member.is_dir()}
        sizes = {target: target.stat().st_size for target in members if target.is_file()}
        missing = [target for target, member in members.items() if sizes.get(target) != member.file_size]
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = sum(members[target].file_size for target in missing), shutil.disk_usage(folder).free
        if needed > free:
            raise DownloadError(f"{archive}: needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free")
        for target in track(missing, f"unpacking {archive.name}", unit="file"):
            _extract(archive, reader, members[target], target)
    return list(members)


def _open(archive: Path) -> Any:
    """A reader with the interface of `zipfile.ZipFile`."""
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    try:
        import rarfile
    except ImportError:
        raise DownloadError(f"{archive}: to unpack rar archives, {INSTALL_RARFILE}; and {INSTALL_TOOL}") from None
    try:
        reader = rarfile.RarFile(archive)
    except (rarfile.Error, OSError) as error:
        raise DownloadError(f"{archive}: neither a zip nor a rar archive, or damaged ({error}); delete it") from error
    if reader.needs_password():
        raise DownloadError(f"{archive} is encrypted; this is not the archive that was expected")
    if reader.is_solid():  # each member would be unpacked through all before it
        raise DownloadError(f"{archive} is a solid archive; unpack it by hand (unrar x {archive.name}) in its folder")
    return reader


def _target(archive: Path, member: Any, folder: Path) -> Path:
    """Where a member goes, which must be inside ``folder``."""
    name = member.filename.replace("\\", "/")
    place = PurePosixPath(name)
    mode = getattr(member, "external_attr", 0) >> 16  # of a zip made on Unix
    link = getattr(member, "is_symlink", lambda: (mode & 0o170000) == 0o120000)()
    if link or place.is_absolute() or ".." in place.parts or ":" in place.parts[0] or "\0" in name:
        raise DownloadError(f"{archive}: {member.filename!r} would be written outside {folder}, or is a link; refused")
    target = folder / place
    if not target.resolve().is_relative_to(folder.resolve()):  # through a link that lies in the folder already
        raise DownloadError(f"{archive}: {member.filename!r} would be written to {target.resolve()}; refused")
    return target


def _extract(archive: Path, reader: Any, member: Any, target: Path) -> None:
    try:
        with atomic_path(target) as temporary, reader.open(member) as source, open(temporary, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            if file.tell() != member.file_size:
                raise DownloadError(f"{archive}: {member.filename!r} breaks off; fetch the archive again")
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"{archive}: {member.filename!r} is damaged ({error}); fetch the archive again") from error
    except Exception as error:  # rarfile's own, which cannot be named where it is not installed
        if type(error).__module__ != "rarfile":
            raise
        missing = type(error).__name__ == "RarCannotExec"
        remedy = INSTALL_TOOL if missing else "fetch the archive again, or use another program to unpack it"
        raise DownloadError(f"{archive}: {member.filename!r} cannot be unpacked ({error}); {remedy}") from error
