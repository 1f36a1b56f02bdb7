"""Data sets as a configuration asks for them: clips of too few frames are left out and counted."""

import json

import numpy as np
import pytest

from moclip.config.sections import ConfigError, Data, MinFrames
from moclip.datasets.prepare import prepare
from moclip.video import encode

FRAMES = {"train": (4, 5, 30), "test": (26, 27, 40)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes, three clips of known lengths in each split."""
    root = tmp_path_factory.mktemp("films")
    picture = np.random.default_rng(0).integers(0, 255, (48, 160, 3), np.uint8)
    for split, lengths in FRAMES.items():
        for name in "ab":
            for frames in lengths:
                path = root / split / name / f"{split}_{name}_{frames}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                encode([picture[:, t : t + 64] for t in range(frames)], path, fps=25)
    return root


def settings(folder, **fewest):
    return Data(name="video_folder", root=folder, workers=1, min_frames=MinFrames(**fewest))


def test_clips_of_too_few_frames_are_left_out_and_counted(folder, tmp_path):
    (whole,) = prepare(settings(folder), tmp_path)
    assert len(whole.clips) == 12 and "left out" not in whole.description
    (data,) = prepare(settings(folder, train=5, test=27), tmp_path)
    assert sorted(int(clip.name.rpartition("_")[2]) for clip in data.train) == [5, 5, 30, 30]
    assert sorted(int(clip.name.rpartition("_")[2]) for clip in data.test) == [27, 27, 40, 40]
    assert data.description == (
        f"{whole.description}, 4 of 12 clips left out (under 5 frames in training, 27 in testing)"
    )
    assert data.fingerprint != whole.fingerprint and data.classes == whole.classes
    left_out = json.loads((tmp_path / f"{data.name}.json").read_text())["left_out"]
    assert sorted((entry["path"], entry["reason"]) for entry in left_out) == [
        (f"{split}/{name}/{split}_{name}_{frames}.mp4", f"{frames} frames")
        for split, frames in (("test", 26), ("train", 4))
        for name in "ab"
    ]
    (all_of_them,) = prepare(settings(folder, train=4, test=26), tmp_path)
    assert (all_of_them.description, all_of_them.fingerprint) == (whole.description, whole.fingerprint)


def test_a_data_set_of_short_clips_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"no training or no test clip has data.min_frames=.*test=50"):
        prepare(settings(folder, test=50), tmp_path)
