"""One validated configuration object a run: a profile (``profiles/*.yaml``) with the user's overrides on top.

Every field says what it means and in which unit; an unknown key is an error that names the nearest one.
"""

import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from moclip.errors import MoclipError


class ConfigError(MoclipError, ValueError):
    """A profile or an override that cannot be used; the message says what was found and what is possible."""


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Groups(Section):
    """How many groups of clips a class has in each split of a generated data set."""

    train: PositiveInt
    test: PositiveInt


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

    name: str = Field(description="clip:ViT-B/32, clip:/path/to/weights.pt, or offline")
    frame: Literal["middle", "first"] = "middle"
    prompts: Literal["clip48", "scene", "name"] = Field("clip48", description="see moclip/models/encoders/prompts.py")
    batch_size: PositiveInt = 64


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
    resize: Literal["keep", "squeeze"] = Field(
        "keep", description="keep: crops are shares of the frame; squeeze: the frame is made 256x256 first"
    )
    flip: Literal["exact", "reference"] = Field(
        "exact", description="mirror in pixels; or in 8 bit as 255 - x, which moves zero motion to 127"
    )
    sampling: Literal["tsn", "reference"] = Field(
        "tsn", description="segments of the frames with vectors; or of all frames, with the published code's offsets"
    )
    short_clips: Literal["keep", "drop"] = Field(
        "keep", description="drop: clips of no more frames than segments are left out, as the published code does"
    )
    segments: PositiveInt = Field(3, description="segments a clip in training")
    views: PositiveInt = Field(32, description="segments a clip in testing")
    crops: Literal[1, 3, 10] = Field(1, description="crops a segment in testing; 10: corners and centre, each mirrored")
    average: Literal["softmax", "logit"] = Field("softmax", description="what is averaged over views for MV-only")
    select: Literal["last", "val", "test"] = Field(
        "last", description="which epoch is kept: the last, or the best on validation clips, or on the TEST clips"
    )
    epochs: PositiveInt = 200
    schedule: Literal["step", "one_cycle"] = Field("step", description="step: x0.1 at each milestone")
    milestones: tuple[int, ...] = (80, 160)
    lr: PositiveFloat
    lr_multipliers: LrMultipliers = LrMultipliers()  # type: ignore[call-arg]
    weight_decay: float = Field(1e-4, ge=0)
    decay_all: bool = Field(True, description="false: biases and BatchNorm take no weight decay")
    batch_size: PositiveInt
    seed: int = 0

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
        description="drawn: new segments and crops every epoch; cached: drawn from a fixed pool of centre-crop views",
    )
    train_views: PositiveInt = Field(32, description="size of that pool")
    statistics: Literal["frozen", "drifting"] = Field(
        "frozen", description="drifting: the motion network's BatchNorm goes on learning while the head is trained"
    )
    test_flip: Literal["none", "random"] = Field("none", description="random: half of the test views are mirrored")
    select: Literal["last", "val", "test"] = Field("last", description="which epoch is kept, as mv.select")
    seeds: tuple[int, ...] = (0, 1, 2)


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
    protocol: str = Field(description="the profile's, named in every table; with what overrides changed of it")
    data: Data
    encoder: Encoder
    motion: Motion = Motion()  # type: ignore[call-arg]
    mv: MV
    fusion: Fusion = Fusion()  # type: ignore[call-arg]
    rivals: Rivals = Rivals()  # type: ignore[call-arg]
    training: Training = Training()  # type: ignore[call-arg]
    timing: Timing = Timing()  # type: ignore[call-arg]
    report: Report = Report()  # type: ignore[call-arg]
    figures: Figures = Figures()  # type: ignore[call-arg]


def profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    folder = resources.files("moclip") / "profiles"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(profile: str = "quick", overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a profile and put overrides on top.

    Parameters
    ----------
    profile : one of `profiles()`, or a path to a YAML file of the same form.
    overrides : nested (``{"data": {"root": ...}}``) or dotted (``{"data.root": ...}``) values.

    Raises
    ------
    ConfigError
        Unknown profile or key (with the nearest one), or a value that does not fit.
    """
    own = read_profile(profile)
    name = Path(profile).stem
    named = {"run": name, **merge(own, nested(overrides or {})), "profile": name}
    try:
        config = Config.model_validate(named)
        unchanged = Config.model_validate({"run": name, **own, "profile": name})
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    changes = changed_protocol(unchanged, config)
    return config.model_copy(update={"protocol": ", ".join([config.protocol, *changes])})


def changed_protocol(profile: Config, config: Config) -> list[str]:
    """``mv.epochs=3`` and the like: what overrides changed of the method, so that no table calls it the profile's own.

    Seeds are no part of a protocol, nor is where the data lie or how many are read at once.
    """
    skipped = {"encoder.batch_size", "mv.seed", "fusion.seeds"}
    changes = []
    for section in ("encoder", "motion", "mv", "fusion"):
        before, now = (getattr(each, section).model_dump() for each in (profile, config))
        changes += [f"{section}.{key}={now[key]}" for key in now if now[key] != before[key]]
    for key in ("reencode", "val_fraction", "horizontal_flip"):
        if (value := getattr(config.data, key)) != getattr(profile.data, key):
            changes.append(f"data.{key}={value}")
    return [change for change in changes if change.partition("=")[0] not in skipped]


def read_profile(profile: str) -> dict[str, Any]:
    """Values of a profile, the profile it extends underneath."""
    path = Path(profile)
    if path.suffix not in {".yaml", ".yml"}:
        if profile not in profiles():
            raise ConfigError(
                f"unknown profile {profile!r}{nearest(profile, profiles())}; there are: {', '.join(profiles())}"
            )
        text = (resources.files("moclip") / "profiles" / f"{profile}.yaml").read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        raise ConfigError(f"no such profile file: {profile}")
    values = yaml.safe_load(text) or {}
    base = values.pop("extends", None)
    return merge(read_profile(base), values) if base else values


def parse_override(text: str) -> dict[str, Any]:
    """``KEY=VALUE`` from a command line, the value read as YAML: ``mv.epochs=3`` -> ``{"mv": {"epochs": 3}}``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"an override is KEY=VALUE (for instance mv.epochs=3), not {text!r}")
    return nested({key: yaml.safe_load(value)})


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested ones."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        value = nested(value) if isinstance(value, Mapping) else value
        for part in reversed(str(key).split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of ``above`` over values of ``below``, section by section."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


def nearest(word: str, words: list[str]) -> str:
    """`` (did you mean 'x'?)`` or nothing."""
    match = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def explain(error: ValidationError) -> str:
    """A validation error as lines that a person can act on."""
    lines = []
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            fields = _fields(place[:-1])
            lines.append(f"unknown key {'.'.join(place)!r}{nearest(place[-1], fields)}; there are: {', '.join(fields)}")
        else:
            lines.append(f"{'.'.join(place)}: {problem['msg']}, found {problem['input']!r}")
    return "\n".join(lines)


def _fields(place: list[str]) -> list[str]:
    """Names of the fields of the section at ``place``."""
    section: type[BaseModel] = Config
    for part in place:
        annotation = section.model_fields[part].annotation if part in section.model_fields else Groups
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else Groups
    return sorted(section.model_fields)
