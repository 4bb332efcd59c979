"""The server under test, with the application's memory, and the judgements that many cases share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.conformance.client import CLOSE_WITHIN, QUIET, Client, request
from tests.conformance.wire import Response
from tests.support.address import Address

# What a server may answer to what it refuses: the client's fault, or what is not implemented; never a 500.
REFUSALS = frozenset((*range(400, 500), 501, 505))
TOO_LARGE = frozenset((400, 413, 414, 431))


@dataclass(frozen=True)
class Site:
    """A running server; `token` is in the targets of the present test, so that its requests can be told apart."""

    address: Address
    token: bytes

    def connect(self, *, receive_buffer: int | None = None) -> Client:
        """Open a connection."""
        return Client(self.address, receive_buffer=receive_buffer)

    def ask(self, path: str) -> Any:
        """Ask the application something, on a connection of its own."""
        with self.connect() as client:
            client.send(request(b"GET " + path.encode(), b"Connection: close"))
            return client.responses(1, quiet=0)[0].json()

    def seen(self) -> list[dict[str, Any]]:
        """The requests of this test that have reached the application."""
        found: list[dict[str, Any]] = self.ask("/__seen/" + self.token.decode())
        return found

    def state(self, key: str | None = None) -> Any:
        """What a handler has noted under `key` (the token)."""
        return self.ask(f"/__state/{key or self.token.decode()}")["value"]

    def resident(self) -> int:
        """The memory of the worker in octets."""
        octets: int = self.ask("/__state/x")["resident"]
        return octets

    def post(self, *fields: bytes, body: bytes = b"") -> bytes:
        """A POST of this test."""
        return request(b"POST /o" + self.token, *fields, body=body)

    def get(self, *fields: bytes, host: bytes | None = b"x") -> bytes:
        """A GET of this test."""
        return request(b"GET /o" + self.token, *fields, host=host)

    def smuggled(self) -> bytes:
        """A request that must never be served."""
        return request(b"GET /smuggled" + self.token)

    def echo(self, *pieces: bytes | float, method: str = "GET") -> Any:
        """Send one request, expect one 200 on it, and return what the application saw."""
        with self.connect() as client:
            client.send(*pieces)
            (response,) = client.responses(1, method)
            assert response.status == 200
            return response.json()

    def refuse(
        self,
        *pieces: bytes | float,
        statuses: Collection[int] = REFUSALS,
        silent: bool = False,
        started: bool = False,
    ) -> Response | None:
        """Send something that has to be refused, and return the response.

        There is exactly one, with one of `statuses`, and then the connection is closed; nothing of what was sent has
        been served. `silent`: a close without a response will do (it is lost when octets are still on their way).
        `started`: the application may have been called, but it must not have seen a complete request.
        """
        with self.connect() as client:
            client.send(*pieces)
            closed = client.wait_closed()
            finals = client.finals("POST")
            seen = self.seen()
            assert not [found for found in seen if "smuggled" in found["target"]], "a smuggled request was served"
            assert not [found for found in seen if found["complete"]], "the application got a complete request"
            assert started or not seen, "the application was called"
            assert closed, f"left open after {[response.status for response in finals]}"
            assert len(finals) <= 1, [response.status for response in finals]
            if not finals and silent:
                return None
            assert finals, "closed without a response"
            assert finals[0].status in statuses, finals[0].status
            assert finals[0].complete
            assert finals[0].values("connection") == ["close"]
            return finals[0]

    def survive(self, client: Client) -> None:
        """Check that a connection still serves requests in step."""
        before = len(client.finals())
        client.send(request(b"GET /next" + self.token))
        last = client.responses(before + 1)[-1]
        assert last.json()["path"] == "/next" + self.token.decode()


__all__ = ["CLOSE_WITHIN", "QUIET", "REFUSALS", "TOO_LARGE", "Site"]
