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
        self.path = Path(path)
        self.cause = cause
        self.advice = advice
        super().__init__(f"{self.path}: {cause}" + (f"; {advice}" if advice else ""))

    def __reduce__(self) -> tuple[type["VideoError"], tuple[Path, str, str]]:
        # The default pickles the message as the only argument, and a worker process could not send it back.
        return type(self), (self.path, self.cause, self.advice)
