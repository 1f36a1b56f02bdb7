"""The one exception of this room."""

from pathlib import Path

from moclip.errors import MoclipError


class VideoError(MoclipError):
    """A video that cannot be read or written, or from which no motion can be read.

    Parameters
    ----------
    path : path-like
        The file.
    cause : str
        What was found.
    advice : str, optional
        What to do about it.

    Attributes
    ----------
    path : Path
    cause : str
    advice : str
    """

    def __init__(self, path: Path | str, cause: str, advice: str = "") -> None:
        super().__init__(Path(path), cause, advice)  # a worker process sends the error back by these arguments
        self.path, self.cause, self.advice = self.args

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}" + (f"; {self.advice}" if self.advice else "")
