"""The states of a stream, and every answer to every frame in each of them (RFC 9113 section 5.1).

Two tables: what arrives, and what is sent. Each has a row for every state and in it a cell for every event, and a cell is
one of three things: the state that comes next, `IGNORE`, or a `Wrong` that says which error it is. END stands for the flag
END_STREAM, and comes behind the frame that has it. The usual life of a stream goes down the rows:

    IDLE → OPEN → HALF_CLOSED_REMOTE → CLOSED

The states of pushed streams ("reserved") are missing: this server pushes nothing, and a client cannot. In place of the one
state "closed" of the RFC there are two, since what may still arrive depends on who has closed the stream.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from appserver.http2.errors import Code


class State(IntEnum):
    """Where a stream is, as the server sees it: "remote" is the client's side, "local" the server's."""

    IDLE = 0
    """Not begun. Then OPEN."""
    OPEN = 1
    """The request is arriving. Then HALF_CLOSED_REMOTE or HALF_CLOSED_LOCAL."""
    HALF_CLOSED_REMOTE = 2
    """The request is complete. Then CLOSED, with the end of the response."""
    HALF_CLOSED_LOCAL = 3
    """The response is complete, the request is not. Then CLOSED, or RESET if the request goes on for too long."""
    CLOSED = 4
    """Both are complete, or the client has reset the stream."""
    RESET = 5
    """The server has reset it: what the client sends before it sees that is ignored."""


class Event(IntEnum):
    """An event of a stream: a frame of this type, or (END) the flag END_STREAM of one."""

    HEADERS = 0
    DATA = 1
    END = 2
    RST_STREAM = 3
    WINDOW_UPDATE = 4
    PRIORITY = 5


class Wrong(NamedTuple):
    """The event must not happen: an error of the stream, or of the whole connection."""

    code: Code
    of_connection: bool
    why: str


class Ignore(NamedTuple):
    """Nothing changes, and nothing is said."""

    why: str


Answer = State | Wrong | Ignore

_NOT_BEGUN: Final = Wrong(Code.PROTOCOL_ERROR, of_connection=True, why="a frame on a stream that has not begun")
_ENDED: Final = Wrong(Code.STREAM_CLOSED, of_connection=False, why="a frame behind the end of the request")
_CLOSED: Final = Wrong(Code.STREAM_CLOSED, of_connection=True, why="a frame on a stream that has been closed")
_CROSSED: Final = Ignore("it was sent before the client knew of the end")
_ADVICE: Final = Ignore("a priority changes no state")

RECEIVED: Final[dict[State, dict[Event, Answer]]] = {
    State.IDLE: {
        Event.HEADERS: State.OPEN,
        Event.DATA: _NOT_BEGUN,
        Event.END: _NOT_BEGUN,
        Event.RST_STREAM: _NOT_BEGUN,
        Event.WINDOW_UPDATE: _NOT_BEGUN,
        Event.PRIORITY: _ADVICE,
    },
    State.OPEN: {
        Event.HEADERS: State.OPEN,  # trailers
        Event.DATA: State.OPEN,
        Event.END: State.HALF_CLOSED_REMOTE,
        Event.RST_STREAM: State.CLOSED,
        Event.WINDOW_UPDATE: State.OPEN,
        Event.PRIORITY: _ADVICE,
    },
    State.HALF_CLOSED_REMOTE: {
        Event.HEADERS: _ENDED,
        Event.DATA: _ENDED,
        Event.END: _ENDED,
        Event.RST_STREAM: State.CLOSED,
        Event.WINDOW_UPDATE: State.HALF_CLOSED_REMOTE,
        Event.PRIORITY: _ADVICE,
    },
    State.HALF_CLOSED_LOCAL: {
        Event.HEADERS: State.HALF_CLOSED_LOCAL,
        Event.DATA: State.HALF_CLOSED_LOCAL,
        Event.END: State.CLOSED,
        Event.RST_STREAM: State.CLOSED,
        Event.WINDOW_UPDATE: State.HALF_CLOSED_LOCAL,
        Event.PRIORITY: _ADVICE,
    },
    State.CLOSED: {
        Event.HEADERS: _CLOSED,
        Event.DATA: _CLOSED,
        Event.END: _CLOSED,
        Event.RST_STREAM: _CROSSED,
        Event.WINDOW_UPDATE: _CROSSED,
        Event.PRIORITY: _ADVICE,
    },
    State.RESET: {
        Event.HEADERS: _CROSSED,
        Event.DATA: _CROSSED,
        Event.END: _CROSSED,
        Event.RST_STREAM: _CROSSED,
        Event.WINDOW_UPDATE: _CROSSED,
        Event.PRIORITY: _ADVICE,
    },
}
"""The transitions by frames of the client."""

_TOO_EARLY: Final = Wrong(Code.INTERNAL_ERROR, of_connection=False, why="nothing can be sent before the request")
_TOO_LATE: Final = Ignore("the client has no use for it any more")

SENT: Final[dict[State, dict[Event, Answer]]] = {
    State.IDLE: dict.fromkeys(Event, _TOO_EARLY),
    State.OPEN: {
        Event.HEADERS: State.OPEN,
        Event.DATA: State.OPEN,
        Event.END: State.HALF_CLOSED_LOCAL,
        Event.RST_STREAM: State.RESET,
        Event.WINDOW_UPDATE: State.OPEN,
        Event.PRIORITY: _ADVICE,
    },
    State.HALF_CLOSED_REMOTE: {
        Event.HEADERS: State.HALF_CLOSED_REMOTE,
        Event.DATA: State.HALF_CLOSED_REMOTE,
        Event.END: State.CLOSED,
        Event.RST_STREAM: State.RESET,
        Event.WINDOW_UPDATE: _TOO_LATE,
        Event.PRIORITY: _ADVICE,
    },
    State.HALF_CLOSED_LOCAL: {
        Event.HEADERS: _TOO_LATE,
        Event.DATA: _TOO_LATE,
        Event.END: _TOO_LATE,
        Event.RST_STREAM: State.RESET,
        Event.WINDOW_UPDATE: State.HALF_CLOSED_LOCAL,
        Event.PRIORITY: _ADVICE,
    },
    State.CLOSED: dict.fromkeys(Event, _TOO_LATE),
    State.RESET: dict.fromkeys(Event, _TOO_LATE),
}
"""The transitions by frames of the server."""
