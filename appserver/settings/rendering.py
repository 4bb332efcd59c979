"""Values as text: TOML for files and for people, shortened for messages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from appserver.settings.quantities import format_size

MASK = "********"
"""Printed in the place of a secret."""

_SHOWN = 100  # characters of a value in a message: enough to recognise it by


def toml_key(name: str) -> str:
    """Write a key: bare where TOML allows it, else quoted (which also makes control characters visible)."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name, re.ASCII) else toml_value(name)


def toml_value(value: Any) -> str:
    """Write a value of JSON's or TOML's types as TOML, on one line; None within a table leaves the key out."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            # Not in decimal where Python would refuse to (sys.set_int_max_str_digits).
            return str(value) if value.bit_length() < 10_000 else hex(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case str():
            return _quote(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            items = (f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None)
            return f"{{{', '.join(items)}}}"
        case _:  # TOML's dates and times, and JSON's null
            return str(value)


def toml_size(value: int) -> str:
    """Write a size: in units where it is a round number of them ("16MiB"), else as bytes."""
    size = format_size(value)
    return toml_value(size) if size.endswith("iB") else toml_value(value)


def _quote(text: str) -> str:
    # JSON's escapes are those of a TOML basic string; what else does not print is escaped as TOML wants it.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def show(value: Any) -> str:
    """Write a value for a message: on one line, and shortened if it is long."""
    try:
        text = toml_value(value)
    except RecursionError:
        text = "..."
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
