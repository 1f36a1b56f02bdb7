"""Where things lie, and how a file gets there whole.

Every path of the project comes from this file. ``MOCLIP_HOME`` moves everything that is written
(``data/``, ``runs/``, ``cache/``, ``figures/``) to another folder.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def project_root() -> Path:
    """The checkout that holds ``notebooks/`` and ``moclip/``.

    Raises
    ------
    FileNotFoundError
        If the package was installed without its checkout: the notebooks are then not at hand.
    """
    root = Path(__file__).resolve().parent.parent
    if (root / "notebooks").is_dir():
        return root
    raise FileNotFoundError(
        f"no notebooks beside the package ({root}); install it from a checkout with `pip install -e .`"
    )


def home() -> Path:
    """Folder of everything that is written: ``$MOCLIP_HOME``, else the checkout."""
    return Path(os.environ["MOCLIP_HOME"]).expanduser().resolve() if "MOCLIP_HOME" in os.environ else project_root()


def notebooks_dir() -> Path:
    """Folder of the notebooks."""
    return project_root() / "notebooks"


def data_dir() -> Path:
    """Folder of generated and re-encoded videos."""
    return home() / "data"


def cache_dir() -> Path:
    """Folder of what is computed once for all runs (text embeddings of the offline encoder, for one)."""
    return home() / "cache"


def run_dir(name: str) -> Path:
    """Folder of the artefacts of one run; the name is the profile's unless the configuration says otherwise."""
    return home() / "runs" / name


def figures_dir(name: str) -> Path:
    """Folder of the published tables and figures of one run."""
    return home() / "figures" / name


def safe_name(name: str) -> str:
    """``name`` as a file name: everything but letters, digits, ``.``, ``_`` and ``-`` becomes ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well.

    A kill at any moment leaves the old file or the new one. Parents are created. The temporary name keeps the
    suffix, since several writers choose their format by it, and starts with a dot, so that no glob picks it up.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
