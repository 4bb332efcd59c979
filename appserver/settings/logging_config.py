"""Configurations of Python's logging: read from a file, and looked through for what cannot work.

A file is in the form of `logging.config.dictConfig` (JSON, YAML, TOML) or of `logging.config.fileConfig` (anything else).
Nothing is configured here: that needs the classes that a configuration names, which are often the application's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from appserver.errors import Problem, SettingsError
from appserver.nearest import nearest

_MAX_SIZE = 1024 * 1024

_NOTATIONS = (".json", ".toml", ".yaml", ".yml")
_KEYS = ("version", "formatters", "filters", "handlers", "loggers", "root", "incremental", "disable_existing_loggers")
_SECTIONS = ("formatters", "filters", "handlers", "loggers")

FORM = "the form of logging.config.dictConfig"


def read_logging_config(path: Path) -> dict[str, Any] | str:
    """Return what the file holds: a table for dictConfig, or the text of an INI file for fileConfig.

    Raises SettingsError if it cannot be read or is not what its name says (.json, .yaml, .yml, .toml, else INI).
    """
    from appserver.files import read  # few runs have such a file

    try:
        text = read(path, _MAX_SIZE).decode("utf-8-sig")
        return _parse(path, text)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ImportError:
        reason = "YAML needs PyYAML, which is not installed: pip install PyYAML, or write JSON or TOML"
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = f"not {path.suffix[1:].upper() if path.suffix.lower() in _NOTATIONS else 'INI'}: {' '.join(str(error).split())}"
    raise SettingsError([Problem(str(path), "", "", reason)])


def _parse(path: Path, text: str) -> dict[str, Any] | str:
    match path.suffix.lower():
        case ".json":
            document = json.loads(text)
        case ".toml":
            import tomllib

            document = tomllib.loads(text)
        case ".yaml" | ".yml":
            import yaml

            try:
                document = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(error) from None
        case _:
            return _ini(path, text)
    if not isinstance(document, dict):
        raise SettingsError([Problem(str(path), "", "", f"expected a table in {FORM}")])
    return document


def _ini(path: Path, text: str) -> str:
    import configparser  # most settings never need it

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(error) from None
    missing = [name for name in ("loggers", "handlers", "formatters") if not parser.has_option(name, "keys")]
    if missing:
        needs = " and ".join(f"[{name}]" for name in missing)
        raise SettingsError(
            [Problem(str(path), "", "", f"expected {needs} with keys, as logging.config.fileConfig has")]
        )
    return text


def mistakes(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a table for dictConfig, without importing anything: the key in it, and the reason."""
    if document.get("version") != 1:
        yield "version", "expected 1"
    for name in document:
        if name not in _KEYS and (near := nearest(str(name), _KEYS)):
            yield str(name), f"unknown; did you mean {near}?"
    sections = {name: document.get(name, {}) for name in _SECTIONS}
    wrong = [name for name, section in sections.items() if not _is_table_of_tables(section)]
    yield from ((name, "expected a table of tables") for name in wrong)
    if wrong or document.get("incremental"):
        return  # what it names may have been configured before
    for kind in ("formatters", "filters", "handlers"):
        for name, content in sections[kind].items():
            yield from _foreign(f"{kind}.{name}", content)
    for name, handler in sections["handlers"].items():
        key = f"handlers.{name}"
        if not ("class" in handler or "()" in handler):
            yield key, 'expected a "class"'
        yield from _unknown(key, "formatters", [handler["formatter"]] if "formatter" in handler else (), sections)
        yield from _refers(key, handler, sections, ("filters",))
    loggers = {f"loggers.{name}": logger for name, logger in sections["loggers"].items()}
    for key, logger in (loggers | {"root": document.get("root", {})}).items():
        if isinstance(logger, Mapping):
            yield from _refers(key, logger, sections, ("handlers", "filters"))
        else:
            yield key, "expected a table"


def _is_table_of_tables(section: object) -> bool:
    return isinstance(section, Mapping) and all(isinstance(content, Mapping) for content in section.values())


def _refers(
    key: str, table: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]], kinds: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    level = table.get("level", "NOTSET")
    if isinstance(level, bool) or not (isinstance(level, int) or level in logging.getLevelNamesMapping()):
        yield f"{key}.level", f"{level!r} is unknown: expected a level such as INFO"
    for kind in kinds:
        names = table.get(kind, ())
        if isinstance(names, list | tuple):
            yield from _unknown(key, kind, [name for name in names if isinstance(name, str)], sections)
        else:
            yield f"{key}.{kind}", "expected a list"


def _unknown(
    key: str, kind: str, names: list[Any] | tuple[Any, ...], sections: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    for name in names:
        if name not in sections[kind]:
            near = nearest(str(name), sections[kind])
            hint = f"did you mean {near}?" if near else f"there are {', '.join(sections[kind]) or 'none'}"
            yield f"{key}.{kind if kind != 'formatters' else 'formatter'}", f"{name!r} is not in {kind}; {hint}"


def _foreign(key: str, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is part of another server that is not there: its configurations get here with the command line."""
    for name in ("()", "class"):
        server = str(content.get(name, "")).partition(".")[0]
        if server in ("uvicorn", "gunicorn", "hypercorn") and find_spec(server) is None:
            advice = (
                "leave it out (the server's own lines are logging.format and access_log.format), or take appserver.logs"
            )
            yield key, f"{content[name]} is a part of {server}, which is not installed; {advice}"
