"""The types of the settings' values: what an operator may write, and what it becomes.

Each is a type annotation for a field of the model. Its validator takes a value as TOML gives it or as text (the
environment and the command line have nothing but text), and raises ValueError with a sentence that begins with
"expected" for anything else; `problems` shows that sentence to the operator. In text, empty means "not set" wherever
a setting may be unset.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, PlainValidator, SecretStr, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from appserver.settings.access_pattern import parse_access_format
from appserver.settings.address import Address, TCPAddress, UnixAddress, parse_address
from appserver.settings.quantities import (
    DURATION_PATTERN,
    MAX_DURATION,
    MAX_SIZE,
    SIZE_PATTERN,
    format_size,
    parse_duration,
    parse_size,
)

_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
MAX_COUNT = 2**31 - 1

# Patterns are compiled when they are used, as most processes need few of them.

# RFC 9110 section 5.6.2
_TCHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110 section 5.5, without obs-text: what is not ASCII means something else to every reader.
_FIELD_VALUE = r"[\t -~]*"
# Names that clients may ask for (RFC 6066 section 3): labels of a DNS name, without a dot at the end.
_SERVER_NAME = r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*"
_FRAMING_FIELDS = frozenset(
    ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "date", "server")
)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    raise ValueError("expected true or false")


def _whole(minimum: int, maximum: int) -> Callable[[object], int]:
    limits = f"{minimum} or more" if maximum == MAX_COUNT else f"from {minimum} to {maximum}"

    def validate(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,10}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"expected a whole number, {limits}")
        return value

    return validate


def _size_between(minimum: int, maximum: int) -> Callable[[int], int]:
    def validate(size: int) -> int:
        if not minimum <= size <= maximum:
            raise ValueError(f"expected a size from {format_size(minimum)} to {format_size(maximum)}")
        return size

    return validate


def _worker_count(value: object) -> object:
    if value == "auto":
        return value
    try:
        return _whole(1, 1024)(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "auto"') from None


def _share(value: object) -> float:
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(value)


def _bucket(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86400:
        raise ValueError("expected seconds: a number above 0")
    return float(value)


def _increasing(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values or any(left >= right for left, right in itertools.pairwise(values)):
        raise ValueError("expected numbers of seconds, each larger than the one before")
    return values


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("expected a duration above 0")
    return value


def text(value: object) -> str:
    """Return `value` if it is text without control characters, which no setting has a use for."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("expected text (without control characters)")
    return value


def _required_text(value: object) -> str:
    if not text(value):
        raise ValueError("expected text that is not empty")
    return text(value)


def _unless_empty(validate: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None or value == "" else validate(value)


def _path(value: object) -> object:
    return value if isinstance(value, Path) else _required_text(value)


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a table in the form of logging.config.dictConfig")
    return value


def _octal(value: object) -> str:
    # TOML's bare 660 is a decimal number and would mean 1224: only text is unmistakable.
    if not isinstance(value, str) or not re.fullmatch(r"(0o)?[0-7]{3,4}", value, re.ASCII):
        raise ValueError('expected octal digits as text, such as "0660"')
    return value.removeprefix("0o").rjust(4, "0")


def _import_string(value: object) -> str:
    module, colon, attribute = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not all(part.isidentifier() for name in (module, attribute) for part in name.split(".")):
        raise ValueError('expected module:attribute, such as "package.module:app"')
    return f"{module}:{attribute}"


def _root_path(value: object) -> str:
    if text(value) and (not text(value).startswith("/") or text(value).endswith("/")):
        raise ValueError('expected a path such as "/api" (a slash in front, none at the end), or nothing')
    return text(value)


def _request_path(value: object) -> str:
    if not text(value).startswith("/"):
        raise ValueError('expected a path such as "/healthz"')
    return text(value)


def _field_value(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_FIELD_VALUE, value) or value != value.strip():
        raise ValueError("expected visible ASCII characters (no CR or LF, no space at either end)")
    return value


def _field_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_TCHARS, value):
        raise ValueError('expected the name of a header, such as "x-request-id"')
    if value.lower() in _FRAMING_FIELDS:
        raise ValueError(f"expected a header that is not the server's own business; {value.lower()} is")
    return value.lower()


def _readable_field_name(value: object) -> str:
    name = _field_name(value)
    if "_" in name:
        raise ValueError(f"expected a header without underscores, such as {name.replace('_', '-')}: others are dropped")
    return name


def _field(value: object) -> tuple[str, str]:
    if not isinstance(value, str):
        raise ValueError('expected "Name: value"')
    name, _, content = value.partition(":")
    if ":" not in value or not re.fullmatch(_TCHARS, name):
        raise ValueError('expected "Name: value"')
    if name.lower() in _FRAMING_FIELDS:
        raise ValueError(f"expected a header that is not the server's own business; {name.lower()} is")
    return name, _field_value(content.strip(" \t"))


def _trusted(value: object) -> str:
    if value in ("*", "unix"):
        return str(value)
    address = text(value)
    try:
        return str(ipaddress.ip_network(address) if "/" in address else ipaddress.ip_address(address))
    except ValueError as error:
        raise ValueError(f'expected an IP address, a network such as "10.0.0.0/8", "*" or "unix" ({error})') from None


