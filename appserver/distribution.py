"""The installed package: the name that pip knows it by, which is not that of the module and the command, and its build."""

from __future__ import annotations

import json
import os
from importlib import machinery, metadata, util
from urllib.parse import unquote, urlsplit

COMMAND = "appserver"
_FALLBACK = "appserver-asgi"


def name() -> str:
    """Return the name of the distribution that the command `appserver` of this environment came with."""
    installed = _installed()
    return _FALLBACK if installed is None else installed.name


def how_to_install(extra: str) -> str:
    """Return the command that adds what an extra needs, from where the distribution was installed from."""
    installed = _installed()
    return f"pip install '{_directory(installed) or name()}[{extra}]'"


def _installed() -> metadata.Distribution | None:
    for command in metadata.entry_points(group="console_scripts", name=COMMAND):
        if command.dist is not None and command.module.split(".")[0] == "appserver":
            return command.dist
    return None


def _directory(installed: metadata.Distribution | None) -> str | None:
    """Return the directory, such as a checkout, that pip has installed it from, as far as it is still there (PEP 610)."""
    text = None if installed is None else installed.read_text("direct_url.json")
    source = json.loads(text) if text else {}
    if "dir_info" not in source:
        return None
    directory = unquote(urlsplit(source["url"]).path)
    return directory if os.path.isdir(directory) else None  # noqa: PTH112 - text of pip's, which is shown as it is


def build() -> str:
    """Return "compiled" if what serves requests consists of extension modules (see `.build/compile.py`), else "pure Python"."""
    parser = util.find_spec("appserver.http1.parser")
    origin = "" if parser is None else parser.origin or ""
    return "compiled" if origin.endswith(tuple(machinery.EXTENSION_SUFFIXES)) else "pure Python"
