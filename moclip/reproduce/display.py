"""What the user sees while notebooks run: a line that changes on a terminal, elsewhere plain lines now and then."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer
from tqdm import tqdm

from moclip.reproduce.notebook import Progress
from moclip.reproduce.stages import Stage

Say = Callable[[str], None]
_LINE_EVERY = 20.0  # seconds between status lines where there is no terminal


class Display:
    """What the user sees: on a terminal a line that changes, elsewhere plain lines now and then."""

    def __init__(self, say: Say, stages: Sequence[Stage], due: Mapping[str, float | None]) -> None:
        self.live = sys.stderr.isatty()
        self.say: Say = tqdm.write if self.live and say is typer.echo else say
        self.names = [stage.name for stage in stages]
        self.due = due  # seconds of the stages that will run
        self.bar: tqdm | None = None

    def _place(self, stage: Stage) -> str:
        return f"[{self.names.index(stage.name) + 1}/{len(self.names)}] {stage.name}"

    def skipped(self, stage: Stage) -> None:
        """Say that a stage is up to date."""
        self.say(f"{self._place(stage)}: unchanged, skipped")

    @contextmanager
    def running(self, stage: Stage, reasons: Sequence[str]) -> Iterator[None]:
        """Say that a stage starts, and that it is done."""
        self.stage, self.start = stage, time.monotonic()
        self.spoken = self.start
        self.say(f"{self._place(stage)}: running ({brief(reasons)}){self._left()}")
        self.bar = tqdm(total=1, bar_format="{desc}", leave=False, dynamic_ncols=True) if self.live else None
        try:
            yield
        finally:
            if self.bar is not None:
                self.bar.close()
        self.say(f"{self._place(stage)}: done in {clock(time.monotonic() - self.start)}")

    def update(self, progress: Progress) -> None:
        """Show where the running notebook is."""
        elapsed = time.monotonic() - self.start
        parts = [f"cell {progress.cell}/{progress.cells}", progress.status, clock(elapsed)]
        line = f"{self._place(self.stage)}: {' · '.join(part for part in parts if part)}{self._left()}"
        if self.bar is not None:
            self.bar.set_description_str(line)
        elif time.monotonic() - self.spoken >= _LINE_EVERY:
            self.spoken = time.monotonic()
            self.say(line)

    def _left(self) -> str:
        """``, about 3 min 05 s left`` for all that is still to run, where it is known."""
        later = [self.due.get(name, 0.0) for name in self.names[self.names.index(self.stage.name) + 1 :]]
        this = self.due.get(self.stage.name, 0.0)
        if this is None or None in later:
            return ""
        left = max(this - (time.monotonic() - self.start), 0) + sum(seconds or 0 for seconds in later)
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
