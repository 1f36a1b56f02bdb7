"""The systems of the paper's Table I: facts here and in ``systems.yaml``, networks in the files beside."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel
from torch import nn

from moclip.models import create_model
from moclip.studies.baselines.trunks import ScoreFusion


class Rival(BaseModel):
    """One system.

    Attributes
    ----------
    method : its name in Table I; another where the paper has no such row.
    source : where it is described.
    modality : what it reads of a video.
    parts : its networks, by their names in `moclip.list_models`.
    views : of each part, as the paper counts them: segments times crops of a video.
    own_views : of each part in the protocol of its source.
    average : what is averaged over views, and over parts that have ``weights``: logits, or probabilities (``softmax``).
    weights : of the parts in that average; empty where their scores are not averaged.
    join : how its scores come from its parts, in words.
    frozen : parts that are not trained, though they could be.
    protocol : that of its source.
    status : "faithful"; "from scratch, not comparable"; "no weights, cost only".
    about : what it is, in three sentences.
    """

    method: str
    source: str
    modality: str
    parts: list[str]
    views: list[int]
    own_views: list[int]
    average: Literal["logit", "softmax"] = "softmax"
    weights: list[float] = []
    join: str
    frozen: list[str] = []
    protocol: str
    status: str
    about: str


RIVALS = {
    name: Rival(**facts) for name, facts in yaml.safe_load((Path(__file__).parent / "systems.yaml").read_text()).items()
}

# What a network sees in one view (`moclip.studies.baselines.inputs`).
SEES = {
    "clip_head": "frame",
    "clip_zero_shot": "frame",
    "coviar_iframe": "iframe",
    "coviar_mv": "motion",
    "coviar_residual": "residual",
    "dtmv_cnn": "motion_stack",
    "emv_cnn": "motion_stack",
    "two_stream_spatial": "frame",
    "two_stream_temporal": "flow_stack",
    "x_clip": "clip",
}
CHANNELS = {  # of each kind
    "frame": 3,  # RGB
    "iframe": 3,  # RGB
    "clip": 24,  # 8 frames in RGB
    "motion": 2,  # motion vectors, accumulated
    "residual": 3,  # accumulated
    "motion_stack": 20,  # motion vectors of 10 frames, raw
    "flow_stack": 20,  # optical flow of 10 frames
}


def _fused(system: str, **arguments: Any) -> nn.Module:
    """A system that averages its parts' scores: one input per part -> (B, C)."""
    facts = RIVALS[system]
    parts = {part: create_model(part, **arguments) for part in facts.parts}
    return ScoreFusion(parts, facts.weights, facts.average)


coviar, dtmv_rgb, two_stream = (partial(_fused, system) for system in ("coviar", "dtmv_rgb", "two_stream"))
