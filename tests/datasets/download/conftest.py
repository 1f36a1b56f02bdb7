"""Archives, as data sets come in them."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_archive() -> dict[str, Callable[..., Path]]:
    """``make_archive["zip"](path, {name: bytes})``, and the same for ``rar``."""
    return {"zip": make_zip, "rar": make_rar}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_rar(path: Path, members: dict[str, bytes], method: int = 0x30) -> Path:
    """A RAR 3 archive whose members are stored (method 0x30), which needs no other program to unpack.

    Other methods claim a compression that the bytes do not have.
    """

    def block(kind: int, flags: int, rest: bytes) -> bytes:
        body = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    parts = [b"Rar!\x1a\x07\x00", block(0x73, 0, bytes(6))]
    for name, content in members.items():
        size, check = len(content), zlib.crc32(content)
        header = struct.pack("<LLBLLBBHL", size, size, 3, check, 0, 29, method, len(name), 0o100644)
        parts += [block(0x74, 0x8000, header + name.encode()), content]
    path.write_bytes(b"".join([*parts, block(0x7B, 0x4000, b"")]))
    return path
