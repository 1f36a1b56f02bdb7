"""Read files over and over and print how memory and open files grow.

    python benchmarks/leak_motion.py --reads 20000 [VIDEO ...]

Every file is read whole and cut in half, which must be a `VideoError`. Resident memory is printed at ten points; the
first is the warm-up.
"""

import argparse
import gc
import os
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from moclip.video import VideoError, read_motion

ROOT = Path(__file__).resolve().parents[1]


def resident_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def halves(videos: list[Path], folder: Path) -> list[Path]:
    """The first half of every file."""
    paths = []
    for number, video in enumerate(videos):
        paths.append(folder / f"{number}{video.suffix}")
        paths[-1].write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    return paths


def main() -> None:
    """Print a line at each tenth of the reads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="default: the golden videos")
    parser.add_argument("--reads", type=int, default=20_000)
    options = parser.parse_args()
    golden = ROOT / "tests" / "data" / "golden"
    videos = options.videos or sorted(path for path in golden.iterdir() if path.suffix in (".mp4", ".m4v"))
    step, errors, start = max(options.reads // 10, 1), 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        order = [path for pair in zip(videos, halves(videos, Path(folder)), strict=True) for path in pair]
        for number, path in enumerate(islice(cycle(order), options.reads + 1)):
            if number and number % step == 0:
                gc.collect()
                files, seconds = len(os.listdir("/proc/self/fd")), time.perf_counter() - start
                print(f"{number} reads, {errors} errors, {resident_mib():.1f} MiB, {files} files, {seconds:.0f} s")
            try:
                read_motion(path)
            except VideoError:
                errors += 1


if __name__ == "__main__":
    main()
