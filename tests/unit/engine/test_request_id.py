"""The id of a request: where it comes from, and everywhere it goes."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.admission import Admission
from appserver.engine.request_id import RequestIDs, make_request_ids
from appserver.http.request import Request
from appserver.http1.grammar import lex
from appserver.http1.head import interpret
from appserver.settings import HTTPSettings, RequestIDSettings
from appserver.telemetry.logs import REQUEST_ID
from tests.unit.engine.world import Client, World, echo, request, respond, run, settle, silent


def head_with(*fields: str) -> Request:
    lines = "".join(f"{field}\r\n" for field in fields)
    return interpret(*lex(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()))[0]


def ids(**settings: Any) -> RequestIDs:
    return RequestIDs(RequestIDSettings(**settings))


def ids_of(client: Client) -> list[str | None]:
    found = [response.headers.get(b"x-request-id") for response in client.responses()]
    return [None if one is None else one.decode() for one in found]


class TestWhereItComesFrom:
    def test_every_request_gets_one_of_its_own(self) -> None:
        source = ids()
        made = {source.of(head_with(), False) for _ in range(1000)}
        assert len(made) == 1000
        assert all(UUID(one).version == 4 and UUID(one).variant == RFC_4122 and len(one) == 32 for one in made)

    @pytest.mark.parametrize("sent", [[], ["X-Request-ID: mine"], ["X-Request-ID: mine", "X-REQUEST-ID: again"]])
    def test_the_header_of_the_request_has_it_and_no_other(self, sent: list[str]) -> None:
        source = ids()
        head = head_with(*sent)
        made = source.of(head, False)
        assert [value for name, value in head.headers if name == b"x-request-id"] == [made.encode()]

    def test_one_from_a_trusted_peer_is_taken_over(self) -> None:
        assert ids().of(head_with("X-Request-ID: 1-67891233-abc;Parent=4/5"), True) == "1-67891233-abc;Parent=4/5"

    def test_one_from_anybody_else_is_not(self) -> None:
        assert ids().of(head_with("X-Request-ID: mine"), False) != "mine"

    def test_none_is_taken_over_if_that_is_switched_off(self) -> None:
        assert ids(accept=False).of(head_with("X-Request-ID: mine"), True) != "mine"

    @pytest.mark.parametrize("value", ["", "a b", 'a"b', "a'b", "a\\b", "a\tb", "x" * 129, "\u00e4"])
    def test_one_that_could_do_harm_in_a_log_is_not(self, value: str) -> None:
        source = ids()
        head = head_with()
        field = (b"x-request-id", value.encode())
        head.headers, head.forwarded = [*head.headers, field], [field]
        assert len(source.of(head, True)) == 32
        assert field not in head.headers

    def test_the_header_can_have_another_name(self) -> None:
        source = ids(header="X-Trace")
        assert source.of(head_with("X-Request-ID: a", "x-trace: b"), True) == "b"
        assert source.prefix == b"\r\nx-trace: "

    def test_a_name_that_has_been_met_before_is_found_nevertheless(self) -> None:
        name = "x-trace-met-before"
        assert head_with(f"{name}: a").forwarded == []
        source = ids(header=name)
        assert source.of(head_with(f"{name}: a", "X-Forwarded-For: 192.0.2.1"), True) == "a"

    def test_what_else_a_proxy_says_is_left_to_those_who_read_it(self) -> None:
        source = ids()
        head = head_with("X-Forwarded-For: 192.0.2.1", "X-Request-ID: mine", "X-Forwarded-Proto: https")
        source.of(head, True)
        assert head.forwarded == [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-proto", b"https")]

    @pytest.mark.parametrize(("header", "value"), [("X-Forwarded-For", "192.0.2.1"), ("Host", "x")])
    def test_a_field_with_a_meaning_of_its_own_keeps_it(self, header: str, value: str) -> None:
        source = ids(header=header)
        head = head_with("X-Forwarded-For: 192.0.2.1")
        assert source.of(head, True) == value
        assert head.forwarded == [(b"x-forwarded-for", b"192.0.2.1")]

    def test_without_a_header_there_are_none(self) -> None:
        assert make_request_ids(RequestIDSettings(header="")) is None
        assert make_request_ids(None) is None


class TestWhereItGoes:
    def test_the_application_finds_it_in_the_state_and_in_its_context_and_the_client_in_the_response(self) -> None:
        seen: list[tuple[Any, Any]] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            async def elsewhere() -> str | None:
                return REQUEST_ID.get()

            seen.append((scope["state"]["request_id"], await asyncio.create_task(elsewhere())))
            await respond(send)

        async def scenario() -> None:
            world = World(application, request_ids=ids(), state={"pool": 1})
            client = world.connect()
            await client.send(request(), request())
            answered = ids_of(client)
            assert seen == [(one, one) for one in answered]
            assert world.access.ids == answered
            assert len(set(answered)) == 2
            assert world.service.state == {"pool": 1}, "the ids are the requests' own"
            assert REQUEST_ID.get() is None

        run(scenario)

    def test_the_task_has_it_as_its_name(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            task = asyncio.current_task()
            assert task is not None
            await respond(send, task.get_name().encode())

        async def scenario() -> None:
            world = World(application, request_ids=ids())
            client = world.connect()
            await client.send(request())
            (answered,) = client.responses()
            assert answered.body == answered.headers[b"x-request-id"]

        run(scenario)

    def test_without_ids_nothing_is_added(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["state"] == {}
            assert REQUEST_ID.get() is None
            await respond(send)

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            assert client.response().status == 200
            assert (ids_of(client), world.access.ids) == ([None], [None])

        run(scenario)

    @pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-ID"])
    def test_one_that_the_application_sends_itself_is_the_only_one(self, name: bytes) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"", 200, (name, b"its-own"))

        async def scenario() -> None:
            # Without ids the name is one like any other, and is remembered as such.
            for request_ids in (None, ids()):
                client = World(application, request_ids=request_ids).connect()
                await client.send(request(), request())
                assert ids_of(client) == ["its-own", "its-own"]
                assert client.transport.octets.lower().count(b"x-request-id") == 2

        run(scenario)

    def test_a_request_that_fails_has_it_in_the_response_and_in_the_log(self) -> None:
        found: list[str | None] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError

        async def scenario() -> None:
            world = World(application, request_ids=ids())
            error = world.log.error

            def note(event: str, **fields: Any) -> None:
                found.append(REQUEST_ID.get())
                error(event, **fields)

            world.log.error = note  # type: ignore[method-assign]
            client = world.connect()
            await client.send(request())
            assert client.response().status == 500
            assert found == ids_of(client) == world.access.ids

        run(scenario)

    def test_a_request_that_takes_too_long_has_it_too(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.Event().wait()

        async def scenario() -> None:
            http = HTTPSettings(server_header="", date_header=False, request_timeout=3)
            world = World(application, http, request_ids=ids())
            client = world.connect()
            await client.send(request())
            await world.pass_time(5)
            assert client.response().status == 504
            (record,) = world.log.of("request timed out")
            assert [record["request_id"]] == ids_of(client) == world.access.ids

        run(scenario)

    def test_a_body_that_is_refused_has_it_and_a_head_that_is_refused_has_not(self) -> None:
        async def scenario() -> None:
            http = HTTPSettings(server_header="", date_header=False, max_body_size=10)
            world = World(echo, http, request_ids=ids())
            client = world.connect()
            await client.send(request("/", "POST", "Transfer-Encoding: chunked"), b"f\r\n" + b"x" * 15 + b"\r\n")
            assert client.response("POST").status == 413
            (record,) = world.log.of("request refused")
            assert [record["request_id"]] == ids_of(client)
            client = world.connect()
            await client.send(request(), b"nonsense\r\n\r\n")
            await settle()
            good, bad = ids_of(client)
            assert (len(good or ""), bad) == (32, None)

        run(scenario)

    def test_a_request_that_is_refused_before_its_application_is_called_can_be_found_again(self) -> None:
        async def scenario() -> None:
            http = HTTPSettings(server_header="", date_header=False, max_body_size=10)
            world = World(echo, http, request_ids=ids())
            too_large = request("/upload", "POST", body=b"x" * 15)
            no_handshake = request("/ws", "GET", "Connection: upgrade", "Upgrade: websocket")
            for octets, path, status in ((too_large, "/upload", 413), (no_handshake, "/ws", 426)):
                client = world.connect()
                await client.send(octets)
                assert client.response().status == status
                record = world.log.of("request refused")[-1]
                assert (record["client"], record["path"], record["status"]) == ("192.0.2.1", path, status)
                assert [record["request_id"]] == ids_of(client) == world.access.ids[-1:]
                assert world.access.lines[-1][:2] == (f"{record['method']} {path}", status)
            assert (world.slot.requests, world.slot.in_progress) == (2, 0)

        run(scenario)

    def test_a_request_that_is_turned_away_has_it(self) -> None:
        async def scenario() -> None:
            world = World(silent, admission=Admission(0, 0, None), request_ids=ids())
            client = world.connect()
            await client.send(request())
            assert client.response().status == 503
            assert ids_of(client) == world.access.ids
            assert world.access.ids != [None]

        run(scenario)
