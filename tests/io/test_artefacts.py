"""Artefacts: the same bytes every time, no rubbish inside, joined by names."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from moclip.io.artefacts import (
    ArtefactError,
    forget_predictions,
    load_json,
    load_predictions,
    load_scores,
    load_tensors,
    read_predictions,
    save_csv,
    save_predictions,
    save_tensors,
)

CLASSES = ["Left", "Right", "Up", "Down", "Shake", "NA"]
NAMES = ["c", "a", "b"]
HEADER = {"protocol": "quick", "views": 3, "n_train": 7, "data": "synthetic clips"}
SCORES = np.random.default_rng(0).normal(size=(3, 6))


def write(folder, system="fusion", seed=0, scores=SCORES, names=NAMES, classes=CLASSES, dataset="mixed"):
    save_predictions(
        folder / dataset,
        system,
        seed,
        clips={
            "video": names,
            "group": ["g1"] * len(names),
            "class_name": [{"c": "Left", "a": "NA", "b": "Up"}[name] for name in names],
        },
        classes=classes,
        scores=scores,
        header={**HEADER, "dataset": dataset},
    )


WRITER = """
import sys
from pathlib import Path
import numpy as np
from moclip.io.artefacts import save_tensors
tensors = {name: np.arange(6.0).reshape(2, 3) for name in ("b", "a", "c", "d")}
header = {name: {"y": 1, "x": [1.5, None]} for name in ("model", "seed", "classes", "dataset", "scale")}
save_tensors(Path(sys.argv[1]), tensors, header)
"""


def test_bytes_are_the_same_in_every_process(tmp_path):
    written = set()
    for seed in ("1", "2", "3"):  # the order of hash tables differs
        path = tmp_path / seed / "a.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", WRITER, str(path)], check=True, env=environment)
        written.add((path.read_bytes(), path.with_suffix(".json").read_bytes()))
    assert len(written) == 1


def test_tensors_and_header_come_back(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "empty": np.zeros((0, 4)), "flag": np.array(True)}
    header = {"classes": ["b", "a"], "nested": {"x": 1.5, "none": None}, "text": "ü"}
    save_tensors(tmp_path / "t.safetensors", tensors, header)
    kept, kept_header = load_tensors(tmp_path / "t.safetensors")
    assert kept_header == header == load_json(tmp_path / "t.json")
    assert kept.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert kept[name].dtype == tensor.dtype
        np.testing.assert_array_equal(kept[name], tensor)
    with pytest.raises(FileNotFoundError, match="moclip reproduce"):
        load_tensors(tmp_path / "none.safetensors")


def test_predictions_hold_the_best_classes_and_their_probabilities(tmp_path):
    write(tmp_path, seed=3)
    rows = load_predictions(tmp_path, ["mixed"])
    assert list(rows["video"]) == NAMES
    best = [[CLASSES[i] for i in sorted(range(6), key=lambda i: -SCORES[n, i])] for n in range(3)]
    assert list(rows["pred"]) == [row[0] for row in best]
    assert rows[[f"top{k}" for k in range(1, 6)]].to_numpy().tolist() == [row[:5] for row in best]
    expected = -np.sort(-softmax(SCORES, axis=1), axis=1)[:, :5]
    np.testing.assert_allclose(rows[[f"score{k}" for k in range(1, 6)]], expected, atol=2e-6)
    assert (rows["seed"] == 3).all() and set(rows["protocol"]) == {"quick"} and set(rows["system"]) == {"fusion"}
    assert list(rows["correct"]) == [
        p == t for p, t in zip([row[0] for row in best], ["Left", "NA", "Up"], strict=True)
    ]
    scores, names, classes = load_scores(tmp_path / "mixed" / "fusion-seed3.safetensors")
    np.testing.assert_array_equal(scores, SCORES.astype(np.float32))
    assert (names, classes) == (NAMES, CLASSES)
    header = json.loads((tmp_path / "mixed" / "fusion-seed3.json").read_text())
    assert header["views"] == 3 and header["seed"] == 3


def test_a_class_called_na_is_a_class(tmp_path):
    scores = np.zeros((3, 6))
    scores[:, 5] = 1
    write(tmp_path, scores=scores)
    rows = load_predictions(tmp_path, ["mixed"])
    assert list(rows["pred"]) == ["NA"] * 3 and list(rows["correct"]) == [False, True, False]


@pytest.mark.parametrize("classes", [["1", "01", "run"], ["1e1", "10", "10.0"], ["True", "true", "False"]])
def test_names_that_look_like_numbers_stay_names(tmp_path, classes):
    """Folders of one's own videos are called so: every second clip is taken for the next class."""
    names, guesses = ["7", "007", "7.0"], [1, 1, 2]
    facts = {**HEADER, "dataset": "2024"}
    save_predictions(
        tmp_path / "2024", "fusion", 0, clips={"video": names, "group": names, "class_name": classes}, classes=classes,
        scores=np.eye(3)[guesses], header=facts,
    )  # fmt: skip
    rows = load_predictions(tmp_path, ["2024"])
    assert list(rows["video"]) == list(rows["group"]) == names and set(rows["dataset"]) == {"2024"}
    assert list(rows["class_name"]) == classes
    assert list(rows["pred"]) == list(rows["top1"]) == [classes[guess] for guess in guesses]
    assert list(rows["correct"]) == [False, True, True]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(tmp_path, value):
    scores = SCORES.copy()
    scores[1, 2] = value
    with pytest.raises(ValueError, match="fusion, seed 0: scores of 1 of 3 clips are NaN or infinite"):
        write(tmp_path, scores=scores)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("scores", [SCORES[:2], SCORES[:, :5], SCORES.T])
