"""The rules by which the paper's claims are tested: small functions of a run's artefacts, named in ``claims.yaml``.

A rule takes the artefacts, the claim and its ``args``, and returns a `Finding`. If the run lacks what a rule needs, the
rule raises `NotRun`; nothing is guessed. Accuracies are judged only on the whole of UCF101 in the paper's own setting;
on other data a rule reports them with the verdict `Verdict.UNTESTABLE`.
"""

import math
from collections.abc import Callable, Sequence
from inspect import isfunction

import pandas as pd
from scipy.stats import norm

from moclip.datasets.ucf101 import CLASSES, COUNTS
from moclip.io.artefacts import load_predictions
from moclip.report import paper
from moclip.report.statistics import first_seed
from moclip.report.tables import percent
from moclip.studies.claims.evidence import UCF101, Artefacts, Claim, Finding, NotRun, Verdict, cell, printed

TEST_CLIPS = COUNTS[1][1]

# --- arithmetic on printed numbers ----------------------------------------------------------------------------------


def arithmetic(run: Artefacts, claim: Claim, plus: Sequence[str], minus: Sequence[str] = ()) -> Finding:
    """Compare a sum of the paper's cells, or a number published by others, with the claim."""
    ours = round(sum(float(cell(name)) for name in plus) - sum(float(cell(name)) for name in minus), 6)
    terms = " + ".join(f"{cell(name):g}" for name in plus) + "".join(f" - {cell(name):g}" for name in minus)
    sources = [cell(name.replace("/value", "/source")) for name in plus if name.startswith("external/")]
    why = f"{terms} = {ours:g}" if len(plus) + len(minus) > 1 else f"published: {ours:g} ({'; '.join(sources)})"
    return Finding(claim.verdict(claim.holds(ours)), ours, why, printed(*plus, *minus))


def larger(run: Artefacts, claim: Claim, value: str, than: Sequence[str]) -> Finding:
    """Test whether a printed number is at least as large as all the others."""
    others = pd.Series({name.split("/")[1]: float(cell(name)) for name in than})
    above = (others > cell(value)).sum()
    why = f"{above} of {len(others)} others are larger; the largest: {others.idxmax()}, {others.max():g}"
    return Finding(claim.verdict(not above), float(others.max()), why, printed(value, *than))


def apart(run: Artefacts, claim: Claim, value: str, other: str, expected: bool) -> Finding:
    """Test whether two printed accuracies differ by more than the sampling of test clips explains.

    Clips count as independent and the two systems as unpaired: printed accuracies allow nothing better.
    """
    shares = [float(cell(name)) / 100 for name in (value, other)]
    gap = shares[0] - shares[1]
    half = float(norm.ppf(0.975)) * math.sqrt(sum(share * (1 - share) for share in shares) / TEST_CLIPS)
    why = f"{100 * gap:.1f} points apart; drawing {TEST_CLIPS:,} clips alone explains up to {100 * half:.1f}"
    ours, low, high = (round(100 * number, 2) for number in (gap, gap - half, gap + half))
    return Finding(claim.verdict((gap > half) == expected), ours, why, printed(value, other), low, high)


def front(run: Artefacts, claim: Claim) -> Finding:
    """Test whether no published compressed-domain system is both as cheap and as accurate."""
    top1, gflops = cell("table1/fusion/top1"), cell("table1/fusion/gflops")
    table = paper.numbers("published")
    better = table[(table["top1"] >= top1) & (table["gmacs"] <= gflops)]
    above = (table["top1"] > top1).sum()
    why = f"of {len(table)} published, {len(better)} are; {above} are more accurate at a higher cost"
    return Finding(claim.verdict(better.empty), float(table["top1"].max()), why, "moclip/report/paper/published.csv")


def throughput(run: Artefacts, claim: Claim, value: str, fastest: str) -> Finding:
    """Test whether the card could have passed that many views per second through the network."""
    views = float(run.counted("paper", ["motion network"])["views"].iloc[0])
    wanted, most = float(cell(value)) * views, float(cell(fastest))
    what = cell(fastest.replace("/value", "/what"))
    why = f"{cell(value):g} videos/s of {views:g} views are {wanted:,.0f} views/s; published: {most:,.0f} ({what})"
    verdict = Verdict.CONTRADICTED if wanted > most else Verdict.UNTESTABLE
    return Finding(verdict, round(most / views, 2), why, printed(value, fastest))


# --- counted and timed ----------------------------------------------------------------------------------------------

_UNITS = {"params": 1e-6, "trainable": 1e-6, "multiply-adds": 1e-9, "operations": 2e-9, "feature_dim": 1.0}


