"""Writing a settings file: nested dictionaries to TOML (the standard library only reads it)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def dumps(document: Mapping[str, Any]) -> str:
    """Write tables, arrays of tables, arrays, strings, numbers and booleans; None leaves a key out."""
    return "".join(_table("", document))


def _table(path: str, table: Mapping[str, Any]) -> list[str]:
    # Plain values come before sub-tables: behind a [header] they would belong to that table.
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in table.items() if _is_plain(value)]
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            lines += [f"\n[{name}]\n", *_table(name, value)]
        elif _is_array_of_tables(value):
            for item in value:
                lines += [f"\n[[{name}]]\n", *_table(name, item)]
    return lines


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping) and not _is_array_of_tables(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value) if isinstance(value, int | float) else _string(str(value))


def _string(text: str) -> str:
    # JSON's escapes are those of a TOML basic string, except that TOML wants DEL escaped and takes no surrogate pairs.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
