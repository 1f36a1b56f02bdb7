"""The look that all figures share, and how a figure is saved."""

from pathlib import Path

import matplotlib.pyplot as plt
import PIL.Image
import seaborn as sns
from IPython.display import Image
from matplotlib.figure import Figure

from moclip.io.files import atomic_path

PRINT_DPI = 200
SCREEN_DPI = 130  # on a screen a figure is a third larger than in print, which keeps 7-point text readable
GREY = "#BBBBBB"


def use_style() -> None:
    """Set sizes for print, in columns of 3.4 inches or pages of 7; text in a PDF stays text."""
    sns.set_theme(context="paper", style="ticks")
    plt.style.use(Path(__file__).parent / "print.mplstyle")


def save_figure(folder: Path, name: str, figure: Figure, alt: str) -> Image:
    """Write ``<name>.png`` (200 dpi) and ``<name>.pdf``, without dates inside, and close the figure.

    Parameters
    ----------
    alt : description for readers who cannot see the figure; it is stored in both files and in the notebook.

    Returns
    -------
    Image
        The PNG. As the last line of a cell, it is what the notebook shows.
    """
    if not alt:
        raise ValueError(f"{name} has no alt text: describe in a sentence or two what the figure shows")
    metadata = {
        ".pdf": {"CreationDate": None, "Producer": None, "Subject": alt},
        ".png": {"Software": None, "Description": alt},
    }
    for suffix in metadata:
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, dpi=PRINT_DPI, metadata=metadata[suffix], bbox_inches="tight")
    plt.close(figure)
    png = folder / f"{name}.png"
    with PIL.Image.open(png) as image:
        width = round(image.width * SCREEN_DPI / PRINT_DPI)  # CSS pixels
    return Image(filename=str(png), alt=alt, width=width)
