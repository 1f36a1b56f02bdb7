"""The fields of a configuration, section by section; `moclip.config.load.load_config` makes the object.

Each field's description gives its meaning and unit. ``reference`` and other names of the published code's choices are
explained where the protocol sets them, in ``protocols/reference.yaml``.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from moclip.config.datasets import DATASETS
from moclip.config.strategies import STRATEGIES
from moclip.errors import MoclipError, nearest
from moclip.registry import check


def safe_name(name: str) -> str:
    """``name`` as a file name: other characters than letters, digits, ``.``, ``_`` and ``-`` become ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


class ConfigError(MoclipError, ValueError):
    """An invalid profile or override; the message says what was found and what is possible."""


Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, and values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _strategies_are_known(cls, value: Any, info: ValidationInfo) -> Any:
        field = str(info.field_name)
        return check(field, STRATEGIES[field], value) if field in STRATEGIES else value


class Groups(Section):
    """Groups of clips per class in each split of a generated data set."""

    train: PositiveInt
    test: PositiveInt


class MinFrames(Section):
    """The shortest clip that is used, in frames, per split."""

    train: PositiveInt = 1
    test: PositiveInt = 1


class Data(Section):
    """The clips: which data set, where it is, and how it is prepared."""

    name: str = Field(description=f"one of {', '.join(DATASETS)}")
    root: Path | None = Field(None, description="folder of the videos; has a default for generated data")
    annotation_path: Path | None = Field(None, description="folder of the split lists (and of classInd.txt)")
    fold: Literal[1, 2, 3] = 1
    reencode: bool = Field(False, description="re-encode all clips to one format (CoViAR's) before reading motion")
    val_fraction: float = Field(0.0, ge=0, lt=1, description="share of the training groups kept for validation")
    test_fraction: float = Field(0.25, gt=0, lt=1, description="share of groups for testing, in a folder without test/")
    horizontal_flip: bool | None = Field(None, description="mirror clips in training; if unset, the data set decides")
    allow_partial: bool = Field(False, description="continue if listed files are missing; they are reported")
    on_error: Literal["raise", "skip"] = Field("raise", description="unreadable clips: stop, or leave out and report")
    min_frames: MinFrames = Field(MinFrames(), description="shorter clips are left out; train: also in validation")
    designs: dict[Literal["mixed", "independent"], Groups] = Field({}, description="of MovingPhotos; main one first")
    clips_per_group: PositiveInt = 2
    seed: int = 0
    workers: PositiveInt | None = Field(None, description="processes that generate and read videos; all cores if unset")
    scheduler: str | None = Field(None, description="tcp://host:port of a Dask scheduler whose workers read videos")

    @model_validator(mode="after")
    def _generated_clips_are_of_one_format(self) -> "Data":
        if self.reencode and self.name == "moving_photos":
            raise ValueError("moving_photos are generated in one format; there is nothing to re-encode")
        return self

    @field_validator("name")
    @classmethod
    def _name_is_known(cls, value: str) -> str:
        if value not in DATASETS:
            raise ValueError(f"no such data set{nearest(value, list(DATASETS))}; there are: {', '.join(DATASETS)}")
        return value

    def check(self) -> None:
        """Check that the user's folders are named and exist, without looking inside.

        Raises
        ------
        ConfigError
            The message has an example.
        """
        known = DATASETS[self.name]
        for name in known.needs:
            folder = getattr(self, name)
            if folder is None:
                fetch = f" (`moclip data download {self.name}` fetches both)" if known.has_folds else ""
                raise ConfigError(f"{self.name} needs data.{name}: {known.example}{fetch}")
            if not folder.expanduser().is_dir():
                raise ConfigError(f"data.{name}: no such folder: {folder}; expected {known.example}")


