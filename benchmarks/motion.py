"""How long it takes to read motion, as ratios to a plain decode of the same file in the same run.

    python benchmarks/motion.py OUT [VIDEO ...]

Reads the golden files, real clips re-encoded in CoViAR's format, the real clips as they are (XviD) and as H.264 with
and without B-frames (``MOCLIP_UCF101_ROOT``), and the videos given. All contenders take turns on a file, round after
round in another order, each with one thread; a ratio is taken within a round, and the median over the rounds is
reported with the smallest and the largest. Where other programs share the machine, the ratios of processor time
(``cpu``) say more than those of the clock. ``OUT`` gets ``motion.csv``, a row a file and contender, and ``motion.md``.
"""

import argparse
import gc
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
from av.codec.context import Flags2
from machine import machine

from moclip.io.progress import track
from moclip.video import load_motion, probe, read_motion, transcode
from moclip.video.store import SUFFIX, store_motion

ROOT = Path(__file__).resolve().parents[1]
PLAIN = "plain decode"
GRIDS, FIELDS, THREE = "ours: all grids", "ours: 32 accumulated 8-bit fields", "ours: 3 training fields"
STORED_THREE, STORED_ONE = "ours: 3 training fields, stored", "ours: random accumulated field, stored"
MINUTES = 10


# --- contenders -----------------------------------------------------------------------------------------------------


def decode(path: Path) -> None:
    """Every frame, no conversion."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def vectors_to_numpy(path: Path) -> None:
    """What one writes with PyAV alone: every frame's list of vectors as an array."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        context.flags2 |= Flags2.export_mvs
        for frame in container.decode(video=0):
            vectors = frame.side_data.get("MOTION_VECTORS")
            if vectors is not None:
                vectors.to_ndarray()


def extractor(path: Path) -> None:
    """The package motion-vector-extractor, which also converts every frame to BGR."""
    from mvextractor.videocap import VideoCap

    video = VideoCap()
    if not video.open(str(path)):
        raise OSError(f"{path}: motion-vector-extractor cannot open it")
    while video.read()[0]:
        pass
    video.release()


