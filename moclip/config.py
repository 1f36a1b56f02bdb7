"""One validated configuration object a run: a protocol, a profile that shortens it, the user's overrides on top.

Every field says what it means and in which unit; an unknown key is an error that names the nearest one.
"""

import difflib
import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from moclip.errors import MoclipError

PROFILES = resources.files("moclip") / "profiles"
PROTOCOLS = resources.files("moclip.protocols")


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
        "raise", description="where clips cannot be read: stop, or leave them out; they are counted and reported"
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
    resize: Literal["keep", "squeeze"] = Field(
        "keep",
        description="keep: TSN's crops, shares of the frame's shorter side; squeeze: the frame is made a square first, "
        "and training crops have one scale and any place, another in each segment, as in the published code",
    )
    flip: Literal["exact", "reference"] = Field(
        "exact", description="mirror in pixels; or in 8 bit as 255 - x, which moves zero motion to 127"
    )
    sampling: Literal["tsn", "reference"] = Field(
        "tsn", description="segments of the frames with vectors; or of all frames, with the published code's offsets"
    )
    segments: PositiveInt = Field(3, description="segments a clip in training")
    views: PositiveInt = Field(32, description="segments a clip in testing")
    crops: Literal[1, 3, 10] = Field(
        1,
        description="crops a segment in testing: centre; 3 along the longer side; corners and centre, and mirrored",
    )
    test_flip: Literal["always", "random"] = Field(
        "always", description="random: a clip's second five of 10 crops are mirrored by the toss of a seeded coin"
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
    select: Literal["last", "val", "test"] = Field("last", description="which epoch is kept, as mv.select")
    seeds: tuple[int, ...] = (0, 1, 2)

    @model_validator(mode="after")
    def _what_is_cached_cannot_drift(self) -> "Fusion":
        if self.statistics == "drifting" and self.select == "val":
            raise ValueError("statistics=drifting with select=val is in no protocol: set select to last or test")
        if self.statistics == "drifting" and self.train_features == "cached":
            raise ValueError(
                "statistics=drifting needs train_features=drawn: views that were computed once do not pass the network "
                "again, so that its statistics cannot drift"
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
    """What the fields of the protocol do: `paper` with one field after the other as in `reference` (notebook 13)."""

    fields: tuple[str, ...] = Field(
        (), description="fields of reference.yaml, for instance mv.views; ``a+b`` changes two at once; all if empty"
    )
    clips: PositiveInt | None = Field(None, description="clips a class in training and in testing; all if unset")
    seeds: tuple[int, ...] = Field((0, 1, 2), description="of the motion network and of the head, paired over variants")
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

    @model_validator(mode="after")
    def _validation_clips_are_unseen(self) -> "Config":
        if self.mv.select == self.fusion.select == "val":
            raise ValueError(
                "mv.select and fusion.select cannot both be val: the motion network is trained again on the validation "
                "clips once they have chosen its epoch, and would flatter them when they choose the head's"
            )
        return self


def profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    return _names(PROFILES)


def protocols() -> list[str]:
    """Names of the protocols."""
    return _names(PROTOCOLS)


def load_config(profile: str = "quick", overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a protocol, put the profile that names it on top, and overrides on top of both.

    Parameters
    ----------
    profile : one of `profiles()`, or a path to a YAML file of the same form.
    overrides : nested (``{"data": {"root": ...}}``) or dotted (``{"data.root": ...}``) values. With ``protocol`` among
        them, the profile stands on that one instead.

    Raises
    ------
    ConfigError
        Unknown profile, protocol or key (with the nearest one), or a value that does not fit.
    """
    own, asked, name = read_profile(profile), nested(overrides or {}), Path(profile).stem
    chosen = str(asked.get("protocol", own.get("protocol")))
    protocol = read_protocol(chosen)
    insists = protocol.pop("insists", {})
    base = {"run": name, **merge(merge(protocol, own), insists), "protocol": chosen, "profile": name}
    try:
        config = Config.model_validate({**merge(base, asked), "profile": name})
        unchanged = Config.model_validate(base)
        whole = Config.model_validate(merge(merge(base, protocol), insists))
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    shortened = f" as shortened by profile {name}" if changed_protocol(whole, unchanged) else ""
    named = ", ".join([chosen + shortened, *changed_protocol(unchanged, config)])
    return config.model_copy(update={"protocol": named})


def changed_protocol(before: Config, after: Config) -> list[str]:
    """``mv.epochs=3`` and the like: what ``after`` changed of the method, so that no table calls it ``before``'s.

    Seeds are no part of a protocol, nor is where the data lie or how many are read at once.
    """
    old = method(before)
    return [f"{key}={_brief(value)}" for key, value in method(after).items() if value != old[key]]


def method(config: Config) -> dict[str, Any]:
    """The fields that a protocol decides, by name: ``{"mv.epochs": 200, ...}``."""
    values = {"encoder": config.encoder, "motion": config.motion, "mv": config.mv, "fusion": config.fusion}
    fields = leaves({name: section.model_dump() for name, section in values.items()})
    for key in ("encoder.batch_size", "encoder.cache", "encoder.seed", "mv.seed", "fusion.seeds"):
        del fields[key]
    data = config.data.model_dump()
    for key in ("reencode", "val_fraction", "horizontal_flip", "min_frames"):
        fields[f"data.{key}"] = data[key]
    return fields | {"training.accumulate": config.training.accumulate}


def _brief(value: Any) -> str:
    """``{"train": 5, "test": 27}`` as ``(train 5, test 27)``: no quotes in tables."""
    return f"({', '.join(f'{key} {each}' for key, each in value.items())})" if isinstance(value, dict) else str(value)


def read_profile(profile: str) -> dict[str, Any]:
    """Values of a profile, the profile it extends underneath."""
    path = Path(profile)
    if path.suffix not in {".yaml", ".yml"}:
        values = _read(PROFILES, profile)
    elif path.is_file():
        values = yaml.safe_load(path.read_text()) or {}
    else:
        raise ConfigError(f"no such profile file: {profile}")
    base = values.pop("extends", None)
    return merge(read_profile(base), values) if base else values


def read_protocol(name: str) -> dict[str, Any]:
    """Values of a protocol, the protocol it extends underneath."""
    values = _read(PROTOCOLS, name)
    base = values.pop("extends", None)
    return merge(read_protocol(base), values) if base else values


def leaves(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sections as fields by their name: ``{"mv": {"epochs": 3}}`` -> ``{"mv.epochs": 3}``."""
    return {f"{name}.{key}": value for name, section in values.items() for key, value in section.items()}


def _names(folder: Traversable) -> list[str]:
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(folder: Traversable, name: str) -> dict[str, Any]:
    if name not in (there := _names(folder)):
        kind = folder.name.removesuffix("s")
        raise ConfigError(f"unknown {kind} {name!r}{nearest(name, there)}; there are: {', '.join(there)}")
    return yaml.safe_load((folder / f"{name}.yaml").read_text()) or {}


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