class Encoder(Section):
    """The frozen image-text encoder."""

    name: str = Field(description="clip:<model or file>, open_clip:<model>/<tag or file>, offline or offline:conse")
    cache: Path | None = Field(None, description="folder of downloaded weights; each library's default if unset")
    frame: str = Field("middle", description="middle, first, random, or uniform:K (centres of K equal parts, averaged)")
    seed: int = Field(0, description="of random frames")
    resize: Literal["own", "bilinear"] = Field("own", description="the encoder's resampling, or the published code's")
    prompts: Literal["clip48", "reference12", "scene", "name"] = "clip48"  # see moclip/encoders/templates.yaml
    normalise_prompts: bool = Field(True, description="false: embeddings are averaged at their own lengths")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the image tower's matrix products")
    batch_size: PositiveInt = Field(64, description="frames")

    @field_validator("frame")
    @classmethod
    def _frame_is_a_policy(cls, value: str) -> str:
        if not re.fullmatch(r"middle|first|random|uniform:[1-9]\d*", value):
            raise ValueError("expected middle, first, random or uniform:K (uniform:8: eight frames)")
        return value


class Motion(Section):
    """Which motion field the network sees, and in which units."""

    field: Literal["raw", "accumulated"] = "raw"
    units: Literal["pixels", "equivalent"] = Field("pixels", description="the video's, or as if 340 wide at 25/s")
    bound: PositiveFloat = Field(20.0, description="displacement that maps to the end of the 8-bit range")


class LrMultipliers(Section):
    """Factors on the learning rate, per part of the motion network."""

    classifier: PositiveFloat = 1.0
    stem: PositiveFloat = Field(1.0, description="data_bn and the first convolution: not pretrained on motion")
    rest: PositiveFloat = 1.0


class MV(Section):
    """The motion network and its training."""

    backbone: str
    pretrained: bool = True
    input_size: PositiveInt = Field(224, description="side of the network's input")
    crop: Share = Field(0.875, description="side of the centre crop in testing, as a share of the shorter side")
    train_scales: tuple[float, ...] = Field((1.0, 0.875, 0.75), description="crops, as shares of the shorter side")
    crop_mode: str = Field("center", description="center: crops of the frame as it is; squash: of a square made of it")
    flip: str = Field("exact", description="exact: mirror in pixels; reference: 255 - x, moves zero motion to 127")
    sampling: str = Field("tsn", description="tsn: segments of the frames with vectors; reference: of all frames")
    segments: PositiveInt = Field(3, description="segments per clip in training")
    views: PositiveInt = Field(32, description="segments per clip in testing")
    crops: Literal[1, 3, 10] = Field(1, description="per test segment: centre; 3 along the longer side; TSN's ten")
    test_flip: str = Field("always", description="when the second 5 of 10 crops are mirrored: always; random: a coin")
    average: Literal["softmax", "logit"] = Field("softmax", description="what is averaged over views for MV-only")
    select: Literal["last", "val", "test"] = Field("last", description="epoch kept: last, or best on val or TEST clips")
    epochs: PositiveInt = 200
    schedule: Literal["step", "one_cycle"] = Field("step", description="step: x0.1 at each milestone")
    milestones: tuple[int, ...] = (80, 160)
    lr: PositiveFloat
    lr_multipliers: LrMultipliers = LrMultipliers()
    eps: PositiveFloat = Field(1e-8, description="Adam's epsilon")
    weight_decay: float = Field(1e-4, ge=0)
    decay_all: bool = Field(True, description="false: biases and BatchNorm take no weight decay")
    batch_size: PositiveInt
    seed: int = 0

    def training_fields(self) -> dict[str, Any]:
        """The fields that the trained weights depend on; the others act in testing alone."""
        tested = {"views", "crops", "test_flip"} | ({"average"} if self.select == "last" else set())
        return self.model_dump(mode="json", exclude=tested)

    @model_validator(mode="after")
    def _milestones_are_reached(self) -> "MV":
        if self.schedule == "step" and any(milestone >= self.epochs for milestone in self.milestones):
            raise ValueError(f"milestones {self.milestones} lie beyond the last of {self.epochs} epochs: set both")
        return self


