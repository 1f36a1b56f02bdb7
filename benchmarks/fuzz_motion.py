"""Damage real video files in many ways and see what the reader makes of them.

    python benchmarks/fuzz_motion.py --count 10000 --codecs [VIDEO ...]

Every mutation is one seed: a file, how it is damaged, where. The outcome must be a `Motion` that is sound or a
`VideoError`. Reading happens in a child process: where it crashes, hangs or eats memory, the seed is written down and a
new child goes on with the next one. ``--seed S --count 1 --keep FILE`` makes the mutation of seed S again.
"""

import argparse
import gc
import importlib
import json
import os
import resource
import runpy
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("flip bits", "set bytes", "delete", "insert", "swap", "repeat", "truncate", "damage the header")
ADDRESS_SPACE = 8 << 30  # bytes; a child that wants more gets a MemoryError, which is no VideoError


def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Damage a file in one of the ways of KINDS, at one to eight places."""
    kind = str(rng.choice(KINDS))
    if kind == "truncate":
        return kind, data[: int(rng.integers(len(data)))]
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        reach = min(len(out), 512) if kind == "damage the header" else len(out)
        if not reach:
            break
        at, size = int(rng.integers(reach)), int(2 ** rng.uniform(0, 12))
        if kind == "flip bits":
            out[at] ^= 1 << int(rng.integers(8))
        elif kind in ("set bytes", "damage the header"):
            size = min(size, 8, len(out) - at)
            out[at : at + size] = (bytes(size), b"\xff" * size, rng.bytes(size))[int(rng.integers(3))]
        elif kind == "delete":
            del out[at : at + size]
        elif kind == "insert":
            out[at:at] = rng.bytes(size)
        elif kind == "repeat":
            out[at:at] = out[at : at + size]
        else:
            other = int(rng.integers(reach))
            size = min(size, len(out) - max(at, other))
            out[at : at + size], out[other : other + size] = out[other : other + size], out[at : at + size]
    return kind, bytes(out)


def mutation(corpus: list[Path], seed: int) -> tuple[Path, str, bytes]:
    """File, kind of damage and bytes of one seed."""
    rng = np.random.default_rng(seed)
    path = corpus[int(rng.integers(len(corpus)))]
    return path, *mutate(path.read_bytes(), rng)


def check(motion) -> None:
    """AssertionError where a `Motion` is not sound."""
    from moclip.video import FUTURE, INTER, INTRA

    count, (rows, columns) = len(motion), motion.grid.shape[1:3]
    assert count > 0 and motion.grid.shape == (count, rows, columns, 2) and motion.grid.dtype == np.int16
    assert motion.mask.shape == (count, rows, columns) and set(np.unique(motion.mask)) <= {FUTURE, INTER, INTRA}
    assert motion.types.shape == motion.has_motion.shape == (count,) and set(motion.types) <= {"I", "P", "B"}
    assert motion.block_size in (4, 8, 16) and motion.scale in (1, 2, 4, 8, 16)
    assert rows == -(-motion.height // motion.block_size) and columns == -(-motion.width // motion.block_size)
    assert not motion.grid[motion.mask != INTER].any() and np.isfinite(motion.fps)
    if motion.width * motion.height > 1 << 22:  # fields of a large frame take long and show nothing new
        return
    for t in {0, count // 2, count - 1}:
        fields = [motion.raw(t)] + ([] if "B" in motion.types else [motion.accumulated(t)])
        for field in fields:
            assert field.shape == (motion.height, motion.width, 2) and np.isfinite(field).all()
        if len(fields) == 2:  # a pixel's sources lie in the image: no sum can lead further out than half a pixel a step
            reach = np.array([motion.width, motion.height]) + count
            assert (np.abs(fields[1]) <= reach).all()


def child(reader: str, corpus: list[Path]) -> None:
    """Answer seeds that come line by line with one JSON object each."""
    from moclip.video import Motion, VideoError

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    module, name = reader.split(":")
    read = getattr(importlib.import_module(module), name)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes past the replies
    print("ready", file=replies, flush=True)
    files_at_start = open_files()
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            path, kind, data = mutation(corpus, int(line))
            damaged = Path(folder) / f"damaged{path.suffix}"
            damaged.write_bytes(data)
            start = time.perf_counter()
            try:
                result = read(damaged)
                if isinstance(result, Motion):
                    check(result)
                outcome, detail = "read", ""
            except VideoError as error:
                outcome, detail = "VideoError", error.cause
                if error.path != damaged:
                    outcome = "another path in the error"
            except Exception as error:
                outcome, detail = f"raw {type(error).__name__}", str(error)
            reply = {"outcome": outcome, "detail": detail[:200], "kind": kind, "file": path.name}
            reply |= {"seconds": time.perf_counter() - start, "peak_mib": peak_mib()}
            if (files := open_files()) > files_at_start:
                gc.collect()  # what only waits for the collector is no leak
                files = open_files()
            reply["files"] = files
            print(json.dumps(reply), file=replies, flush=True)


def peak_mib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def open_files() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def fuzz(corpus: list[Path], seeds: range, reader: str, timeout: float) -> Iterator[dict]:
    """One reply a seed; a child that dies or takes longer than ``timeout`` seconds is an outcome too."""
    process = None
    for seed in seeds:
        if process is None:
            command = [sys.executable, __file__, "--child", "--reader", reader, *map(str, corpus)]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert process.stdout and process.stdout.readline() == "ready\n", f"{reader} cannot be imported"
        assert process.stdin and process.stdout
        process.stdin.write(f"{seed}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        line = process.stdout.readline() if ready else ""
        if line:
            yield json.loads(line) | {"seed": seed}
            continue
        if not ready:
            process.kill()
        status = process.wait()
        path, kind, _ = mutation(corpus, seed)
        outcome = f"died (status {status})" if ready else f"hangs (over {timeout:g} s)"
        yield {"outcome": outcome, "detail": "", "kind": kind, "file": path.name, "seed": seed}
        process = None
    if process is not None and process.stdin:
        process.stdin.close()
        process.wait()


def summary(replies: list[dict]) -> dict:
    """Counts of outcomes, worst time and memory, and every reply that must not be."""
    timed = [reply for reply in replies if "seconds" in reply]
    return {
        "mutations": len(replies),
        "outcomes": dict(Counter(reply["outcome"] for reply in replies)),
        "by kind": {kind: dict(Counter(r["outcome"] for r in replies if r["kind"] == kind)) for kind in KINDS},
        "slowest": max(timed, key=lambda reply: reply["seconds"], default=None),
        "peak_mib": max((reply["peak_mib"] for reply in timed), default=None),
        "open_files": [timed[0]["files"], timed[-1]["files"]] if timed else None,
        "bad": [reply for reply in replies if reply["outcome"] not in ("read", "VideoError")],
    }


def codec_clips(folder: Path) -> list[Path]:
    """Small clips as tests/video/test_codecs.py makes them: every codec in every container, a few coding tools."""
    make = runpy.run_path(str(ROOT / "tests" / "video" / "conftest.py"))
    table = runpy.run_path(str(ROOT / "tests" / "video" / "test_codecs.py"))
    for encoder, (_, files, sizes) in table["CODECS"].items():
        for suffix in files:
            frames = make["make_pan"](2, 1, 14, *sizes[-1])
            options = table["without_b"](encoder)
            make["encode_with"](encoder, folder / f"{encoder}.{suffix}", options, frames=frames)
    for number, (encoder, name, options, pixels) in enumerate(table["TOOLS"].values()):
        frames = make["make_pan"](-2, 4, 14, 176, 144)
        make["encode_with"](encoder, folder / f"tool{number}_{name}", options, pixels, frames)
    return sorted(folder.iterdir())


def main() -> None:
    """Print the summary as JSON; exit status 1 if anything happened but reading and `VideoError`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="files to damage; default: the golden videos")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--timeout", type=float, default=20, help="seconds a file")
    parser.add_argument("--reader", default="moclip.video:read_motion", help="module:function of a path")
    parser.add_argument("--codecs", action="store_true", help="small clips of all codecs too")
    parser.add_argument("--log", type=Path, help="write a line a mutation here")
    parser.add_argument("--keep", type=Path, help="write the first seed's damaged bytes here and end")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.reader, options.videos)
    with tempfile.TemporaryDirectory() as folder:
        golden = ROOT / "tests" / "data" / "golden"
        corpus = options.videos or sorted(path for path in golden.iterdir() if path.suffix in (".mp4", ".m4v"))
        corpus = [*corpus, *(codec_clips(Path(folder)) if options.codecs else [])]
        if options.keep:
            options.keep.write_bytes(mutation(corpus, options.seed)[2])
            return None
        seeds = range(options.seed, options.seed + options.count)
        replies = list(fuzz(corpus, seeds, options.reader, options.timeout))
    if options.log:
        options.log.write_text("".join(f"{json.dumps(reply)}\n" for reply in replies))
    result = summary(replies)
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["bad"]))


if __name__ == "__main__":
    main()
