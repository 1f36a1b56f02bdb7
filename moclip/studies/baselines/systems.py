"""The systems of the paper's Table I: their facts are in ``systems.yaml``, their networks in the files beside it."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from torch import Tensor, nn

from moclip.config.sections import ConfigError
from moclip.errors import nearest
from moclip.models import create_model
from moclip.studies.baselines.trunks import Average, fuse_scores


class Network(BaseModel):
    """One network.

    Attributes
    ----------
    label : its name in tables and figures.
    input : the kind of its input, a key of `INPUTS`.
    sized : whether it is built for one size of input.
    trained : whether notebook 08 may train it: CLIP's towers are nothing without CLIP's weights.
    teacher : the network that it learns from, and whose weights it starts from.
    same_as : the network that stands for it in training, because it is the same.
    """

    label: str
    input: str
    sized: bool = False
    trained: bool = True
    teacher: str = ""
    same_as: str = ""


class Kind(BaseModel):
    """A kind of input: its name in figures, and the channels and frames of one view."""

    label: str
    channels: int
    frames: int = 1


class Baseline(BaseModel):
    """One system.

    Attributes
    ----------
    method : its name in Table I, or a name of that kind if the paper has no such row.
    label : its name where it was trained here; needed only if it joins several networks.
    source : the paper that describes it.
    modality : what it reads of a video.
    parts : its networks, by their names in `moclip.list_models`.
    views : of each part, as the paper counts them: segments times crops of a video.
    own_views : of each part in the protocol of its source.
    average : what is averaged over views, and over parts if they have ``weights``: logits, or probabilities
        (``softmax``).
    weights : of the parts in that average; empty if their scores are not averaged.
    svm : whether an SVM on the parts' probabilities is a second way to join them.
    join : how its scores come from its parts, in words.
    frozen : parts that are not trained, although they could be.
    protocol : that of its source.
    status : "faithful"; "from scratch, not comparable"; "no weights, cost only".
    about : a description in three sentences.
    """

    method: str
    label: str = ""
    source: str
    modality: str
    parts: list[str]
    views: list[int]
    own_views: list[int]
    average: Average = "softmax"
    weights: list[float] = []
    svm: bool = False
    join: str
    frozen: list[str] = []
    protocol: str
    status: str
    about: str


_FACTS = yaml.safe_load((Path(__file__).parent / "systems.yaml").read_text(encoding="utf-8"))
INPUTS = {name: Kind(**facts) for name, facts in _FACTS["inputs"].items()}
NETWORKS = {name: Network(**facts) for name, facts in _FACTS["networks"].items()}
BASELINES = {name: Baseline(**facts) for name, facts in _FACTS["systems"].items()}
INPUT_OF = {name: network.input for name, network in NETWORKS.items()}
LABELS = {name: network.label for name, network in NETWORKS.items()}
LABELS |= {name: baseline.label for name, baseline in BASELINES.items() if baseline.label}
LABELS |= {f"{name}_svm": f"{baseline.method}, SVM" for name, baseline in BASELINES.items() if baseline.svm}


def chosen_networks(which: Sequence[str]) -> list[str]:
    """The networks to train, in order: ``which``, or all of them if it is empty.

    Raises
    ------
    ConfigError
        A name that is not one of a network that can be trained, or a network before the one that it learns from.
    """
    names = [name for name, network in NETWORKS.items() if network.trained and not network.same_as]
    for place, name in enumerate(which):
        if name not in names:
            raise ConfigError(f"baselines.which: unknown {name!r}{nearest(name, names)}; there are: {', '.join(names)}")
        teacher = NETWORKS[name].teacher
        if teacher and teacher not in which[:place]:
            raise ConfigError(f"baselines.which: {name} learns from {teacher}: name that one before it")
    return list(which) or names


def joined_systems(networks: Collection[str]) -> dict[str, list[str]]:
    """The systems that average the scores of several of these ``networks``: name -> networks."""
    joined = {name: system.parts for name, system in BASELINES.items() if system.weights}
    trained = {name: [NETWORKS[part].same_as or part for part in parts] for name, parts in joined.items()}
    return {name: parts for name, parts in trained.items() if set(parts) <= set(networks)}


class ScoreFusion(nn.Module):
    """A system that averages the scores of its parts; see `moclip.studies.baselines.trunks.fuse_scores`."""

    def __init__(self, system: str, **arguments: Any) -> None:
        super().__init__()
        self.facts = BASELINES[system]
        self.branches = nn.ModuleDict({part: create_model(part, **arguments) for part in self.facts.parts})

    def forward(self, *inputs: Tensor) -> Tensor:
        """One input per part, each (B, ...) -> scores (B, C) whose softmax are probabilities."""
        scores = [branch(part) for branch, part in zip(self.branches.values(), inputs, strict=True)]
        return fuse_scores(scores, self.facts.weights, self.facts.average)


coviar, dtmv_rgb, two_stream = (partial(ScoreFusion, system) for system in ("coviar", "dtmv_rgb", "two_stream"))
