"""Requests of which none is like the one before, as a server behind a proxy sees them.

A benchmark that repeats one request flatters whatever remembers it. These are 2,000 in turn, more than any memory in the
way of a request holds, each with another target, cookie, referer and client address.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import hpack

COUNT = 2000


def varied_requests(headers: Mapping[str, str], host: str = "127.0.0.1") -> list[bytes]:
    """The requests, for a program that writes them itself; `headers` are what they have in common."""
    requests = []
    for number in _NUMBERS:
        own = {"Host": host, **headers, **_different(number)}
        lines = [f"GET {_target(number)} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items())]
        requests.append("\r\n".join(lines).encode() + b"\r\n\r\n")
    return requests


@dataclass(frozen=True)
class Blocks:
    """Header blocks of HTTP/2, in the order in which one connection sends them."""

    first: list[bytes]
    """Once."""
    again: list[bytes]
    """Then over and over: what has been sent a whole turn ago has left the table, so each turn is encoded like the one before."""

    def cycle(self) -> Iterator[bytes]:
        """Without an end."""
        return itertools.chain(self.first, itertools.cycle(self.again))


def varied_blocks(headers: Mapping[str, str], host: str = "127.0.0.1") -> Blocks:
    """The requests as header blocks, as a client writes them that adds all to the table of the connection (RFC 7541)."""
    encoder = hpack.Encoder()
    first, again = ([encoder.encode(_fields(headers, host, number)) for number in _NUMBERS] for _ in range(2))
    return Blocks(first, again)


_NUMBERS = range(1, COUNT + 1)


def _fields(headers: Mapping[str, str], host: str, number: int) -> list[tuple[str, str]]:
    own = {name.lower(): value for name, value in ({**headers, **_different(number)}).items()}
    return [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", _target(number)), *own.items()]


def _target(number: int) -> str:
    return f"/items/{number}?page={number % 7}"


def _different(number: int) -> dict[str, str]:
    return {
        "Cookie": f"session={number * 2654435761 % 2**32:08x}{'0123456789abcdef' * 36}",
        "Referer": f"https://www.example.org/some/page?from={number}",
        "X-Forwarded-For": f"203.0.{number // 250}.{number % 250 + 1}",
    }


LUA = """
local requests, at = {}, 0
function init(args)
   for number = 1, COUNT do
      local own = {}
      for name, value in pairs(wrk.headers) do own[name] = value end
      own["Cookie"] = string.format("session=%08x%s", number * 2654435761 % 4294967296,
                                    string.rep("0123456789abcdef", 36))
      own["Referer"] = "https://www.example.org/some/page?from=" .. number
      own["X-Forwarded-For"] = string.format("203.0.%d.%d", math.floor(number / 250), number % 250 + 1)
      requests[number] = wrk.format("GET", "/items/" .. number .. "?page=" .. number % 7, own)
   end
end
function request()
   at = at % #requests + 1
   return requests[at]
end
""".replace("COUNT", str(COUNT))
"""The same for wrk."""