def _server_name(value: object) -> str:
    name = text(value).lower()
    if not re.fullmatch(_SERVER_NAME, name):
        raise ValueError(
            'expected a host name such as "example.org" or "*.example.org" (one "*", in front; in ASCII: xn--...)'
        )
    return name


def _service_address(value: object) -> Address:
    address = parse_address(value)
    if not isinstance(address, TCPAddress | UnixAddress):
        raise ValueError("expected HOST:PORT, [v6]:PORT or unix:/path")
    return address


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _integer(minimum: int, maximum: int = MAX_COUNT) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _number_or_text(number: dict[str, Any], pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}]})


class _Written:
    """Says how a value is written. As `PlainSerializer` of pydantic, whose module takes longer to import than all of this one."""

    def __init__(self, write: Callable[[Any], Any], when_used: Literal["always", "json"] = "always") -> None:
        self._write = write
        self._when_used: Literal["always", "json"] = when_used

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self._write, when_used=self._when_used)
        return cast("CoreSchema", {**handler(source), "serialization": written})


# The JSON schema of a value, for editors: all that TOML may hold, which is more than the type it becomes.
_TEXT = WithJsonSchema({"type": "string"})
_DURATION = _number_or_text({"type": "number", "minimum": 0, "maximum": MAX_DURATION}, DURATION_PATTERN)
_SIZE = _number_or_text(_integer(0, MAX_SIZE), SIZE_PATTERN)
_MODE = WithJsonSchema({"type": "string", "pattern": "^(0o)?[0-7]{3,4}$"})
_OPTIONAL_MODE = WithJsonSchema({"type": "string", "pattern": "^((0o)?[0-7]{3,4})?$"})

Flag = Annotated[bool, BeforeValidator(_flag)]
Count = Annotated[int, BeforeValidator(_whole(0, MAX_COUNT)), WithJsonSchema(_integer(0))]
PositiveCount = Annotated[int, BeforeValidator(_whole(1, MAX_COUNT)), WithJsonSchema(_integer(1))]
Surge = Annotated[int, BeforeValidator(_whole(1, 1024)), WithJsonSchema(_integer(1, 1024))]
WorkerCount = Annotated[
    int | Literal["auto"],
    PlainValidator(_worker_count),
    WithJsonSchema({"anyOf": [_integer(1, 1024), {"const": "auto"}]}),
]
Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive), _DURATION]
Size = Annotated[int, BeforeValidator(parse_size), _SIZE]
Window = Annotated[int, BeforeValidator(parse_size), AfterValidator(_size_between(16 * 1024, 2**30)), _SIZE]
TableSize = Annotated[int, BeforeValidator(parse_size), AfterValidator(_size_between(0, 64 * 1024)), _SIZE]
Share = Annotated[float, BeforeValidator(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Buckets = Annotated[tuple[Annotated[float, BeforeValidator(_bucket)], ...], AfterValidator(_increasing)]

Text = Annotated[str, BeforeValidator(_required_text)]
OptionalText = Annotated[str | None, BeforeValidator(_unless_empty(text)), _TEXT]
Secret = Annotated[
    SecretStr | None,
    BeforeValidator(lambda value: value if isinstance(value, SecretStr) else _unless_empty(text)(value)),
    # Settings travel to the workers as JSON, where a mask in place of the password would lose it.
    _Written(lambda value: value and value.get_secret_value(), when_used="json"),
    _TEXT,
]
ExistingPath = Annotated[Path, BeforeValidator(_path), _TEXT]
OptionalPath = Annotated[Path | None, BeforeValidator(_unless_empty(_path)), _TEXT]
LoggingConfig = Annotated[dict[str, Any], BeforeValidator(_table)]
AccessFormat = Annotated[str, BeforeValidator(parse_access_format)]
ControlPath = Annotated[
    Path | Literal["auto"] | None,
    BeforeValidator(_unless_empty(lambda value: value if value == "auto" else _path(value))),
    _TEXT,
]
FileMode = Annotated[str, BeforeValidator(_octal), _MODE]
OptionalFileMode = Annotated[str | None, BeforeValidator(_unless_empty(_octal)), _OPTIONAL_MODE]

ImportString = Annotated[str, BeforeValidator(_import_string)]
OptionalImportString = Annotated[str | None, BeforeValidator(_unless_empty(_import_string)), _TEXT]
RootPath = Annotated[str, BeforeValidator(_root_path)]
RequestPath = Annotated[str, BeforeValidator(_request_path)]
FieldValue = Annotated[str, BeforeValidator(_field_value)]
OptionalFieldName = Annotated[str, BeforeValidator(lambda value: value if value == "" else _readable_field_name(value))]
HeaderField = Annotated[tuple[str, str], PlainValidator(_field), _Written(": ".join), _TEXT]
Trusted = Annotated[str, BeforeValidator(_trusted)]
ServerName = Annotated[str, BeforeValidator(_server_name)]

Bind = Annotated[Address, PlainValidator(parse_address), _Written(str), _TEXT]
OptionalBind = Annotated[
    Address | None,
    PlainValidator(_unless_empty(_service_address)),
    _Written(lambda value: "" if value is None else str(value)),
    _TEXT,
]
LowerCase = BeforeValidator(_lower)
