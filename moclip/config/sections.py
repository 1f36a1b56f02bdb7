"""What a run depends on, field by field: one validated object, made by `moclip.config.load.load_config`.

Every field says what it means and in which unit.
"""

import re
from pathlib import Path
from typing import Any, Literal

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

from moclip.config import strategies
from moclip.errors import MoclipError


def safe_name(name: str) -> str:
    """``name`` as a file name: everything but letters, digits, ``.``, ``_`` and ``-`` becomes ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


class ConfigError(MoclipError, ValueError):
    """A profile or an override that cannot be used; the message says what was found and what is possible."""


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Groups(Section):
    """How many groups of clips a class has in each split of a generated data set."""

    train: PositiveInt
    test: PositiveInt


class MinFrames(Section):
    """The fewest frames of a clip that is used, by split."""

    train: PositiveInt = 1
    test: PositiveInt = 1


class Data(Section):
    """Which clips."""

    name: Literal["moving_photos", "ucf101", "hmdb51", "video_folder"]
    root: Path | None = Field(None, description="folder of the videos; generated data have a default")
    annotation_path: Path | None = Field(None, description="folder of the split lists (and of classInd.txt)")
    fold: Literal[1, 2, 3] = 1
    val_fraction: float = Field(0.0, ge=0, lt=1, description="share of the training groups kept for validation")
    test_fraction: float = Field(
        0.25, gt=0, lt=1, description="share of each class's groups kept for testing, in a video_folder without test/"
    )
    horizontal_flip: bool | None = Field(
        None, description="mirror clips in training; unset, what the data set says of itself"
    )
    allow_partial: bool = Field(False, description="go on where listed files are missing; they are reported")
    on_error: Literal["raise", "skip"] = Field(
        "raise",
        description="where clips cannot be read or re-encoded or have no motion vectors: stop, or leave them out; they "
        "are counted and reported",
    )
    min_frames: MinFrames = Field(
        MinFrames(),  # type: ignore[call-arg]
        description="shorter clips are left out, and every table says how many (train counts for validation too)",
    )
    reencode: bool = Field(False, description="re-encode all clips one way (CoViAR's format) before reading motion")
    designs: dict[Literal["mixed", "independent"], Groups] = Field(
        default_factory=dict, description="MovingPhotos: which designs, and how many groups; the first is the main one"
    )
    clips_per_group: PositiveInt = 2
    seed: int = 0
    workers: PositiveInt | None = Field(
        None, description="processes for generating and reading videos; all cores if unset"
    )
    scheduler: str | None = Field(
        None, description="address of a Dask scheduler (tcp://host:port) whose workers read videos instead"
    )

    @model_validator(mode="after")
    def _generated_clips_are_of_one_format(self) -> "Data":
        if self.reencode and self.name == "moving_photos":
            raise ValueError("moving_photos are generated in one format: reencode has nothing to do there")
        return self

    def check(self) -> None:
        """Raise `ConfigError` where the user's folders are not named or not there; nothing is looked at inside."""
        lists = ("root", "annotation_path")
        wanted = {"ucf101": lists, "hmdb51": lists, "video_folder": ("root",)}.get(self.name, ())
        example = {
            "ucf101": "--profile ucf101 -p data.root=/path/UCF-101 -p data.annotation_path=/path/ucfTrainTestlist",
            "hmdb51": "--profile hmdb51 -p data.root=/path/hmdb51 -p data.annotation_path=/path/splits",
            "video_folder": "--profile folder -p data.root=/path/of/videos (with <class>/*.mp4 in it)",
        }
        for name in wanted:
            place = getattr(self, name)
            if place is None:
                fetch = f" (`moclip data download {self.name}` fetches both)" if wanted is lists else ""
                raise ConfigError(f"{self.name} needs data.{name}: {example[self.name]}{fetch}")
            if not place.expanduser().is_dir():
                raise ConfigError(f"data.{name}: no such folder: {place}; expected {example[self.name]}")


