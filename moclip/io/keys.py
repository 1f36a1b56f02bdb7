"""The one rule of validity: a kept file holds while its key is the same.

A key has four parts: the code of the rooms that the file stands on, the versions of their libraries, the settings, and
the content hashes of the inputs. Code is compared as syntax trees without docstrings and comments, and YAML as parsed
values, so that an edit of prose changes no key.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PACKAGE = Path(__file__).parents[1]

_TABLES: dict[str, dict[str, list[str]]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
STANDS_ON, LIBRARIES = _TABLES["stands_on"], _TABLES["libraries"]
_NO_CODE = {"profiles", "__pycache__"}  # folders of settings and of what Python makes itself


def key(
    what: str, settings: Mapping[str, Any], inputs: Mapping[str, str] | None = None, also: Sequence[str] = ()
) -> dict[str, Any]:
    """The parts of a key, as JSON has them.

    Parameters
    ----------
    what : an entry of `STANDS_ON`.
    settings : the part of the configuration that the file depends on.
    inputs : content hashes or keys of the files that it was computed from, by name.
    also : further rooms, for instance the study whose strategies the settings name.
    """
    return key_of_rooms((*STANDS_ON[what], *also), settings, inputs or {}, PACKAGE)


def key_of_rooms(
    places: Sequence[str], settings: Mapping[str, Any], inputs: Mapping[str, str], package: Path
) -> dict[str, Any]:
    """The key of what stands on some rooms, folders of rooms, or modules."""
    libraries = {library for place in places for library in LIBRARIES.get(place.split(".")[0], ())}
    versions = installed(sorted(libraries))
    parts = {"code": code(places, package), "versions": versions, "settings": settings, "inputs": inputs}
    return json.loads(json.dumps(parts, sort_keys=True, default=str))  # type: ignore[no-any-return]


def digest(parts: Any) -> str:
    """Short SHA-256 of a key (or of any JSON, with arrays and tensors among it): 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(value: Any) -> str:
    if hasattr(value, "__array__"):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return str(value)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why two keys differ, in words: ``mv.epochs 15 -> 20``, ``code of video changed``, ``torch 2.13.0 -> 2.14.1``."""
    texts = {"code": "code of {} changed", "settings": "{} {} -> {}", "inputs": "{} changed", "versions": "{} {} -> {}"}
    return [
        text.format(*change)
        for part, text in texts.items()
        for change in _changed(old.get(part, {}), new.get(part, {}))
    ]


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield f"{prefix}{name}", before, after


@cache
def _installed(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Versions by name; ``absent`` where a library is not installed."""
    return {library: _installed(library) for library in libraries}


def code(places: Iterable[str], package: Path = PACKAGE) -> dict[str, str]:
    """Hash of the code of each place: a room, a folder of a room, or a module with what it imports inside its room."""
    files = {place: sorted(_files(place, package)) for place in places}
    return {
        place: digest({path.relative_to(package).as_posix(): _look(path)[0] for path in paths})
        for place, paths in files.items()
    }


def rooms(sources: Iterable[str], package: Path = PACKAGE) -> list[str]:
    """The rooms that pieces of Python code import, directly or through other rooms.

    A study's folder counts as a room. Names that ``moclip/__init__.py`` loads late belong to their module's room.
    """
    lazy = _lazy(package)
    waiting = {name for source in sources for name in _imports(ast.parse(source))}
    result: set[str] = set()
    while waiting:
        name = waiting.pop()
        parts = lazy.get(name, name).split(".")
        room = ".".join(parts[1 : 3 if parts[1:2] == ["studies"] else 2])
        if parts[0] != package.name or room in (result | {"", "studies"}):
            continue
        if files := _files(room, package):
            result.add(room)
            waiting |= {name for path in files for name in _look(path)[1]}
    return sorted(result)


def _files(place: str, package: Path) -> set[Path]:
    folder = package / place.replace(".", "/")
    if folder.is_dir():
        inside = {path for path in folder.rglob("[!.]*") if path.is_file() and path.suffix != ".md"}
        return {path for path in inside if _NO_CODE.isdisjoint(path.relative_to(folder).parts)}
    found: set[Path] = set()
    waiting = [folder.with_suffix(".py")]
    room = f"{package.name}.{place.split('.')[0]}."
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found.add(path)
            names = [name for name in _look(path)[1] if name.startswith(room)]
            modules = [part.replace(".", "/") for name in names for part in (name, name.rpartition(".")[0])]
            waiting += [package.parent / f"{module}.py" for module in modules]
    return found


def _lazy(package: Path) -> dict[str, str]:
    """Full name -> module of the public names, from the dictionaries of ``__init__.py``."""
    body = ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
    tables = [node.value for node in body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    pairs = [pair for table in tables for pair in ast.literal_eval(table).items()]
    return {f"{package.name}.{name}": module.partition(":")[0] for name, module in pairs}


def _look(path: Path) -> tuple[str, frozenset[str]]:
    """SHA-256 of what a file says to a machine, and the full names that it imports."""
    stat = path.stat()
    return _look_once(path, stat.st_mtime_ns, stat.st_size)


@cache
def _look_once(path: Path, mtime_ns: int, size: int) -> tuple[str, frozenset[str]]:  # both are there to key the cache
    content, names = path.read_bytes(), frozenset[str]()
    if path.suffix == ".py":
        tree = ast.parse(content)
        names = _imports(tree)
        content = meaning(tree).encode()
    elif path.suffix in (".yaml", ".yml"):
        content = repr(yaml.safe_load(content)).encode()
    return hashlib.sha256(content).hexdigest(), names


def _imports(tree: ast.AST) -> frozenset[str]:
    """Full names that a source imports, at any depth, and attributes of names (``moclip.read_motion``)."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(f"{node.value.id}.{node.attr}")
    return frozenset(names)


def meaning(tree: ast.AST) -> str:
    """Python code without docstrings, comments and layout. The tree loses its docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    node.body = rest
    return ast.dump(tree)
