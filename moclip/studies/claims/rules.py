"""The rules by which the paper's claims are tested: small functions of a run's artefacts, named in ``claims.yaml``.

Each takes the artefacts, the claim and its ``args``, and returns a `Finding`. What a rule needs and does not find is
`NotRun`: no guess. Accuracies are judged on the whole of UCF101 in the paper's own setting alone; on other data a rule
shows them, and its verdict is `UNTESTABLE`.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from scipy.stats import norm

from moclip.datasets.ucf101 import CLASSES, COUNTS
from moclip.io.artefacts import load_json, load_predictions
from moclip.report import paper
from moclip.report.statistics import first_seed
from moclip.report.tables import percent
from moclip.studies.claims.evidence import (
    CONFIRMED,
    CONTRADICTED,
    MAIN,
    NOT_CONFIRMED,
    UNTESTABLE,
    Artefacts,
    Finding,
    NotRun,
    cell,
    printed,
)

if TYPE_CHECKING:
    from moclip.studies.claims.ledger import Claim

TEST_CLIPS = COUNTS[1][1]

# --- arithmetic on what is printed ----------------------------------------------------------------------------------


def arithmetic(run: Artefacts, claim: "Claim", plus: Sequence[str], minus: Sequence[str] = ()) -> Finding:
    """A sum of the paper's cells, or another's published number, against the claim."""
    ours = round(sum(float(cell(name)) for name in plus) - sum(float(cell(name)) for name in minus), 6)
    shown = " + ".join(f"{cell(name):g}" for name in plus) + "".join(f" - {cell(name):g}" for name in minus)
    sources = [cell(name.replace("/value", "/source")) for name in plus if name.startswith("external/")]
    why = f"{shown} = {ours:g}" if len(plus) + len(minus) > 1 else f"published: {ours:g} ({'; '.join(sources)})"
    return Finding(claim.verdict(claim.same(ours)), ours, why, printed(*plus, *minus))


def larger(run: Artefacts, claim: "Claim", value: str, than: Sequence[str]) -> Finding:
    """Is a printed number at least as large as all the others?"""
    others = {name: float(cell(name)) for name in than}
    best = max(others, key=lambda name: others[name])
    above = sum(other > float(cell(value)) for other in others.values())
    why = f"{above} of {len(others)} others are larger; the largest: {best.split('/')[1]}, {others[best]:g}"
    return Finding(claim.verdict(not above), others[best], why, printed(value, *than))


def apart(run: Artefacts, claim: "Claim", value: str, other: str, expected: bool) -> Finding:
    """Do two printed accuracies differ by more than drawing the test clips explains?

    Clips count as independent and the two systems as unpaired, which is all that printed accuracies allow.
    """
    shares = [float(cell(name)) / 100 for name in (value, other)]
    gap = shares[0] - shares[1]
    half = float(norm.ppf(0.975)) * math.sqrt(sum(share * (1 - share) for share in shares) / TEST_CLIPS)
    why = f"{100 * gap:.1f} points apart; drawing {TEST_CLIPS:,} clips alone explains up to {100 * half:.1f}"
    ours, low, high = (round(100 * number, 2) for number in (gap, gap - half, gap + half))
    return Finding(claim.verdict((gap > half) == expected), ours, why, printed(value, other), low, high)


def front(run: Artefacts, claim: "Claim") -> Finding:
    """Is any published compressed-domain system both no dearer and no less accurate?"""
    top1, gflops = cell("table1/fusion/top1"), cell("table1/fusion/gflops")
    table = paper.numbers("published")
    better = table[(table["top1"] >= top1) & (table["gmacs"] <= gflops)]
    above = (table["top1"] > top1).sum()
    why = f"of {len(table)} published, {len(better)} are; {above} are more accurate at a higher cost"
    return Finding(claim.verdict(better.empty), float(table["top1"].max()), why, "moclip/report/paper/published.csv")


def throughput(run: Artefacts, claim: "Claim", value: str, fastest: str) -> Finding:
    """Could the card have passed so many views a second through the network?"""
    views = float(run.parts(["motion network"])["views"].iloc[0])
    wanted, most = float(cell(value)) * views, float(cell(fastest))
    what = cell(fastest.replace("/value", "/what"))
    why = f"{cell(value):g} videos/s of {views:g} views are {wanted:,.0f} views/s; published: {most:,.0f} ({what})"
    verdict = CONTRADICTED if wanted > most else UNTESTABLE
    return Finding(verdict, round(most / views, 2), why, printed(value, fastest))


# --- counted and timed ----------------------------------------------------------------------------------------------

_UNITS = {"params": 1e-6, "trainable": 1e-6, "multiply-adds": 1e-9, "operations": 2e-9, "feature_dim": 1.0}


def counted(
    run: Artefacts,
    claim: "Claim",
    what: str,
    parts: Sequence[str] = (),
    block: str = "paper",
    system: str = "",
    views: str = "views",
    relation: str = "equal",
) -> Finding:
    """What live models counted of themselves, against the claim.

    Parameters
    ----------
    what : ``params`` or ``trainable`` (millions), ``multiply-adds`` or ``operations`` (10^9; a multiply-add is two
        operations), ``feature_dim``.
    parts, block : of this paper's systems; or ``system``: another system of Table I.
    views : ``views``, as the paper counts them, or ``own_views``, those of a system's own source.
    relation : equal, at least, at most.
    """
    rows = run.rival(system) if system else run.parts(parts, block)
    macs = what in ("multiply-adds", "operations")
    ours = float((rows["macs_per_view"] * rows[views] if macs else rows[what]).sum() * _UNITS[what])
    agrees = {"equal": claim.same(ours), "at least": ours >= claim.number, "at most": ours <= claim.number}[relation]
    seen = f", views: {' + '.join(f'{each:g}' for each in rows[views])}" if macs else ""
    why = f"counted: {' + '.join(rows.index)}{seen}"
    return Finding(claim.verdict(agrees), round(ours, 6), why, _counts(rows, system or block, what))


def negligible(run: Artefacts, claim: "Claim", extra: Sequence[str], base: Sequence[str], at_most: float) -> Finding:
    """Multiply-adds that some parts add to others, as a share of these."""
    rows = run.parts([*extra, *base])
    macs = (rows["macs_per_view"] * rows["views"]).to_numpy(float) / 1e9
    more, before = float(macs[: len(extra)].sum()), float(macs[len(extra) :].sum())
    share = more / before
    why = f"{' + '.join(extra)}: {more:.3g} G, beside {before:.4g} G of {' + '.join(base)}: {100 * share:.2g} %"
    return Finding(claim.verdict(share <= at_most), round(share, 5), why, _counts(rows, "paper", "multiply-adds"))


def _counts(rows: pd.DataFrame, whose: str, what: str) -> str:
    """Where counts stand."""
    return f"{', '.join(dict.fromkeys(rows['file']))}: {whose}, {' + '.join(rows.index)}, {what}"


# The time asked for and the time it is held against: as measured, at the least, at the most.
_BOUNDS = (("seconds", "seconds"), ("fastest", "slowest"), ("slowest", "fastest"))


def share_of_time(run: Artefacts, claim: "Claim", part: str, of: Sequence[str], at_least: float) -> Finding:
    """A part's share of the time of several, at the paper's size, FP32, batch 1, on this machine."""
    where = "timings/mv_only.csv, timings/fusion.csv: paper, FP32, batch 1"
    timings = pd.concat([run.table("timings/mv_only.csv"), run.table("timings/fusion.csv")])
    used = timings.query("block == 'paper' and precision == 'FP32' and batch == 1 and part in @of").set_index("part")
    if missing := set(of) - set(used.index):
        raise NotRun(f"{where}: {', '.join(sorted(missing))}")
    own, others = used.loc[part], used.drop(index=part).sum(numeric_only=True)
    share, low, high = (round(float(own[mine] / (own[mine] + others[its])), 5) for mine, its in _BOUNDS)
    why = ", ".join(f"{name} {1000 * seconds:.3g} ms" for name, seconds in used["seconds"].items())
    device = f"{own['device']}, {own['threads']} threads"
    verdict = CONFIRMED if low >= at_least else CONTRADICTED if high < at_least else NOT_CONFIRMED
    return Finding(verdict, share, why, where, low, high, device)


def reading(run: Artefacts, claim: "Claim", steps: Sequence[str], at_most: float) -> Finding:
    """Time of steps for a clip, in times of decoding it; fastest over slowest and back bound what was measured."""
    table = run.table("tables/reading.csv").set_index("step")
    own, decoding = table.loc[list(steps)].sum(numeric_only=True), table.loc["decoding"]
    ours, low, high = (round(float(own[mine] / decoding[its]), 3) for mine, its in _BOUNDS)
    verdict = CONFIRMED if high <= at_most else CONTRADICTED if low > at_most else NOT_CONFIRMED
    shown = table.loc[[*steps, "decoding"], "seconds"]
    why = ", ".join(f"{name} {1000 * seconds:.3g} ms" for name, seconds in shown.items())
    return Finding(verdict, ours, why, "tables/reading.csv", low, high, str(decoding["clip"]))


# --- measured on clips ----------------------------------------------------------------------------------------------


def accuracy(run: Artefacts, claim: "Claim", system: str) -> Finding:
    """A system's top-1 accuracy: is the paper's within our interval?"""
    table = run.table("tables/results.csv").query("system == @system")
    if table.empty:
        raise NotRun(f"tables/results.csv: {system}")
    row = table.iloc[0]
    verdict = claim.verdict(row["low"] <= claim.number / 100 <= row["high"])
    return _on_clips(run, verdict, table, "accuracy", row["data"], f"tables/results.csv: {row['dataset']}, {system}")


def gain(run: Artefacts, claim: "Claim", over: str) -> Finding:
    """Fusion minus another system on the same clips: is the whole interval above zero?"""
    table = run.table("tables/fusion_gain.csv").query("minus == @over")
    if table.empty:
        raise NotRun(f"tables/fusion_gain.csv: minus {over}")
    row = table.iloc[0]
    verdict = CONFIRMED if row["low"] > 0 else CONTRADICTED if row["high"] < 0 else NOT_CONFIRMED
    results = run.table("tables/results.csv")
    data = results.loc[results["dataset"] == row["dataset"], "data"].iloc[0]
    where = f"tables/fusion_gain.csv: {row['dataset']}, minus {over}"
    return _on_clips(run, verdict, table, "difference", data, where)


def _on_clips(run: Artefacts, verdict: str, table: pd.DataFrame, column: str, data: str, where: str) -> Finding:
    """A finding in percent from the first row; other data sets of the run are named beside it."""
    row = table.iloc[0]
    shown = [f"{each['dataset']} {percent(each[column], each['low'], each['high'])}" for _, each in table.iterrows()]
    why = f"{'; '.join(shown)}; {row['n_test']} test clips"
    if not run.ucf101:
        why += "; a tendency, on other data or in another setting than the paper's"
    ours, low, high = (round(100 * float(row[name]), 2) for name in (column, "low", "high"))
    return Finding(run.on_ucf101(verdict), ours, why, where, low, high, data)


def saturated(run: Artefacts, claim: "Claim", at_most: float) -> Finding:
    """Share of test clips' vectors beyond the 8-bit range, in percent."""
    table = run.table("tables/saturated.csv").set_index("clips")["saturated"]
    tested = table[table.index.str.endswith("test")]
    why = "; ".join(f"{name} {100 * share:.2g} %" for name, share in tested.items())
    ours, data = round(100 * float(tested.iloc[0]), 3), str(tested.index[0])
    return Finding(run.on_ucf101(claim.verdict(ours <= at_most)), ours, why, "tables/saturated.csv", data=data)


