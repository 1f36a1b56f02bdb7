"""The files between rooms: tensors with a header, predictions with scores, CSV rows. All written whole or not at all.

Nothing here imports torch: `moclip.report` reads these files alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from moclip.errors import MoclipError
from moclip.io.files import atomic_path

if TYPE_CHECKING:  # loaded where a table is read or made: JSON is read at once
    import pandas as pd

FACTS = ("dataset", "protocol", "views", "n_train", "data")  # header entries that stand in every row too
TOP = 5  # predictions list this many classes per clip
# Columns of names, which stay text: a class may be called "NA", "007" or "True".
NAMES = ("dataset", "video", "group", "class_name", "pred", *(f"top{rank + 1}" for rank in range(TOP)))


class ArtefactError(MoclipError, ValueError):
    """A file that cannot be read; the message names it and says how to make it again."""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtefactError(
            f"{path} is damaged ({error}); remove it, then run again what makes it (`moclip reproduce`, for a run)"
        ) from error


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write a safetensors file with ``header`` inside, and the header beside it as ``<path>.json`` for people."""
    text = json.dumps(header, sort_keys=True, default=str)
    # One metadata key: several would be written in an order that changes from process to process.
    with atomic_path(path) as temporary:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, temporary, {"header": text})
    save_json(path.with_suffix(".json"), header)


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and header of a file that `save_tensors` wrote.

    Raises
    ------
    FileNotFoundError
        The message says which step makes the file.
    ArtefactError
        It is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there yet; `moclip reproduce` runs the notebook that makes it")
    with _reading(path), safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["header"])
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 - not a dict


def save_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a mapping as readable JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, sort_keys=True, default=str) + "\n")


def load_json(path: Path) -> dict[str, Any]:
    """Read what `save_json` wrote; `ArtefactError` where it is damaged."""
    with _reading(path):
        return json.loads(path.read_text())  # type: ignore[no-any-return]


def save_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV, without the index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def save_predictions(
    folder: Path,
    system: str,
    seed: int,
    *,
    clips: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    scores: np.ndarray,
    header: Mapping[str, Any],
) -> None:
    """Write ``<system>-seed<seed>.csv`` (one row per clip) and ``.safetensors`` (all scores).

    Parameters
    ----------
    clips : ``video`` (name), ``group`` and ``class_name`` of each of N clips.
    classes : C class names, in the order of the columns of ``scores``.
    scores : (N, C); their softmax are probabilities.
    header : what made them: dataset, data (a sentence), protocol, n_train, views, and more where it helps.
    """
    import pandas as pd
    from scipy.special import softmax

    scores = np.asarray(scores, np.float32)
    if scores.shape != (len(clips["video"]), len(classes)):
        raise ValueError(
            f"{system}: scores of shape {scores.shape} for {len(clips['video'])} clips and {len(classes)} classes"
        )
    if lost := int((~np.isfinite(scores).all(axis=1)).sum()):
        raise ValueError(
            f"{system}, seed {seed}: scores of {lost} of {len(scores)} clips are NaN or infinite; a training that "
            "diverged does this: lower its learning rate (mv.lr, fusion.lr)"
        )
    probabilities = softmax(scores, axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]  # (N, 5)
    labels = np.array(classes, object)[best]
    rows = pd.DataFrame({**clips, "pred": labels[:, 0]})
    for rank in range(best.shape[1]):
        rows[f"top{rank + 1}"] = labels[:, rank]
        rows[f"score{rank + 1}"] = np.take_along_axis(probabilities, best, 1)[:, rank].round(6)
    rows = rows.assign(system=system, seed=seed, **{fact: header[fact] for fact in FACTS})
    stem = folder / f"{system}-seed{seed}"
    full = {**header, "system": system, "seed": seed, "names": list(clips["video"]), "classes": list(classes)}
    save_tensors(stem.with_suffix(".safetensors"), {"scores": scores}, full)
    save_csv(stem.with_suffix(".csv"), rows)


def forget_predictions(folder: Path, system: str) -> None:
    """Remove the predictions of a system, so that those of earlier seeds or data are not counted with the new ones."""
    for path in folder.glob(f"*/{system}-seed*"):
        path.unlink()


def load_predictions(folder: Path, datasets: Sequence[str]) -> "pd.DataFrame":
    """All predictions on ``datasets`` under ``folder``, one row per clip, system, seed and data set.

    Columns are those of `read_predictions`.
    """
    import pandas as pd

    files = [path for dataset in datasets for path in sorted((folder / dataset).glob("[!.]*.csv"))]
    if not files:
        raise FileNotFoundError(f"no predictions under {folder}; run the notebooks before this one: `moclip reproduce`")
    return pd.concat([read_predictions(file) for file in files], ignore_index=True)


def read_predictions(path: Path) -> "pd.DataFrame":
    """One CSV of `save_predictions`, and ``correct`` (bool)."""
    import pandas as pd

    with _reading(path):
        rows = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(NAMES, str))
    rows["correct"] = rows["pred"] == rows["class_name"]
    return rows


def load_scores(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Scores (N, C) with the clip names of their rows and the class names of their columns."""
    tensors, header = load_tensors(path)
    return tensors["scores"], header["names"], header["classes"]