def counted(
    run: Artefacts, claim: Claim, what: str, parts: Sequence[str] = (), source: str = "paper", views: str = "views"
) -> Finding:
    """Compare what was counted on live models with the claim.

    Parameters
    ----------
    what : ``params`` or ``trainable`` (millions), ``multiply-adds`` or ``operations`` (10^9; a multiply-add is two
        operations), ``feature_dim``.
    parts, source : arguments of `Artefacts.counted`.
    views : ``views``, as the paper counts them, or ``own_views``, those of a system's own source.
    """
    rows = run.counted(source, parts)
    macs = what in ("multiply-adds", "operations")
    ours = float((rows["macs_per_view"] * rows[views] if macs else rows[what]).sum() * _UNITS[what])
    shown = f", views: {' + '.join(f'{each:g}' for each in rows[views])}" if macs else ""
    why = f"counted: {' + '.join(rows.index)}{shown}"
    return Finding(claim.verdict(claim.holds(ours)), round(ours, 6), why, _counts(rows, source, what))


def negligible(run: Artefacts, claim: Claim, extra: Sequence[str], base: Sequence[str], at_most: float) -> Finding:
    """Compare the multiply-adds of the parts ``extra``, as a share of those of ``base``, with a limit."""
    rows = run.counted("paper", [*extra, *base])
    gmacs = (rows["macs_per_view"] * rows["views"]).astype(float) / 1e9
    more, before = (float(gmacs[list(parts)].sum()) for parts in (extra, base))
    share = more / before
    why = f"{' + '.join(extra)}: {more:.3g} G, beside {before:.4g} G of {' + '.join(base)}: {100 * share:.2g} %"
    return Finding(claim.verdict(share <= at_most), round(share, 5), why, _counts(rows, "paper", "multiply-adds"))


def _counts(rows: pd.DataFrame, source: str, what: str) -> str:
    """The files, rows and column of counts, as evidence."""
    return f"{', '.join(dict.fromkeys(rows['file']))}: {source}, {' + '.join(rows.index)}, {what}"


def share_of_time(run: Artefacts, claim: Claim, part: str, of: Sequence[str], at_least: float) -> Finding:
    """Compare a part's share of the time of several with a limit: the paper's size, FP32, batch 1, this machine."""
    where = "timings/mv_only.csv, timings/fusion.csv: paper, FP32, batch 1"
    timings = pd.concat([run.table("timings/mv_only.csv"), run.table("timings/fusion.csv")])
    used = timings.query("block == 'paper' and precision == 'FP32' and batch == 1 and part in @of").set_index("part")
    if missing := set(of) - set(used.index):
        raise NotRun(f"{where}: {', '.join(sorted(missing))}")
    row: pd.Series = used.T[part]
    ratios = _ratios(row, used.drop(index=part).sum(numeric_only=True))
    share, low, high = (round(ratio / (1 + ratio), 5) for ratio in ratios)
    device = f"{row['device']}, {row['threads']} threads"
    verdict = _by_interval(low >= at_least, high < at_least)
    return Finding(verdict, share, _times(used["seconds"]), where, low, high, device)


def reading(run: Artefacts, claim: Claim, steps: Sequence[str], at_most: float) -> Finding:
    """Compare the time of some steps on a clip, as a multiple of decoding it, with a limit."""
    table = run.table("tables/reading.csv").set_index("step")
    decoding: pd.Series = table.T["decoding"]
    taken = table.loc[list(steps)].sum(numeric_only=True)
    ours, low, high = (round(ratio, 3) for ratio in _ratios(taken, decoding))
    why = _times(table.loc[[*steps, "decoding"], "seconds"])
    verdict = _by_interval(high <= at_most, low > at_most)
    return Finding(verdict, ours, why, "tables/reading.csv", low, high, str(decoding["clip"]))


def _ratios(one: pd.Series, two: pd.Series) -> list[float]:
    """Ratio of two times as measured (medians), at the least (fastest / slowest) and at the most."""
    bounds = (("seconds", "seconds"), ("fastest", "slowest"), ("slowest", "fastest"))
    return [float(one[above] / two[below]) for above, below in bounds]


def _times(seconds: pd.Series) -> str:
    return ", ".join(f"{name} {1000 * value:.3g} ms" for name, value in seconds.items())


def _by_interval(agrees: bool, disagrees: bool) -> str:
    """The verdict if the whole interval of our number agrees with the claim, or the whole interval disagrees."""
    return Verdict.CONFIRMED if agrees else Verdict.CONTRADICTED if disagrees else Verdict.NOT_CONFIRMED


# --- measured on clips ----------------------------------------------------------------------------------------------


def accuracy(run: Artefacts, claim: Claim, system: str) -> Finding:
    """Test whether the paper's top-1 accuracy lies in the interval of ours."""
    rows = run.table("tables/results.csv", system=system)
    low, high = rows.iloc[0][["low", "high"]]
    return _on_clips(run, rows, "accuracy", claim.verdict(low <= claim.number / 100 <= high), "results.csv", system)


def gain(run: Artefacts, claim: Claim, over: str) -> Finding:
    """Test whether the interval of fusion minus another system, on the same clips, lies above zero."""
    rows = run.table("tables/fusion_gain.csv", minus=over)
    low, high = rows.iloc[0][["low", "high"]]
    return _on_clips(run, rows, "difference", _by_interval(low > 0, high < 0), "fusion_gain.csv", f"minus {over}")


