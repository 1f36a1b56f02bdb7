"""Options that several commands take."""

from typing import Annotated, Any

import typer

from moclip.config.load import merge, parse_override, profiles

Profile = Annotated[
    str, typer.Option(metavar="NAME", help=f"A profile ({', '.join(profiles())}), or the path of a YAML file.")
]
Override = Annotated[
    list[str] | None,
    typer.Option("-p", "--param", metavar="KEY=VALUE", help="Change one value, e.g. -p mv.epochs=3. Repeatable."),
]


def overrides_of(params: list[str] | None) -> dict[str, Any]:
    """What ``-p KEY=VALUE`` options ask for, nested."""
    values: dict[str, Any] = {}
    for text in params or []:
        values = merge(values, parse_override(text))
    return values
