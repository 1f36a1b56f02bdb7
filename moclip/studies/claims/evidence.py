"""What the claims are tested on: a run's artefacts and printed numbers, and what a test gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from moclip.config.sections import Config
from moclip.datasets.ucf101 import CLASSES, COUNTS
from moclip.io.artefacts import load_json
from moclip.report import paper

CONFIRMED, NOT_CONFIRMED, CONTRADICTED = "confirmed", "not confirmed", "contradicted"
UNTESTABLE, NOT_RUN = "not testable here", "not run"
VERDICTS = (CONFIRMED, NOT_CONFIRMED, CONTRADICTED, UNTESTABLE, NOT_RUN)
MAIN = "ucf101-fold1"


class NotRun(Exception):  # noqa: N818 - no error: a claim whose artefact is absent
    """What a rule needs is not in the run; the message is where it would stand."""


@dataclass(frozen=True)
class Finding:
    """What a rule found: its number with interval, on which data, the verdict, why, and where it can be looked up."""

    verdict: str
    ours: float | None
    why: str
    evidence: str
    low: float | None = None
    high: float | None = None
    data: str = ""


@dataclass(frozen=True)
class Artefacts:
    """A run's files, read when a rule asks for them."""

    run: Path
    config: Config

    def table(self, name: str) -> pd.DataFrame:
        """A CSV of the run, by its path there."""
        path = self.run / name
        if not path.is_file():
            raise NotRun(name)
        return pd.read_csv(path, dtype={"dataset": str})  # of own videos, it may be called 2024

    def parts(self, names: Sequence[str], block: str = "paper") -> pd.DataFrame:
        """What notebooks 01 to 03 counted of the named parts, with the file of each row in ``file``."""
        files = [f"costs/{name}.csv" for name in ("zero_shot", "mv_only", "fusion")]
        rows = pd.concat([self.table(file).assign(file=file) for file in files]).query("block == @block")
        if missing := set(names) - set(rows["part"]):
            raise NotRun(f"{', '.join(files)}: {', '.join(sorted(missing))} ({block})")
        return rows.set_index("part").loc[list(names)]

    def rival(self, system: str) -> pd.DataFrame:
        """What notebook 08 counted of the networks of another system of Table I."""
        rows = self.table("rivals/costs.csv").query("system == @system")
        if rows.empty:
            raise NotRun(f"rivals/costs.csv: {system}")
        return rows.set_index("part").assign(file="rivals/costs.csv")

    @cached_property
    def ucf101(self) -> bool:
        """Whether this run is the paper's own: all of UCF101's split 1, its encoder, its network, its protocol."""
        path = self.run / "data" / f"{MAIN}.json"
        if not path.is_file():
            return False
        manifest = load_json(path)
        counts = (manifest["counts"]["train"], manifest["counts"]["test"])
        named = manifest["classes"] == list(CLASSES)
        # A profile or an override that changes the method changes the protocol's name: encoder, network, epochs ...
        return counts == COUNTS[1] and named and self.config.protocol == "paper"

    def on_ucf101(self, verdict: str) -> str:
        """``verdict`` where it can be given: on the paper's own data and setting."""
        return verdict if self.ucf101 else UNTESTABLE

    def elsewhere(self, where: str) -> Finding:
        """Where there is nothing to show, either."""
        return Finding(UNTESTABLE, None, "this run is not of the paper's data and setting: UCF101's split 1", where)


def cell(reference: str) -> Any:
    """A number of the paper or of others: ``table1/fusion/top1``, ``external/coviar_mv/value``."""
    exhibit, row, column = reference.split("/")
    table = paper.numbers(exhibit)
    return table.set_index(table.columns[0]).loc[row, column]


def printed(*references: str) -> str:
    """Where printed numbers stand."""
    places: dict[str, list[str]] = {}
    for exhibit, _, place in (reference.partition("/") for reference in references):
        places.setdefault(exhibit, []).append(place)
    return "; ".join(f"moclip/report/paper/{exhibit}.csv: {', '.join(own)}" for exhibit, own in places.items())
