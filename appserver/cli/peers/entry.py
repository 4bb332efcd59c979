"""The application that `fastapi run` and `fastapi dev` find: by a path, by the usual names of files, or in pyproject.toml.

They import the module to see which of its names is an application. Here its source is read.
"""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appserver.errors import UsageError
from appserver.files.kinds import exists, is_directory, is_regular

_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_NAMES = ("app", "api")
_INIT = "__init__.py"


@dataclass(frozen=True, slots=True)
class Entry:
    """An application as "module:attribute", and the directory that the module is imported from."""

    target: str
    directory: str = "."


def find(path: str, name: str, entrypoint: str) -> Entry:
    """Find what the command would serve that was given this path, `--app` and `--entrypoint`, each perhaps empty.

    Raises UsageError.
    """
    if entrypoint and (path or name):
        raise UsageError("fastapi: --entrypoint does not go with a path or --app")
    if not (path or name):
        entrypoint = entrypoint or _configured()
    if entrypoint:
        if not all(entrypoint.partition(":")):
            raise UsageError(f"fastapi: entrypoint: expected module:attribute, not {entrypoint!r}")
        return Entry(entrypoint)
    file = Path(path or _usual_file())
    if not exists(file):
        raise UsageError(f"fastapi: {file}: no such file; run migrate where the application is")
    source = file / _INIT if is_directory(file) else file
    if not is_regular(source):
        raise UsageError(f"fastapi: {source}: no such file, or something else than one")
    parts = list(_module(file.resolve()))
    module, top = ".".join(part.stem for part in parts), parts[0].parent
    directory = os.path.relpath(top)
    return Entry(f"{module}:{name or _application(source)}", directory)


def _configured() -> str:
    if not is_regular(Path("pyproject.toml")):
        return ""
    try:
        content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
        found = content.get("tool", {}).get("fastapi", {}).get("entrypoint", "")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"pyproject.toml: {error}") from error
    return str(found)


def _usual_file() -> str:
    found = next((name for name in _FILES if is_regular(Path(name))), None)
    if found is None:
        raise UsageError(f"fastapi: there is none of {', '.join(_FILES)} here; name the file of the application")
    return found


def _module(path: Path) -> Iterator[Path]:
    """Yield the packages around a module, the outermost first, and the module."""
    if path.name == _INIT:
        path = path.parent
    if is_regular(path.parent / _INIT):
        yield from _module(path.parent)
    yield path


def _application(source: Path) -> str:
    """Return the name that the application has in a module: a usual one, or what is made by calling FastAPI."""
    try:
        body = ast.parse(source.read_bytes(), os.fspath(source)).body
    except OSError as error:
        raise UsageError(f"fastapi: {source}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"fastapi: {source}: it cannot be read: {error}") from error
    found = dict(pair for node in body for pair in _names(node))
    for name in (*_NAMES, *sorted(name for name, is_made in found.items() if is_made)):
        if name in found:
            return name
    raise UsageError(f"fastapi: {source}: no application found in it; name it: --app NAME")


def _names(node: ast.stmt) -> Iterator[tuple[str, bool]]:
    """Yield the names that a statement gives, each with whether it is given to what FastAPI returns."""
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, False
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id, _is_made(node.value)


def _is_made(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name == "FastAPI"
