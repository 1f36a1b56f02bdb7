"""Where things lie.

Every path of the project comes from this file. ``MOCLIP_HOME`` moves everything that is written
(``data/``, ``runs/``, ``cache/``, ``figures/``) to another folder.
"""

import os
from pathlib import Path


def project_root() -> Path:
    """The checkout that holds ``notebooks/`` and ``moclip/``.

    Raises
    ------
    FileNotFoundError
        If the package was installed without its checkout: the notebooks are then not at hand.
    """
    root = Path(__file__).resolve().parents[2]
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