class Encoder(Section):
    """The frozen image-text encoder."""

    name: str = Field(
        description="clip:ViT-B/32, clip:/path/to/weights.pt, open_clip:<model>/<tag or file>, offline or offline:conse"
    )
    cache: Path | None = Field(None, description="folder of downloaded weights; each library's own if unset")
    frame: str = Field(
        "middle",
        description="middle, first, random, or uniform:K: the centres of K equal parts, whose features are averaged",
    )
    seed: int = Field(0, description="of random frames")
    resize: Literal["own", "bilinear"] = Field(
        "own", description="the encoder's own resampling (CLIP: bicubic), or the published code's"
    )
    prompts: Literal["clip48", "reference12", "scene", "name"] = Field(
        "clip48", description="see moclip/models/encoders/prompts.py"
    )
    normalise_prompts: bool = Field(
        True, description="false: prompts' embeddings are averaged at their own lengths, as in the published code"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the image tower's multiplications")
    batch_size: PositiveInt = Field(64, description="frames")

    @field_validator("frame")
    @classmethod
    def _frame_is_a_policy(cls, value: str) -> str:
        if not re.fullmatch(r"middle|first|random|uniform:[1-9]\d*", value):
            raise ValueError("expected middle, first, random or uniform:K (uniform:8: eight frames)")
        return value


class Motion(Section):
    """How a motion field becomes a tensor."""

    field: Literal["raw", "accumulated"] = "raw"
    units: Literal["pixels", "equivalent"] = Field(
        "pixels", description="pixels of the video, or of a video 340 wide at 25 frames/s (for other sizes and rates)"
    )
    bound: PositiveFloat = Field(20.0, description="displacement that maps to the end of the 8-bit range")


class LrMultipliers(Section):
    """Factors on the learning rate by part of the motion network."""

    classifier: PositiveFloat = 1.0
    stem: PositiveFloat = Field(
        1.0, description="data_bn and the first convolution, which see motion for the first time"
    )
    rest: PositiveFloat = 1.0


class MV(Section):
    """The motion network and its training."""

    backbone: str
    pretrained: bool = True
    input_size: PositiveInt = Field(224, description="side of the network's input")
    crop: float = Field(
        0.875, gt=0, le=1, description="side of the centre crop in testing, as a share of the shorter side"
    )
    train_scales: tuple[float, ...] = Field(
        (1.0, 0.875, 0.75), description="multi-scale crops, shares of the shorter side"
    )
    crop_mode: str = Field(
        "center",
        description="center: TSN's crops, shares of the frame's shorter side; squash (published code): the frame is "
        "resized to a square first, and training crops have one scale and a position of their own in each segment",
    )
    flip: str = Field(
        "exact", description="exact: mirror in pixels; reference: 255 - x in 8 bit, which moves zero motion to 127"
    )
    sampling: str = Field(
        "tsn",
        description="tsn: segments of the frames with vectors; reference: of all frames, with the published code's "
        "offsets",
    )
    segments: PositiveInt = Field(3, description="segments per clip in training")
    views: PositiveInt = Field(32, description="segments per clip in testing")
    crops: Literal[1, 3, 10] = Field(
        1,
        description="crops per segment in testing: centre; 3 along the longer side; corners and centre, and mirrored",
    )
    test_flip: str = Field(
        "always",
        description="are the second five of 10 crops mirrored? always; random: for each clip, a seeded coin decides",
    )
    average: Literal["softmax", "logit"] = Field("softmax", description="what is averaged over views for MV-only")
    select: Literal["last", "val", "test"] = Field(
        "last", description="which epoch is kept: the last, or the best on validation clips, or on the TEST clips"
    )
    epochs: PositiveInt = 200
    schedule: Literal["step", "one_cycle"] = Field("step", description="step: x0.1 at each milestone")
    milestones: tuple[int, ...] = (80, 160)
    lr: PositiveFloat
    lr_multipliers: LrMultipliers = LrMultipliers()  # type: ignore[call-arg]
    eps: PositiveFloat = Field(1e-8, description="Adam's epsilon")
    weight_decay: float = Field(1e-4, ge=0)
    decay_all: bool = Field(True, description="false: biases and BatchNorm take no weight decay")
    batch_size: PositiveInt
    seed: int = 0

    def training_fields(self) -> dict[str, Any]:
        """The fields that the trained weights depend on; the others act in testing alone."""
        tested = {"views", "crops", "test_flip"} | ({"average"} if self.select == "last" else set())
        return self.model_dump(mode="json", exclude=tested)

    @field_validator("sampling", "crop_mode", "flip", "test_flip")
    @classmethod
    def _strategies_are_known(cls, value: str, info: ValidationInfo) -> str:
        return strategies.check(str(info.field_name), value)

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
    train_features: Literal["drawn", "cached"] = Field(
        "drawn",
        description="drawn: new segments and crops each epoch; cached: drawn from a fixed pool of centre-crop views",
    )
    train_views: PositiveInt = Field(32, description="size of that pool")
    batch_norm: str = Field(
        "frozen",
        description="drifting (published code): BatchNorm of the motion network continues to learn while the head is "
        "trained",
    )
    select: Literal["last", "test"] = Field(
        "last",
        description="which epoch is kept; validation clips cannot choose: the motion network was trained on them",
    )
    seeds: tuple[int, ...] = (0, 1, 2)

    @field_validator("batch_norm")
    @classmethod
    def _strategy_is_known(cls, value: str) -> str:
        return strategies.check("batch_norm", value)

    @model_validator(mode="after")
    def _cached_features_need_a_frozen_network(self) -> "Fusion":
        if self.train_features == "cached" and self.batch_norm != "frozen":
            raise ValueError(
                f"batch_norm={self.batch_norm} needs train_features=drawn: cached views do not pass the network again, "
                "so it stays as it is"
            )
        return self


class Rivals(Section):
    """Other systems of Table I, trained small and from scratch on the main data set (notebook 08)."""

    which: tuple[
        Literal[
            "coviar_iframe",
            "coviar_mv",
            "coviar_residual",
            "emv_cnn",
            "two_stream_spatial",
            "two_stream_temporal",
            "x_clip",
        ],
        ...,
    ] = Field(
        (
            "coviar_iframe",
            "coviar_mv",
            "coviar_residual",
            "two_stream_spatial",
            "two_stream_temporal",
            "emv_cnn",
            "x_clip",
        ),
        description="networks, in the order of training; systems of several are joined where all of them are there",
    )
    size: int = Field(64, ge=48, description="side of their inputs")
    width: PositiveFloat = Field(0.125, description="factor on the widths in their papers")
    views: PositiveInt = Field(3, description="views of a clip, in training and in testing")
    epochs: PositiveInt = 15
    lr: PositiveFloat = 0.001
    batch_size: PositiveInt = 32
    seed: int = 0

    @model_validator(mode="after")
    def _teachers_come_first(self) -> "Rivals":
        taught = self.which.index("emv_cnn") if "emv_cnn" in self.which else None
        if taught is not None and "two_stream_temporal" not in self.which[:taught]:
            raise ValueError("emv_cnn learns from two_stream_temporal: name that one before it")
        return self


class Training(Section):
    """How networks are trained on the machine at hand; no part of the protocol but for ``accumulate``."""

    devices: PositiveInt = Field(1, description="processes that train together (DDP), each with a device of its own")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accumulate: PositiveInt = Field(1, description="batches whose gradients are added up before a step")
    channels_last: bool = False
    workers: int = Field(0, ge=0, description="processes that load batches; 0: the training process itself")


class Study(Section):
    """The effect of each field of the protocol: `paper`, with one field at a time as in `reference` (notebook 09)."""

    fields: tuple[str, ...] = Field(
        (),
        description="fields of reference.yaml, for instance mv.views; ``a+b`` changes two at once; empty: all that "
        "differ",
    )
    clips: PositiveInt | None = Field(None, description="clips per class in training and in testing; all if unset")
    seeds: tuple[int, ...] = Field((0, 1, 2), description="of motion network and head, the same for all variants")
    shortened: dict[str, Any] = Field(
        default_factory=dict,
        description="overrides of all variants, for instance {mv.epochs: 3}; tables name them",
    )


class Timing(Section):
    """How networks are timed."""

    repeats: PositiveInt = Field(15, description="calls of which the median is taken")
    largest_batch: PositiveInt = Field(32, description="videos; the best batch is sought up to here")


class Report(Section):
    """Statistics of the tables."""

    resamples: PositiveInt = Field(9999, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0, lt=1)


class Figures(Section):
    """What figures show; no part of any number."""

    confusion_order: Literal["class", "clustered"] = Field(
        "class", description="order of confusion matrices: the data set's, or classes that are confused side by side"
    )
    examples: Literal["median", "random"] = Field(
        "median",
        description="which clip stands for a kind: the one nearest the median margin, or one drawn by the seed",
    )
    seed: int = Field(0, description="of random examples")
    video: Path | None = Field(None, description="your own video, drawn by notebook 00")


class Config(Section):
    """Everything that a run depends on."""

    profile: str
    run: str = Field(description="name of the folder under runs/ and figures/; the profile's unless set")
    device: str = Field("auto", description="auto, cpu, cuda")
    protocol: str = Field(
        description="its name, as every table has it: with the profile that shortens it and what overrides changed"
    )
    data: Data
    encoder: Encoder
    motion: Motion = Motion()  # type: ignore[call-arg]
    mv: MV
    fusion: Fusion = Fusion()  # type: ignore[call-arg]
    rivals: Rivals = Rivals()  # type: ignore[call-arg]
    training: Training = Training()  # type: ignore[call-arg]
    study: Study = Study()  # type: ignore[call-arg]
    timing: Timing = Timing()  # type: ignore[call-arg]
    report: Report = Report()  # type: ignore[call-arg]
    figures: Figures = Figures()  # type: ignore[call-arg]

    @field_validator("run")
    @classmethod
    def _run_is_a_folder_s_name(cls, value: str) -> str:
        if value != safe_name(value) or value.startswith("."):
            raise ValueError("a folder's name of letters, digits, '.', '_' and '-' is wanted")
        return value

    @model_validator(mode="after")
    def _clips_that_choose_are_there(self) -> "Config":
        if self.mv.select == "val" and not self.data.val_fraction:
            raise ValueError("mv.select=val needs validation clips: set data.val_fraction, for instance to 0.2")
        return self
