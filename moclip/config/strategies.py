"""Named choices of the method: one table per field of the configuration, name -> ``module:attribute``.

The choices of the published code live in `moclip.studies.protocols`. If that folder is deleted, their names are
unknown.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from moclip.registry import lookup

STRATEGIES = {
    # (motion, segments, rng or None) -> frames, int64 (S,)
    "sampling": {
        "tsn": "moclip.inputs.sampling:tsn_frames",
        "reference": "moclip.studies.protocols.strategies:reference_frames",
    },
    # `moclip.inputs.crops.Crops`: boxes in training and in testing
    "crop_mode": {
        "center": "moclip.inputs.crops:CENTER",
        "squash": "moclip.studies.protocols.strategies:SQUASH",
    },
    # (transform, factors, mirrored) -> network input; ``transform`` mirrors in pixel units
    "flip": {
        "exact": "moclip.inputs.crops:exact_flip",
        "reference": "moclip.studies.protocols.strategies:flip_in_8_bit",
    },
    # (seed, grids) -> whether the second five of ten test crops are mirrored
    "test_flip": {
        "always": "moclip.inputs.crops:always",
        "random": "moclip.studies.protocols.strategies:coin",
    },
    # `moclip.training.heads.EpochFeatures` or a subclass: what the motion network does while a head is trained
    "batch_norm": {
        "frozen": "moclip.training.heads:EpochFeatures",
        "drifting": "moclip.studies.protocols.drifting:DriftingFeatures",
    },
}


def studies(settings: Mapping[str, Any]) -> list[str]:
    """The studies whose strategies some settings (with sections) name, as rooms: their code decides results, too."""
    rooms = {room for value in settings.values() if isinstance(value, Mapping) for room in studies(value)}
    for field in STRATEGIES.keys() & settings.keys():
        module = STRATEGIES[field].get(settings[field], "").split(".")
        rooms |= {".".join(module[1:3])} if "studies" in module else set()
    return sorted(rooms)


@cache
def strategy(field: str, name: str) -> Any:
    """The strategy called ``name``, imported on first use."""
    return lookup(field, STRATEGIES[field], name)
