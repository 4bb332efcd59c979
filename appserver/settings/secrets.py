"""Secrets inside a logging configuration, which no type marks: they are known by the names of their keys and by their form.

A handler has whatever arguments its class has: `credentials`, `api_key`, a DSN, a URL with a password. A value that looks like a
secret is masked wherever the configuration is shown. The workers get it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from appserver.settings.rendering import MASK

_NAME = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|credentials?|cookie|dsn|webhook(?:[_-]?url)?|connection[_-]?string|sig(?:nature)?"
    r"|auth(?:entication|orization)?|(?:api|access|account|integration|instrumentation|license|private|shared|routing)[_-]?key"
)
# The patterns are compiled when they are used, which most processes never do: it takes 2 ms.

# A word of the name ("hec_token", "smtpPassword"), or the whole of it; "author" and "signal" are other words.
_KEY = rf"(?i:(?:{_NAME})s?(?![a-z])|^key$)"
# user:password@ and, of the web, also token@: everything up to the last "@" before the path.
_USER = r"(?i:(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^\s/?#:]*)(?P<password>:[^\s/?#]*)?@)"
# name=value as in a DSN of libpq and in a query, "name": "value" as in JSON; not the fields of a format (%, {, $).
_ASSIGNMENT = (
    rf"(?i:(?P<name>\b[\w-]*(?:{_NAME})s?(?:[\"']\s*:|\s*=)\s*)(?![%{{$])"
    r"(?P<value>\"[^\"]*\"?|'[^']*'?|[^\s\"',;&}\]]+))"
)
# Below these, names are the operator's: a logger "shop.auth" holds no secret by being called so.
_SECTIONS = ("formatters", "filters", "handlers", "loggers")


def mask_logging(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table for dictConfig with its secrets masked."""
    return {
        section: {name: mask_value(item) for name, item in content.items()}
        if section in _SECTIONS and isinstance(content, Mapping)
        else _mask_named(section, content)
        for section, content in config.items()
    }


def mask_value(value: Any) -> Any:
    """Return a value with the secrets masked that are in it, by the names of keys and by the form of texts."""
    match value:
        case str():
            return mask_text(value)
        case Mapping():
            return {name: _mask_named(str(name), item) for name, item in value.items()}
        case list() | tuple():
            return [mask_value(item) for item in value]
        case _:
            return value


def mask_text(text: str) -> str:
    """Return a text, such as the message of an error, with the secrets masked that its form shows."""
    return re.sub(_ASSIGNMENT, rf"\g<name>{MASK}", re.sub(_USER, _without_password, text))


def _mask_named(name: str, value: Any) -> Any:
    is_empty = value is None or isinstance(value, bool) or value in ("", [], {})
    return MASK if re.search(_KEY, name) and not is_empty else mask_value(value)


def _without_password(url: re.Match[str]) -> str:
    scheme, user = url["scheme"], url["user"]
    if url["password"] is not None:
        return f"{scheme}://{user}:{MASK}@"
    return f"{scheme}://{MASK if scheme.lower() in ('http', 'https') else user}@"
