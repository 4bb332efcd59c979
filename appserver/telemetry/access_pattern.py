"""Access lines by a pattern of the operator's, in gunicorn's notation: "%(h)s %(r)s %(s)s %({x-request-id}i)s"."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime

from appserver.http.request import Request
from appserver.settings.access_pattern import ATOM
from appserver.telemetry.access_format import Finished, Format, SessionEnd, escaped

Atom = Callable[[Finished], str]


class PatternFormat(Format):
    """Puts a line together from what the pattern names; what clients have sent is escaped as in the combined format."""

    def __init__(self, pattern: str) -> None:
        """`pattern` has been checked by the settings."""
        self._pieces: list[str | Atom] = []
        position = 0
        for match in re.finditer(ATOM, pattern):
            self._pieces.append(pattern[position : match.start()])
            self._pieces.append(
                "%" if match[0] == "%%" else _field(match["field"]) if match["field"] else _ATOMS[match["atom"]]
            )
            position = match.end()
        self._pieces.append(pattern[position:] + "\n")

    def __call__(self, finished: Finished) -> str:
        return "".join([piece if isinstance(piece, str) else piece(finished) for piece in self._pieces])

    def session(
        self, now: float, head: Request, client: tuple[str, int] | None, end: SessionEnd, request_id: str | None
    ) -> str:
        # As in the combined format: status 101, and the octets of the session.
        return self((now, head, client, 101, end.seconds, end.received, end.sent, end.outcome, request_id))


def _field(name: str) -> Atom:
    wanted = name.lower().encode()
    return lambda finished: escaped(dict(finished[1].headers).get(wanted))


def _moment(finished: Finished) -> str:
    return datetime.fromtimestamp(int(finished[0])).astimezone().strftime("[%d/%b/%Y:%H:%M:%S %z]")


def _request_line(finished: Finished) -> str:
    head = finished[1]
    return f"{head.method} {escaped(head.target)} HTTP/{head.http_version}"


_ATOMS: dict[str, Atom] = {
    "h": lambda finished: finished[2][0] if finished[2] else "-",
    "l": lambda finished: "-",  # noqa: ARG005 - RFC 1413, which nobody asks
    "u": lambda finished: "-",  # noqa: ARG005 - who the user is only the application knows
    "t": _moment,
    "r": _request_line,
    "m": lambda finished: finished[1].method,
    "U": lambda finished: escaped(finished[1].target.partition(b"?")[0]),
    "q": lambda finished: escaped(finished[1].query_string) if finished[1].query_string else "",
    "H": lambda finished: f"HTTP/{finished[1].http_version}",
    "s": lambda finished: str(finished[3] or "-"),
    "B": lambda finished: str(finished[6]),
    "b": lambda finished: str(finished[6] or "-"),
    "f": _field("referer"),
    "a": _field("user-agent"),
    "T": lambda finished: str(int(finished[4])),
    "M": lambda finished: str(int(finished[4] * 1_000)),
    "D": lambda finished: str(int(finished[4] * 1_000_000)),
    "L": lambda finished: f"{finished[4]:.6f}",
    "p": lambda finished: f"<{os.getpid()}>",  # noqa: ARG005
}
