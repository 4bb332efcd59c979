"""The states of a connection that speaks HTTP/1.1, and every answer to everything that can happen in them.

A table, as in `supervision.states`: it has a row for every state and in it a cell for every event. A cell is the state that
comes next, or `Stay` or `Impossible` with the reason why. The code for each transition is in `connection`.

The usual life of a connection goes round:

    HEAD ─▶ BODY ─▶ RESPONSE ─▶ TURN ─▶ IDLE ─▶ HEAD ─▶ …          and from everywhere: ENDING
              └──▶ REST ─────────────────▲

What is true of the transport, whatever state the connection is in, is not repeated here: whether the client has closed its
side, whether reading is paused, whether the client takes what is written (`link`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appserver.errors import AppserverError

# Strings rather than an enumeration, whose members hash four times as slowly: a request passes four transitions.
State = str
Event = str

HEAD: Final = "head"
"""A head is due: it is the first one, or has begun to arrive. Then BODY."""
BODY: Final = "body"
"""A request is under way, and its body (or the news that it has none) is still arriving. Then RESPONSE, or REST."""
RESPONSE: Final = "response"
"""A request is under way that has arrived completely. Then TURN."""
REST: Final = "rest"
"""The response is complete, and the rest of a body arrives that nobody wants. Then IDLE."""
TURN: Final = "turn"
"""Request and response are complete. The next request has its turn when the client has taken the response. Then IDLE."""
IDLE: Final = "idle"
"""Nothing of a next request has arrived. Then HEAD, or BODY if it arrives in one piece."""
SWITCHED: Final = "switched"
"""The transport has been given to a WebSocket session, or to a connection of HTTP/2."""
ENDING: Final = "ending"
"""The connection ends: what the client still sends is not wanted, what it is still owed is being written."""

STATES: Final = (HEAD, BODY, RESPONSE, REST, TURN, IDLE, SWITCHED, ENDING)

# The parser says:
HEAD_BEGAN: Final = "head began"
"""Some of a head has arrived, but not all of it."""
HEAD_READ: Final = "head read"
REQUEST_READ: Final = "request read"
"""The body is complete, or there is none."""
# The exchange says:
RESPONSE_SENT: Final = "response sent"
# The connection decides:
NEXT_WANTED: Final = "next wanted"
"""The client has taken the response, and other connections have had their turn."""
SWITCH: Final = "switch"
"""The request whose head has been read is the handshake of a WebSocket, or what was to be the first is HTTP/2."""
END: Final = "end"
"""The connection is to end: refused, broken off, timed out, not to be kept, closed by the client, or lost."""

EVENTS: Final = (HEAD_BEGAN, HEAD_READ, REQUEST_READ, RESPONSE_SENT, NEXT_WANTED, SWITCH, END)


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing changes."""

    why: str


@dataclass(frozen=True, slots=True)
class Impossible:
    """Cannot occur. If it does, the engine has a bug: `ImpossibleEvent` is raised, which ends the connection."""

    why: str


class ImpossibleEvent(AppserverError):
    """An event arrived that is impossible in the state: a defect of the server."""


Cell = State | Stay | Impossible

_PAUSED = Impossible("the parser is paused")
_NO_REQUEST = Impossible("no request is being read")
_NO_RESPONSE = Impossible("no response is due")
_NOTHING_WAITS = Stay("the next request need not wait")
_NOT_READ = Impossible("the head of a handshake is read just before")
_GONE = Impossible("the session has the transport, and everything that comes from it")
_OVER = Stay("it ends already; an application that goes on meanwhile is not disturbed")

TRANSITIONS: Final[Mapping[State, Mapping[Event, Cell]]] = {
    HEAD: {
        HEAD_BEGAN: Stay("it goes on arriving"),
        HEAD_READ: BODY,
        REQUEST_READ: _NO_REQUEST,
        RESPONSE_SENT: _NO_RESPONSE,
        NEXT_WANTED: _NOTHING_WAITS,
        SWITCH: SWITCHED,
        END: ENDING,
    },
    BODY: {
        HEAD_BEGAN: _PAUSED,
        HEAD_READ: _PAUSED,
        REQUEST_READ: RESPONSE,
        RESPONSE_SENT: REST,
        NEXT_WANTED: _NOTHING_WAITS,
        SWITCH: SWITCHED,
        END: ENDING,
    },
    RESPONSE: {
        HEAD_BEGAN: Stay("what arrives behind a request waits as octets"),
        HEAD_READ: _PAUSED,
        REQUEST_READ: _NO_REQUEST,
        RESPONSE_SENT: TURN,
        NEXT_WANTED: Stay("the response is not complete"),
        SWITCH: _NOT_READ,
        END: ENDING,
    },
    REST: {
        HEAD_BEGAN: _PAUSED,
        HEAD_READ: _PAUSED,
        REQUEST_READ: TURN,
        RESPONSE_SENT: _NO_RESPONSE,
        NEXT_WANTED: Stay("the rest of the body comes first"),
        SWITCH: _NOT_READ,
        END: ENDING,
    },
    TURN: {
        HEAD_BEGAN: Stay("what arrives behind a request waits as octets"),
        HEAD_READ: _PAUSED,
        REQUEST_READ: _NO_REQUEST,
        RESPONSE_SENT: _NO_RESPONSE,
        NEXT_WANTED: IDLE,
        SWITCH: _NOT_READ,
        END: ENDING,
    },
    IDLE: {
        HEAD_BEGAN: HEAD,
        HEAD_READ: BODY,
        REQUEST_READ: _NO_REQUEST,
        RESPONSE_SENT: _NO_RESPONSE,
        NEXT_WANTED: _NOTHING_WAITS,
        SWITCH: _NOT_READ,
        END: ENDING,
    },
    SWITCHED: dict.fromkeys(EVENTS, _GONE) | {NEXT_WANTED: Stay("HTTP has ended here")},
    ENDING: dict.fromkeys(EVENTS, _OVER)
    | {
        HEAD_READ: Impossible("nothing is parsed any more"),
        REQUEST_READ: Impossible("nothing is parsed any more"),
        SWITCH: Impossible("nothing is parsed any more"),
    },
}


class After(dict[State, State]):
    """The column of an event: what comes after it, by the state before. Raises ImpossibleEvent."""

    def __init__(self, event: Event) -> None:
        self._event = event
        cells = {state: TRANSITIONS[state][event] for state in STATES}
        super().__init__(
            {
                state: state if isinstance(cell, Stay) else cell
                for state, cell in cells.items()
                if not isinstance(cell, Impossible)
            }
        )

    def __missing__(self, state: State) -> State:
        cell = TRANSITIONS[state][self._event]
        assert isinstance(cell, Impossible)
        raise ImpossibleEvent(f"{self._event!r} in the state {state!r}: {cell.why}")


AFTER_HEAD_BEGAN: Final = After(HEAD_BEGAN)
AFTER_HEAD_READ: Final = After(HEAD_READ)
AFTER_REQUEST_READ: Final = After(REQUEST_READ)
AFTER_RESPONSE_SENT: Final = After(RESPONSE_SENT)
AFTER_NEXT_WANTED: Final = After(NEXT_WANTED)
AFTER_SWITCH: Final = After(SWITCH)
AFTER_END: Final = After(END)
