"""A claim of the paper, the artefacts and printed numbers that it is tested on, and the finding that a test returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from moclip.config.sections import Section
from moclip.datasets.ucf101 import CLASSES, COUNTS
from moclip.io.artefacts import load_json
from moclip.report import paper
from moclip.report.systems import MAIN_SYSTEMS

UCF101 = "ucf101-fold1"  # the data set that the paper reports


class Verdict(StrEnum):
    """What can be said about a claim, in the order of tables and figures."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not confirmed"
    CONTRADICTED = "contradicted"
    UNTESTABLE = "not testable here"
    NOT_RUN = "not run"


class NotRun(Exception):  # noqa: N818 - not an error: the artefact that a claim needs is absent
    """The run lacks what a rule needs; the message says where it would be."""


class Claim(Section):
    """One claim; the head of ``claims.yaml`` explains the fields."""

    id: str
    place: str
    claim: str
    paper: float | str
    unit: str
    rule: str
    args: dict[str, Any] = Field(default_factory=dict)
    cell: str = ""
    tolerance: float = 0.01
    relation: Literal["equal", "at least", "at most"] = "equal"
    otherwise: Literal["contradicted", "not confirmed"] = "contradicted"
    note: str = ""

    @property
    def number(self) -> float:
        """The paper's number, where it is one."""
        return float(self.paper)

    def holds(self, ours: float) -> bool:
        """Whether ``ours`` is in the claim's relation to the paper's number; equal: within the claim's tolerance."""
        if self.relation == "equal":
            return abs(ours - self.number) <= self.tolerance * abs(self.number)
        return ours >= self.number if self.relation == "at least" else ours <= self.number

    def verdict(self, agrees: bool) -> str:
        """The verdict on a claim that could be tested."""
        return Verdict.CONFIRMED if agrees else self.otherwise


@dataclass(frozen=True)
class Finding:
    """Result of a rule: verdict, our number with its interval, the reason, and the file that shows it."""

    verdict: str
    ours: float | None
    why: str
    evidence: str
    low: float | None = None
    high: float | None = None
    data: str = ""


@dataclass(frozen=True)
class Artefacts:
    """A run's files, read when a rule asks for them.

    Parameters
    ----------
    run : the folder ``runs/<run>``.
    protocol : the run's protocol, as its tables name it: ``paper`` only where nothing was changed or shortened.
    """

    run: Path
    protocol: str

    def table(self, name: str, **where: str) -> pd.DataFrame:
        """A CSV of the run, by its path in the run's folder: all rows, or those with a value in a column."""
        path = self.run / name
        if not path.is_file():
            raise NotRun(name)
        rows = pd.read_csv(path, dtype={"dataset": str})  # a user's data set may be called 2024
        for column, value in where.items():
            rows = rows[rows[column] == value]
            if rows.empty:
                raise NotRun(f"{name}: {column} {value}")
        return rows

    def counted(self, source: str, parts: Sequence[str] = ()) -> pd.DataFrame:
        """Costs of networks, one row per part (index), with the file of each row in the column ``file``.

        Parameters
        ----------
        source : ``paper`` or ``profile``, the blocks that notebooks 01 to 03 counted; otherwise the name of another
            system of Table I, which notebook 08 counted.
        parts : names of the parts, for the first two.
        """
        main = source in ("paper", "profile")
        files = [f"costs/{name}.csv" for name in MAIN_SYSTEMS] if main else ["baselines/costs.csv"]
        rows = pd.concat([self.table(file).assign(file=file) for file in files])
        rows = rows[rows["block" if main else "system"] == source].set_index("part")
        missing = set(parts) - set(rows.index)
        if rows.empty or missing:
            raise NotRun(f"{', '.join(files)}: {', '.join([source, *sorted(missing)])}")
        return rows.loc[list(parts)] if parts else rows

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of UCF101's split 1; empty if the run is on other data."""
        path = self.run / "data" / f"{UCF101}.json"
        return load_json(path) if path.is_file() else {}

    @property
    def ucf101(self) -> bool:
        """Whether this run is the paper's own: all of UCF101's split 1, its encoder, network and protocol."""
        counts = self.manifest.get("counts", {})
        complete = (counts.get("train"), counts.get("test")) == COUNTS[1]
        # A profile or an override that changes encoder, network, epochs or the like also changes the protocol's name.
        return complete and self.manifest["classes"] == list(CLASSES) and self.protocol == "paper"

    def on_ucf101(self, verdict: str) -> str:
        """``verdict`` if the run is on the paper's own data and setting, otherwise `Verdict.UNTESTABLE`."""
        return verdict if self.ucf101 else Verdict.UNTESTABLE

    def elsewhere(self, where: str) -> Finding:
        """The finding of a rule that has no number to show on other data."""
        why = "this run is not of the paper's data and setting: UCF101's split 1"
        return Finding(Verdict.UNTESTABLE, None, why, where)


def cell(reference: str) -> Any:
    """A printed number: ``table1/fusion/top1`` (the paper's), ``external/coviar_mv/value`` (published by others)."""
    exhibit, row, column = reference.split("/")
    table = paper.numbers(exhibit)
    return table.set_index(table.columns[0]).loc[row, column]


def printed(*references: str) -> str:
    """The files and cells of printed numbers, as evidence."""
    cells: dict[str, list[str]] = {}
    for exhibit, _, place in (reference.partition("/") for reference in references):
        cells.setdefault(exhibit, []).append(place)
    return "; ".join(f"moclip/report/paper/{exhibit}.csv: {', '.join(places)}" for exhibit, places in cells.items())
