"""The log record: one form for whatever is logged, and its way into JSON.

    timestamp, level, event, logger, pid, process, worker, generation, fields of the event, stack, exception

Whatever the application puts in it, a record can be written: no value, and no `repr` of a value, makes a log call fail,
and no text makes two lines of one.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from appserver.asgi.tracebacks import examine

try:
    import orjson
except ImportError:  # the extra "fast" is not installed
    FAST = False
else:
    FAST = True
    _OPTIONS = (
        orjson.OPT_APPEND_NEWLINE
        | orjson.OPT_NON_STR_KEYS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
    )

# Members of a record that a field cannot replace. `pid`, `worker` and `generation` it can: "worker exited" is about another one.
_FIXED = frozenset(("timestamp", "level", "event", "logger", "process"))
# Members that the application's fields cannot replace: those that a record is found by, and that say who has written it.
MEMBERS = _FIXED | {"pid", "worker", "generation"}
# Deeper than any value that somebody means to read.
_MAX_DEPTH = 8
# Integers beyond are no numbers for most readers of JSON.
_MAX_INT = 2**63


def timestamp(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Emit(Protocol):
    """Takes what was logged; never raises. `number` is the level's in standard logging, where a program may add its own."""

    def __call__(
        self,
        level: str,
        event: str,
        logger: str,
        fields: Mapping[str, Any],
        error: BaseException | None = None,
        created: float | None = None,
        number: int | None = None,
    ) -> None: ...


class Record(NamedTuple):
    """One thing that was logged.

    `created` is in seconds since the epoch; `identity` says which process this is; `error` is the exception that the
    record is about.
    """

    created: float
    level: str
    event: str
    logger: str
    identity: Mapping[str, Any]
    fields: Mapping[str, Any]
    error: BaseException | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything in the order above."""
        members = {
            "timestamp": timestamp(self.created),
            "level": self.level,
            "event": self.event,
            "logger": self.logger,
            **self.identity,
        }
        for name, value in self.fields.items():
            members[f"{name}_" if name in _FIXED else name] = value
        if self.error is not None:
            members["exception"] = full_traceback(self.error)
        return members


def exception_of(exc_info: object) -> BaseException | None:
    """Find the exception that an `exc_info` stands for, in each of the spellings that logging and structlog allow."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return next((part for part in exc_info if isinstance(part, BaseException)), None)
    return sys.exc_info()[1] if exc_info else None


def full_traceback(error: BaseException) -> str:
    """Format an exception with its causes, as Python prints it."""
    return "".join(examine(error).format()).rstrip()


def to_json(record: Record) -> bytes:
    """Write a record as one line of JSON."""
    if FAST:
        try:
            return orjson.dumps(record.as_dict(), plain, _OPTIONS)
        except (TypeError, RecursionError):
            pass  # what orjson refuses (a lone surrogate, an odd key, a cycle) is replaced below
    return to_portable_json(record)


def to_portable_json(record: Record) -> bytes:
    """Write a record as one line of JSON with what Python has; slower, and for values of every kind."""
    return json.dumps(plain(record.as_dict()), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def plain(value: object, above: tuple[int, ...] = ()) -> Any:
    """Turn any value into what JSON knows. `above` are the identities of the containers around it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return int(value) if -_MAX_INT <= value < _MAX_INT else safe_repr(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if (
        isinstance(value, Mapping | list | tuple | set | frozenset)
        and len(above) < _MAX_DEPTH
        and id(value) not in above
    ):
        inside = (*above, id(value))
        if isinstance(value, Mapping):
            return {_key(key): plain(member, inside) for key, member in value.items()}
        return [plain(member, inside) for member in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, PurePath | UUID | Decimal):
        return text(str(value))
    return safe_repr(value)


def text(value: str) -> str:
    """Replace what has no place in UTF-8: a lone surrogate, as Python makes them of octets that are none."""
    return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def safe_repr(value: object) -> str:
    """Describe any object."""
    try:
        return text(repr(value))
    except Exception as error:  # noqa: BLE001  (foreign code, which may raise anything; a log call must not fail for that)
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _key(key: object) -> str:
    return text(key) if isinstance(key, str) else str(plain(key))
