"""What the user sees while notebooks run: a line that changes on a terminal, elsewhere plain lines now and then."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from tqdm import tqdm

from moclip.reproduce.notebook import Progress
from moclip.reproduce.stages import Stage

Say = Callable[[str], None]
_LOOK_EVERY = 0.5  # seconds
_LINE_EVERY = 20.0  # seconds between status lines where there is no terminal


def echo(line: str) -> None:
    """Print a line, above the one that changes."""
    with tqdm.external_write_mode():
        typer.echo(line)


class Display:
    """Says which stages are skipped, start, run and end.

    Parameters
    ----------
    say : takes one line for the user.
    due : seconds of the stages that will run, by name; None where nobody knows.
    """

    def __init__(self, say: Say, stages: Sequence[Stage], due: Mapping[str, float | None]) -> None:
        self.say, self.due = say, due
        self.places = {stage.name: f"[{number}/{len(stages)}] {stage.name}" for number, stage in enumerate(stages, 1)}

    def skipped(self, stage: Stage) -> None:
        """Say that a stage is up to date."""
        self.say(f"{self.places[stage.name]}: unchanged, skipped")

    @contextmanager
    def running(self, stage: Stage, reasons: Sequence[str]) -> Iterator[Progress]:
        """Say that a stage starts, where it is while the block runs, and that it is done."""
        place, end, start = self.places[stage.name], threading.Event(), time.monotonic()
        self.say(f"{place}: running ({brief(reasons)}){self._left(stage, 0)}")
        with (
            tempfile.TemporaryDirectory(prefix="moclip-", ignore_cleanup_errors=True) as folder,
            tqdm(total=1, bar_format="{desc}", leave=False, dynamic_ncols=True, disable=None) as bar,  # off a terminal
        ):
            progress = Progress(Path(folder))

            def show() -> None:
                spoken = start
                while not end.wait(_LOOK_EVERY):
                    now = time.monotonic()
                    line = f"{place}: {progress} · {clock(now - start)}{self._left(stage, now - start)}"
                    bar.set_description_str(line)
                    if bar.disable and now - spoken >= _LINE_EVERY:
                        spoken = now
                        self.say(line)

            thread = threading.Thread(target=show, daemon=True)
            thread.start()
            try:
                yield progress
            finally:
                end.set()
                thread.join()
        self.say(f"{place}: done in {clock(time.monotonic() - start)}")

    def _left(self, stage: Stage, elapsed: float) -> str:
        """``, about 3 min 05 s left`` for all that is still to run, where it is known."""
        names = list(self.places)
        this, *later = [self.due.get(name, 0.0) for name in names[names.index(stage.name) :]]
        if this is None or None in later:
            return ""
        left = max(this - elapsed, 0) + sum(seconds or 0 for seconds in later)
        return f", about {clock(left)} left" if left >= 1 else ""


def brief(reasons: Sequence[str]) -> str:
    """The first three reasons and how many more there are."""
    return "; ".join([*reasons[:3], *([f"and {len(reasons) - 3} more"] if len(reasons) > 3 else [])])


def clock(seconds: float) -> str:
    """``45 s``, ``3 min 05 s``, ``2 h 10 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
