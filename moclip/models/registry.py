"""Models by name: ``list_models()`` lists them, ``create_model(name, ...)`` builds one."""

from typing import Any

from torch import nn

from moclip.registry import available, lookup

MODELS = {
    "clip_head": "moclip.studies.baselines.clip:CLIPHead",
    "clip_zero_shot": "moclip.studies.baselines.clip:CLIPZeroShot",
    "coviar": "moclip.studies.baselines.systems:coviar",
    "coviar_iframe": "moclip.studies.baselines.coviar:iframe",
    "coviar_mv": "moclip.studies.baselines.coviar:motion",
    "coviar_residual": "moclip.studies.baselines.coviar:residual",
    "dtmv_cnn": "moclip.studies.baselines.emv:emv_cnn",
    "dtmv_rgb": "moclip.studies.baselines.systems:dtmv_rgb",
    "emv_cnn": "moclip.studies.baselines.emv:emv_cnn",
    "fusion": "moclip.models.fusion:FusionHead",
    "mv_tsn": "moclip.models.mv_tsn:MVTSN",
    "two_stream": "moclip.studies.baselines.systems:two_stream",
    "two_stream_spatial": "moclip.studies.baselines.two_stream:spatial",
    "two_stream_temporal": "moclip.studies.baselines.two_stream:temporal",
    "x_clip": "moclip.studies.baselines.x_clip:XCLIP",
}


def list_models() -> list[str]:
    """Names for `create_model`; `moclip.studies.baselines.systems` describes the other systems of Table I."""
    return available(MODELS)


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Build a model.

    Parameters
    ----------
    name : one of `list_models()`.
    **arguments : of the model's class; always ``num_classes``. The other systems of Table I also take ``width``, a
        factor on their widths (1 is their paper's).

    Raises
    ------
    UnknownNameError
        The message names the nearest model.
    """
    return lookup("model", MODELS, name)(**arguments)  # type: ignore[no-any-return]
