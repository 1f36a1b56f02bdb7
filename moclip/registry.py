"""Names for what is loaded on first use. A table maps each name to ``module:attribute``.

Studies enter by such a string alone, so that no room imports them; where a study's folder is deleted, its names are
unknown.
"""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from moclip.errors import MoclipError, nearest

Table = Mapping[str, str]


class UnknownNameError(MoclipError, ValueError):
    """A name that is in no table; the message names the nearest one."""


def available(table: Table) -> list[str]:
    """Sorted names whose module is installed."""
    return sorted(name for name, place in table.items() if _is_installed(place.partition(":")[0]))


def lookup(kind: str, table: Table, name: str) -> Any:
    """The object called ``name``.

    Parameters
    ----------
    kind : what the table holds ("model"), for the error.

    Raises
    ------
    UnknownNameError
        ``name`` is not in the table, or its study is not installed.
    """
    names = available(table)
    if name not in names:
        raise UnknownNameError(f"unknown {kind} {name!r}{nearest(name, names)}; there are: {', '.join(names)}")
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a folder on the way is not there
        return False