def class_accuracy(run: Artefacts, claim: "Claim", class_name: str) -> Finding:
    """Accuracies of a class that Figure 2 states: does each meet our interval?"""
    where = f"tables/per_class-{MAIN}.csv: {class_name}"
    if not run.ucf101:
        return run.elsewhere(where)
    stated = paper.numbers("figure2").set_index("class_name").loc[class_name].drop("note").dropna()
    row: pd.Series = run.table(f"tables/per_class-{MAIN}.csv").set_index("class_name").T[class_name]
    met, shown = [], []
    for system in map(str, stated.index):
        low, high = float(row[f"{system}_low"]), float(row[f"{system}_high"])
        bounds = [float(bound) for bound in str(stated[system]).split("-")]  # a number, or a range of several classes
        met.append(bounds[0] <= high and bounds[-1] >= low)
        shown.append(f"{system} {percent(float(row[system]), low, high)} %")
    why = f"{'; '.join(shown)}; {row['n_test']} clips"
    return Finding(claim.verdict(all(met)), float(row["fusion"]), why, where, data=MAIN)


def example(run: Artefacts, claim: "Claim", class_name: str) -> Finding:
    """Clips of a class on which each system says what Figure 3 shows (first head seed)."""
    if not run.ucf101:
        return run.elsewhere(f"predictions/{MAIN}")
    stated = paper.numbers("figure3").set_index("class_name").loc[class_name]
    rows = load_predictions(run.run / "predictions", [MAIN]).query("class_name == @class_name")
    said = {str(name): first_seed(rows, MAIN, str(name)).set_index("video")["pred"] for name in stated.index}
    match = (pd.DataFrame(said) == stated).all(axis=1)
    why = f"{match.sum()} of {len(match)} clips"
    return Finding(claim.verdict(bool(match.any())), int(match.sum()), why, f"predictions/{MAIN}", data=MAIN)


