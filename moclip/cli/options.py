"""Options that several commands share."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from moclip.config.load import merge, names, nested, parse_override

_PROFILES = ", ".join(names("profile"))
Profile = Annotated[str, typer.Option(metavar="NAME", help=f"A profile ({_PROFILES}), or the path of a YAML file.")]
Override = Annotated[
    list[str] | None,
    typer.Option("-p", "--param", metavar="KEY=VALUE", help="Change one value, e.g. -p mv.epochs=3. Repeatable."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Processes that read videos; default: all cores (data.workers).")
]


def overrides_of(params: list[str] | None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The values of ``-p KEY=VALUE`` options, nested, and those of other options by their dotted keys, unless None."""
    values: dict[str, Any] = {}
    for text in params or []:
        values = merge(values, parse_override(text))
    return merge(values, nested({key: value for key, value in (options or {}).items() if value is not None}))
