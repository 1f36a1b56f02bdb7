"""One validated configuration per run: a protocol, a profile on top of it, and the user's overrides on top of both.

An unknown key raises an error that names the nearest one. `moclip.config.sections` explains every field.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from moclip.config.sections import Config, ConfigError, Groups, Section, safe_name
from moclip.errors import nearest

FILES = resources.files("moclip.config")
# What changes no result: names, where files lie, how fast they are read, and what figures show.
SAME_RESULTS: dict[str, Any] = {
    "profile": True, "run": True, "protocol": True, "device": True, "figures": True, "encoder": {"cache"},
    "data": {"root", "annotation_path", "workers", "scheduler"}, "training": {"devices", "workers"},
}  # fmt: skip


def names(kind: str) -> list[str]:
    """Names of the files of a ``kind`` (profile, protocol) that come with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in (FILES / f"{kind}s").iterdir() if ".yaml" in path.name)


def load_config(profile: str = "quick", overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a profile and the protocol that it names, and apply overrides.

    Only the merged result is validated. A profile may be incomplete until an override completes it (for example,
    ``epochs`` without matching ``milestones``).

    Parameters
    ----------
    profile : one of ``names("profile")``, or a path to a YAML file of the same form.
    overrides : nested (``{"data": {"root": ...}}``) or dotted (``{"data.root": ...}``) values. ``protocol`` replaces
        the protocol that the profile names. Overrides that change results give
        the run its own name (``quick-3f2a91c0``), unless ``run`` is among them.

    Raises
    ------
    ConfigError
        Unknown profile, protocol or key (the message names the nearest one), or an invalid value.
    """
    values, asked, name = read("profile", profile), nested(overrides or {}), Path(profile).stem
    chosen = str(asked.get("protocol", values.get("protocol")))
    protocol = read("protocol", chosen)
    insists = protocol.pop("insists", {})
    base = {"run": safe_name(name), **merge(merge(protocol, values), insists), "protocol": chosen}
    try:
        config = Config.model_validate({**merge(base, asked), "profile": name})
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    unchanged, whole = _apart(base), _apart(merge(merge(base, protocol), insists))
    shortened = f" as shortened by profile {name}" if changed_protocol(whole, unchanged) else ""
    named = ", ".join([chosen + shortened, *changed_protocol(unchanged, config)])
    old, new = (
        leaves(each.model_dump(mode="json", exclude=SAME_RESULTS, warnings=False)) for each in (unchanged, config)
    )
    changed = {field: value for field, value in new.items() if value != old.get(field)}
    changed |= {} if chosen == values.get("protocol") else {"protocol": chosen}
    suffix = f"-{hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]}" if changed else ""
    return config.model_copy(update={"protocol": named, "run": config.run + ("" if "run" in asked else suffix)})


def changed_protocol(before: Config, after: Config) -> list[str]:
    """Fields of the method that differ, as ``mv.epochs=3``; tables name them beside the protocol.

    Seeds, data folders and numbers of workers are not part of a protocol.
    """
    old = method(before)
    return [f"{key}={_brief(value)}" for key, value in method(after).items() if value != old.get(key)]


def method(config: Config) -> dict[str, Any]:
    """The fields that a protocol sets, by name: ``{"mv.epochs": 200, ...}``."""
    data = {"reencode", "val_fraction", "horizontal_flip", "min_frames"}
    whole = dict.fromkeys(("encoder", "motion", "mv", "fusion"), True)
    never = {"encoder": {"batch_size", "cache", "seed"}, "mv": {"seed"}, "fusion": {"seeds"}}
    return leaves(config.model_dump(include={**whole, "data": data, "training": {"accumulate"}}, exclude=never))


def _apart(values: Mapping[str, Any]) -> Config:
    """Parse each value on its own, without validation across fields: for comparisons only, never to be run."""
    sections: dict[str, Any] = {}
    for name, section in Config.model_fields.items():
        kind, given = section.annotation, values.get(name)
        if isinstance(kind, type) and issubclass(kind, Section):
            parsed = {}
            for key, value in given.items() if isinstance(given, Mapping) else ():
                form: Any = kind.model_fields[key].annotation
                with suppress(ValidationError):
                    parsed[key] = TypeAdapter(form).validate_python(value)
            sections[name] = kind.model_construct(**parsed)
    return Config.model_construct(**sections)


def _brief(value: Any) -> str:
    """``{"train": 5, "test": 27}`` as ``(train 5, test 27)``: no quotes in tables."""
    return f"({', '.join(f'{key} {each}' for key, each in value.items())})" if isinstance(value, dict) else str(value)


def read(kind: str, name: str) -> dict[str, Any]:
    """Values of a profile or protocol (``kind``), on top of those that it extends.

    ``name`` is one of `names`, or the path of a profile of the user's.
    """
    if kind == "profile" and name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise ConfigError(f"no such profile file: {name}")
        text = Path(name).read_text(encoding="utf-8")
    elif name in (known := names(kind)):
        text = (FILES / f"{kind}s" / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise ConfigError(f"unknown {kind} {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
    values = _parse(text, name) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: expected `section: {{key: value}}` lines, found {values!r}")
    base = values.pop("extends", None)
    return merge(read(kind, base), values) if base else values


def leaves(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Nested sections as dotted fields: ``{"mv": {"epochs": 3}}`` -> ``{"mv.epochs": 3}``."""
    return {f"{name}.{key}": value for name, section in values.items() for key, value in section.items()}


def parse_override(text: str) -> dict[str, Any]:
    """``KEY=VALUE`` from a command line, the value read as YAML: ``mv.epochs=3`` -> ``{"mv": {"epochs": 3}}``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"an override is KEY=VALUE (for instance mv.epochs=3), not {text!r}")
    return nested({key: _parse(value, text)})


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML, quotes may be missing: {error}") from None


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


def explain(error: ValidationError) -> str:
    """A validation error as text: one line per problem, with the remedy."""
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
