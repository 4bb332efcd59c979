"""The limits of `[http]` on sizes."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.settings import HTTPSettings
from tests.unit.engine.world import PARSERS, World, echo, rejected, request, respond, run, silent


async def patient(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for everything it can get, and for the end."""
    while (await receive())["type"] != "http.disconnect":
        pass


class TestSizes:
    @pytest.mark.parametrize("parser", PARSERS)
    @pytest.mark.parametrize(
        ("settings", "octets", "status", "reason"),
        [
            ({"max_target_size": 10}, request("/" + "a" * 10), 414, "target_too_large"),
            ({"max_header_size": 1000}, request("/", "GET", "X-A: " + "a" * 1000), 431, "head_too_large"),
            ({"max_headers": 3}, request("/", "GET", *(f"X-{n}: 1" for n in range(3))), 431, "head_too_large"),
            ({"max_body_size": 4}, request("/", "POST", body=b"12345"), 413, "body_too_large"),
        ],
    )
    def test_what_is_too_large_is_refused_and_the_application_not_called(
        self, parser: Any, settings: dict[str, Any], octets: bytes, status: int, reason: str
    ) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(parser=parser, **settings))
            client = world.connect()
            await client.send(octets)
            response = client.response()
            assert response.status == status
            assert response.headers[b"connection"] == b"close"
            assert next(iter(settings)) in response.body.decode(), "the client is told which limit that was"
            assert client.ended
            assert rejected(world) == {reason: 1}
            # Whoever could be told what was wanted gets a record; there is no request before its head is complete.
            assert world.access.lines == (
                [("POST /", 413, len(octets), len(client.transport.octets), "error")] if status == 413 else []
            )
            assert (world.slot.in_progress, len(world.service.registry.background)) == (0, 0)
            (record,) = world.log.of("request refused")
            assert (record["status"], record["reason"]) == (status, reason)
            assert next(iter(settings)) in record["detail"]

        run(scenario)

    @pytest.mark.parametrize("parser", PARSERS)
    @pytest.mark.parametrize(
        "octets",
        [
            request("/" + "a" * 100, "HEAD"),
            request("/" + "a" * 100, "HEAD")[:60],
            request("/", "GET") + request("/" + "a" * 100, "HEAD"),
            b"\r\n" + request("/", "HEAD", "Host: another"),
            request("/", "HEAD", "Transfer-Encoding: gzip"),
            request("/", "HEAD", "Expect: much"),
            request("/", "HEAD", "Content-Length: 6"),
            request("/", "HEAD", "Content-Length: 6")[:-10],
        ],
    )
    @pytest.mark.parametrize("size", [1, 10_000])
    def test_the_answer_to_head_has_no_body_whatever_is_wrong(self, parser: Any, octets: bytes, size: int) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(parser=parser, max_target_size=10, max_body_size=4))
            client = world.connect()
            for start in range(0, len(octets), size):
                await client.send(octets[start : start + size])
            client.connection.eof_received()
            answers = client.transport.octets.split(b"HTTP/1.1 ")[1:]
            assert answers[-1][:1] in b"45"
            assert answers[-1].endswith(b"\r\n\r\n"), "nothing follows the head (RFC 9110 section 9.3.2)"
            assert b"content-length: 0\r\n" not in answers[-1]

        run(scenario)

    def test_what_is_just_not_too_large_is_served(self) -> None:
        async def scenario() -> None:
            client = World(echo, HTTPSettings(max_body_size=5, max_target_size=2, max_headers=2)).connect()
            await client.send(request("/a", "POST", body=b"12345"))
            assert client.response().body == b"POST /a 12345"

        run(scenario)

    def test_a_limit_of_zero_is_none(self) -> None:
        settings = HTTPSettings(max_target_size=0, max_header_size=0, max_headers=0, max_body_size=0)

        async def scenario() -> None:
            client = World(echo, settings).connect()
            await client.send(request("/" + "a" * 10_000, "POST", *(f"X-{n}: 1" for n in range(500)), body=b"1" * 100))
            assert client.response().status == 200

        run(scenario)

    def test_a_chunked_body_is_counted(self) -> None:
        heard: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            while not heard or heard[-1] != "http.disconnect":
                heard.append((await receive())["type"])
            await respond(send, b"never sent")  # raises, as the client has had its answer

        async def scenario() -> None:
            world = World(application, HTTPSettings(max_body_size=10))
            client = world.connect()
            await client.send(request("/", "POST", "Transfer-Encoding: chunked"), b"8\r\n12345678\r\n")
            await client.send(b"3\r\n123\r\n")
            assert client.response().status == 413
            assert client.ended
            assert rejected(world) == {"body_too_large": 1}
            assert world.access.lines[0][1:2] == (413,)
            assert not world.log.of("application failed")

        run(scenario)
        assert heard == ["http.request", "http.disconnect"]

    def test_a_body_that_gets_too_large_during_the_response_breaks_it_off(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
            await patient(scope, receive, send)

        async def scenario() -> None:
            client = World(application, HTTPSettings(max_body_size=10)).connect()
            await client.send(request("/", "POST", "Transfer-Encoding: chunked"), b"b\r\n12345678901\r\n")
            assert not client.response().complete
            assert client.transport.closed

        run(scenario)

    def test_the_answer_reaches_a_client_that_is_still_uploading(self) -> None:
        async def scenario() -> None:
            client = World(silent, HTTPSettings(max_body_size=10)).connect()
            await client.send(request("/", "POST", "Content-Length: 1000000", body=b"x" * 1000))
            assert client.transport.half_closed
            await client.send(*[b"x" * 65536] * 5)
            assert not client.transport.is_closing()
            await client.half_close()
            assert client.transport.closed

        run(scenario)
