"""appserver.engine.server on real sockets, with both event loops and both parsers."""

from __future__ import annotations

import asyncio
import hashlib
import math
import socket
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.server import until_next_tick
from appserver.settings import HTTPSettings, WorkersSettings
from tests.unit.engine.serving import Peer, listen, serving
from tests.unit.engine.world import LOOPS, PARSERS, echo, parse, request, respond, run, settle

pytestmark = pytest.mark.parametrize("loop", LOOPS)

each_parser = pytest.mark.parametrize("parser", PARSERS)


class TestTicks:
    def test_two_sweeps_are_never_close_together(self, loop: str) -> None:
        """Nothing could have gone on in between. The date is that of the second, all the same."""
        now = [1000.0]
        swept: list[float] = []

        class Swept:
            """A connection on which nothing is under way, as each sweep finds out."""

            deadline = math.inf

            def works(self) -> tuple[()]:
                swept.append(now[0])
                return ()

        async def scenario() -> None:
            async with serving(echo, clock=lambda: now[0], date=lambda: now[0]) as served:
                server, service = served.server, served.server._service
                connections: set[Any] = service.registry.connections
                connections.add(connection := Swept())
                for now[0] in (1000.9, 1001.002, 1002.002):
                    assert server._next_tick is not None
                    server._next_tick.cancel()
                    server._tick()
                    if now[0] == 1001.002:
                        assert service.defaults.date == b"Thu, 01 Jan 1970 00:16:41 GMT"
                connections.remove(connection)

        run(scenario, loop)
        assert swept == [1000.9, 1002.002]

    @pytest.mark.parametrize("date", [0.0, 0.4, 0.9996, 1_700_000_000.9999])
    def test_a_tick_is_due_behind_the_second(self, loop: str, date: float) -> None:
        """The timers of uvloop are early by up to a millisecond."""
        assert 0.0011 < (date + until_next_tick(date)) % 1.0 < 0.1

    def test_what_cannot_be_cancelled_keeps_no_time_limit_from_the_others(self, loop: str) -> None:
        complaints: list[dict[str, Any]] = []
        stuck: list[Stubborn] = []

        class Stubborn(asyncio.Future[None]):
            """Something of the application's, or of a library, that takes no part in cancellation."""

            def cancel(self, msg: object = None) -> bool:
                raise NotImplementedError

        async def wait(scope: Scope, receive: Receive, send: Send) -> None:
            stuck.append(Stubborn())
            await stuck[-1]

        async def scenario() -> None:
            handler = asyncio.get_running_loop()
            handler.set_exception_handler(lambda _, context: complaints.append(context))
            async with serving(wait, clock=lambda: now[0], request_timeout=10) as served:
                peers = [await served.connect() for _ in range(2)]
                for peer in peers:
                    peer.send(request())
                while len(stuck) < 2:
                    await asyncio.sleep(0.001)
                now[0] += 11
                server = served.server
                ticking = server._next_tick
                assert ticking is not None
                ticking.cancel()
                server._tick()
                assert server._next_tick is not ticking, "there is a next one"
                for peer in peers:
                    assert (await peer.response()).status == 504
                    await peer.close()
                assert len(complaints) == 2
                server.cancel()
                assert len(complaints) == 4
                for future in stuck:
                    future.set_result(None)

        now = [1000.0]
        run(scenario, loop)
        assert {type(complaint["exception"]) for complaint in complaints} == {NotImplementedError}


