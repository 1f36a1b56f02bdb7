"""Training samples a second: from the motion store, and from the videos themselves as the published loaders do it.

    python benchmarks/loading.py OUT

On real clips in CoViAR's format (``MOCLIP_UCF101_ROOT``) and on generated ones. All contenders draw the same segments,
crops and flips; that they make the same tensors is checked before anything is timed. The other ways open the file anew
for each segment and decode: from its start, or (kinder, what CoViAR's loader does) from the segment's I-frame on, with
all before it parsed and not decoded; the field is then added up by our own kernel. They take turns, round after round,
in one process and with one thread; a ratio is taken within a round, and the median over the rounds is reported with the
smallest and the largest. ``loader`` is what a loader's process does, up to what goes to the device; ``input`` goes on
to the network's input, on the CPU. The two do not end alike: from the store come int16 cells, which the device expands
and, where the field is accumulated, adds up; from the videos come whole fields. ``OUT`` gets ``loading.csv`` and
``loading.md``.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pandas as pd
import torch
from av.codec.context import Flags2
from machine import machine

from moclip.config.load import load_config
from moclip.datasets import load_dataset
from moclip.datasets.base import Clip
from moclip.datasets.moving_photos import Design
from moclip.engine.features import extract_motion
from moclip.inputs.clips import LoadedClips, TrainingSamples
from moclip.inputs.crops import CENTER
from moclip.inputs.sampling import tsn_frames
from moclip.inputs.transforms import GridShape
from moclip.inputs.views import TrainViews, Views, join, to_input
from moclip.io.fingerprints import fingerprints
from moclip.io.progress import track
from moclip.video import read_motion, transcode
from moclip.video.fields import accumulate
from moclip.video.store import content_path

STORE, START, GOP = "store", "video, from its start", "video, from the I-frame"
AIM = 10
CELL = 8  # the finest block of MPEG-4


# --- the other ways -------------------------------------------------------------------------------------------------


def from_start(path: Path, t: int, field: str) -> np.ndarray:
    """A field in pixels, float32 (H, W, 2): open, decode up to the frame (nothing but vectors, by our reader)."""
    return read_motion(path, until=t).fields([t], field)[0]


def from_i_frame(path: Path, t: int, field: str) -> np.ndarray:
    """The same, with nothing decoded before the segment's I-frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.flags2 |= Flags2.export_mvs
        packets, start = [], 0
        for packet in container.demux(stream):
            read = start + len(packets)
            if read > t + 1 or (read > t and packet.is_keyframe):  # one more, as the decoder may hold a frame back
                break
            if packet.is_keyframe:
                packets, start = [], start + len(packets)
            packets.append(packet)
        frames = [frame for packet in packets for frame in stream.codec_context.decode(packet)]
        frames += stream.codec_context.decode(None) if len(frames) <= t - start else []
    way = frames[1 : t - start + 1] if field == "accumulated" else [frames[t - start]]
    size = frames[0].height, frames[0].width
    painted = [paint(frame, *size) for frame in way]
    scale = max((scale for _, scale in painted), default=1)
    grids = np.stack([grid for grid, _ in painted])
    if field == "raw":
        whole = grids[0].repeat(CELL, 0).repeat(CELL, 1)[: size[0], : size[1]]
        return whole.astype(np.float32) / np.float32(scale)
    out = np.empty((1, *size, 2), np.float32)
    accumulate(grids.__getitem__, [(0, len(grids))], out, CELL, scale)
    return out[0]


