"""Exchanges over HTTP/2: what an application does with a stream, and what its client gets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.admission import Admission
from appserver.engine.request_id import RequestIDs
from appserver.http2.errors import Code
from appserver.settings import HTTP2Settings, HTTPSettings, RequestIDSettings
from tests.unit.engine.http2_client import GET, HTTP2Client
from tests.unit.engine.world import World, echo, read_body, rejected, respond, run, settle, silent
from tests.unit.http2.client import (
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    Frame,
    frame,
    frames,
    number,
    settings,
)

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
GOODBYE = 2**31 - 1


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses uploads without looking at them."""
    await respond(send, b"no" if scope["method"] == "POST" else b"ok", 401 if scope["method"] == "POST" else 200)


def reads(client: HTTP2Client) -> bool:
    """Whether the server reads what the client sends."""
    return client.transport.reading


def tell(scenario: Callable[[], Awaitable[None]], loop: str = "asyncio") -> None:
    run(scenario, loop)


class TestRequests:
    @LOOPS
    def test_a_request_and_its_response(self, loop: str) -> None:
        seen: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope)
            assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
            await respond(send, b"hello", 201, (b"X-Case", b"kept"), (b"Connection", b"keep-alive"))

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            answer = await client.get("/a%20b?c=d")
            assert (answer.status, answer.body, answer.ended) == (201, b"hello", True)
            assert answer.headers == {b":status": b"201", b"x-case": b"kept", b"content-length": b"5"}
            (scope,) = seen
            assert (scope["http_version"], scope["method"], scope["scheme"]) == ("2", "GET", "https")
            assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=d")
            assert scope["headers"] == [(b"host", b"example.org")]
            assert [line[:2] for line in world.access.lines] == [("GET /a b", 201)]
            assert not client.connection.http2.streams

        run(scenario, loop)

    def test_any_number_at_once_and_in_any_order(self) -> None:
        gates: dict[str, asyncio.Event] = {}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gates.setdefault(scope["path"], asyncio.Event()).wait()
            await respond(send, scope["path"].encode())

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            streams = [await client.request(path=f"/{index}") for index in range(10)]
            for index in reversed(range(10)):
                gates[f"/{index}"].set()
                await client.flush()
                assert client.answers[streams[index]].body == b"/%d" % index
                assert sum(answer.ended for answer in client.answers.values()) == 10 - index

        run(scenario)

    def test_those_beside_the_first_weigh_as_connections_of_their_own(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(app)
            for requests in (5, 1, 0):
                client = await HTTP2Client(world).begin()
                for _ in range(requests):
                    await client.request()
            assert world.service.registry.sweep(world.clock.now, ending=False) == 4
            gate.set()
            await settle()
            assert world.service.registry.sweep(world.clock.now, ending=False) == 0

        run(scenario)

    def test_what_happens_in_one_turn_leaves_in_one_write(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(silent)).begin()
            before = len(client.transport.writes)
            octets = b""
            for stream_id in (1, 3, 5, 7):
                client.h2.send_headers(stream_id, [(b":method", b"GET"), *GET_REST], end_stream=True)
            octets = client.h2.data_to_send()
            await client.octets(octets)
            assert len(client.transport.writes) == before + 1

        run(scenario)

    @pytest.mark.parametrize(
        ("method", "status", "headers", "body"),
        [
            ("HEAD", 200, {b"content-length": b"5"}, b""),
            ("GET", 204, {}, b""),
            ("GET", 304, {b"content-length": b"5"}, b""),
            ("GET", 205, {b"content-length": b"0"}, b""),
        ],
    )
    def test_responses_without_a_body(self, method: str, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"hello", status)

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            answer = client.answers[await client.request(method=method)]
            assert answer.headers == {b":status": b"%d" % status} | headers
            assert (answer.body, answer.ended) == (body, True)

        run(scenario)

    def test_a_head_response_in_pieces_has_one_end(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            for more in (True, True, False):
                await send({"type": "http.response.body", "body": b"piece", "more_body": more})

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            for method, body in (("HEAD", b""), ("GET", b"piece" * 3)):
                answer = client.answers[await client.request(method=method)]
                assert (answer.status, answer.body, answer.ended) == (200, body, True)

        run(scenario)

    def test_default_fields_and_the_id_are_added(self) -> None:
        async def scenario() -> None:
            ids = RequestIDs(RequestIDSettings())
            settings = HTTPSettings(server_header="s", headers=("X-Frame-Options: DENY",))
            world = World(silent, settings, request_ids=ids)
            client = await HTTP2Client(world).begin()
            answer = await client.get()
            assert answer.headers[b"server"] == b"s"
            assert answer.headers[b"x-frame-options"] == b"DENY"
            assert answer.headers[b"x-request-id"].decode() == world.access.ids[0]
            assert b"date" in answer.headers

        run(scenario)

    def test_an_application_that_breaks_its_contract(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b"12345"})

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            assert (await client.get()).status == 500
            assert world.log.of("application failed")

        run(scenario)

    def test_an_application_that_fails_in_its_response(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            answer = await client.get()
            assert (answer.status, answer.ended, answer.reset) == (200, False, Code.INTERNAL_ERROR)
            assert [line[4] for line in world.access.lines] == ["error"]
            assert (await client.get()).status == 200  # the connection goes on

        run(scenario)

    def test_admission_is_for_each_request(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(app, admission=Admission(2, 0, None))
            client = await HTTP2Client(world).begin()
            streams = [await client.request() for _ in range(3)]
            assert [client.answers[stream].status for stream in streams] == [0, 0, 503]
            assert client.answers[streams[2]].headers[b"retry-after"] == b"1"
            gate.set()
            await client.flush()
            assert [client.answers[stream].status for stream in streams] == [200, 200, 503]
            assert rejected(world) == {"overload": 1}

        run(scenario)

    @pytest.mark.parametrize("bad", [(b"x-name", "text"), (b"content-length", "0")])
    def test_a_head_that_cannot_be_sent_leaves_the_other_streams_alone(self, bad: tuple[bytes, Any]) -> None:
        """What it would have put into the table of the client, which never sees it, must not be referred to."""
        fields: list[tuple[bytes, Any]] = [(b"x-other", b"1"), (b"x-name", b"bytes")]

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [fields[0], bad] if scope["path"] == "/bad" else fields
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        async def scenario() -> None:
            world = World(application)
            client = await HTTP2Client(world).begin()
            for path, status in (("/", 200), ("/bad", 500), ("/", 200), ("/", 200)):
                answer = await client.get(path)
                assert answer.status == status
                if status == 200:
                    assert answer.headers[b"x-other"] == b"1"
            assert "pairs of bytes" in str(world.log.of("application failed")[0]["exc_info"])

        run(scenario)

    def test_another_thread_may_look_at_what_is_served_at_any_moment(self) -> None:
        """The threads take turns between any two calls."""
        seen: set[int] = set()
        errors: list[Exception] = []

        async def scenario() -> None:
            world = World(echo)
            client = await HTTP2Client(world).begin()

            def look(_frame: FrameType, _event: str, _argument: object) -> None:
                try:
                    seen.add(len(world.service.registry.oldest(16)))
                except Exception as error:  # noqa: BLE001  # would go where it does not belong
                    errors.append(error)

            sys.setprofile(look)
            try:
                await client.get()
                await client.reset(await client.request(method="POST", body=b"begun", end=False))
            finally:
                sys.setprofile(None)

        run(scenario)
        assert not errors
        assert {0, 1} <= seen


GET_REST = [(b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]


class TestBodies:
    @LOOPS
    def test_a_body_is_echoed(self, loop: str) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(echo)).begin()
            stream = await client.request(method="POST", body=b"one", end=False)
            await client.data(stream, b"two")
            await client.data(stream, b"three", end=True)
            answer = client.answers[stream]
            assert (answer.status, answer.body, answer.ended) == (200, b"POST / onetwothree", True)

        run(scenario, loop)

    def test_a_body_that_is_not_taken_closes_its_own_window_and_no_other(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await gate.wait()
            await respond(send, b"%d" % len(await read_body(receive) or b""))

        async def scenario() -> None:
            client = await HTTP2Client(World(app, http2=HTTP2Settings(stream_window=32 * 1024))).begin()
            slow = await client.request(method="POST", end=False, path="/slow")
            await client.data(slow, bytes(16_000))
            await client.data(slow, bytes(16_000))
            assert client.h2.local_flow_control_window(slow) == 768
            for _ in range(20):
                quick = await client.request(method="POST", end=False)
                for more in (True, True, False):
                    await client.data(quick, bytes(16_000), end=not more)
                assert client.answers[quick].body == b"48000"
            gate.set()
            await client.flush()
            await client.data(slow, bytes(16_000), end=True)
            assert client.answers[slow].body == b"48000"

        run(scenario)

    def test_a_body_in_tiny_pieces_takes_no_more_memory_than_its_octets(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            bodies.append(await read_body(receive) or b"")
            await respond(send)

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            stream = await client.request(method="POST", end=False)
            (exchange,) = client.connection.works()
            await client.octets(frame(DATA, 0, stream, b"ab") * 20_000)
            assert exchange.buffered == 40_000  # type: ignore[attr-defined]
            assert len(exchange._chunks) < 50  # type: ignore[attr-defined]
            gate.set()
            await client.octets(frame(DATA, 1, stream, b"c"))
            assert bodies == [b"ab" * 20_000 + b"c"]

        gate, bodies = asyncio.Event(), list[bytes]()
        run(scenario)

    def test_others_have_a_turn_behind_a_large_read(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(echo)).begin()
            stream = await client.request(method="POST", end=False)
            reads = list[bool]()
            for count in (1000, 6000):
                client.connection.data_received(frame(DATA, 0, stream, b"ab") * count)
                reads.append(client.transport.reading)
            await client.octets(frame(DATA, 1, stream, b"c"))
            reads.append(client.transport.reading)
            assert reads == [True, False, True]
            assert client.answers[stream].body.endswith(b"ab" * 7000 + b"c")

        run(scenario)

    def test_a_body_beyond_the_limit_is_refused(self) -> None:
        async def scenario() -> None:
            world = World(echo, HTTPSettings(max_body_size=10))
            client = await HTTP2Client(world).begin()
            announced = await client.request([(b"content-length", b"11")], method="POST", end=False)
            assert (client.answers[announced].status, client.answers[announced].reset) == (413, None)
            stream = await client.request(method="POST", end=False)
            await client.data(stream, bytes(8))
            await client.data(stream, bytes(8))
            assert client.answers[stream].status == 413
            assert rejected(world) == {"body_too_large": 2}
            assert (await client.get()).status == 200
            await world.pass_time(2)
            client.read()
            assert client.answers[announced].reset == client.answers[stream].reset == Code.NO_ERROR

        run(scenario)

    def test_an_application_that_goes_on_behind_a_refusal_counts_as_a_stream(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(app, HTTPSettings(max_body_size=10), http2=HTTP2Settings(max_concurrent_streams=2))
            client = await HTTP2Client(world).begin()
            for _ in range(2):
                stream = await client.request(method="POST", end=False)
                await client.data(stream, bytes(11))
                assert client.answers[stream].status == 413
            await world.pass_time(2)
            client.read()
            assert not client.connection.http2.streams
            refused = await client.request()
            assert client.answers[refused].reset == Code.REFUSED_STREAM
            gate.set()
            await settle()
            assert (await client.get()).status == 200

        run(scenario)

    def test_a_client_that_waits_is_asked_for_its_body(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(echo)).begin()
            stream = await client.request([(b"expect", b"100-continue")], method="POST", end=False)
            assert client.answers[stream].interim == [[(b":status", b"100")]]
            await client.data(stream, b"now", end=True)
            assert client.answers[stream].body == b"POST / now"

        run(scenario)

    def test_a_response_that_does_not_wait_for_the_body(self) -> None:
        async def scenario() -> None:
            world = World(refusing)
            client = await HTTP2Client(world).begin()
            stream = await client.request(method="POST", body=b"begun", end=False)
            answer = client.answers[stream]
            assert (answer.status, answer.ended, answer.reset) == (401, True, None)
            world.clock.now += 0.4
            world.service.registry.sweep(world.clock.now, ending=False)
            await client.data(stream, b"not wanted")
            assert (answer.ended, answer.reset) == (True, None)
            await world.pass_time(1.1)
            client.read()
            assert (answer.ended, answer.reset) == (True, Code.NO_ERROR)
            assert world.slot.http2.streams == 0

        run(scenario)

    def test_one_whose_body_ends_meanwhile_is_not_reset(self) -> None:
        async def scenario() -> None:
            world = World(refusing)
            client = await HTTP2Client(world).begin()
            stream = await client.request([(b"content-length", b"1000000")], method="POST", body=b"begun", end=False)
            assert client.h2.local_flow_control_window(stream) >= 1_000_000 - 5
            for _ in range(61):
                await client.data(stream, bytes(16_384))
            await client.data(stream, b"", end=True)
            assert not client.connection.http2.streams
            await world.pass_time(3)
            client.read()
            assert client.answers[stream].reset is None
            assert (await client.get()).status == 200

        run(scenario)

    @pytest.mark.parametrize("status", [200, 204, 303])
    def test_an_answer_that_is_no_refusal_is_reset_at_once(self, status: int) -> None:
        async def answering(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"" if status == 204 else b"here", status)

        async def scenario() -> None:
            client = await HTTP2Client(World(answering)).begin()
            stream = await client.request(method="POST", end=False)
            answer = client.answers[stream]
            assert (answer.status, answer.ended, answer.reset) == (status, True, Code.NO_ERROR)

        run(scenario)

    def test_a_refusal_is_not_however_much_is_announced(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(max_body_size=10))
            client = await HTTP2Client(world).begin()
            stream = await client.request([(b"content-length", b"%d" % (1 << 30))], method="POST", end=False)
            assert (client.answers[stream].status, client.answers[stream].reset) == (413, None)

        run(scenario)

    def test_it_counts_as_a_stream_until_it_is_reset(self) -> None:
        async def scenario() -> None:
            world = World(refusing, http2=HTTP2Settings(max_concurrent_streams=1))
            client = await HTTP2Client(world).begin()
            await client.request(method="POST", end=False)
            ends = list[int]()
            for stream in (3, 5):  # `h2` would not begin the first of them
                client.connection.data_received(frame(HEADERS, 5, stream, b"\x82\x87\x84\x41\x01a"))
                await settle()
                last = frames(client.transport.octets)[-1]
                assert last.stream_id == stream
                ends.append(last.kind)
                await world.pass_time(2)
            assert ends == [RST_STREAM, DATA]

        run(scenario)

    def test_one_that_has_not_been_called_is_reset_as_well(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = await HTTP2Client(world).begin()
            stream = await client.request([(b"expect", b"x")], method="POST", end=False)
            assert (client.answers[stream].status, client.answers[stream].reset) == (417, None)
            await world.pass_time(2)
            client.read()
            assert client.answers[stream].reset == Code.NO_ERROR

        run(scenario)

    def test_it_is_not_reset_while_the_client_takes_nothing(self) -> None:
        async def scenario() -> None:
            world = World(refusing)
            client = await HTTP2Client(world).begin()
            stream = await client.request(method="POST", end=False)
            client.transport.congest()
            await world.pass_time(3)
            client.read()
            assert client.answers[stream].reset is None
            client.transport.relieve()
            await world.pass_time(2)
            client.read()
            assert client.answers[stream].reset == Code.NO_ERROR

        run(scenario)

    def test_a_flood_of_little_frames_behind_a_response(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(refusing, http2=HTTP2Settings(max_control_frames=100))).begin()
            stream = await client.request(method="POST", end=False)
            await client.octets(frame(DATA, 0, stream, bytes(300)) * 300)
            assert not client.goaways
            await client.octets(frame(DATA, 0, stream, b"x") * 300)
            assert [code for _, code in client.goaways] == [Code.ENHANCE_YOUR_CALM]

        run(scenario)

    def test_a_connection_that_is_lost_meanwhile(self) -> None:
        async def scenario() -> None:
            world = World(refusing)
            client = await HTTP2Client(world).begin()
            await client.request(method="POST", end=False)
            client.transport.abort()
            await settle()
            await world.pass_time(3)
            assert world.slot.http2.streams == 0

        run(scenario)

    def test_trailers_of_a_request_end_it(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(echo)).begin()
            stream = await client.request(method="POST", body=b"body", end=False)
            client.h2.send_headers(stream, [(b"x-checksum", b"1")], end_stream=True)
            await client.flush()
            assert client.answers[stream].body == b"POST / body"

        run(scenario)

    @LOOPS
    def test_a_large_response_goes_through_small_windows(self, loop: str) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            for index in range(20):
                await send({"type": "http.response.body", "body": bytes([index]) * 50_000, "more_body": index < 19})

        async def scenario() -> None:
            client = await HTTP2Client(World(app), window=20_000).begin()
            answer = await client.get()
            assert answer.body == b"".join(bytes([index]) * 50_000 for index in range(20))
            assert answer.ended

        run(scenario, loop)

    def test_an_application_waits_while_its_client_takes_nothing(self) -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200})
            for _ in range(100):
                await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
                sent += 10_000
            await send({"type": "http.response.body"})

        async def scenario() -> None:
            client = await HTTP2Client(World(app), window=0).begin()
            client.takes_data = False
            stream = await client.request()
            assert 0 < sent <= 80_000
            client.h2.increment_flow_control_window(2_000_000)
            client.h2.increment_flow_control_window(2_000_000, stream)
            for _ in range(5):
                await client.flush()
            assert sent == 1_000_000
            assert len(client.answers[stream].body) == 1_000_000

        run(scenario)

    def test_nothing_is_taken_out_of_the_streams_while_the_transport_is_full(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, bytes(60_000))

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            client.transport.congest()
            before = len(client.transport.octets)
            await client.request()
            assert len(client.transport.octets) == before
            client.transport.relieve()
            await client.flush()
            assert len(client.answers[1].body) == 60_000

        run(scenario)

    def test_a_client_that_reads_no_responses_is_not_read_any_more(self) -> None:
        """Those without a body wait for no window, and do not count as open streams."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": [(b"x-padding", b"x" * 1000)]})
            await send({"type": "http.response.body", "body": b""})

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            client.transport.congest()
            streams = iter(range(1, 20_000, 2))
            asked = []
            while reads(client):
                asked.append(next(streams))
                client.answers[asked[-1]] = client.new_answer()
                client.h2.send_headers(asked[-1], GET, end_stream=True)
                client.connection.data_received(client.h2.data_to_send())
                await settle()
            assert client.connection.http2.pending < 100_000
            client.transport.relieve()
            assert reads(client)
            await client.flush()
            assert all(client.answers[stream].ended for stream in asked)

        run(scenario)


class TestEventStreams:
    def test_the_head_does_not_wait_for_the_first_event_and_a_drain_asks_for_the_end(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"Content-Type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (await receive())["type"] != "http.disconnect":
                pass

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            answer = await client.get()
            assert (answer.status, answer.ended) == (200, False)
            (exchange,) = client.connection._exchanges()
            for _ in range(2):
                exchange.sweep(ending=True)
            await client.flush()
            assert answer.ended

        run(scenario)


class TestExtensions:
    def test_white_space_around_values_does_not_make_a_response_malformed(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.early_hint", "links": [b" </x>; rel=preload "]})
            headers = [(b"x-padded", value) for value in values]
            await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
            await send({"type": "http.response.body"})
            await send({"type": "http.response.trailers", "headers": [(b"x-padded", b" end\t")]})

        values = b"first", b"\tsecond", b"third ", b" "

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            answer = client.answers[await client.request([(b"te", b"trailers")])]
            assert answer.interim == [[(b":status", b"103"), (b"link", b"</x>; rel=preload")]]
            assert answer.headers[b"x-padded"] == b""
            assert answer.trailers == {b"x-padded": b"end"}

        run(scenario)

    def test_files(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(bytes(range(256)) * 1000)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            if scope["path"] == "/path":
                await send({"type": "http.response.pathsend", "path": str(path)})
                return
            with path.open("rb") as file:
                await send({"type": "http.response.zerocopysend", "file": file, "count": 1000, "more_body": True})
                await send({"type": "http.response.zerocopysend", "file": file, "offset": 255_000})

        async def scenario() -> None:
            client = await HTTP2Client(World(app), window=30_000).begin()
            whole = await client.get("/path")
            assert whole.headers[b"content-length"] == b"256000"
            assert whole.body == path.read_bytes()
            parts = await client.get("/parts")
            assert parts.body == path.read_bytes()[:1000] + path.read_bytes()[255_000:]
            head = client.answers[await client.request(method="HEAD", path="/path")]
            assert (head.headers[b"content-length"], head.body, head.ended) == (b"256000", b"", True)

        run(scenario)

    def test_trailers(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "trailers": True})
            await send({"type": "http.response.body", "body": b"message"})
            await send({"type": "http.response.trailers", "headers": [(b"Grpc-Status", b"0")]})

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            answer = client.answers[await client.request([(b"te", b"trailers")])]
            assert (answer.body, answer.trailers, answer.ended) == (b"message", {b"grpc-status": b"0"}, True)
            answer = client.answers[await client.request()]
            assert (answer.body, answer.trailers, answer.ended) == (b"message", {}, True)

        run(scenario)

    def test_early_hints(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
            await respond(send)

        async def scenario() -> None:
            answer = await (await HTTP2Client(World(app)).begin()).get()
            assert answer.interim == [[(b":status", b"103"), (b"link", b"</a.css>; rel=preload")]]
            assert answer.status == 200

        run(scenario)


class TestDisconnects:
    def test_a_reset_is_a_disconnect(self) -> None:
        heard: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            heard.append((await receive())["type"])
            await respond(send)  # which is ignored

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await client.request()
            await client.reset(stream)
            assert heard == ["http.disconnect"]
            assert [line[1:2] + line[4:] for line in world.access.lines] == [(0, "aborted")]
            assert not world.log.of("application failed")

        run(scenario)

    def test_what_is_reset_in_the_same_breath_does_not_run_unseen(self) -> None:
        """Before the task of the application has had its first turn: with TLS, one read may deliver several times."""
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            client.h2.send_headers(1, GET, end_stream=True)
            client.connection.data_received(client.h2.data_to_send())
            client.h2.reset_stream(1)
            client.connection.data_received(client.h2.data_to_send())
            await settle()
            registry = world.service.registry
            assert len(registry.at_work()) == len(registry.left_behind()) == 1
            gate.set()
            await settle()
            assert not registry.background

        run(scenario)

    def test_a_lost_connection_is_one_for_each_request(self) -> None:
        heard: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            heard.append((await receive())["type"])

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            for _ in range(3):
                await client.request()
            client.transport.abort()
            await settle()
            assert heard == ["http.disconnect"] * 3
            assert len(world.access.lines) == 3
            assert not world.service.registry.connections

        run(scenario)

    def test_a_client_that_closes_its_side_has_closed_both(self) -> None:
        """It can open no window any more, so a response that waits for one would wait for ever."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": bytes(50_000), "more_body": True})

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world, window=0).begin()
            await client.request()
            assert not client.connection.eof_received()
            await settle(40)
            assert client.transport.closed
            assert not world.service.registry.exchanges()
            assert [line[4] for line in world.access.lines] == ["aborted"]

        run(scenario)

    def test_who_waits_for_a_window_is_told_as_well(self) -> None:
        ended: list[type] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            try:
                while True:
                    await send({"type": "http.response.body", "body": bytes(50_000), "more_body": True})
            except OSError as error:
                ended.append(type(error))

        async def scenario() -> None:
            client = await HTTP2Client(World(app), window=0).begin()
            stream = await client.request()
            await client.reset(stream)
            await settle(30)
            assert len(ended) == 1

        run(scenario)

    def test_what_is_reset_in_the_same_breath_never_reaches_the_application(self) -> None:
        calls = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal calls
            calls += 1

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            for stream_id in range(1, 41, 2):
                client.h2.send_headers(stream_id, [(b":method", b"GET"), *GET_REST], end_stream=True)
                client.h2.reset_stream(stream_id)
            await client.octets(client.h2.data_to_send())
            assert calls == 0

        run(scenario)

    def test_applications_whose_clients_have_left_count_as_streams(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()

        async def scenario() -> None:
            world = World(app, http2=HTTP2Settings(max_concurrent_streams=5))
            client = await HTTP2Client(world).begin()
            for _ in range(5):
                await client.reset(await client.request())
            stream = await client.request()
            assert client.answers[stream].reset == Code.REFUSED_STREAM
            assert rejected(world) == {"http2_refused": 1}
            gate.set()
            await client.flush()
            stream = await client.request()
            assert client.answers[stream].reset != Code.REFUSED_STREAM

        run(scenario)


class TestTime:
    def test_an_application_that_is_late_is_answered_for(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/begun":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
            await asyncio.sleep(1000)

        async def scenario() -> None:
            world = World(app, HTTPSettings(request_timeout=5))
            client = await HTTP2Client(world).begin()
            late, begun = await client.request(), await client.request(path="/begun")
            await world.pass_time(4)
            assert client.answers[late].status == 0
            await world.pass_time(3)
            await client.flush()
            assert client.answers[late].status == 504
            assert client.answers[begun].reset == Code.INTERNAL_ERROR
            assert rejected(world) == {"request_timeout": 2}

        run(scenario)

    def test_a_body_has_to_go_on(self) -> None:
        async def scenario() -> None:
            world = World(echo, HTTPSettings(body_timeout=5))
            client = await HTTP2Client(world).begin()
            stream = await client.request(method="POST", end=False)
            for _ in range(3):
                await world.pass_time(4)
                await client.data(stream, b"x")
            assert client.answers[stream].reset is None
            await world.pass_time(7)
            await client.flush()
            assert client.answers[stream].reset is not None
            assert rejected(world) == {"body_timeout": 1}

        run(scenario)

    def test_but_not_before_its_client_has_been_asked_for_it(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await echo(scope, receive, send)

        async def scenario() -> None:
            world = World(slow, HTTPSettings(body_timeout=5))
            client = await HTTP2Client(world).begin()
            streams = [await client.request([(b"expect", b"100-continue")], method="POST", end=False) for _ in "12"]
            answered, silent = [client.answers[stream] for stream in streams]
            await world.pass_time(50)
            gate.set()
            await client.flush()
            await world.pass_time(4)
            await client.data(streams[0], b"x", end=True)
            assert (len(answered.interim), answered.status) == (1, 200)
            await world.pass_time(3)
            await client.flush()
            assert (len(silent.interim), silent.status) == (1, 408), "now it has been asked"
            assert rejected(world) == {"body_timeout": 1}

        run(scenario)

    def test_a_window_that_never_opens(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, bytes(100_000))

        async def scenario() -> None:
            world = World(app, HTTPSettings(write_timeout=5))
            client = await HTTP2Client(world, window=0).begin()
            stream = await client.request()
            await world.pass_time(4)
            assert client.answers[stream].reset is None
            await world.pass_time(3)
            await client.flush()
            assert client.answers[stream].reset == Code.CANCEL
            assert rejected(world) == {"write_timeout": 1}
            assert not client.connection.http2.streams

        run(scenario)

    @pytest.mark.parametrize("begun", [False, True])
    def test_a_window_counts_from_when_it_is_needed(self, begun: bool) -> None:
        """However long the client has had nothing to say before that, as it waited for the response."""
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if begun:
                await send({"type": "http.response.body", "body": b"some", "more_body": True})
            await gate.wait()
            await send({"type": "http.response.body", "body": bytes(100_000)})

        async def scenario() -> None:
            world = World(app, HTTPSettings(write_timeout=5))
            client = await HTTP2Client(world).begin()
            client.takes_data = False
            stream = await client.request()
            await world.pass_time(30)
            gate.set()
            await settle()
            await world.pass_time(3)
            await client.flush()
            assert client.answers[stream].reset is None
            await world.pass_time(4)
            await client.flush()
            assert client.answers[stream].reset == Code.CANCEL

        run(scenario)

    def test_a_header_block_that_is_never_complete(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(header_timeout=5))
            client = await HTTP2Client(world).begin()
            await client.octets(b"\0\0\1\1\0\0\0\0\1\x82")
            await world.pass_time(7)
            client.read()
            assert client.goaways[-1][1] == Code.ENHANCE_YOUR_CALM
            assert client.ended
            assert rejected(world) == {"http2_flood": 1}

        run(scenario)

    def test_settings_that_are_never_acknowledged(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(header_timeout=5))
            client = HTTP2Client(world)
            head = frame(HEADERS, 5, 1, b"\x82\x87\x84\x41\x01a")
            client.connection.data_received(PREFACE + settings() + head)
            await world.pass_time(7)
            last = frames(client.transport.octets)[-1]
            assert (last.kind, last.number) == (GOAWAY, Code.SETTINGS_TIMEOUT)

        run(scenario)

    def test_a_connection_that_says_nothing(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(header_timeout=5))
            client = HTTP2Client(world)
            await world.pass_time(7)
            assert client.ended

        run(scenario)

    def test_an_idle_connection_ends_also_behind_the_highest_stream(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(keepalive_timeout=5))
            client = await HTTP2Client(world).begin()
            client._next = 2**31 - 1
            stream = await client.request()
            assert client.answers[stream].status == 200
            await world.pass_time(6)
            await client.flush()
            assert client.goaways == [(stream, 0)]
            assert client.ended

        run(scenario)

    def test_an_idle_connection_is_ended_with_goaway(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(keepalive_timeout=5))
            client = await HTTP2Client(world).begin()
            await client.get()
            await world.pass_time(4)
            await client.get()
            await world.pass_time(4)
            assert not client.ended
            await world.pass_time(3)
            client.read()
            assert client.goaways == [(3, Code.NO_ERROR)]
            assert client.ended

        run(scenario)


class TestDrain:
    def test_an_idle_connection_may_have_its_next_request_and_is_warned_with_the_response(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = await HTTP2Client(world).begin()
            await client.get()
            client.connection.drain()
            await client.flush()
            assert not client.goaways
            written = len(client.transport.writes)
            assert (await client.get()).status == 200
            assert len(client.transport.writes) == written + 1, "who reads the response reads the warning as well"
            assert client.goaways == [(GOODBYE, 0)]
            await world.pass_time(2)
            client.read()
            assert client.goaways == [(GOODBYE, 0), (3, 0)]
            assert client.ended

        run(scenario)

    @pytest.mark.parametrize("client_ends", [False, True])
    def test_a_request_that_goes_on_behind_its_response_delays_the_end_little(self, *, client_ends: bool) -> None:
        async def scenario() -> None:
            world = World(refusing)
            client = await HTTP2Client(world).begin()
            stream = await client.request(method="POST", end=False)
            client.connection.drain()
            client.connection.close_if_idle()
            await client.flush()
            assert (client.answers[stream].ended, client.goaways) == (True, [])
            if client_ends:
                await client.data(stream, b"", end=True)
            else:
                await world.pass_time(1)
                client.read()
            assert client.answers[stream].reset == (None if client_ends else Code.NO_ERROR)
            assert client.goaways == [(GOODBYE, 0)]
            await world.pass_time(2)
            client.read()
            assert client.goaways == [(GOODBYE, 0), (stream, 0)]
            assert client.ended

        run(scenario)

    def test_one_without_another_request_is_told_which_was_the_last(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(silent)).begin()
            await client.get()
            client.connection.drain()
            client.connection.close_if_idle()
            await client.flush()
            assert client.goaways == [(1, 0)]
            assert client.ended

        run(scenario)

    def test_what_crosses_the_warning_is_served(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = await HTTP2Client(world).begin()
            await client.get()
            client.connection.drain()
            await client.get()
            written = len(client.transport.octets)
            client.connection.data_received(frame(HEADERS, 5, 5, b"\x82\x87\x84\xbe"))
            await settle()
            head, *_, end = frames(client.transport.octets[written:])
            assert (head.kind, head.stream_id, end.stream_id, end.flags & 1) == (HEADERS, 5, 5, 1)
            await world.pass_time(2)
            assert frames(client.transport.octets[written:])[-1].payload == number(5) + number(0)
            assert client.ended

        run(scenario)

    def test_a_busy_one_is_warned_at_its_first_quiet_moment(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"done")

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            await client.request()
            client.connection.drain()
            await client.flush()
            assert not client.goaways
            await client.request()
            gate.set()
            await client.flush()
            assert [client.answers[stream].body for stream in (1, 3)] == [b"done"] * 2
            assert client.goaways == [(GOODBYE, 0)]
            assert not world.service.registry.exchanges()

        run(scenario)

    def test_one_that_begins_nothing_more_is_not_warned_before_it_has_its_response(self) -> None:
        """Clients that stand on `h2` would lose it."""
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"done")

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await client.request()
            client.connection.drain()
            await world.pass_time(5)
            client.connection.close_if_idle()
            await client.flush()
            assert not client.goaways
            gate.set()
            await client.flush()
            assert client.answers[stream].body == b"done"
            assert client.goaways == [(GOODBYE, 0)]
            await world.pass_time(2)
            assert client.ended

        run(scenario)

    def test_one_that_is_never_quiet_is_warned_and_then_refused_what_can_be_tried_elsewhere(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"done")

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            await client.request()
            written = len(client.transport.octets)

            def sent() -> list[Frame]:  # `h2` reads nothing behind a first GOAWAY
                nonlocal written
                octets = client.transport.octets[written:]
                written += len(octets)
                return frames(octets)

            def receive(octets: bytes) -> None:
                client.connection.data_received(octets)

            client.connection.drain()
            receive(frame(HEADERS, 5, 3, b"\x82\x87\x84\xbe"))
            await world.pass_time(3)
            warning, ping = sent()
            assert (warning.kind, warning.payload) == (GOAWAY, number(GOODBYE) + number(0))
            receive(frame(HEADERS, 5, 5, b"\x82\x87\x84\xbe"))  # which the client sent before it saw that
            receive(frame(PING, 1, 0, ping.payload))
            (last,) = sent()
            assert last.payload == number(5) + number(0)
            receive(frame(HEADERS, 5, 7, b"\x82\x87\x84\xbe"))
            (refusal,) = sent()
            assert (refusal.kind, refusal.stream_id, refusal.number) == (RST_STREAM, 7, Code.REFUSED_STREAM)
            assert not client.ended
            gate.set()
            await settle()
            assert {found.stream_id for found in sent() if found.flags == 1} == {1, 3, 5}
            assert client.ended

        run(scenario)

    def test_a_connection_from_the_backlog_of_a_server_that_stops_has_its_requests(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            world.service.draining = True
            client = await HTTP2Client(world).begin()
            assert not client.ended
            assert (await client.get()).status == 200
            assert client.goaways == [(GOODBYE, 0)]
            await world.pass_time(2)
            assert client.ended

        run(scenario)

    def test_after_so_many_requests_a_client_should_connect_again(self) -> None:
        async def scenario() -> None:
            world = World(silent, HTTPSettings(max_requests_per_connection=3))
            client = await HTTP2Client(world).begin()
            for _ in range(3):
                assert not client.goaways
                assert (await client.get()).status == 200
            assert client.goaways == [(GOODBYE, 0)]
            await world.pass_time(2)
            assert client.ended

        run(scenario)

    def test_a_client_that_leaves_is_let_go(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(silent)).begin()
            await client.get()
            client.h2.close_connection()
            await client.flush()
            assert client.ended

        run(scenario)


class TestViolations:
    def test_a_violation_ends_the_connection_and_all_that_is_under_way(self) -> None:
        heard: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            heard.append((await receive())["type"])

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            await client.request()
            await client.octets(b"\0\0\0\6\0\0\0\0\0")
            assert client.goaways == [(1, Code.FRAME_SIZE_ERROR)]
            assert client.ended
            assert heard == ["http.disconnect"]
            assert rejected(world) == {"http2_error": 1}
            assert "PING" in world.log.of("connection closed")[0]["detail"]

        run(scenario)

    def test_a_malformed_request_ends_its_stream(self) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = await HTTP2Client(world).begin()
            stream = await client.request([(b"connection", b"close")])
            assert client.answers[stream].reset == Code.PROTOCOL_ERROR
            assert rejected(world) == {"http2_stream": 1}
            assert (await client.get()).status == 200

        run(scenario)

    @pytest.mark.parametrize(
        ("path", "headers", "status"),
        [("/" + "x" * 9000, [], 414), ("/", [(b"x", b"y" * 66_000)], 431), ("/", [(b"expect", b"x")], 417)],
    )
    def test_what_cannot_be_served_is_answered(
        self, path: str, headers: list[tuple[bytes, bytes]], status: int
    ) -> None:
        async def scenario() -> None:
            world = World(silent)
            client = await HTTP2Client(world).begin()
            answer = client.answers[await client.request(headers, path=path)]
            assert (answer.status, answer.ended) == (status, True)
            size = len(answer.body)
            assert size > 0
            answer = client.answers[await client.request(headers, method="HEAD", path=path)]
            assert (answer.status, answer.ended, answer.body) == (status, True, b""), "RFC 9110 section 9.3.2"
            assert int(dict(answer.headers)[b"content-length"]) == size
            assert (await client.get()).status == 200

        run(scenario)

    def test_a_rapid_reset_ends_the_connection(self) -> None:
        async def scenario() -> None:
            world = World(silent, http2=HTTP2Settings(max_resets=10))
            client = await HTTP2Client(world).begin()
            for stream_id in range(1, 41, 2):
                client.h2.send_headers(stream_id, [(b":method", b"GET"), *GET_REST], end_stream=True)
                client.h2.reset_stream(stream_id)
            await client.octets(client.h2.data_to_send())
            assert client.goaways[-1][1] == Code.ENHANCE_YOUR_CALM
            assert rejected(world) == {"http2_flood": 1}

        run(scenario)
