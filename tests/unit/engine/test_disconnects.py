"""Clients that go away, at every moment, and clients that close one side only."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from appserver.asgi.types import Message, Receive, Scope, Send
from appserver.engine.connection import LOOK_INTERVAL
from appserver.engine.exchange import IGNORED
from appserver.engine.link import RESET
from appserver.errors import ClientDisconnected
from tests.unit.engine.serving import Peer, serving
from tests.unit.engine.test_session import handshake
from tests.unit.engine.world import LOOPS, World, echo, read_body, request, respond, run, settle, silent


class Recorder:
    """An application that writes down what `receive` gives it, until it hears of the disconnect."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.messages or self.messages[-1]["type"] != "http.disconnect":
            self.messages.append(await receive())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"late"})
        except OSError as error:
            self.error = error


def reset(peer: Peer) -> None:
    """Reset a connection from the client's side."""
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.writer.transport.abort()


class TestVanishing:
    """The connection is lost."""

    @pytest.mark.parametrize("octets", [b"", b"GET / HT", request()[:-2]])
    def test_before_the_head_is_complete_nothing_happens(self, octets: bytes) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = world.connect()
            if octets:
                await client.send(octets)
            await client.vanish()
            assert not world.log.records
            assert not world.access.lines
            assert not world.service.registry.connections

        run(scenario)

    @pytest.mark.parametrize("sent", [b"", b"half "])
    def test_in_the_body_the_application_hears_of_it(self, sent: bytes) -> None:
        application = Recorder()

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request("/", "POST", "Content-Length: 10") + sent)
            await client.vanish()
            assert application.error is None
            assert world.access.lines[0][1:2] == (0,)
            assert world.access.lines[0][4] == "aborted"

        run(scenario)
        expected: list[Message] = [{"type": "http.disconnect"}]
        if sent:
            expected.insert(0, {"type": "http.request", "body": b"half ", "more_body": True})
        assert application.messages == expected

    @pytest.mark.parametrize("fields", [(), ("Connection: close",)])
    def test_behind_the_body_the_application_hears_of_it(self, fields: tuple[str, ...]) -> None:
        """Which it does only if the connection is read meanwhile, also where no other request may follow."""
        application = Recorder()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/", "GET", *fields))
            assert client.transport.reading
            await client.vanish()

        run(scenario)
        assert [message["type"] for message in application.messages] == ["http.request", "http.disconnect"]
        assert application.error is None

    @pytest.mark.parametrize("behind", [request(), b"GET / HT", b"\r\n"])
    def test_behind_more_octets_the_application_hears_of_it(self, behind: bytes) -> None:
        application = Recorder()

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request(), behind)
            assert client.transport.reading, "to notice it"
            await client.vanish()
            assert not world.service.registry.background

        run(scenario)
        assert [message["type"] for message in application.messages] == ["http.request", "http.disconnect"]

    @pytest.mark.parametrize("politely", [True, False])
    @pytest.mark.parametrize("loop", LOOPS)
    def test_behind_a_further_request_the_application_hears_of_it(self, loop: str, politely: bool) -> None:
        heard = asyncio.Event()
        calls: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            calls.append(scope["path"])
            while (await receive())["type"] != "http.disconnect":
                pass
            heard.set()

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(request("/first"))
                while not calls:
                    await asyncio.sleep(0.001)
                peer.send(request("/second"))
                if politely:
                    await peer.close()
                else:
                    reset(peer)
                await heard.wait()
                await served.accepted(0)
                assert served.slot.in_progress == 0

        run(scenario, loop)
        assert calls == ["/first"]

    @pytest.mark.parametrize(
        ("octets", "politely"),
        [
            (request() + request("/", "POST", body=bytes(100_000)), True),
            (request() + request("/", "POST", body=bytes(100_000)), False),
            (request("/", "POST", "Content-Length: 200000") + bytes(100_000), False),
        ],
        ids=["closed behind much", "reset behind much", "reset in a body"],
    )
    @pytest.mark.parametrize("loop", LOOPS)
    def test_where_nothing_more_is_read_a_look_shows_it(self, loop: str, octets: bytes, politely: bool) -> None:
        heard = asyncio.Event()
        gate = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            heard.set()

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(octets)
                await peer.writer.drain()
                await served.accepted(1)
                link = served.link
                while link.reading:
                    await asyncio.sleep(0.001)
                if politely:
                    await peer.close()
                    gate.set()
                else:
                    reset(peer)
                while served.slot.in_progress and not heard.is_set():
                    link.expire(served.server._service.clock() + LOOK_INTERVAL)
                    await asyncio.sleep(0.001)
                gate.set()
                await heard.wait()
                link.abort()

        run(scenario, loop)

    def test_a_client_that_is_there_is_not_disturbed_by_a_look(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(slow)
            client = world.connect()
            await client.send(request() + request("/", "POST", body=bytes(100_000)))
            await world.pass_time(100)
            assert not client.transport.reading
            gate.set()
            await settle()
            assert [response.status for response in client.responses()] == [200, 200]

        run(scenario)

    def test_a_response_for_nobody_is_finished_with_the_work_behind_it(self) -> None:
        done: list[str] = []
        gate = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"too late")
            done.append("work behind the response")

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            await client.vanish()
            await world.pass_time(100)
            assert not done, "an application that computes its response is not cut off"
            gate.set()
            await settle()
            assert done
            assert not world.log.of("application failed")
            assert not world.service.registry.background

        run(scenario)

    def test_a_stream_that_hears_nothing_is_cancelled(self) -> None:
        ended: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("finally")

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            await client.vanish()
            assert not ended
            await world.pass_time(1)
            assert ended
            assert not world.log.of("application failed")
            assert not world.service.registry.background

        run(scenario)

    def test_what_an_application_does_that_has_heard_of_it_is_not_disturbed(self) -> None:
        ended: list[str] = []
        gate = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            await gate.wait()
            ended.append("work behind the stream")

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            await client.vanish()
            await world.pass_time(100)
            gate.set()
            await settle()
            assert ended

        run(scenario)

    @pytest.mark.parametrize("pause", [0, 1])
    def test_a_stream_that_goes_on_and_on_gets_an_error(self, pause: float) -> None:
        errors: list[Exception] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                while True:
                    await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                    if pause:
                        await ticks.get()
            except OSError as error:
                errors.append(error)

        ticks: asyncio.Queue[None] = asyncio.Queue()

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request())
            await client.vanish()
            for second in range(4 if pause else 0):
                assert not errors or second > 1
                ticks.put_nowait(None)
                await world.pass_time(pause)
            ticks.put_nowait(None)
            await settle(50)
            assert isinstance(errors[0], ClientDisconnected)

        run(scenario)

    def test_in_the_response_send_raises_in_the_end(self) -> None:
        sent: list[int] = []

        async def endless(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                try:
                    await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                except ClientDisconnected:
                    return
                sent.append(1)
                await asyncio.sleep(0)

        async def scenario() -> None:
            world = World(endless)
            client = world.connect()
            await client.send(request())
            before = len(sent)
            await client.vanish()
            await settle(600)
            assert len(sent) - before == IGNORED
            assert world.access.lines[0][1:2] == (200,)
            assert world.access.lines[0][4] == "aborted"

        run(scenario)

    def test_while_send_waits_it_returns(self) -> None:
        outcome: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await gate.wait()
            try:
                await send({"type": "http.response.body", "body": b"b", "more_body": True})
            except OSError as error:
                outcome.append(error)
            else:
                outcome.append("ignored")

        gate = asyncio.Event()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request())
            client.transport.congest()
            gate.set()
            await settle()
            assert not outcome
            await client.vanish()
            assert outcome == ["ignored"]

        run(scenario)

    def test_after_the_response_receive_says_so(self) -> None:
        messages: list[Message] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"done")
            messages.append(await receive())
            messages.append(await receive())

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/", "POST", body=b"ignored"))
            assert client.response().body == b"done"
            assert not client.ended

        run(scenario)
        assert messages == [{"type": "http.disconnect"}] * 2

    @pytest.mark.parametrize("target", ["/request", "/session"])
    def test_an_application_that_never_stops_asking_lets_others_have_their_turn(self, target: str) -> None:
        told = 0

        async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal told
            while told < 1000:
                told += (await receive())["type"].endswith(".disconnect")

        async def scenario() -> None:
            client = World(deaf).connect()
            await client.send(handshake() if target == "/session" else request())
            await client.vanish()
            assert 1 < told < 1000
            await settle(1000)

        run(scenario)

    def test_everybody_who_waits_in_receive_hears_of_it(self) -> None:
        heard: list[Message] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()

            async def listen() -> None:
                heard.append(await receive())

            async with asyncio.TaskGroup() as group:
                impatient = group.create_task(listen())
                group.create_task(listen())
                group.create_task(listen())
                await asyncio.sleep(0)
                impatient.cancel()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request())
            assert not heard
            await client.vanish()

        run(scenario)
        assert heard == [{"type": "http.disconnect"}] * 2

    def test_pipelined_requests_of_a_gone_client_are_not_run(self) -> None:
        seen: list[str] = []
        gate = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await gate.wait()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/a") + request("/b"))
            await client.vanish()
            gate.set()
            await settle()

        run(scenario)
        assert seen == ["/a"]

    def test_between_the_response_and_the_pipelined_request_behind_it(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = world.connect()
            client.connection.data_received(request("/a") + request("/b"))
            while not client.transport.writes:
                await asyncio.sleep(0)
            await client.vanish()
            assert not world.service.registry.connections
            assert len(client.transport.writes) == 1

        run(scenario)


class TestHalfClosing:
    """The client has shut down its sending side: it may be waiting for its response (RFC 9112 section 9.6)."""

    def test_an_idle_connection_is_closed(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request())
            await client.half_close()
            assert client.transport.closed

        run(scenario)

    def test_the_response_is_still_sent(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, await read_body(receive) or b"")

        async def scenario() -> None:
            client = World(slow).connect()
            await client.send(request("/", "POST", body=b"hello"))
            await client.half_close()
            assert not client.transport.closed
            gate.set()
            await settle()
            assert client.response().body == b"hello"
            assert client.transport.closed

        run(scenario)

    def test_all_pipelined_responses_are_still_sent(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            client.connection.data_received(request("/a") + request("/b") + request("/c"))
            client.connection.eof_received()
            await settle(30)
            assert [response.body for response in client.responses()] == [b"GET /a ", b"GET /b ", b"GET /c "]
            assert client.transport.closed

        run(scenario)

    def test_receive_says_disconnect_and_send_still_works(self) -> None:
        application = Recorder()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request())
            await client.half_close()
            assert client.response().body == b"late"

        run(scenario)
        assert application.error is None
        assert [message["type"] for message in application.messages] == ["http.request", "http.disconnect"]

    def test_the_applications_of_pipelined_requests_hear_of_it_each(self) -> None:
        applications = [Recorder(), Recorder()]
        waiting = iter(applications)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await next(waiting)(scope, receive, send)

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request() + request())
            await client.half_close()
            assert [response.body for response in client.responses()] == [b"late", b"late"]
            assert client.transport.closed

        run(scenario)
        for recorder in applications:
            assert [message["type"] for message in recorder.messages] == ["http.request", "http.disconnect"]

    @pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
    def test_in_the_body_of_a_pipelined_request_it_ends_that_at_once(self, framing: str) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            client.connection.data_received(request("/a") + request("/b", "POST", framing) + b"4")
            client.connection.eof_received()
            await settle()
            assert [response.status for response in client.responses()] == [200, 400]
            assert client.transport.closed

        run(scenario)

    def test_it_ends_a_session_that_begins_behind_a_request(self) -> None:
        sessions: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await echo(scope, receive, send)
                return
            while (message := await receive())["type"] != "websocket.disconnect":
                pass
            sessions.append(message["type"])

        async def scenario() -> None:
            client = World(application).connect()
            client.connection.data_received(request("/a") + handshake())
            client.connection.eof_received()
            await settle()
            assert client.response().status == 200
            assert client.transport.closed

        run(scenario)
        assert sessions

    @pytest.mark.parametrize("begun", [False, True])
    def test_an_application_that_ends_when_it_hears_of_it_has_not_failed(self, begun: bool) -> None:
        async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
            if begun:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"some", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass

        async def scenario() -> None:
            world = World(leaving)
            client = world.connect()
            await client.send(request())
            await client.half_close()
            assert client.transport.closed
            assert not world.log.records
            assert world.access.lines[0][1] == (200 if begun else 0)
            assert world.access.lines[0][4] == "aborted"

        run(scenario)

    def test_one_that_ends_early_without_having_heard_of_it_has(self) -> None:
        async def careless(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0)

        async def scenario() -> None:
            world = World(careless)
            client = world.connect()
            client.connection.data_received(request())
            client.connection.eof_received()
            await settle()
            assert client.response().status == 500
            assert world.log.of("application failed")

        run(scenario)

    def test_in_the_head_it_ends_the_connection_without_a_call(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
            await client.half_close()
            assert client.response().status == 400
            assert client.transport.closed

        run(scenario)

    def test_in_the_body_it_ends_the_request(self) -> None:
        application = Recorder()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/", "POST", "Content-Length: 10", body=b"half"))
            await client.half_close()
            assert client.response().status == 400
            assert client.transport.closed

        run(scenario)
        assert application.messages[-1] == {"type": "http.disconnect"}
        assert application.error is None

    def test_in_a_pipelined_request_it_costs_no_response_before_it(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            client.connection.data_received(request("/a") + b"GET /b HTTP")
            client.connection.eof_received()
            await settle()
            assert [response.status for response in client.responses()] == [200, 400]
            assert client.transport.closed

        run(scenario)

    def test_in_a_body_that_nobody_wants_it_just_ends_the_connection(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request("/", "POST", "Content-Length: 10", body=b"half"))
            await client.half_close()
            assert client.response().status == 200
            assert client.transport.closed

        run(scenario)

    def test_it_ends_a_lingering_connection(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(b"nonsense\r\n\r\n")
            assert client.transport.half_closed
            assert not client.transport.closed
            await client.half_close()
            assert client.transport.closed

        run(scenario)

    def test_a_client_that_has_reset_the_connection_does_not_get_to_linger(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = world.connect()
            client.transport.reset_by_client = True
            await client.send(b"nonsense\r\n\r\n")
            assert not world.service.registry.connections

        run(scenario)
