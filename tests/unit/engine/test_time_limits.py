"""The limits of `[http]` on time: clients that send nothing, or take nothing, and applications that are late."""

from __future__ import annotations

import asyncio

from appserver.asgi.types import Receive, Scope, Send
from appserver.settings import HTTPSettings
from tests.unit.engine.world import World, echo, read_body, rejected, request, respond, run, settle, silent


async def patient(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for everything it can get, and for the end."""
    while (await receive())["type"] != "http.disconnect":
        pass


class TestClientsThatSendNothing:
    def test_a_silent_connection_is_closed_without_a_word(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(header_timeout=10))
            client = world.connect()
            await world.pass_time(9)
            assert not client.transport.is_closing()
            await world.pass_time(2)
            assert client.transport.closed
            assert client.transport.octets == b""
            assert not rejected(world)

        run(scenario)

    def test_a_head_has_to_be_complete_in_time_however_busy_its_client_looks(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(header_timeout=10))
            client = world.connect()
            for _ in range(9):
                await client.send(b"GET" if not client.connection.received else b"X")
                await world.pass_time(1)
            assert not client.ended
            await world.pass_time(2)
            assert client.response().status == 408
            assert rejected(world) == {"header_timeout": 1}
            assert "http.header_timeout" in world.log.of("request refused")[0]["detail"]
            client = world.connect()
            await client.send(b"HEAD / HTTP/1.1\r\n")
            await world.pass_time(11)
            assert client.transport.octets.startswith(b"HTTP/1.1 408 ")
            assert client.transport.octets.endswith(b"\r\n\r\n"), "no body for HEAD (RFC 9110 section 9.3.2)"

        run(scenario)

    def test_so_has_that_of_a_later_request_from_its_first_octet_on(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(header_timeout=10, keepalive_timeout=75))
            client = world.connect()
            await client.send(request())
            await world.pass_time(60)
            await client.send(b"GET")
            await world.pass_time(9)
            assert not client.ended
            await world.pass_time(2)
            assert [response.status for response in client.responses()] == [200, 408]

        run(scenario)

    def test_an_idle_connection_is_closed(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(keepalive_timeout=75))
            client = world.connect()
            await client.send(request())
            await world.pass_time(74)
            assert not client.ended
            await world.pass_time(2)
            assert client.transport.closed
            assert client.response().status == 200
            assert not rejected(world)

        run(scenario)

    def test_each_request_renews_it(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(keepalive_timeout=5))
            client = world.connect()
            for _ in range(4):
                await client.send(request())
                await world.pass_time(4)
            assert len(client.responses()) == 4

        run(scenario)

    def test_a_body_that_makes_no_progress_ends_the_request(self) -> None:
        async def scenario() -> None:
            world = World(patient, HTTPSettings(body_timeout=30))
            client = world.connect()
            await client.send(request("/", "POST", "Content-Length: 10"))
            for _ in range(3):
                await world.pass_time(29)
                await client.send(b"x")
            assert not client.ended
            await world.pass_time(31)
            assert client.response().status == 408
            assert rejected(world) == {"body_timeout": 1}
            assert world.access.lines[0][1:2] == (408,)

        run(scenario)

    def test_no_limit_of_the_body_is_left_when_it_is_complete(self) -> None:
        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive)
            await gate.wait()
            await respond(send, b"late")

        gate = asyncio.Event()

        async def scenario() -> None:
            world = World(slow, HTTPSettings(body_timeout=30, request_timeout=0))
            client = world.connect()
            await client.send(request("/", "POST", "Content-Length: 2"), b"x", b"y")
            await world.pass_time(300)
            assert not client.ended
            gate.set()
            await settle()
            assert client.response().body == b"late"
            await client.vanish()

        run(scenario)

    def test_a_body_that_nobody_wants_may_not_take_long_either(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(body_timeout=30))
            client = world.connect()
            await client.send(request("/", "POST", "Content-Length: 10"))
            await world.pass_time(31)
            assert client.response().status == 200
            assert client.ended

        run(scenario)

    def test_it_is_not_the_client_who_is_late_while_the_application_takes_nothing(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await echo(scope, receive, send)

        async def scenario() -> None:
            world = World(slow, HTTPSettings(body_timeout=30))
            client = world.connect()
            await client.send(request("/", "POST", "Content-Length: 100001", body=b"x" * 100_000))
            await world.pass_time(300)
            assert not client.ended
            gate.set()
            await settle()
            await world.pass_time(29)
            await client.send(b"x")
            assert client.response().status == 200

        run(scenario)

    def test_nor_while_it_waits_to_be_asked_for_its_body(self) -> None:
        """RFC 9110 section 10.1.1."""
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await echo(scope, receive, send)

        async def scenario() -> None:
            world = World(slow, HTTPSettings(body_timeout=30))
            answered, silent = world.connect(), world.connect()
            for client in (answered, silent):
                await client.send(request("/", "POST", "Content-Length: 1", "Expect: 100-continue"))
            await world.pass_time(300)
            assert not answered.transport.octets
            gate.set()
            await settle()
            await world.pass_time(29)
            await answered.send(b"x")
            assert [response.status for response in answered.responses()] == [100, 200]
            await world.pass_time(2)
            assert [response.status for response in silent.responses()] == [100, 408], "now it has been asked"
            assert rejected(world) == {"body_timeout": 1}

        run(scenario)

    def test_an_application_that_is_at_work_is_waited_for(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(slow)
            client = world.connect()
            await client.send(request())
            await world.pass_time(10_000)
            assert not client.ended
            gate.set()
            await settle()
            assert client.response().status == 200

        run(scenario)

    def test_an_answered_client_has_a_moment_to_close(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = world.connect()
            await client.send(b"nonsense\r\n\r\n")
            await world.pass_time(1)
            await client.send(b"more of it")
            assert not client.transport.is_closing()
            await world.pass_time(2)
            assert client.transport.closed

        run(scenario)

    def test_zero_switches_the_limits_off(self) -> None:
        settings = HTTPSettings(header_timeout=0, body_timeout=0, keepalive_timeout=0, write_timeout=0)

        async def scenario() -> None:
            world = World(patient, settings)
            clients = [world.connect() for _ in range(4)]
            await clients[1].send(b"GET / HTTP")
            await clients[2].send(request("/", "POST", "Content-Length: 10"))
            await clients[3].send(request())
            clients[3].transport.congest()
            await world.pass_time(5000)
            assert not any(client.ended for client in clients)
            for client in clients:
                await client.vanish()

        run(scenario)


class TestClientsThatTakeNothing:
    @staticmethod
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            try:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            except OSError:
                return
            await asyncio.sleep(0)

    def test_their_connection_is_aborted(self) -> None:
        async def scenario() -> None:
            world = World(self.endless, HTTPSettings(write_timeout=60))
            client = world.connect()
            await client.send(request())
            client.transport.congest()
            await world.pass_time(59)
            assert not client.transport.was_aborted()
            await world.pass_time(2)
            assert client.transport.aborted
            assert rejected(world) == {"write_timeout": 1}
            assert "http.write_timeout" in world.log.of("connection closed")[0]["detail"]
            await settle(600)  # it takes the application some messages more to learn of it

        run(scenario)

    def test_whoever_takes_a_little_now_and_then_is_slow_but_not_dead(self) -> None:
        async def scenario() -> None:
            world = World(self.endless, HTTPSettings(write_timeout=60))
            client = world.connect()
            await client.send(request())
            client.transport.congest(100_000)
            for taken in range(1, 6):
                await world.pass_time(59)
                client.transport.buffered = 100_000 - taken
            await world.pass_time(30)
            assert not client.transport.was_aborted()
            await world.pass_time(120)
            assert client.transport.aborted

        run(scenario)

    def test_what_is_not_taken_of_the_last_response_does_not_keep_the_connection(self) -> None:
        async def closing(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"x" * 1000, 200, (b"connection", b"close"))

        async def scenario() -> None:
            world = World(closing, HTTPSettings(write_timeout=60))
            client = world.connect()
            client.transport.buffered = 1000
            await client.send(request("/", "GET", "Connection: close"))
            assert client.transport.closed
            await world.pass_time(59)
            assert world.service.registry.connections
            await world.pass_time(3)
            assert not world.service.registry.connections

        run(scenario)

    def test_a_relieved_connection_is_under_no_limit(self) -> None:
        gate = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(application, HTTPSettings(write_timeout=60))
            client = world.connect()
            await client.send(request())
            client.transport.congest()
            client.transport.relieve()
            await world.pass_time(600)
            assert not client.ended
            gate.set()
            await settle()
            assert client.response().status == 200

        run(scenario)


class TestLateApplications:
    def test_a_request_that_takes_too_long_is_answered_504_and_its_task_cancelled(self) -> None:
        cancelled: list[str] = []

        async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await asyncio.sleep(1_000_000)
            except asyncio.CancelledError:
                cancelled.append(scope["path"])
                raise

        async def scenario() -> None:
            world = World(stuck, HTTPSettings(request_timeout=5))
            client = world.connect()
            await client.send(request("/stuck"))
            await world.pass_time(4)
            assert not client.ended
            await world.pass_time(2)
            assert client.response().status == 504
            assert client.transport.half_closed
            assert rejected(world) == {"request_timeout": 1}
            assert world.access.lines == [
                ("GET /stuck", 504, len(request("/stuck")), len(client.transport.octets), "timed_out")
            ]
            (record,) = world.log.of("request timed out")
            assert record["path"] == "/stuck"
            assert "http.request_timeout" in record["detail"]
            assert "in stuck" in record["stack"]
            assert "asyncio.sleep(1_000_000)" in record["stack"]
            assert not world.log.of("application failed")

        run(scenario)
        assert cancelled == ["/stuck"]

    def test_a_response_that_takes_too_long_is_broken_off(self) -> None:
        async def trickle(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"drop", "more_body": True})
            await asyncio.sleep(1_000_000)

        async def scenario() -> None:
            world = World(trickle, HTTPSettings(request_timeout=5))
            client = world.connect()
            await client.send(request())
            await world.pass_time(6)
            assert not client.response().complete
            assert client.transport.closed
            assert world.access.lines[0][4] == "timed_out"

        run(scenario)

    def test_an_application_that_ignores_its_cancellation_cannot_answer_any_more(self) -> None:
        errors: list[BaseException] = []

        async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await asyncio.sleep(1_000_000)
            except asyncio.CancelledError:
                pass
            try:
                await respond(send, b"but I was nearly done")
            except OSError as error:
                errors.append(error)

        async def scenario() -> None:
            world = World(stubborn, HTTPSettings(request_timeout=5))
            client = world.connect()
            await client.send(request())
            await world.pass_time(6)
            assert client.response().status == 504
            assert not world.service.registry.background

        run(scenario)
        assert len(errors) == 1

    def test_what_it_does_after_the_response_is_not_limited(self) -> None:
        gate = asyncio.Event()
        ended = asyncio.Event()

        async def thorough(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send)
            await gate.wait()
            ended.set()

        async def scenario() -> None:
            world = World(thorough, HTTPSettings(request_timeout=5))
            client = world.connect()
            await client.send(request())
            await world.pass_time(60)
            gate.set()
            await settle()
            assert ended.is_set()
            assert client.response().status == 200

        run(scenario)

    def test_a_slow_upload_counts(self) -> None:
        async def scenario() -> None:
            world = World(echo, HTTPSettings(request_timeout=20, body_timeout=10))
            client = world.connect()
            await client.send(request("/", "POST", "Content-Length: 100"))
            for _ in range(4):
                await world.pass_time(4)
                await client.send(b"x")
            assert not client.ended
            await world.pass_time(5)
            assert client.response().status == 504

        run(scenario)


def test_what_reads_the_body_hears_of_every_end() -> None:
    ends: list[bytes | None] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        ends.append(await read_body(receive))

    async def scenario() -> None:
        world = World(application, HTTPSettings(body_timeout=5))
        client = world.connect()
        await client.send(request("/", "POST", "Content-Length: 2", body=b"x"))
        await world.pass_time(6)
        assert client.response().status == 408

    run(scenario)
    assert ends == [None]