class TestServing:
    @each_parser
    def test_requests_are_served(self, loop: str, parser: Any) -> None:
        async def scenario() -> None:
            async with serving(echo, parser=parser) as served:
                peer = await served.connect()
                peer.send(request("/a") + request("/b", "POST", body=b"hello"))
                assert (await peer.response()).body == b"GET /a "
                response = await peer.response()
                assert response.body == b"POST /b hello"
                assert response.headers[b"server"] == b"appserver"
                assert response.headers[b"date"].endswith(b" GMT")
                await peer.close()

        run(scenario, loop)

    @each_parser
    def test_a_large_upload_arrives_unchanged(self, loop: str, parser: Any) -> None:
        async def digest(scope: Scope, receive: Receive, send: Send) -> None:
            digest = hashlib.sha256()
            more = True
            while more:
                message = await receive()
                digest.update(message["body"])
                more = message["more_body"]
                await asyncio.sleep(0)
            await respond(send, digest.hexdigest().encode())

        body = bytes(range(256)) * 40_000

        async def scenario() -> None:
            async with serving(digest, parser=parser) as served:
                peer = await served.connect()
                peer.send(request("/", "POST", body=body))
                assert (await peer.response()).body == hashlib.sha256(body).hexdigest().encode()
                chunks = (
                    b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (body[:100_000], body[100_000:])) + b"0\r\n\r\n"
                )
                peer.send(request("/", "POST", "Transfer-Encoding: chunked", body=chunks))
                assert (await peer.response()).body == hashlib.sha256(body).hexdigest().encode()
                await peer.close()

        run(scenario, loop)

    @pytest.mark.parametrize("announced", [True, False])
    def test_a_large_download_arrives_unchanged(self, loop: str, announced: bool) -> None:
        body = bytes(range(256)) * 40_000

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-length", b"%d" % len(body))] if announced else []
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for at in range(0, len(body), 100_000):
                await send({"type": "http.response.body", "body": body[at : at + 100_000], "more_body": True})
            await send({"type": "http.response.body"})

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(request("/", "GET", "Connection: close"))
                (response,) = parse(await peer.rest())
                assert response.complete
                assert response.body == body
                await peer.close()

        run(scenario, loop)

    def test_a_response_without_length_in_http_1_0_ends_with_the_connection_or_a_reset(self, loop: str) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
            await asyncio.sleep(0.01)
            if scope["path"] == "/bad":
                raise RuntimeError
            await send({"type": "http.response.body", "body": b" so good"})

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(request("/good", version="1.0"))
                assert parse(await peer.rest())[0].body == b"so far so good"
                await peer.close()
                peer = await served.connect()
                peer.send(request("/bad", version="1.0"))
                with pytest.raises(ConnectionResetError):
                    await peer.rest()
                await peer.close()

        run(scenario, loop)

    def test_a_client_that_is_refused_while_it_uploads_gets_to_know_why(self, loop: str) -> None:
        def upload(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), 30) as client:
                client.sendall(request("/", "POST", "Content-Length: 100000000"))
                sent = 0
                while sent < 3_000_000:
                    sent += client.send(b"x" * 65536)
                return client.recv(65536)

        async def scenario() -> None:
            async with serving(echo, max_body_size=1000) as served:
                port = served.listener.socket.getsockname()[1]
                octets = await asyncio.get_running_loop().run_in_executor(None, upload, port)
                assert parse(octets)[0].status == 413

        run(scenario, loop)

    def test_a_client_that_never_reads_fills_no_memory(self, loop: str) -> None:
        accepted = 0

        async def endless(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal accepted
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                accepted += 65536

        async def scenario() -> None:
            async with serving(endless) as served:
                peer = await served.connect()
                peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.send(request())
                looks, before = 0, -1
                while looks < 5:  # in a row at which nothing more has been accepted: one of them may come at once
                    looks, before = looks + 1 if accepted == before > 0 else 0, accepted
                    await asyncio.sleep(0.05)
                connection = served.link
                buffered = connection._transport.get_write_buffer_size()
                assert 0 < buffered <= 3 * 65536
                peer.writer.transport.abort()
                await served.accepted(0)
                assert not served.log.of("application failed"), "it has heard of the disconnect from send"

        run(scenario, loop)

    def test_one_second_of_many_short_connections_leaves_nothing_behind(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                for _ in range(50):
                    peer = await served.connect()
                    peer.send(request("/", "GET", "Connection: close"))
                    assert parse(await peer.rest())[0].status == 200
                    await peer.close()
                await served.accepted(0)
                assert not served.server._service.registry.connections

        run(scenario, loop)


class TestDraining:
    def test_idle_connections_wait_for_their_next_request_and_are_told_that_it_was_the_last(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                busy, idle, fresh = [await served.connect() for _ in range(3)]
                for peer in (busy, idle):
                    peer.send(request())
                    assert b"connection" not in (await peer.response()).headers
                await served.accepted(3)
                served.server.begin_drain(2)
                await asyncio.sleep(0.05)
                for peer in (busy, fresh):
                    peer.send(request("/last"))
                    response = await peer.response()
                    assert (response.body, response.headers[b"connection"]) == (b"GET /last ", b"close")
                    assert await peer.rest() == b""
                    await peer.close()
                await served.accepted(1)
                assert await idle.rest() == b""
                await idle.close()
                await served.server.wait_drained()

        run(scenario, loop)

    def test_what_waits_in_the_backlog_is_served(self, loop: str) -> None:
        async def scenario() -> None:
            listener = listen()
            host, port = listener.socket.getsockname()
            waiting = [Peer(*await asyncio.open_connection(host, port)) for _ in range(5)]
            async with serving(echo, listener) as served:
                served.server.begin_drain(20)
                for peer in waiting:
                    peer.send(request("/waiting"))
                    response = await peer.response()
                    assert (response.body, response.headers[b"connection"]) == (b"GET /waiting ", b"close")
                    await peer.close()

        run(scenario, loop)

    def test_sweeps_that_follow_each_other_ask_no_event_stream_for_its_end(self, loop: str) -> None:
        heard = asyncio.Event()
        now = [0.0]

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (await receive())["type"] != "http.disconnect":
                pass
            heard.set()

        async def scenario() -> None:
            async with serving(application, clock=lambda: now[0]) as served:
                peer = await served.connect()
                peer.send(request())
                await peer.reader.readuntil(b"\r\n\r\n")
                served.server.begin_drain(20)
                for _ in range(3):
                    served.server.sweep()
                    await settle()
                assert not heard.is_set(), "it has had no second in which it could have sent something"
                now[0] += 1
                served.server.sweep()
                await heard.wait()
                await peer.close()

        run(scenario, loop)

    def test_whoever_says_nothing_when_it_comes_out_of_the_backlog_does_not_delay_the_drain(self, loop: str) -> None:
        async def scenario() -> None:
            listener = listen()
            host, port = listener.socket.getsockname()
            silent = Peer(*await asyncio.open_connection(host, port))
            async with serving(echo, listener) as served:
                served.server.begin_drain(0)
                async with asyncio.timeout(30):
                    assert await silent.rest() == b""
                    await served.server.wait_drained()
                await silent.close()

        run(scenario, loop)

    def test_nothing_is_accepted_any_more(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                served.server.begin_drain(0)
                with socket.create_connection(served.listener.socket.getsockname()) as late:
                    await asyncio.sleep(0.05)
                    assert served.slot.connections == 0
                    late.setblocking(False)
                    late.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    await asyncio.sleep(0.05)
                    with pytest.raises(BlockingIOError):  # it waits in the backlog
                        late.recv(1)

        run(scenario, loop)

    def test_a_running_request_is_waited_for(self, loop: str) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"done")

        async def scenario() -> None:
            async with serving(slow) as served:
                peer = await served.connect()
                peer.send(request("/slow"))
                while not served.server.running():
                    await asyncio.sleep(0.001)
                served.server.begin_drain(0)
                drained = asyncio.ensure_future(served.server.wait_drained())
                await asyncio.sleep(0.05)
                assert not drained.done()
                gate.set()
                response = await peer.response()
                assert (response.body, response.headers[b"connection"]) == (b"done", b"close")
                await peer.close()
                await drained

        run(scenario, loop)

    def test_a_response_that_has_promised_more_is_followed_by_a_last_chance(self, loop: str) -> None:
        gate = asyncio.Event()

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await gate.wait()
            await send({"type": "http.response.body", "body": b"b"})

        async def scenario() -> None:
            async with serving(stream) as served:
                peer = await served.connect()
                peer.send(request("/stream"))
                await peer.reader.readuntil(b"\r\n\r\na")
                served.server.begin_drain(20)
                gate.set()
                assert await peer.reader.readexactly(1) == b"b"
                peer.send(request("/last"))
                assert (await peer.response()).headers[b"connection"] == b"close"
                await peer.close()

        run(scenario, loop)

    def test_what_an_application_does_after_its_response_is_waited_for(self, loop: str) -> None:
        done: list[bool] = []

        async def thorough(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send)
            await asyncio.sleep(0.05)
            done.append(True)

        async def scenario() -> None:
            async with serving(thorough) as served:
                peer = await served.connect()
                peer.send(request("/", "GET", "Connection: close"))
                await peer.rest()
                await peer.close()
                served.server.begin_drain(0)
                await served.server.wait_drained()
                assert done

        run(scenario, loop)

    def test_whoever_delays_a_drain_is_named_and_cancelled(self, loop: str) -> None:
        async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(1000)

        async def scenario() -> None:
            async with serving(stuck) as served:
                peers = []
                for path in ("/first", "/second"):
                    peers.append(await served.connect())
                    peers[-1].send(request(path))
                    while not any(running.path == path for running in served.server.running()):
                        await asyncio.sleep(0.001)
                served.server.begin_drain(0)
                running = served.server.running()
                assert [(report.method, report.path) for report in running] == [("GET", "/first"), ("GET", "/second")]
                assert running[0].age >= running[1].age >= 0
                served.server.cancel()
                for peer in peers:
                    assert (await peer.response()).status == 503
                    await peer.close()
                await served.server.wait_drained()
                assert not served.server.running()

        run(scenario, loop)

    def test_close_does_not_wait_for_anybody(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                peer = await served.connect()
                peer.send(b"GET / HT")
                await served.accepted(1)
                served.server.close()
                await settle()
                assert served.slot.connections == 0
                await peer.close()

        run(scenario, loop)


def test_the_settings_of_the_worker_reach_the_service(loop: str) -> None:
    async def scenario() -> None:
        workers = WorkersSettings(max_concurrency=3, queue_size=2)
        async with serving(
            echo, workers=workers, **HTTPSettings(max_headers=7).model_dump(include={"max_headers"})
        ) as s:
            assert s.server._service.admission is not None
            assert s.server._service.limits.max_headers == 7

    run(scenario, loop)