def coviar(path: Path) -> None:
    """CoViAR's loader: 32 accumulated fields, one load each, in 8 bit."""
    from coviar import get_num_frames, load

    for t in spread(get_num_frames(str(path))):
        field = load(str(path), int(t) // 12, int(t) % 12, 1, True)
        np.clip((field * (127.5 / 20)).astype(np.int32) + 128, 0, 255).astype(np.uint8)


def spread(count: int, fields: int = 32) -> np.ndarray:
    """The middles of equal parts of a clip."""
    return (2 * np.arange(fields) + 1) * count // (2 * fields)


def contenders(path: Path, kept: Path, rng: np.random.Generator) -> dict[str, Callable[[], object]]:
    """What can be timed on a file, by name."""
    store_motion(path, kept)
    motion = read_motion(path)
    with_motion = np.flatnonzero(motion.has_motion)
    reorders = "B" in motion.types
    field = "raw" if reorders else "accumulated"  # B-frames cannot be accumulated
    every = spread(len(motion))

    def three() -> np.ndarray:
        return rng.choice(with_motion, 3)

    def some_fields(frames: np.ndarray) -> np.ndarray:
        return read_motion(path, until=int(frames.max())).fields(frames, field, bound=20.0)

    found: dict[str, Callable[[], object]] = {PLAIN: lambda: decode(path)}
    found["PyAV, vectors to numpy"] = lambda: vectors_to_numpy(path)
    if importlib.util.find_spec("mvextractor"):
        found["motion-vector-extractor"] = lambda: extractor(path)
    if importlib.util.find_spec("coviar") and (motion.codec, motion.container) == ("mpeg4", "m4v") and not reorders:
        found["coviar: 32 accumulated 8-bit fields"] = lambda: coviar(path)
    found[GRIDS] = lambda: read_motion(path)
    if not reorders:
        found[FIELDS] = lambda: read_motion(path).fields(every, bound=20.0)
    found[THREE] = lambda: some_fields(three())
    found[STORED_THREE] = lambda: load_motion(kept).fields(three(), field, bound=20.0)
    if not reorders:
        found[STORED_ONE] = lambda: load_motion(kept).accumulated(int(rng.choice(with_motion)))
    return found


# --- files ----------------------------------------------------------------------------------------------------------


def golden_files() -> list[Path]:
    return sorted(path for path in (ROOT / "tests" / "data" / "golden").iterdir() if path.suffix in (".mp4", ".m4v"))


def real_clips(count: int) -> list[Path]:
    """Some clips of every class, the first of each."""
    root = os.environ.get("MOCLIP_UCF101_ROOT")
    if not root:
        return []
    folders = sorted(path for path in Path(root).rglob("*") if path.is_dir())
    return [clip for folder in folders for clip in sorted(folder.glob("*.avi"))[:count]]


def to_h264(source: Path, target: Path, b_frames: int) -> None:
    """x264's own defaults but for the number of B-frames; ``target`` ends in .mp4 or .h264."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        options = {"bf": str(b_frames), "threads": "1"}
        stream = out.add_stream("libx264", rate=25, options=options, width=340, height=256, pix_fmt="yuv420p")
        for count, frame in enumerate(container.decode(video=0)):
            scaled = frame.reformat(340, 256, "yuv420p")
            scaled.pts, scaled.time_base, scaled.pict_type = count, Fraction(1, 25), 0
            out.mux(stream.encode(scaled))
        out.mux(stream.encode())


def files(folder: Path, clips: int, given: list[Path]) -> Iterator[tuple[str, Path]]:
    """Kind and path of everything that is timed; what has to be made is made in ``folder``."""
    yield from (("golden", path) for path in golden_files())
    for clip in real_clips(clips):
        made = {"CoViAR's format": folder / f"{clip.stem}.m4v"}
        made |= {f"H.264, {b} B-frames": folder / f"{clip.stem}_{b}.mp4" for b in (0, 2)}
        transcode(clip, made["CoViAR's format"])
        for b_frames in (0, 2):
            to_h264(clip, made[f"H.264, {b_frames} B-frames"], b_frames)
        yield "XviD, as it came" + (" (B-frames)" if probe(clip).has_b_frames else ""), clip
        yield from made.items()
    yield from (("given", path) for path in given)


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(kind: str, path: Path, folder: Path, rounds: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """A row a contender: milliseconds and ratios to the plain decode of the same round."""
    found = contenders(path, folder / f"kept{SUFFIX}", rng)
    names = list(found)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # so that the collections below have little to walk through, and leave the caches warm
    for _ in range(rounds + 1):
        for name in rng.permutation(names):  # nobody always comes after the one that leaves the caches coldest
            gc.collect()  # what one leaves behind (pictures, where vectors are read) is not charged to the next
            start = time.perf_counter(), time.process_time()
            found[name]()
            seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    rows = []
    for name in names:
        taken = np.array(seconds[name][1:])  # (rounds, 2); the first round warms up
        ratios = taken / np.array(seconds[PLAIN][1:])
        row: dict[str, object] = {"kind": kind, "file": path.name, "frames": probe(path).frames, "contender": name}
        for unit, values in (("ms", taken[:, 0] * 1e3), ("ratio", ratios[:, 0]), ("cpu", ratios[:, 1])):
            row |= {f"{unit}_median": np.median(values), f"{unit}_min": values.min(), f"{unit}_max": values.max()}
        rows.append(row)
    return rows


CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from moclip.video import read_motion
from moclip.video.store import store_motion
def peak():  # not of the parent, from which a child inherits it
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
action, path, kept = sys.argv[1:]
before = peak()
frames = None
if action == "read": frames = len(read_motion(path))
if action == "store": store_motion(path, kept)
print(json.dumps({"seconds": time.perf_counter() - start, "before": before, "peak": peak(), "frames": frames}))
"""


def child(action: str, path: Path, kept: Path, **variables: str) -> dict[str, float]:
    """Read or store a clip in a process of its own: seconds, and peak memory in MiB before and after."""
    run = [sys.executable, "-c", CHILD, action, str(path), str(kept)]
    environment = {"PYTHONPATH": str(ROOT), **os.environ, **variables}
    return json.loads(subprocess.run(run, check=True, capture_output=True, env=environment, text=True).stdout)  # type: ignore[no-any-return]


def repeated(clip: Path, target: Path) -> None:
    """A clip as a bare stream, again and again, until it lasts ten minutes at 25 frames a second."""
    data = clip.read_bytes()
    target.write_bytes(data * -(-MINUTES * 60 * 25 // probe(clip).frames))


def memory(folder: Path) -> pd.DataFrame:
    """Peak memory on ten minutes."""
    source = (real_clips(1) or golden_files())[0]
    transcode(source, folder / "one.m4v")
    to_h264(source, folder / "one.h264", 0)
    rows = []
    for name in ("one.m4v", "one.h264"):
        long = folder / f"long{Path(name).suffix}"
        repeated(folder / name, long)
        for action in ("read", "store"):
            result = child(action, long, folder / f"long{SUFFIX}")
            rows.append({"stream": name.replace("one.", ""), "action": action, "frames": probe(long).frames, **result})
        long.unlink()
    return pd.DataFrame(rows).rename(columns={"before": "MiB_imported", "peak": "MiB_peak"})


def cold(folder: Path) -> pd.DataFrame:
    """A process that reads one golden file, from its start on: with nothing compiled, and with what is kept on disk."""
    path, rows = golden_files()[-1], []
    cache = {"NUMBA_CACHE_DIR": str(folder / "numba")}
    for what in ("nothing compiled yet", "compiled before"):
        rows.append({"process": what, "seconds": child("read", path, folder, **cache)["seconds"]})
    rows.append({"process": "import alone", "seconds": child("nothing", path, folder, **cache)["seconds"]})
    return pd.DataFrame(rows)


# --- report ---------------------------------------------------------------------------------------------------------


def goals(table: pd.DataFrame, peaks: pd.DataFrame | None) -> pd.DataFrame:
    """What was aimed at, and what came out: the median over the files of a kind, and the worst file."""
    plain = ("golden", "CoViAR's format")
    foreign = ("XviD, as it came", "XviD, as it came (B-frames)", "H.264, 0 B-frames", "H.264, 2 B-frames")
    rows = []
    aims = [(GRIDS, plain, "ratio", 1.0), (GRIDS, foreign, "ratio", 1.3), (FIELDS, plain + foreign, "ratio", 1.2)]
    for contender, kinds, unit, aim in [*aims, (STORED_ONE, plain, "ms", 1.0)]:
        for kind in kinds:
            rows_of = table[(table.contender == contender) & (table.kind == kind)]
            for clock in ("ratio", "cpu") if unit == "ratio" else (unit,):
                some = rows_of[f"{clock}_median"]
                if len(some):
                    row = {"goal": f"{contender}: at most {aim} {clock}", "kind": kind, "median": some.median()}
                    met = f"{(some <= aim).sum()} of {len(some)}"
                    rows.append({**row, "worst": some.max(), "files_within": met})
    if peaks is not None:
        for _, peak in peaks.iterrows():
            kind = f"{MINUTES} minutes of {peak.stream}, {peak.action}"
            met = "1 of 1" if peak.MiB_peak < 300 else "0 of 1"
            row = {"goal": "peak memory below 300 MiB", "kind": kind, "median": peak.MiB_peak, "worst": peak.MiB_peak}
            rows.append({**row, "files_within": met})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, facts: str, rounds: int, extras: dict[str, pd.DataFrame]) -> str:
    summary = {"median": "median", "smallest": "min", "largest": "max"}
    ratios = table.groupby(["kind", "contender"], sort=False).agg(
        files=("file", "count"),
        **{f"{clock} {name}": (f"{clock}_median", how) for clock in ("ratio", "cpu") for name, how in summary.items()},
    )
    times = table.assign(
        ms=[f"{row.ms_median:.2f} ({row.ms_min:.2f} - {row.ms_max:.2f})" for row in table.itertuples()],
        ratio=[f"{row.ratio_median:.3f} ({row.ratio_min:.3f} - {row.ratio_max:.3f})" for row in table.itertuples()],
        cpu=[f"{row.cpu_median:.3f} ({row.cpu_min:.3f} - {row.cpu_max:.3f})" for row in table.itertuples()],
    )
    parts = ["# Reading motion", facts, f"{rounds} rounds. A ratio is to the plain decode of the same round, 1 thread."]
    for title, extra in extras.items():
        parts += [f"## {title}", extra.to_markdown(index=False, floatfmt=".3g")]
    parts += ["## Ratios by kind of file: median, smallest and largest over the files"]
    parts += [ratios.reset_index().to_markdown(index=False, floatfmt=".3g")]
    parts += ["## Every file: median (smallest - largest) over the rounds"]
    parts += [times[["kind", "file", "frames", "contender", "ms", "ratio", "cpu"]].to_markdown(index=False)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for motion.csv and motion.md")
    parser.add_argument("videos", type=Path, nargs="*", help="more videos to time")
    parser.add_argument("--rounds", type=int, default=11, help="rounds a file, after one to warm up (default: 11)")
    parser.add_argument("--clips", type=int, default=1, help="real clips a class (default: 1)")
    parser.add_argument("--only-given", action="store_true", help="time nothing but the videos given")
    parser.add_argument("--no-memory", action="store_true", help="leave out the ten-minute clips and the cold start")
    parser.add_argument("--seed", type=int, default=0, help="of the frames drawn (default: 0)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    extras: dict[str, pd.DataFrame] = {}
    peaks = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not arguments.no_memory:
            peaks = memory(folder)
            extras = {"Ten minutes, in a process of its own": peaks, "Cold start": cold(folder)}
        given = [("given", path) for path in arguments.videos]
        chosen = given if arguments.only_given else list(files(folder, arguments.clips, arguments.videos))
        for kind, path in track(chosen, "files"):
            rows += measure(kind, path, folder, arguments.rounds, rng)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "motion.csv", index=False, float_format="%.5g")
    about = machine("av", "numba", "numpy") + f", libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
    text = markdown(table, about, arguments.rounds, {"Goals": goals(table, peaks)} | extras)
    (arguments.out / "motion.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
