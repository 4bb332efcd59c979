"""The forms of an access line: each a function from a finished request to one line, which cannot fail.

A request line and its fields are the client's. Nothing of them may end the line, end a quoted string, or talk to the
terminal of whoever reads it, so what is not printable leaves here escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from json.encoder import encode_basestring_ascii as quote
from math import floor
from typing import Any, NamedTuple, Protocol, cast

from appserver.http.request import Request
from appserver.telemetry.console import CYAN, DIM, GREEN, RED, WIDTH, YELLOW, Console, clock, printable, source
from appserver.telemetry.record import text, timestamp

Finished = tuple[float, Request, tuple[str, int] | None, int, float, int, int, str | None, str | None]
"""A request whose response has ended.

When (seconds since the epoch), head, client, status (0: no response was begun), seconds it took, octets received and
sent, outcome (None, or "aborted", "timed_out", "error"), request id.
"""


class SessionEnd(NamedTuple):
    """How a WebSocket session went: it lasted `seconds`, took so many octets and messages each way, and ended with `code`.

    `outcome` as for a request.
    """

    seconds: float
    received: int
    sent: int
    messages_received: int
    messages_sent: int
    code: int
    outcome: str | None


class Format:
    """Makes lines, with their line feed."""

    def __call__(self, finished: Finished) -> str:
        """The line for a request whose response has ended."""
        raise NotImplementedError

    def session(
        self, now: float, head: Request, client: tuple[str, int] | None, end: SessionEnd, request_id: str | None
    ) -> str:
        """The line for a WebSocket session that has ended at `now`, seconds since the epoch."""
        raise NotImplementedError


# Pieces of a line by the number in them. To format a number costs four times a look, a padded one ten times; and a piece of text
# costs as much as a look, so the text behind a number is in the same piece.
_SMALL = 1000
_STATUSES = tuple(f'","status":{number or "null"},"duration_ms":' for number in range(_SMALL))
_MICROSECONDS = tuple(f'0.{number:03},"received_bytes":' for number in range(_SMALL))
_RECEIVED = tuple(f'{number},"sent_bytes":' for number in range(_SMALL))
_SENT = tuple(f'{number},"client":' for number in range(_SMALL))

# The fields of a request that stand in a line, but for `host`. To ask this of each takes less than a dict of all, or two comparisons.
_SHOWN = frozenset((b"user-agent", b"referer"))

# So many values of fields are remembered as JSON has them, none longer than that. Few hosts and programs ask most of the time,
# and a look costs a fifth.
_MOST, _LONGEST = 256, 512

# Seconds by which a millisecond is taken to be shorter, so that rounding cannot lead into the next one.
_MARGIN = 1e-6


class JSONFormat(Format):
    """One JSON object a line, whose first members are those of any log record.

    It is put together from text: `quote` is the C function inside Python's JSON encoder, which leaves nothing but
    printable ASCII. A dict and orjson take as long, a dict and `json` three times as long. A method needs
    no quoting: it is a token.
    """

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self._identity = identity
        known = {"level": "info", "event": "request", "logger": "appserver.access", **identity}
        self._behind_stamp = f'Z",{json.dumps(known, separators=(",", ":"))[1:-1]},"method":"'
        self._beginning = ""  # of all lines within a millisecond: `_lasting` seconds from `_since` on
        self._since = 0.0
        self._lasting = 0.0
        self._quoted: dict[bytes | None, str] = {None: "null", b"": "null"}

    def __call__(self, finished: Finished) -> str:
        now, head, client, status, seconds, received, sent, outcome, request_id = finished
        if not 0.0 <= now - self._since < self._lasting:
            self._begin_millisecond(now)
        user_agent: bytes | None = None
        referer = "null"
        for name, value in head.headers:
            if name in _SHOWN:
                if name == b"user-agent":
                    user_agent = value
                else:
                    referer = _quote_field(value)
        path = head.path
        if not path.isascii():
            path = text(path)
        query = quote(head.query_string.decode("utf-8", "backslashreplace")) if head.query_string else '""'
        quoted = self._quoted
        authority = head.authority
        duration = int(seconds * 1e6 + 0.5)
        return (
            f'{self._beginning}{head.method}","path":{quote(path)},"query":{query}'
            f',"http_version":"{head.http_version}{_STATUSES[status]}'
            f"{_MICROSECONDS[duration] if duration < _SMALL else _milliseconds(duration)}"
            f"{_RECEIVED[received] if received < _SMALL else _with_name(received, 'sent_bytes')}"
            f"{_SENT[sent] if sent < _SMALL else _with_name(sent, 'client')}"
            f"{quote(client[0]) if client else 'null'}"
            f',"host":{quoted.get(authority) or self._remember(authority)}'
            f',"user_agent":{quoted.get(user_agent) or self._remember(user_agent)}'
            f',"referer":{referer},"request_id":{quote(request_id) if request_id else "null"}'
            f"{_outcome(outcome) if outcome else _END}"
        )

    def _begin_millisecond(self, now: float) -> None:
        """Make the beginning of the lines from `now` to the end of its millisecond; a busy worker writes dozens in one."""
        second = float(floor(now))
        since = now - second
        millisecond = int(since * 1000.0)
        self._beginning = f'{{"timestamp":"{timestamp(second)[:19]}.{millisecond:03}{self._behind_stamp}'
        self._since = now
        self._lasting = (millisecond + 1) / 1000.0 - since - _MARGIN

    def _remember(self, value: bytes | None) -> str:
        found = _quote_field(value)
        if len(self._quoted) >= _MOST:
            self._quoted.clear()
        if len(found) <= _LONGEST:
            self._quoted[value] = found
        return found

    def session(
        self, now: float, head: Request, client: tuple[str, int] | None, end: SessionEnd, request_id: str | None
    ) -> str:
        field = {name: value.decode("utf-8", "backslashreplace") for name, value in head.headers}.get
        members: dict[str, Any] = {
            "timestamp": timestamp(now),
            "level": "info",
            "event": "session",
            "logger": "appserver.access",
            **self._identity,
            "method": head.method,
            "path": text(head.path),
            "query": head.query_string.decode("utf-8", "backslashreplace"),
            "http_version": head.http_version,
            "status": 101,
            "duration_ms": round(end.seconds * 1000, 3),
            "received_bytes": end.received,
            "sent_bytes": end.sent,
            "received_messages": end.messages_received,
            "sent_messages": end.messages_sent,
            "close_code": end.code,
            "client": client[0] if client else None,
            "host": field(b"host"),
            "user_agent": field(b"user-agent"),
            "referer": field(b"referer"),
            "request_id": request_id,
        }
        if end.outcome:
            members["outcome"] = end.outcome
        return json.dumps(members, separators=(",", ":")) + "\n"


_END = "}\n"


def _outcome(outcome: str) -> str:
    return f',"outcome":"{outcome}"{_END}'


def _milliseconds(microseconds: int) -> str:
    return f'{microseconds // 1000}.{microseconds % 1000:03},"received_bytes":'


def _with_name(number: int, name: str) -> str:
    return f'{number},"{name}":'


def _quote_field(value: bytes | None) -> str:
    return quote(value.decode("utf-8", "backslashreplace")) if value else "null"


class Traced(Protocol):
    """A request that belongs to a trace: something in front of a function keeps them (AWS X-Ray)."""

    trace_id: str | None


class TracedJSONFormat(JSONFormat):
    """The same with the trace that a request belongs to; each head is `Traced`, and there are no sessions."""

    def __call__(self, finished: Finished) -> str:
        line = super().__call__(finished)
        trace_id = cast("Traced", finished[1]).trace_id
        return f'{line[:-2]},"trace_id":{quote(trace_id)}}}\n' if trace_id else line


# Octets as Apache shows them (mod_log_config): \xhh, and a backslash in front of what would end the string.
_ESCAPES = {octet: f"\\x{octet:02x}" for octet in range(256) if not 0x20 <= octet < 0x7F} | {0x22: '\\"', 0x5C: "\\\\"}


class CombinedFormat(Format):
    """The combined log format of Apache and nginx."""

    def __init__(self) -> None:
        self._second = -1
        self._moment = ""

    def __call__(self, finished: Finished) -> str:
        now, head, client, status, _, _, sent, _, _ = finished
        second = int(now)
        if second != self._second:
            self._second = second
            self._moment = datetime.fromtimestamp(second).astimezone().strftime("%d/%b/%Y:%H:%M:%S %z")
        field = dict(head.headers).get
        return (
            f"{client[0] if client else '-'} - - [{self._moment}]"
            f' "{head.method} {escaped(head.target)} HTTP/{head.http_version}" {status or "-"} {sent}'
            f' "{escaped(field(b"referer"))}" "{escaped(field(b"user-agent"))}"\n'
        )

    def session(
        self, now: float, head: Request, client: tuple[str, int] | None, end: SessionEnd, request_id: str | None
    ) -> str:
        # As those servers do: status 101, and the octets of the session.
        return self((now, head, client, 101, end.seconds, end.received, end.sent, end.outcome, request_id))


def escaped(value: bytes | None) -> str:
    """Write what a client has sent so that it ends neither the line nor a quoted string; "-" for nothing."""
    return value.decode("latin-1").translate(_ESCAPES) if value else "-"


class ConsoleFormat(Format):
    """A line for a person, in the columns of the log."""

    def __init__(self, identity: Mapping[str, Any], console: Console) -> None:
        self._source = source(identity)
        self._paint = console.paint

    def __call__(self, finished: Finished) -> str:
        now, head, _, status, seconds, _, sent, outcome, _ = finished
        request = f"{head.method:<4} {head.target.decode('utf-8', 'backslashreplace')}"
        colour = RED if status >= 500 or outcome else YELLOW if status >= 400 else CYAN if status >= 300 else GREEN
        numbers = f"{_duration(seconds):>8}  {_size(sent):>8}"
        return self._line(now, colour, f"{status or '-'}", request, numbers, outcome)

    def session(
        self,
        now: float,
        head: Request,
        client: tuple[str, int] | None,  # noqa: ARG002 - for people who sit at the terminal, it is they
        end: SessionEnd,
        request_id: str | None,  # noqa: ARG002 - not for people
    ) -> str:
        request = f"{'WS':<4} {head.target.decode('utf-8', 'backslashreplace')}"
        numbers = f"{_duration(end.seconds):>8}  {end.messages_received} in, {end.messages_sent} out"
        return self._line(now, RED if end.outcome else CYAN, f"{end.code}", request, numbers, end.outcome)

    def _line(self, now: float, colour: str, code: str, request: str, numbers: str, outcome: str | None) -> str:
        # The columns of the log; 80 in all, as long as the path allows it.
        before = f"{clock(now)}  {self._source}  " if self._source else f"{clock(now)}  "
        room = WIDTH - len(before) - len("200  " + "  0.999 ms  1.95 KiB")
        words = [self._paint(colour, f"{code:<3}"), f"{printable(request):<{room}}", self._paint(DIM, numbers)]
        if outcome:
            words.append(self._paint(colour, outcome))
        return self._paint(DIM, before) + "  ".join(words) + "\n"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.1f} s"


def _size(octets: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.3g} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"
