"""Local stand-in for moclip.io.keys."""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
STANDS_ON = {
    "generated": (("datasets/moving_photos", "video"), ("av", "numpy", "pillow")),
    "reencoded": (("video",), ("av", "numpy")),
    "facts": (("datasets/facts.py", "video"), ("av", "numpy")),
}


def key(what: str, settings: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> dict[str, Any]:
    rooms, libraries = STANDS_ON[what]
    return {
        "code": {room: _code(room) for room in rooms},
        "versions": {name: metadata.version(name) for name in libraries},
        "settings": json.loads(json.dumps(settings)),
        "inputs": dict(inputs or {}),
    }


def digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    result = []
    for part in ("code", "versions", "settings", "inputs"):
        before, after = old.get(part, {}), new.get(part, {})
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                result.append(
                    f"code of {name} changed" if part == "code" else f"{name} {before.get(name)} -> {after.get(name)}"
                )
    return result


@cache
def _code(room: str) -> str:
    path = PACKAGE / room
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    result = hashlib.sha256()
    for file in files:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if (
                ast.get_docstring(node, clean=False)
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
                else None
            ):
                node.body[0].value.value = ""
        result.update(ast.dump(tree).encode())
    return result.hexdigest()[:16]
