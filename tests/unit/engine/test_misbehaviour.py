"""What an application can do wrong, and what its client, its log and the next request see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from appserver.asgi.types import Message, Receive, Scope, Send
from appserver.errors import ClientDisconnected
from appserver.http.response import ResponseError
from tests.unit.engine.test_session import FIELDS
from tests.unit.engine.world import Client, World, echo, request, respond, run, settle

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
LAST: Message = {"type": "http.response.body", "body": b"0123456789"}
PIECE: Message = {**LAST, "more_body": True}


def start_with(*headers: tuple[Any, Any]) -> Message:
    return {**START, "headers": list(headers)}


def sending(*messages: Any) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


def played(
    application: Callable[[Scope, Receive, Send], Awaitable[None]], version: str = "1.1"
) -> tuple[World, Client]:
    """One request to an application, and what became of it."""
    result: list[tuple[World, Client]] = []

    async def scenario() -> None:
        world = World(application)
        client = world.connect()
        await client.send(request(version=version))
        result.append((world, client))

    run(scenario)
    return result[0]


class TestMessageOrder:
    @pytest.mark.parametrize(
        ("messages", "advice"),
        [
            ([LAST], "before http.response.start"),
            ([START, START], "sent twice"),
            ([{"type": "http.response.end"}], "'http.response.end'"),
            ([{"type": "websocket.send"}], "'websocket.send'"),
            ([START, {"type": None}], "None"),
            ([{**START, "status": 99}], "from 200 to 999"),
            ([{**START, "status": 200.0}, LAST], "from 200 to 999"),
            ([start_with((b"a b", b"c"))], "not a token"),
            ([start_with((b"x-a", b"b\r\nc: d"))], "a control character"),
            ([start_with(("x-a", "b"))], "pairs of bytes"),
            ([start_with((b"content-length", b"20")), LAST], "shorter than its content-length"),
            ([start_with((b"content-length", b"5")), LAST], "longer than its content-length"),
            ([START, {**LAST, "body": "text"}], "has to be bytes, got str"),
            ([START, {**LAST, "body": None}], "has to be bytes, got NoneType"),
        ],
    )
    def test_what_goes_wrong_before_anything_is_sent_is_answered_500(
        self, messages: Sequence[Message], advice: str
    ) -> None:
        world, client = played(sending(*messages))
        response = client.response()
        assert (response.status, response.body) == (500, b"500 Internal Server Error: the application failed\n")
        assert response.headers[b"connection"] == b"close"
        assert client.ended
        (record,) = world.log.of("application failed")
        assert isinstance(record["exc_info"], ResponseError)
        assert advice in str(record["exc_info"])
        assert world.access.lines[0][1] == 500

    @pytest.mark.parametrize(
        ("messages", "advice"),
        [
            ([START, PIECE, START], "sent twice"),
            ([START, PIECE, {"type": "http.response.end"}], "'http.response.end'"),
            ([start_with((b"content-length", b"15")), PIECE, LAST], "longer"),
            ([start_with((b"content-length", b"25")), PIECE, LAST], "shorter"),
            ([START, PIECE, {**PIECE, "body": "text"}], "got str"),
        ],
    )
    def test_what_goes_wrong_later_breaks_the_connection(self, messages: Sequence[Message], advice: str) -> None:
        world, client = played(sending(*messages))
        response = client.response()
        assert (response.status, response.body, response.complete) == (200, b"0123456789", False)
        assert client.transport.closed
        assert advice in str(world.log.of("application failed")[0]["exc_info"])
        assert world.access.lines[0][4] == "error"

    def test_a_message_behind_the_end_harms_nobody_but_the_application(self) -> None:
        async def scenario() -> None:
            world = World(sending(START, LAST, LAST))
            client = world.connect()
            await client.send(request(), request())
            assert [response.complete for response in client.responses()] == [True, True]
            assert not client.ended
            assert "after the response was complete" in str(world.log.of("application failed")[0]["exc_info"])

        run(scenario)

    def test_an_application_may_catch_its_error_and_do_better(self) -> None:
        async def repentant(scope: Scope, receive: Receive, send: Send) -> None:
            with pytest.raises(ResponseError):
                await send(LAST)
            with pytest.raises(ResponseError):
                await send({**START, "status": 0})
            await send(START)
            with pytest.raises(ResponseError):
                await send({**LAST, "body": "text"})
            await send(LAST)

        world, client = played(repentant)
        assert client.response().body == b"0123456789"
        assert not world.log.records

    def test_bytes_like_bodies_are_taken_as_they_are_now(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            buffer = bytearray(b"before")
            await send(START)
            await send({"type": "http.response.body", "body": buffer, "more_body": True})
            buffer[:] = b"after!"
            await send({"type": "http.response.body", "body": memoryview(buffer)})

        assert played(application)[1].response().body == b"beforeafter!"

    def test_a_subclass_of_bytes_is_a_body(self) -> None:
        class Rendered(bytes):
            pass

        world, client = played(sending(START, {**PIECE, "body": Rendered(b"a")}, {**LAST, "body": Rendered(b"b")}))
        assert client.response().body == b"ab"
        assert not world.log.records

    def test_defaults_of_the_messages(self) -> None:
        world, client = played(sending({"type": "http.response.start", "status": 204}, {"type": "http.response.body"}))
        assert client.response().status == 204
        assert not world.log.records


class TestReturning:
    @pytest.mark.parametrize("messages", [[], [START]])
    def test_without_a_response_the_client_gets_500(self, messages: Sequence[Message]) -> None:
        world, client = played(sending(*messages))
        assert client.response().status == 500
        assert "without completing its response" in world.log.of("application failed")[0]["detail"]

    def test_in_the_middle_of_a_response_breaks_the_connection(self) -> None:
        world, client = played(sending(START, PIECE))
        assert not client.response().complete
        assert client.transport.closed
        assert len(world.log.of("application failed")) == 1


class TestRaising:
    @pytest.mark.parametrize("error", [RuntimeError("oops"), ExceptionGroup("many", [ValueError()]), GeneratorExit()])
    def test_before_the_response_is_answered_500_and_logged_once(self, error: BaseException) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            raise error

        world, client = played(failing)
        assert client.response().status == 500
        assert [record["exc_info"] for record in world.log.of("application failed")] == [error]
        assert world.slot.in_progress == 0

    def test_the_traceback_begins_with_the_application(self) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("oops")

        world, _ = played(failing)
        traceback = world.log.of("application failed")[0]["exc_info"].__traceback__
        assert traceback.tb_frame.f_code.co_name == "failing"

    def test_a_body_that_only_the_connection_ends_is_reset(self) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            await send(PIECE)
            raise RuntimeError

        _, client = played(failing, "1.0")
        assert client.transport.aborted
        assert client.transport.socket.options, "SO_LINGER makes a reset of the end"
        _, client = played(failing, "1.1")
        assert not client.transport.aborted

    def test_after_the_response_leaves_the_connection_alone(self) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"fine")
            raise RuntimeError("in a background task")

        async def scenario() -> None:
            world = World(failing)
            client = world.connect()
            await client.send(request(), request())
            assert [response.body for response in client.responses()] == [b"fine", b"fine"]
            assert (
                "detail" not in world.log.of("application failed")[0]
            )  # frameworks raise what they have answered with 500

        run(scenario)

    def test_a_response_that_is_cut_off_is_told(self) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("in the middle")

        async def scenario() -> None:
            world = World(failing)
            await world.connect().send(request())
            assert world.log.of("application failed")[0]["detail"] == "its response is incomplete"

        run(scenario)

    def test_an_application_that_is_cancelled_from_within_has_failed(self) -> None:
        async def cancelling(scope: Scope, receive: Receive, send: Send) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        world, client = played(cancelling)
        assert client.response().status == 500
        (record,) = world.log.of("application failed")
        assert record["detail"] == "its task was cancelled, and not by the server"

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    @pytest.mark.parametrize("session", [False, True])
    def test_a_request_whose_task_is_cancelled_in_the_turn_in_which_it_comes_is_answered(
        self, loop: str, session: bool
    ) -> None:
        async def patient(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.Event().wait()

        async def scenario() -> None:
            world = World(patient)
            client = world.connect()
            assert client.transport.protocol is not None
            client.transport.protocol.data_received(request("/", "GET", *FIELDS) if session else request())
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await settle()
            assert client.response().status == 500
            assert world.log.of("application failed")

        run(scenario, loop)

    def test_an_application_that_is_no_coroutine_function_fails_its_requests_only(self) -> None:
        def plain(scope: Scope, receive: Receive, send: Send) -> Any:
            return None

        world, client = played(plain)
        assert client.response().status == 500
        assert isinstance(world.log.of("application failed")[0]["exc_info"], TypeError)

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    @pytest.mark.parametrize("wait", [False, True])
    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
    def test_what_ends_a_program_asks_for_the_end_of_the_worker_only(
        self, loop: str, wait: bool, error: BaseException
    ) -> None:
        async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
            if wait:
                await asyncio.sleep(0)
            raise error

        asked: list[str] = []

        async def scenario() -> None:
            world = World(leaving)
            world.service.on_exit = lambda: asked.append("exit")
            client = world.connect()
            await client.send(request("/bad"))
            assert client.response().status == 500
            assert asked == ["exit"]
            (record,) = world.log.records
            assert record == (
                "error",
                "application ended the worker",
                {"method": "GET", "path": "/bad", "exc_info": error},
            )

        run(scenario, loop)


class TestErrorsOfGoneClients:
    """An error that an application lets out because its client has gone is nobody's fault."""

    @pytest.mark.parametrize("kind", ["plain", "from", "while", "group"])
    def test_the_disconnect_and_what_it_leads_to_is_not_logged(self, kind: str) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await receive()
            try:
                await send(START)
            except OSError as error:
                if kind == "plain":
                    raise
                if kind == "from":
                    raise RuntimeError from error
                if kind == "group":
                    raise ExceptionGroup("all of a task group", [error]) from None
                raise RuntimeError  # noqa: B904

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            await client.vanish()
            assert not world.log.records

        run(scenario)

    def test_other_errors_are_logged(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await receive()
            raise ValueError

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            await client.vanish()
            assert len(world.log.of("application failed")) == 1

        run(scenario)

    def test_the_error_is_an_oserror(self) -> None:
        assert issubclass(ClientDisconnected, OSError)


@pytest.mark.parametrize("broken", ["metrics", "access log"])
def test_what_cannot_be_recorded_costs_the_record_only(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of order")

    async def scenario() -> None:
        world = World(echo)
        if broken == "metrics":
            monkeypatch.setattr(world.slot, "_rows", {})  # of a compiled class it is data only that can be replaced
        else:
            monkeypatch.setattr(world.access, "request", fail)
        client = world.connect()
        await client.send(request("/a"), request("/b"))
        assert [response.body for response in client.responses()] == [b"GET /a ", b"GET /b "]
        assert len(world.log.of("request not recorded")) == 2
        await world.pass_time(world.service.keepalive_timeout + 1)
        assert client.ended, "it has a deadline"

    run(scenario)


def test_one_failure_does_not_affect_other_connections() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise RuntimeError
        await echo(scope, receive, send)

    async def scenario() -> None:
        world = World(application)
        good, bad = world.connect(), world.connect()
        await bad.send(request("/bad"))
        await good.send(request("/good"))
        await settle()
        assert (good.response().status, bad.response().status) == (200, 500)

    run(scenario)
