"""The claims ledger: every claim of the paper against the numbers of a run.

The claims are written by hand (``claims.yaml``); the verdicts are not: each claim names a rule of
`moclip.studies.claims.rules`, which reads artefacts only.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import yaml
from pydantic import ValidationError

from moclip.errors import MoclipError, nearest
from moclip.studies.claims.evidence import Artefacts, Claim, Finding, NotRun, Verdict, cell
from moclip.studies.claims.rules import RULES

CLAIMS = Path(__file__).parent / "claims.yaml"
COLUMNS = ["place", "id", "claim", "paper", "ours", "low", "high", "unit", "verdict", "why", "data", "evidence", "rule"]


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """Read and check the claims; they are returned in the order of the paper.

    Raises
    ------
    MoclipError
        An unknown field, place or rule (the message suggests the nearest one), an id used twice, a number that differs
        from its cell.
    """
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims: dict[str, Claim] = {}
    for values in written["claims"]:
        where = f"{path.name}: claim {values.get('id')!r}"
        try:
            claim = Claim.model_validate(values)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise MoclipError(f"{where}: {wrong}") from None
        for what, word, words in (("place", claim.place, written["places"]), ("rule", claim.rule, sorted(RULES))):
            if word not in words:
                hint = f"{nearest(word, words)}; there are: {', '.join(words)}"
                raise MoclipError(f"{where}: unknown {what} {word!r}{hint}")
        if claim.id in claims:
            raise MoclipError(f"{where}: its id is used twice")
        if claim.cell and float(cell(claim.cell)) != claim.number:
            raise MoclipError(f"{where} says {claim.paper:g}, but its cell {claim.cell} is {cell(claim.cell):g}")
        claims[claim.id] = claim
    return sorted(claims.values(), key=lambda claim: written["places"].index(claim.place))


def ledger(run: Artefacts, claims: Sequence[Claim]) -> pd.DataFrame:
    """Test the claims: one row per claim, in their order, with the columns `COLUMNS`."""
    rows = []
    for claim in claims:
        try:
            finding = RULES[claim.rule](run, claim, **claim.args)
        except NotRun as absent:
            finding = Finding(Verdict.NOT_RUN, None, "what it is tested by is not in this run", str(absent))
        printed = claim.paper if isinstance(claim.paper, str) else f"{claim.paper:g}"
        why = "; ".join(part for part in (finding.why, claim.note) if part)
        rows.append({**claim.model_dump(), **asdict(finding), "paper": printed, "why": why})
    return pd.DataFrame(rows)[COLUMNS]


def page(ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger for reading: our number and its interval in one cell, and the columns that readers need first."""
    bounded = ledger["low"].notna()
    ours = ledger["ours"].map("{:.4g}".format, na_action="ignore").fillna("")
    bounds = ledger["low"].map(" [{:.4g}, ".format) + ledger["high"].map("{:.4g}]".format)
    columns = ["claim", "paper", "ours", "unit", "verdict", "why", "evidence"]
    return ledger.assign(ours=ours + bounds.where(bounded, ""))[columns]


def counts(ledger: pd.DataFrame) -> pd.DataFrame:
    """Number of claims by place (rows, in the order of the paper) and verdict (columns, all of `Verdict`)."""
    table = pd.crosstab(ledger["place"], ledger["verdict"])
    return table.reindex(index=ledger["place"].unique(), columns=list(Verdict), fill_value=0)
