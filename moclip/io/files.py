"""How a file gets where it belongs whole, and what its bytes hash to."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well.

    A kill at any moment leaves the old file or the new one. Parents are created. The temporary name keeps the
    suffix, since several writers choose their format by it, and starts with a dot, so that no glob picks it up.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    temporary.touch()
    rights = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(rights)  # some writers make a file that others cannot read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