class Fusion(Section):
    """The fusion head and its controls."""

    hidden: PositiveInt = 512
    dropout: float = Field(0.5, ge=0, lt=1)
    epochs: PositiveInt = 50
    lr: PositiveFloat = 1e-4
    weight_decay: float = Field(0.01, ge=0)
    batch_size: PositiveInt = 64
    train_features: Literal["drawn", "cached"] = Field("drawn", description="new views each epoch, or a fixed pool's")
    train_views: PositiveInt = Field(32, description="size of that pool")
    batch_norm: str = Field("frozen", description="drifting: that of the motion network continues to learn")
    # Validation clips cannot choose: the motion network was trained on them.
    select: Literal["last", "test"] = Field("last", description="which epoch is kept: the last, or best on TEST clips")
    seeds: tuple[int, ...] = (0, 1, 2)

    @model_validator(mode="after")
    def _cached_features_need_a_frozen_network(self) -> "Fusion":
        if self.train_features == "cached" and self.batch_norm != "frozen":
            raise ValueError(
                f"batch_norm={self.batch_norm} needs train_features=drawn: cached views do not pass the network again, "
                "so it stays as it is"
            )
        return self


class Baselines(Section):
    """Other systems of Table I, trained small and from scratch on the main data set (notebook 08)."""

    which: tuple[str, ...] = Field((), description="networks of the study, in the order of training; all if empty")
    size: int = Field(64, ge=48, description="side of their inputs, in pixels")
    width: float = Field(0.125, ge=0.125, description="factor on their papers' widths; below 1/8 torch 2.14 may crash")
    views: PositiveInt = Field(3, description="views per clip, in training and in testing")
    epochs: PositiveInt = 15
    lr: PositiveFloat = 0.001
    batch_size: PositiveInt = 32
    seed: int = 0


class Training(Section):
    """How this machine trains networks; only ``accumulate`` is part of the protocol."""

    devices: PositiveInt = Field(1, description="processes that train together (DDP), one per device")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accumulate: PositiveInt = Field(1, description="batches per step, whose gradients are summed")
    channels_last: bool = False
    workers: int = Field(0, ge=0, description="processes that load batches; 0: the training process loads them")


class Study(Section):
    """The effect of each field of the protocol: `paper`, with one field at a time as in `reference` (notebook 09)."""

    fields: tuple[str, ...] = Field((), description="such as mv.views; a+b: two at once; empty: all that differ")
    clips: PositiveInt | None = Field(None, description="clips per class in training and in testing; all if unset")
    seeds: tuple[int, ...] = Field((0, 1, 2), description="of motion network and head, the same for all variants")
    shortened: dict[str, Any] = Field({}, description="overrides of all variants, as {mv.epochs: 3}; tables name them")


class Timing(Section):
    """How networks are timed."""

    repeats: PositiveInt = Field(15, description="timed calls; the median is reported")
    largest_batch: PositiveInt = Field(32, description="largest batch that is tried, in videos")


class Report(Section):
    """Statistics in tables."""

    resamples: PositiveInt = Field(9999, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0, lt=1)


class Figures(Section):
    """What figures show; no number depends on it."""

    confusion_order: Literal["class", "clustered"] = Field("class", description="as the data set, or by confusion")
    examples: Literal["median", "random"] = Field("median", description="the clip nearest to the median margin, or any")
    seed: int = Field(0, description="of random examples")
    video: Path | None = Field(None, description="a video of your own that notebook 00 draws")


class Config(Section):
    """Everything that a run depends on, see `moclip.load_config`."""

    profile: str
    run: str = Field(description="name of the folders under runs/ and figures/; the profile's name if unset")
    device: str = Field("auto", description="auto, cpu, cuda")
    protocol: str = Field(description="its name in tables, with the shortening profile and the overridden fields")
    encoder: Encoder
    motion: Motion = Motion()
    mv: MV
    fusion: Fusion = Fusion()
    data: Data
    baselines: Baselines = Baselines()
    training: Training = Training()
    study: Study = Study()
    timing: Timing = Timing()
    report: Report = Report()
    figures: Figures = Figures()

    @field_validator("run")
    @classmethod
    def _run_names_a_folder(cls, value: str) -> str:
        if value != safe_name(value) or value.startswith("."):
            raise ValueError("expected a folder name of letters, digits, '.', '_' and '-'")
        return value

    @model_validator(mode="after")
    def _validation_clips_exist(self) -> "Config":
        if self.mv.select == "val" and not self.data.val_fraction:
            raise ValueError("mv.select=val needs validation clips: set data.val_fraction, for instance to 0.2")
        return self
