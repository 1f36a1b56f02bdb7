"""The claims ledger: every claim of the paper against what a run found.

The claims are written by hand (``claims.yaml``), the verdicts are not: each claim names a rule of
`moclip.studies.claims.rules`, which reads artefacts alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import Field, ValidationError

from moclip.config.sections import Section
from moclip.errors import MoclipError, nearest
from moclip.studies.claims.evidence import CONFIRMED, NOT_RUN, VERDICTS, Artefacts, Finding, NotRun, cell
from moclip.studies.claims.rules import RULES

CLAIMS = Path(__file__).parent / "claims.yaml"


class ClaimsError(MoclipError):
    """Claims that cannot be tested as they are written; the message names the claim and what is possible."""


class Claim(Section):
    """One claim; the head of ``claims.yaml`` says what the fields mean."""

    id: str
    place: str
    claim: str
    paper: float | str
    unit: str
    rule: str
    args: dict[str, Any] = Field(default_factory=dict)
    cell: str = ""
    tolerance: float = 0.01
    otherwise: Literal["contradicted", "not confirmed"] = "contradicted"
    note: str = ""

    @property
    def number(self) -> float:
        """The paper's number, where it is one."""
        return float(self.paper)

    def same(self, ours: float) -> bool:
        """Whether ``ours`` is the paper's number, within the claim's tolerance."""
        return abs(ours - self.number) <= self.tolerance * abs(self.number)

    def verdict(self, agrees: bool) -> str:
        """The verdict on a claim that could be tested."""
        return CONFIRMED if agrees else self.otherwise


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """Read and check the claims.

    Raises
    ------
    ClaimsError
        An unknown field, place or rule (with the nearest one), an id used twice, a number that is not its cell's.
    """
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims: list[Claim] = []
    for values in written["claims"]:
        try:
            claim = Claim.model_validate(values)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ClaimsError(f"{path.name}: claim {values.get('id')!r}: {wrong}") from None
        for what, word, words in (("place", claim.place, written["places"]), ("rule", claim.rule, sorted(RULES))):
            if word not in words:
                hint = f"{nearest(word, words)}; there are: {', '.join(words)}"
                raise ClaimsError(f"{path.name}: claim {claim.id!r}: unknown {what} {word!r}{hint}")
        if claim.id in {other.id for other in claims}:
            raise ClaimsError(f"{path.name}: two claims are called {claim.id!r}; ids are unique")
        if claim.cell and float(cell(claim.cell)) != claim.number:
            found = f"{claim.paper:g}, its cell {claim.cell} {cell(claim.cell):g}"
            raise ClaimsError(f"{path.name}: claim {claim.id!r} says {found}; they are to be the same")
        claims.append(claim)
    return sorted(claims, key=lambda claim: written["places"].index(claim.place))


def ledger(run: Artefacts, claims: Sequence[Claim]) -> pd.DataFrame:
    """A row a claim, in the order of the paper: place, id, claim, the paper's number, ours, verdict, why, evidence."""
    rows = []
    for claim in claims:
        found = _test(run, claim)
        rows.append(
            {
                "place": claim.place,
                "id": claim.id,
                "claim": claim.claim,
                "paper": claim.paper if isinstance(claim.paper, str) else f"{claim.paper:g}",
                "ours": found.ours,
                "low": found.low,
                "high": found.high,
                "unit": claim.unit,
                "verdict": found.verdict,
                "why": "; ".join(part for part in (found.why, claim.note) if part),
                "data": found.data,
                "evidence": found.evidence,
                "rule": claim.rule,
            }
        )
    return pd.DataFrame(rows)


def _test(run: Artefacts, claim: Claim) -> Finding:
    try:
        return RULES[claim.rule](run, claim, **claim.args)
    except NotRun as absent:
        return Finding(NOT_RUN, None, "what it is tested by is not in this run", str(absent))


def page(ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger for reading: our number and its interval in one cell, and what a reader asks for first."""
    bounded = ledger["low"].notna()
    ours = ledger["ours"].map("{:.4g}".format, na_action="ignore").fillna("")
    bounds = ledger["low"].map(" [{:.4g}, ".format) + ledger["high"].map("{:.4g}]".format)
    columns = ["claim", "paper", "ours", "unit", "verdict", "why", "evidence"]
    return ledger.assign(ours=ours + bounds.where(bounded, ""))[columns]


def counts(ledger: pd.DataFrame) -> pd.DataFrame:
    """Claims by place (rows, in the order of the paper) and verdict (columns, all of `VERDICTS`)."""
    table = pd.crosstab(ledger["place"], ledger["verdict"])
    return table.reindex(index=ledger["place"].unique(), columns=list(VERDICTS), fill_value=0)
