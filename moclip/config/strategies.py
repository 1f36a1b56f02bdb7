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
    # a kind of `moclip.training.epoch_features.EpochFeatures`: what the motion network does while a head is trained
    "batch_norm": {
        "frozen": "moclip.training.epoch_features:ResampledFeatures",
        "drifting": "moclip.studies.protocols.drifting:DriftingFeatures",
    },
}


def studies(chosen: Mapping[str, Any]) -> list[str]:
    """Modules of studies that hold the chosen strategies (field -> name), as `moclip.io.keys.key` takes them."""
    modules = (table[chosen[field]].partition(":")[0] for field, table in STRATEGIES.items() if field in chosen)
    return sorted({module.removeprefix("moclip.") for module in modules if ".studies." in module})


@cache
def strategy(field: str, name: str) -> Any:
    """The strategy called ``name``, imported on first use."""
    return lookup(field, STRATEGIES[field], name)
