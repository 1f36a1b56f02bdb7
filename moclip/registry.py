"""Objects by name, imported on first use. A table maps each name to ``module:attribute``.

No room imports a study: its objects are known by such strings only. If a study's folder is deleted, its names are
unknown.
"""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from moclip.errors import MoclipError, nearest

Table = Mapping[str, str]


class UnknownNameError(MoclipError, ValueError):
    """A name that is not in the table; the message gives the nearest one."""


def available(table: Table) -> list[str]:
    """The names whose module is installed, sorted."""
    return sorted(name for name, target in table.items() if _is_installed(target.partition(":")[0]))


def check(kind: str, table: Table, name: str) -> str:
    """``name``, if an object has it; nothing is imported.

    Parameters
    ----------
    kind : what the table holds (for instance "model"), for the error message.

    Raises
    ------
    UnknownNameError
        ``name`` is not in the table, or its study is not installed.
    """
    names = available(table)
    if name not in names:
        raise UnknownNameError(f"unknown {kind} {name!r}{nearest(name, names)}; there are: {', '.join(names)}")
    return name


def lookup(kind: str, table: Table, name: str) -> Any:
    """The object called ``name``; arguments and errors are those of `check`."""
    module, _, attribute = table[check(kind, table, name)].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package does not exist
        return False