def paint(frame: av.VideoFrame, height: int, width: int) -> tuple[np.ndarray, int]:
    """A frame's vectors on cells of 8 pixels, int16 (gh, gw, 2), destination minus source; and their units a pixel."""
    grid = np.zeros((-(-height // CELL) + 1, -(-width // CELL) + 1, 2), np.int16)  # a block may reach over the edge
    found = frame.side_data.get("MOTION_VECTORS")
    vectors = found.to_ndarray() if found is not None else []
    scale = 1
    if len(vectors):
        scale = int(vectors["motion_scale"][0])
        rows, columns = (
            (vectors[f"dst_{axis}"] - vectors[side] // 2) // CELL for axis, side in (("y", "h"), ("x", "w"))
        )
        values = -np.stack([vectors["motion_x"], vectors["motion_y"]], axis=1)
        for down in range(2):
            for across in range(2):
                covers = (vectors["h"] > CELL * down) & (vectors["w"] > CELL * across)
                grid[rows[covers] + down, columns[covers] + across] = values[covers]
    return grid[:-1, :-1], scale


# --- samples --------------------------------------------------------------------------------------------------------


def stored(samples: TrainingSamples, epoch: int, indices: list[int]) -> Views:
    return samples[epoch, indices][0]


def opened(
    samples: TrainingSamples, epoch: int, indices: list[int], read: Callable[[Path, int, str], np.ndarray]
) -> Views:
    """The same samples from the videos: fields of pixels, float32 (B, S, H, W, 2), instead of grids."""
    parts, protocol = [], samples.protocol
    for index in indices:
        motion = samples.clips[index]
        rng = np.random.default_rng([protocol.seed, epoch, index])  # as `TrainingSamples` draws
        frames = tsn_frames(motion, protocol.segments, rng)
        fields = np.stack([read(samples.clips.clips[index].path, int(t), protocol.field) for t in frames])
        boxes = CENTER.train(motion.height, motion.width, protocol, rng)
        mirrored = np.full(len(frames), protocol.mirror and rng.random() < 0.5)
        tensors = (torch.from_numpy(np.asarray(array)[None]) for array in (fields, np.float32(1), 1, boxes, mirrored))
        parts.append(Views(GridShape(1, motion.height, motion.width), protocol, *tensors))
    return join(parts)


def check(samples: TrainingSamples) -> None:
    """All ways make the same tensors."""
    indices = list(range(len(samples.clips)))
    ours = to_input(stored(samples, 0, indices))
    for read in (from_start, from_i_frame):
        theirs = to_input(opened(samples, 0, indices, read))
        if (worst := (ours - theirs).abs().max().item()) > 1e-5:
            raise SystemExit(f"{read.__name__}, {samples.protocol.field}: other tensors, {worst:.3g} apart")


# --- clips ----------------------------------------------------------------------------------------------------------


def real(folder: Path, per_class: int) -> list[Clip]:
    """Some real clips of every class in CoViAR's format."""
    root = os.environ.get("MOCLIP_UCF101_ROOT")
    found = []
    for place in sorted(path for path in Path(root).rglob("*") if path.is_dir()) if root else []:
        for path in sorted(place.glob("*.avi"))[:per_class]:
            transcode(path, folder / f"{path.stem}.m4v")
            found.append(Clip(folder / f"{path.stem}.m4v", 0, "any", path.stem, path.stem))
    return found


def generated(folder: Path) -> list[Clip]:
    classes = ["CatLeft", "CatRecede", "CoinsDown", "AstronautRight"]
    design = Design("mixed", train_groups=2, test_groups=1, classes=classes)
    made = load_dataset("moving_photos", design=design, root=folder)
    return list(made.train)


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(samples: TrainingSamples, kind: str, rounds: int) -> list[dict[str, object]]:
    """A row a contender and unit of work."""
    indices, field = list(range(len(samples.clips))), samples.protocol.field
    loaders: dict[str, Callable[[int], Views]] = {
        STORE: lambda epoch: stored(samples, epoch, indices),
        START: lambda epoch: opened(samples, epoch, indices, from_start),
        GOP: lambda epoch: opened(samples, epoch, indices, from_i_frame),
    }
    names = list(loaders)
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {(n, w): [] for n in names for w in ("loader", "input")}
    for turn in track(range(rounds + 1), f"{kind}, {field}"):
        for name in names[turn % 3 :] + names[: turn % 3]:
            start = np.array([time.perf_counter(), time.process_time()])
            batch = loaders[name](turn)
            middle = np.array([time.perf_counter(), time.process_time()])
            to_input(batch)
            end = np.array([time.perf_counter(), time.process_time()])
            taken[name, "loader"].append(tuple(middle - start))
            taken[name, "input"].append(tuple(end - start))
    rows = []
    for (name, work), pairs in taken.items():
        seconds, ours = np.array(pairs[1:]), np.array(taken[STORE, work][1:])  # (rounds, 2); the first warms up
        row: dict[str, object] = {"clips": kind, "field": field, "work": work, "contender": name, "n": len(indices)}
        values = {"samples a second": len(indices) / seconds[:, 0], "store is faster by": seconds[:, 0] / ours[:, 0]}
        values["cpu: by"] = seconds[:, 1] / ours[:, 1]
        for what, found in values.items():
            row[what] = f"{np.median(found):.1f} ({found.min():.1f} - {found.max():.1f})"
        rows.append(row | {"ratio": float(np.median(values["store is faster by"]))})
    return rows


def share(clips: list[Clip], store: Path) -> str:
    """Size of the store."""
    hashes = fingerprints([clip.path for clip in clips])
    kept = sum(content_path(store, value).stat().st_size for value in hashes.values())
    videos = sum(path.stat().st_size for path in hashes)
    return f"{kept / 1e6:.2f} MB for {videos / 1e6:.2f} MB of video: {100 * kept / videos:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for loading.csv and loading.md")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up (default: 5)")
    parser.add_argument("--clips", type=int, default=3, help="real clips a class (default: 3)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows, sizes = [], []
    with tempfile.TemporaryDirectory() as name:
        os.environ["MOCLIP_HOME"] = name
        folder = Path(name)
        sources = {"real, CoViAR's format": real(folder, arguments.clips), "generated": generated(folder / "photos")}
        for kind, members in sources.items():
            if not members:
                continue
            extract_motion(members, folder / "store", workers=1)
            sizes.append(f"Store, {kind}: {share(members, folder / 'store')}.")
            for field in ("raw", "accumulated"):
                overrides = {"motion.field": field, "data.root": name, "data.annotation_path": name}
                config = load_config("ucf101", overrides)
                protocol = TrainViews.from_sections(config.mv, config.motion, True)
                samples = TrainingSamples(LoadedClips(members, folder / "store"), protocol)
                check(samples)
                rows += measure(samples, kind, arguments.rounds)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "loading.csv", index=False, float_format="%.5g")
    others = table[table["contender"] != STORE]
    ratios = {work: rows_of["ratio"] for work, rows_of in others.groupby("work", sort=False)}
    met = "; ".join(f"{work}, met in {(found >= AIM).sum()} of {len(found)} rows" for work, found in ratios.items())
    goal = f"Goal, {AIM} times: {met}."
    head = f"{arguments.rounds} rounds; a sample is {protocol.segments} segments at {protocol.size} px."
    shown = table.drop(columns="ratio").to_markdown(index=False)
    text = (
        "\n\n".join(["# Loading training samples", machine("torch", "av", "numpy"), head, goal, *sizes, shown]) + "\n"
    )
    (arguments.out / "loading.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