def _on_clips(run: Artefacts, table: pd.DataFrame, column: str, verdict: str, file: str, what: str) -> Finding:
    """A finding in percent from the first row; the run's other data sets are reported in ``why``."""
    row = table.iloc[0]
    cells = [f"{each['dataset']} {percent(each[column], each['low'], each['high'])}" for _, each in table.iterrows()]
    why = f"{'; '.join(cells)}; {row['n_test']} test clips"
    if not run.ucf101:
        why += "; a tendency, on other data or in another setting than the paper's"
    ours, low, high = (round(100 * float(row[name]), 2) for name in (column, "low", "high"))
    data = run.table("tables/results.csv", dataset=row["dataset"])["data"].iloc[0]
    return Finding(run.on_ucf101(verdict), ours, why, f"tables/{file}: {row['dataset']}, {what}", low, high, data)


def saturated(run: Artefacts, claim: Claim, at_most: float) -> Finding:
    """Compare the share (in percent) of the test clips' vectors beyond the 8-bit range with a limit."""
    table = run.table("tables/saturated.csv").set_index("clips")["saturated"]
    tested = table[table.index.str.endswith("test")]
    why = "; ".join(f"{name} {100 * share:.2g} %" for name, share in tested.items())
    ours, data = round(100 * float(tested.iloc[0]), 3), str(tested.index[0])
    return Finding(run.on_ucf101(claim.verdict(ours <= at_most)), ours, why, "tables/saturated.csv", data=data)


def class_accuracy(run: Artefacts, claim: Claim, class_name: str) -> Finding:
    """Test whether each accuracy that Figure 2 states for a class meets our interval."""
    table = f"tables/per_class-{UCF101}.csv"
    if not run.ucf101:
        return run.elsewhere(f"{table}: {class_name}")
    stated = paper.numbers("figure2").set_index("class_name").loc[class_name].drop("note").dropna()
    row = run.table(table, class_name=class_name).iloc[0]
    met, cells = [], []
    for system, said in stated.items():
        share, low, high = (row[f"{system}{end}"] for end in ("", "_low", "_high"))
        bounds = [float(bound) for bound in str(said).split("-")]  # a number, or a range of several classes
        met.append(bounds[0] <= high and bounds[-1] >= low)
        cells.append(f"{system} {percent(share, low, high)} %")
    why = f"{'; '.join(cells)}; {row['n_test']} clips"
    return Finding(claim.verdict(all(met)), float(row["fusion"]), why, f"{table}: {class_name}", data=UCF101)


def example(run: Artefacts, claim: Claim, class_name: str) -> Finding:
    """Count the clips of a class on which each system answers as Figure 3 shows (first head seed)."""
    if not run.ucf101:
        return run.elsewhere(f"predictions/{UCF101}")
    stated = paper.numbers("figure3").set_index("class_name").loc[class_name]
    rows = load_predictions(run.run / "predictions", [UCF101]).query("class_name == @class_name")
    answers = {str(name): first_seed(rows, UCF101, str(name)).set_index("video")["pred"] for name in stated.index}
    match = (pd.DataFrame(answers) == stated).all(axis=1)
    why = f"{match.sum()} of {len(match)} clips"
    return Finding(claim.verdict(bool(match.any())), int(match.sum()), why, f"predictions/{UCF101}", data=UCF101)


def every_class(run: Artefacts, claim: Claim) -> Finding:
    """Share of the classes (in percent) in which fusion is below the better of its single streams."""
    tables = {path.stem.partition("-")[2]: path for path in sorted((run.run / "tables").glob("per_class-*.csv"))}
    if not tables:
        raise NotRun("tables/per_class-*.csv")
    below = {name: 100 * float((pd.read_csv(path)["adds"] < 0).mean()) for name, path in tables.items()}
    main = run.table("tables/results.csv")["dataset"].iloc[0]
    why = "classes below: " + "; ".join(f"{name} {share:.1f} %" for name, share in below.items())
    verdict = run.on_ucf101(claim.verdict(below[main] == 0))
    return Finding(verdict, round(below[main], 1), why, f"tables/per_class-{main}.csv: adds", data=main)


def clips(run: Artefacts, claim: Claim, split: str) -> Finding:
    """Count the clips of a split of UCF101 that were present and readable."""
    if not (manifest := run.manifest):
        return run.elsewhere(f"data/{UCF101}.json")
    count = int(manifest["counts"][split])
    verdict = claim.verdict(count == claim.number) if manifest["classes"] == list(CLASSES) else Verdict.UNTESTABLE
    why = f"{count} {split} clips of {len(manifest['classes'])} classes were read"
    return Finding(verdict, count, why, f"data/{UCF101}.json: counts", data=manifest["description"])


# Every public function of this file is a rule.
RULES: dict[str, Callable[..., Finding]] = {
    name: rule for name, rule in vars().items() if isfunction(rule) and rule.__module__ == __name__ and name[0] != "_"
}
