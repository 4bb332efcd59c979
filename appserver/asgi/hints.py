"""Suggestions of what was probably meant: the second half of every message about an application that cannot be found.

Each function returns lines for a person: the first says what is wrong, the others what was tried and what to do.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import pwd
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from types import FunctionType, ModuleType

from appserver.asgi.interfaces import argument_counts, detect, is_async
from appserver.asgi.tracebacks import examine
from appserver.nearest import nearest

_MAX_NAMES = 8


def missing_module(missing: str, attribute: str, directory: Path) -> list[str]:
    """Explain that the module `missing` of the target does not exist; its parent package, if any, has been imported."""
    parent, _, leaf = missing.rpartition(".")
    if not parent:
        elsewhere = [entry for entry in sys.path if entry != str(directory)]
        return [
            f'there is no module "{missing}"',
            f"looked in app.directory = {directory}, then in {_listed(elsewhere, 4)}",
            *(_misplaced(missing, directory) or _near_modules(missing, "", [str(directory)], attribute)),
            *unreadable(),
        ]
    package = sys.modules[parent]
    if not hasattr(package, "__path__"):
        meant = f"{parent}:{attribute}" if leaf == "py" else f"{parent}:{leaf}"
        return [f'"{parent}" ({_file(package)}) is a module, not a package', f'did you mean "{meant}"?']
    return [
        f'there is no module "{leaf}" in the package "{parent}" ({_file(package)})',
        *_near_modules(leaf, f"{parent}.", package.__path__, attribute),
    ]


def missing_dependency(missing: str, directory: Path) -> list[str]:
    """Say what to do about a module that the application imports and that does not exist."""
    install = [f"install what provides it into the environment in {sys.prefix}"]
    return _misplaced(missing, directory) or unreadable() or install


def unreadable() -> list[str]:
    """Name the places of the module path that this process may not read; nothing if it may read all that are there.

    Python passes over them, and what is there is then missing.
    """
    found = dict.fromkeys(place for entry in sys.path if (place := _unreadable_part(Path(entry).absolute())))
    if not found:
        return []
    return [
        f"the user {_user()} (workers.user) may not read {_listed([*map(str, found)], 4)}, where modules are looked for",
        "give that user read and search permission there (chmod -R a+rX), or install Python and the packages elsewhere",
    ]


def _unreadable_part(path: Path) -> Path | None:
    """The first directory on the way to a place that may not be entered, or the place if it may not be read."""
    for part in (*reversed(path.parents), path):
        if not os.path.lexists(part):
            return None
        wanted = os.R_OK if part == path and not part.is_dir() else os.X_OK | (os.R_OK if part == path else 0)
        if not os.access(part, wanted):
            return part
    return None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"with uid {os.geteuid()}"


def missing_attribute(path: str, owner: object, name: str, directory: Path) -> list[str]:
    """Explain that `owner`, which the target reached by `path` ("main", "main:api"), has no attribute `name`."""
    prefix = path + ("." if ":" in path else ":")
    if not isinstance(owner, ModuleType):
        near = _near(name, [key for key in dir(owner) if not key.startswith("_")], prefix, "its attributes")
        return [f'"{path}" is a {type(owner).__qualname__} without an attribute "{name}"', *near]
    problem = f'module "{path}" ({_file(owner)}) has no attribute "{name}"'
    own = directory.joinpath(*path.split(".")).with_suffix(".py")
    if own.is_file() and not _is_from(owner, own):
        return [problem, f"{own} is hidden by that module: give your file another name"]
    if hasattr(owner, "__path__") and importlib.util.find_spec(f"{path}.{name}"):
        return [problem, f'"{path}.{name}" is a module: write "{path}.{name}:" and the name of the application in it']
    return [problem, *applications(owner, name, prefix)]


def applications(module: ModuleType, name: str = "app", prefix: str = "") -> list[str]:
    """Name what looks like an application in `module`, what is most like `name` first."""
    members = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    if found := [key for key, value in members.items() if _looks_like_application(value)]:
        return _near(name, found, prefix, "applications there", cutoff=0)
    if found := [key for key, value in members.items() if _looks_like_factory(value, module)]:
        first = nearest(name, found, cutoff=0)
        return [f'did you mean "{prefix}{first}" with app.factory = true (--factory)?']
    return ["nothing there looks like an application", *_near(name, list(members), prefix, "names there")]


def circular_import(error: BaseException) -> list[str]:
    """Show the circle if `error` comes from modules that import each other, else nothing."""
    # Not `str(error)`: that is a method of the application, and may fail itself.
    if not any("circular import" in line for line in examine(error).format_exception_only()):
        return []
    modules: list[str] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "<module>":
            modules.append(frame.f_globals["__name__"])
    # The module that was asked for something before its own import was through.
    unfinished = (
        error.name if isinstance(error, ImportError) else getattr(getattr(error, "obj", None), "__name__", None)
    )
    if unfinished in modules:
        modules = [*modules[modules.index(unfinished) :], unfinished]
    return [
        f"these modules import each other: {' → '.join(modules)}",
        "move one of these imports into the function that needs it",
    ]


def _misplaced(name: str, directory: Path) -> list[str]:
    """Say where `name` is if it is one folder below `directory`: "src" is often the one that was meant."""
    top = name.partition(".")[0]
    for folder in sorted(entry for entry in directory.iterdir() if entry.is_dir() and os.access(entry, os.X_OK)):
        if (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file():
            return [f'"{top}" is in {folder}: set app.directory = "{folder}" (--app-dir)']
    return []


def _near_modules(name: str, prefix: str, path: Collection[str], attribute: str) -> list[str]:
    import pkgutil  # nothing is missing as a rule

    names = [module.name for module in pkgutil.iter_modules(list(path))]
    return _near(name, names, prefix, "modules there", f":{attribute}")


def _near(
    name: str, names: list[str], prefix: str, heading: str, suffix: str = "", *, cutoff: float = 0.6
) -> list[str]:
    """Suggest the one of `names` that is most like `name`; list them all where that is not clear."""
    first = nearest(name, names, cutoff)
    lines = [f'did you mean "{prefix}{first}{suffix}"?'] if first is not None else []
    return lines if len(names) == len(lines) else [*lines, f"{heading}: {_listed(names)}"]


def _listed(names: Collection[str], limit: int = _MAX_NAMES) -> str:
    return ", ".join([*list(names)[:limit], *(["…"] if len(names) > limit else [])])


def _file(module: ModuleType) -> str:
    """Where a module comes from, as text: a package without `__init__.py` has folders, a built-in one nothing."""
    file = getattr(module, "__file__", None)
    return file or ", ".join(getattr(module, "__path__", ["built in"]))


def _is_from(module: ModuleType, file: Path) -> bool:
    other = getattr(module, "__file__", None)
    try:
        return other is not None and file.samefile(other)
    except OSError:
        return False  # it is gone, or not for this user to see


def _looks_like_application(value: object) -> bool:
    try:
        if not callable(value) or inspect.isclass(value):
            return False
        # A plain function of two arguments may be anything; an instance that takes two is a WSGI application.
        return detect(value) is not None and (is_async(value) or not inspect.isroutine(value))
    except Exception:  # noqa: BLE001 Flask's `request`, for one, raises RuntimeError when it is looked at too early
        return False


def _looks_like_factory(value: object, module: ModuleType) -> bool:
    return (
        type(value) is FunctionType
        and value.__module__ == module.__name__
        and not is_async(value)
        and 0 in argument_counts(value)
        and any(word in value.__name__ for word in ("app", "create", "make", "factory"))
    )