def test_scores_of_another_shape_are_refused(tmp_path, scores):
    with pytest.raises(ValueError, match="3 clips and 6 classes"):
        write(tmp_path, scores=scores)


def test_order_of_clips_and_classes_does_not_matter(tmp_path):
    """The same scores with clips and classes in another order say the same of every clip."""
    write(tmp_path / "one")
    clips, columns = [2, 0, 1], [5, 3, 1, 0, 2, 4]
    names, classes = [NAMES[i] for i in clips], [CLASSES[i] for i in columns]
    write(tmp_path / "two", scores=SCORES[clips][:, columns], names=names, classes=classes)
    one, two = (load_predictions(tmp_path / name, ["mixed"]).set_index("video").sort_index() for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)


def test_forget_removes_one_system_whole_and_no_other(tmp_path):
    for system in ("fusion", "fusion_permuted", "mv_only"):
        for dataset in ("mixed", "independent"):
            for seed in (0, 11):
                write(tmp_path, system=system, seed=seed, dataset=dataset)
    forget_predictions(tmp_path, "fusion")
    rows = load_predictions(tmp_path, ["mixed", "independent"])
    assert set(rows["system"]) == {"fusion_permuted", "mv_only"}
    assert len(list(tmp_path.rglob("fusion-*"))) == 0 and len(list(tmp_path.rglob("*.safetensors"))) == 8
    forget_predictions(tmp_path, "fusion")  # nothing there: nothing happens


def test_only_the_data_sets_asked_for(tmp_path):
    write(tmp_path, dataset="mixed")
    write(tmp_path, dataset="independent")
    assert set(load_predictions(tmp_path, ["independent"])["dataset"]) == {"independent"}
    with pytest.raises(FileNotFoundError, match="moclip reproduce"):
        load_predictions(tmp_path, ["ucf101"])


def test_the_remains_of_a_killed_writer_are_not_read(tmp_path):
    write(tmp_path)
    whole = (tmp_path / "mixed" / "fusion-seed0.csv").read_text()
    (tmp_path / "mixed" / ".fusion-seed0.k3j4h5.csv").write_text(whole[: len(whole) // 2])
    assert len(load_predictions(tmp_path, ["mixed"])) == 3


@pytest.mark.parametrize("left", [0, 10, 200])
def test_a_damaged_file_is_named(tmp_path, left):
    write(tmp_path)
    stem = tmp_path / "mixed" / "fusion-seed0"
    reads = {".safetensors": load_scores, ".json": load_json, ".csv": read_predictions}
    for suffix, read in reads.items():
        path = stem.with_suffix(suffix)
        path.write_bytes(path.read_bytes()[:left] + (b"\xff" if suffix == ".csv" else b""))
        with pytest.raises(ArtefactError, match=rf"{path} is damaged \(.+\); remove it.*moclip reproduce"):
            read(path)


def test_csv_has_no_index_and_unix_lines(tmp_path):
    save_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1, 2]}, index=[7, 8]))
    assert (tmp_path / "a.csv").read_bytes() == b"x\n1\n2\n"