def every_class(run: Artefacts, claim: "Claim") -> Finding:
    """Share of the classes in which fusion is below the better of its single streams, in percent."""
    tables = {path.stem.partition("-")[2]: path for path in sorted((run.run / "tables").glob("per_class-*.csv"))}
    if not tables:
        raise NotRun("tables/per_class-*.csv")
    below = {name: 100 * float((pd.read_csv(path)["adds"] < 0).mean()) for name, path in tables.items()}
    main = run.table("tables/results.csv")["dataset"].iloc[0]
    why = "classes below: " + "; ".join(f"{name} {share:.1f} %" for name, share in below.items())
    verdict = run.on_ucf101(claim.verdict(below[main] == 0))
    return Finding(verdict, round(below[main], 1), why, f"tables/per_class-{main}.csv: adds", data=main)


def clips(run: Artefacts, claim: "Claim", split: str) -> Finding:
    """Clips of a split of UCF101 that were there and read."""
    path = run.run / "data" / f"{MAIN}.json"
    if not path.is_file():
        return run.elsewhere(f"data/{MAIN}.json")
    manifest = load_json(path)
    found = int(manifest["counts"][split])
    verdict = claim.verdict(found == claim.number) if manifest["classes"] == list(CLASSES) else UNTESTABLE
    why = f"{found} {split} clips of {len(manifest['classes'])} classes were read"
    return Finding(verdict, found, why, f"data/{MAIN}.json: counts", data=manifest["description"])


RULES: dict[str, Callable[..., Finding]] = {
    rule.__name__: rule
    for rule in (
        arithmetic, larger, apart, front, throughput, counted, negligible, share_of_time, reading, accuracy, gain,
        saturated, class_accuracy, example, every_class, clips,
    )
}  # fmt: skip
