"""Which files of a package a piece of code stands on, found without running it.

The runner keys a stage by these files, so that an edit in a room reruns what stands on it and nothing else. Followed:
imports at any depth (inside functions too), relative imports, a package's ``__init__``, names that a package loads late
through a dictionary ``_LAZY`` (name -> module), attribute chains (``moclip.video.read_motion``), and strings that are
the full name of a module (registries). Names built at run time are not seen.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

_DATA_IGNORED = {".py", ".pyc", ".md"}  # prose beside code reruns nothing


def files(sources: Iterable[str], package: Path) -> list[Path]:
    """Files of `package` that `sources` import, directly or through other files of the package.

    Parameters
    ----------
    sources : Python code (of a notebook's cells).
    package : the package's folder; its name is the package's name.

    Returns
    -------
    Sorted paths: modules, and the data files (word lists, tables) of each sub-package among them. ``profiles/`` is a
    folder of no module: what a profile says reaches a stage through the configuration.
    """
    wanted = [name for source in sources for name in _names(source, "", False, package.name)]
    found: set[Path] = set()
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for module, path in _modules(name, package, wanted):
            if path not in found:
                found.add(path)
                is_package = path.name == "__init__.py"
                wanted += _names(path.read_text(encoding="utf-8"), module, is_package, package.name)
                if is_package and path.parent != package:
                    found.update(_data_files(path.parent))
    return sorted(found)


def _modules(name: str, package: Path, wanted: list[str]) -> Iterator[tuple[str, Path]]:
    """Modules along a dotted name, as far as it names modules; a late-loaded name is put on `wanted`."""
    folder, module = package, package.name
    parts = name.split(".")[1:]
    if (folder / "__init__.py").is_file():
        yield module, folder / "__init__.py"
    for index, part in enumerate(parts):
        init = folder / "__init__.py"
        late = _lazy(init.read_text(encoding="utf-8")).get(part) if init.is_file() else None
        if late:
            wanted.append(".".join([late, *parts[index + 1 :]]))
        module = f"{module}.{part}"
        if (folder / f"{part}.py").is_file():
            yield module, folder / f"{part}.py"
            return
        folder = folder / part
        if not folder.is_dir():
            return
        if (folder / "__init__.py").is_file():
            yield module, folder / "__init__.py"


@cache
def _names(source: str, module: str, is_package: bool, top: str) -> tuple[str, ...]:
    """Dotted names under `top` that a source mentions; a name may end in something that is no module."""
    names: list[str] = []
    full_name = re.compile(rf"{re.escape(top)}(\.\w+)+(:\w+)?")
    bound: dict[str, str] = {}  # name in this source -> dotted name, for the attribute chains
    nodes = list(_walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.append(alias.name)
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, is_package)
            names.append(base)
            for alias in node.names:
                names.append(f"{base}.{alias.name}")
                bound[alias.asname or alias.name] = f"{base}.{alias.name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and full_name.fullmatch(node.value):
            names.append(node.value.partition(":")[0])
    for node in nodes:
        chain = _chain(node)
        if chain and chain[0] in bound:
            names.append(".".join([bound[chain[0]], *chain[1:]]))
    return tuple(sorted({name for name in names if name == top or name.startswith(f"{top}.")}))


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of ``if TYPE_CHECKING:`` (never run) and of ``_LAZY`` (followed by name instead)."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
        elif not _is_lazy(node):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def _is_lazy(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_LAZY" for t in node.targets)


@cache
def _lazy(source: str) -> dict[str, str]:
    """The dictionary ``_LAZY`` of a package's ``__init__``, or nothing."""
    for node in ast.parse(source).body:
        if _is_lazy(node):
            return dict(ast.literal_eval(node.value))
    return {}


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The absolute module of a ``from ... import``."""
    if not node.level:
        return node.module or ""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _chain(node: ast.AST) -> list[str]:
    """``a.b.c`` as its parts; nothing for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) and parts else []


def _data_files(folder: Path) -> Iterator[Path]:
    """Files that a sub-package ships beside its code, its own sub-packages left out."""
    for path in folder.iterdir():
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir() and not (path / "__init__.py").is_file():
            yield from _data_files(path)
        elif path.is_file() and path.suffix not in _DATA_IGNORED:
            yield path
