"""Options that several commands take."""

from typing import Annotated, Any

import typer

from moclip.config import merge, parse_override

Profile = Annotated[
    str,
    typer.Option(help="Name of a profile (quick, smoke, folder, ucf101, ucf101-small, hmdb51) or path of a YAML file."),
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
