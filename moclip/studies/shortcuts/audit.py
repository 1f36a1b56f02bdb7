"""Shortcut audit: how well do the encoder's settings alone predict the class, and does the motion network use them?

Clips of a class often come from the same few uploads, cut and encoded in the same way. Then the distance of I-frames,
B-frames or the frame rate give the class away, and a network that reads the stream may learn them instead of the
action. The audit trains a random forest (Breiman 2001) on such settings, with the data set's own split; the forest sees
neither vectors nor pictures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from moclip.report import statistics as metrics
from moclip.report.statistics import Bootstrap

SETTINGS = ("gop", "b_share", "fps", "width", "height")  # the encoder is told these
CONTENT = ("frames", "kbit_s")  # these also depend on the action and the scene
SETS: dict[str, tuple[str, ...]] = {
    "all": (*SETTINGS, *CONTENT),
    "settings": SETTINGS,
    # Frames per I-frame are the clip's length if there is a single I-frame: between a setting and content.
    "i_distance, b_share, fps": ("i_distance", "b_share", "fps"),
}
# What is left out together in the ablation: each column alone, but for the size.
FEATURES = {"gop": ("gop",), "b_share": ("b_share",), "fps": ("fps",), "size": ("width", "height")}
FEATURES |= {column: (column,) for column in CONTENT}
TREES = 100


def predict(clips: pd.DataFrame, columns: Sequence[str], dataset: str, system: str, seed: int = 0) -> pd.DataFrame:
    """Predict the class of each test clip from some columns, with a forest trained on the training clips.

    Parameters
    ----------
    clips : one row per clip: video, class_name, group, split (train, val or test; val is left out), and ``columns``.
        An unknown value (``gop`` of a clip with a single I-frame) counts as -1.
    columns : the settings that the forest sees.
    dataset, system : names for the result.

    Returns
    -------
    DataFrame
        One row per test clip, with the columns that `moclip.report.statistics` reads.
    """
    columns = list(columns)
    known = clips.fillna(dict.fromkeys(columns, -1))
    train, test = known[known["split"] == "train"], known[known["split"] == "test"]
    # Fixed and untuned: nothing is chosen on the test clips. Leaves of at least two clips limit memorising.
    forest = RandomForestClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    codes, names = pd.factorize(train["class_name"], sort=True)  # scikit-learn takes a class "01" for a number
    forest.fit(train[columns].to_numpy(float), codes)
    pred = names[forest.predict(test[columns].to_numpy(float))]
    result = test[["video", "class_name", "group"]].assign(pred=pred, correct=test["class_name"] == pred)
    return result.assign(dataset=dataset, system=system, seed=seed).reset_index(drop=True)


def permuted(clips: pd.DataFrame, columns: Sequence[str], times: int) -> np.ndarray:
    """Accuracies with the classes of the training clips permuted: what the forest reaches by luck and class sizes.

    Whole groups are permuted, because clips of one source share settings *and* class: permuting single clips would make
    luck look rarer than it is.

    Returns
    -------
    float (times,)
    """
    rng = np.random.default_rng(0)
    training = clips["split"] == "train"
    by = clips[training].groupby(["class_name", "group"])
    group, classes = by.ngroup(), by["class_name"].first().to_numpy()  # group's number of a clip, class of a group
    accuracies = []
    for number in range(times):
        mixed = clips.copy()
        mixed.loc[training, "class_name"] = rng.permutation(classes)[group]
        accuracies.append(predict(mixed, columns, "", "", number)["correct"].mean())
    return np.array(accuracies)


def audit(clips: pd.DataFrame, dataset: str, stream: str, times: int, bootstrap: Bootstrap) -> pd.DataFrame:
    """Accuracy from each set of settings (`SETS`), beside chance.

    Parameters
    ----------
    stream : which files were read (``original``, ``re-encoded``).
    times : number of permutations of the classes.

    Returns
    -------
    DataFrame
        dataset, stream, features, accuracy with low and high (group bootstrap), chance (1 / classes), most_frequent
        (accuracy of always naming the largest training class), permuted (mean) and permuted_p (share of the
        permutations, the true order included, that reach the accuracy), n_train, n_test, constant (settings with the
        same value in all clips), `reading`.
    """
    train, test = clips[clips["split"] == "train"], clips[clips["split"] == "test"]
    largest = train["class_name"].value_counts().sort_index().idxmax()
    common = {"chance": 1 / clips["class_name"].nunique(), "most_frequent": (test["class_name"] == largest).mean()}
    rows = []
    for features, columns in SETS.items():
        estimate = metrics.accuracy(predict(clips, columns, dataset, features), dataset, features, bootstrap)
        luck = permuted(clips, columns, times)
        row = {"dataset": dataset, "stream": stream, "features": features, **estimate.columns("accuracy"), **common}
        row |= {"permuted": luck.mean(), "permuted_p": (1 + (luck >= estimate.value).sum()) / (1 + times)}
        row |= {"n_train": len(train), "n_test": len(test)}
        row["constant"] = ", ".join(column for column in columns if clips[column].nunique(dropna=False) == 1)
        rows.append(row | {"reading": reading(row)})
    return pd.DataFrame(rows).round(4)


def ablation(clips: pd.DataFrame, dataset: str, stream: str) -> pd.DataFrame:
    """Accuracy from each setting alone and from all others: dataset, stream, feature, alone, without, all."""
    every = [column for columns in FEATURES.values() for column in columns]
    whole = predict(clips, every, dataset, "")["correct"].mean()
    rows = []
    for name, columns in FEATURES.items():
        rest = [column for column in every if column not in columns]
        alone, without = (predict(clips, chosen, dataset, "")["correct"].mean() for chosen in (columns, rest))
        rows.append((dataset, stream, name, alone, without, whole))
    names = ["dataset", "stream", "feature", "alone", "without", "all"]
    return pd.DataFrame(rows, columns=names).round(4)


def shared(predictions: pd.DataFrame, settings: pd.DataFrame, system: str, bootstrap: Bootstrap) -> dict[str, object]:
    """How much of a system's accuracy the settings could explain: are both right on the same clips?

    Parameters
    ----------
    predictions : of the system (`moclip.io.artefacts.load_predictions`); a clip counts as right if most seeds are.
    settings : result of `predict` on the same data set.

    Returns
    -------
    dict
        dataset, settings, system, accuracy and settings_accuracy; ``both``: share of the clips that both have right;
        ``expected``: the same if they were independent within each class; ``excess`` = both - expected with its group
        bootstrap ``low`` and ``high`` (the classes' accuracies held fixed): above 0, they are right on the same clips.
        ``where_settings_fail``: the system's accuracy on the clips that the settings get wrong, which such a shortcut
        cannot explain; ``n_fail``, the number of these clips.
    """
    dataset, name = settings["dataset"].iloc[0], settings["system"].iloc[0]
    one = metrics.per_clip(predictions, dataset, system) > 0.5
    two = metrics.per_clip(settings, dataset, name) > 0.5
    metrics.check_same_clips(one, two, f"{system} and the settings on {dataset}")
    first, second = (right.groupby(level="class_name").transform("mean") for right in (one, two))
    # The mean of the product of deviations from the class means is what `both` has beyond independence.
    beyond = (one - first) * (two - second)
    low, high = metrics.interval(beyond, bootstrap)
    row: dict[str, object] = {"dataset": dataset, "settings": name, "system": system}
    row |= {"accuracy": one.mean(), "settings_accuracy": two.mean(), "both": (one & two).mean()}
    row |= {"expected": (first * second).mean(), "excess": beyond.mean(), "low": low, "high": high}
    row |= {"where_settings_fail": one[~two].mean(), "n_fail": int((~two).sum())}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def reading(row: Mapping[str, Any]) -> str:
    """What a row of `audit` says about its features, in words."""
    base = max(row["chance"], row["most_frequent"])
    if not row["low"] > base:
        return "no better than chance: nothing found"
    if row["permuted_p"] > 0.05:
        return "above chance, but permuted classes reach it too"
    return f"they predict the class: {row['accuracy'] / base:.1f} times chance"
