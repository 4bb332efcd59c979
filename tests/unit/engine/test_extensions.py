"""The extensions of ASGI that `send` knows: interim responses, trailers, and files."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appserver.asgi.types import Message, Receive, Scope, Send
from appserver.engine.link import RESET, Link
from tests.unit.engine.serving import Served, serving
from tests.unit.engine.world import LOOPS, Client, World, parse, request, run, settle

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PIECE: Message = {"type": "http.response.body", "body": b"body", "more_body": True}
LAST: Message = {"type": "http.response.body", "body": b"body"}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]}

TRAILED: Message = {**START, "trailers": True}
TRAILERS: Message = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
WANTED = request("/", "GET", "TE: trailers", "Connection: te")

INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\n\r\n"

each_loop = pytest.mark.parametrize("loop", LOOPS)


def sending(*messages: Message) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


def played(octets: bytes, *messages: Message) -> tuple[World, Client]:
    """One request to an application that sends these messages."""
    result: list[tuple[World, Client]] = []

    async def scenario() -> None:
        world = World(sending(*messages))
        client = world.connect()
        await client.send(octets)
        result.append((world, client))

    run(scenario)
    return result[0]


def complaint(world: World) -> str:
    (record,) = world.log.of("application failed")
    return str(record["exc_info"])


class TestEarlyHints:
    """RFC 8297."""

    @pytest.mark.parametrize("messages", [[HINT, START, LAST], [START, HINT, LAST]])
    def test_they_go_out_at_once_as_long_as_the_head_has_not(self, messages: list[Message]) -> None:
        world, client = played(request(), *messages)
        assert client.transport.writes[0] == INTERIM
        assert client.responses()[1].body == b"body"
        assert not world.log.records

    def test_there_may_be_several(self) -> None:
        _, client = played(request(), HINT, HINT, START, LAST)
        assert [response.status for response in client.responses()] == [103, 103, 200]

    def test_behind_the_head_they_come_too_late(self) -> None:
        world, _ = played(request(), START, PIECE, HINT)
        assert "after the head" in complaint(world)
        world, _ = played(request(), START, LAST, HINT)
        assert "after the response was complete" in complaint(world)

    def test_http_1_0_knows_no_interim_responses(self) -> None:
        _, client = played(request(version="1.0"), HINT, START, LAST)
        assert client.response().status == 200

    @pytest.mark.parametrize("link", [b"</a>\r\nx: y", "</a>"])
    def test_what_cannot_be_a_link_is_refused(self, link: Any) -> None:
        world, client = played(request(), {**HINT, "links": [link]}, START, LAST)
        assert client.response().status == 500
        assert "link" in complaint(world)


class TestTrailers:
    """RFC 9110 section 6.5."""

    def test_they_follow_the_last_chunk(self) -> None:
        world, client = played(WANTED, TRAILED, PIECE, LAST, TRAILERS)
        head, _, body = client.transport.octets.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert body == b"4\r\nbody\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n"
        assert not client.ended
        assert not world.log.records
        assert world.slot.in_progress == 0

    def test_they_may_come_in_several_messages(self) -> None:
        more = {"type": "http.response.trailers", "headers": [(b"x-other", b"2")], "more_trailers": True}
        _, client = played(WANTED, TRAILED, LAST, more, TRAILERS)
        assert client.transport.octets.endswith(b"\r\n0\r\nx-other: 2\r\nx-sum: 1\r\n\r\n")

    def test_a_client_that_has_not_asked_for_them_gets_none(self) -> None:
        _, client = played(request(), TRAILED, LAST, TRAILERS)
        response = client.response()
        assert (response.body, response.complete) == (b"body", True)
        assert b"x-sum" not in client.transport.octets

    def test_a_body_with_a_length_has_no_place_for_them(self) -> None:
        start = {**TRAILED, "headers": [(b"content-length", b"4")]}
        world, client = played(WANTED, start, LAST, TRAILERS)
        assert client.response().body == b"body"
        assert b"x-sum" not in client.transport.octets
        assert not world.log.records

    def test_neither_has_a_response_without_a_body(self) -> None:
        _, client = played(request("/", "HEAD", "TE: trailers", "Connection: te"), TRAILED, LAST, TRAILERS)
        assert client.response("HEAD").complete

    def test_without_them_the_response_is_not_complete(self) -> None:
        world, client = played(WANTED, TRAILED, LAST)
        assert client.transport.closed
        assert len(world.log.of("application failed")) == 1

    @pytest.mark.parametrize(
        ("messages", "advice"),
        [
            ([START, LAST, TRAILERS], "after the response was complete"),
            ([START, PIECE, TRAILERS], "have to be announced"),
            ([TRAILED, PIECE, TRAILERS], "follow the body"),
            ([TRAILED, LAST, LAST], "behind its body"),
            ([TRAILED, LAST, {**TRAILERS, "headers": [(b"a b", b"c")]}], "not a token"),
            ([TRAILED, LAST, {**TRAILERS, "headers": [(b"a", b"\r\nc")]}], "a control character"),
            ([TRAILED, LAST, {**TRAILERS, "headers": [("a", "b")]}], "pair of bytes"),
            ([TRAILED, LAST, {**TRAILERS, "headers": [(b"Host", b"b")]}], "cannot be a trailer"),
            ([TRAILED, {"type": "http.response.pathsend", "path": "/"}], "with trailers"),
        ],
    )
    def test_what_is_wrong_is_explained(self, messages: list[Message], advice: str) -> None:
        world, _ = played(WANTED, *messages)
        assert advice in complaint(world)


CONTENT = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def answered(octets: bytes, application: Any, loop: str) -> tuple[Served, bytes]:
    """What a server on a real socket has answered up to the end of the connection."""
    result: list[tuple[Served, bytes]] = []

    async def scenario() -> None:
        async with serving(application) as served:
            peer = await served.connect()
            peer.send(octets)
            result.append((served, await peer.rest()))
            await peer.close()

    run(scenario, loop)
    return result[0]


CLOSE = request("/", "GET", "Connection: close")


def with_length(length: int) -> Message:
    return {**START, "headers": [(b"content-length", b"%d" % length)]}


@each_loop
class TestPathsend:
    def test_a_file_is_sent(self, loop: str, file: Path) -> None:
        pathsend = {"type": "http.response.pathsend", "path": str(file)}
        for start in (START, with_length(len(CONTENT))):
            _, octets = answered(CLOSE, sending(start, pathsend), loop)
            (response,) = parse(octets)
            assert response.headers[b"content-length"] == b"%d" % len(CONTENT)
            assert response.body == CONTENT

    def test_the_connection_goes_on_behind_it(self, loop: str, file: Path) -> None:
        application = sending(START, {"type": "http.response.pathsend", "path": str(file)})

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(request() + request())
                for _ in range(2):
                    assert (await peer.response()).body == CONTENT
                await peer.close()

        run(scenario, loop)

    def test_an_empty_file_is_sent(self, loop: str, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        pathsend = {"type": "http.response.pathsend", "path": str(tmp_path / "empty")}
        _, octets = answered(CLOSE, sending(START, pathsend), loop)
        (response,) = parse(octets)
        assert (response.status, response.headers[b"content-length"]) == (200, b"0")

    def test_head_gets_the_length_only(self, loop: str, file: Path) -> None:
        pathsend = {"type": "http.response.pathsend", "path": str(file)}
        _, octets = answered(request("/", "HEAD", "Connection: close"), sending(START, pathsend), loop)
        (response,) = parse(octets, "HEAD")
        assert response.headers[b"content-length"] == b"%d" % len(CONTENT)

    def test_of_a_file_that_has_grown_no_more_is_sent_than_was_announced(self, loop: str, file: Path) -> None:
        pathsend = {"type": "http.response.pathsend", "path": str(file)}
        _, octets = answered(CLOSE, sending(with_length(1000), pathsend), loop)
        assert parse(octets)[0].body == CONTENT[:1000]

    @pytest.mark.parametrize("what", ["missing", "directory", "pipe", "shorter"])
    def test_what_cannot_be_sent_is_answered_500(self, loop: str, file: Path, what: str, tmp_path: Path) -> None:
        path = {"missing": tmp_path / "missing", "directory": tmp_path, "pipe": tmp_path / "p", "shorter": file}[what]
        os.mkfifo(tmp_path / "p")
        start = with_length(len(CONTENT) + 1) if what == "shorter" else START
        served, octets = answered(CLOSE, sending(start, {"type": "http.response.pathsend", "path": str(path)}), loop)
        assert parse(octets)[0].status == 500
        assert len(served.log.of("application failed")) == 1

    def test_a_file_that_is_cut_off_while_it_is_sent_breaks_the_connection(self, loop: str, file: Path) -> None:
        async def scenario() -> None:
            application = sending(START, {"type": "http.response.pathsend", "path": str(file)})
            with file.open("ab") as more:
                more.truncate(50_000_000)
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(request())
                await peer.reader.readexactly(1000)
                os.truncate(file, 1_000_000)
                assert not parse(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n" + await peer.rest())[0].complete
                await peer.close()
                assert "shorter while it was sent" in str(served.log.of("application failed")[0]["exc_info"])

        run(scenario, loop)


@each_loop
class TestCutOffs:
    """An application that goes on with its response where the server could not send all of a file."""

    @staticmethod
    async def answer(application: Any, file: Path) -> tuple[Served, bytes]:
        """The octets behind the head of a large response whose file is cut off, up to the end of the connection."""
        with file.open("ab") as more:
            more.truncate(50_000_000)
        async with serving(application) as served:
            peer = await served.connect()
            peer.send(request() + CLOSE)
            await peer.reader.readuntil(b"\r\n\r\n")
            os.truncate(file, 1_000_000)
            octets = await peer.rest()
            await peer.close()
            return served, octets

    @pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
    @pytest.mark.parametrize("length", [None, 50_000_000])
    def test_nothing_stands_in_place_of_what_is_missing(
        self, loop: str, file: Path, kind: str, length: int | None
    ) -> None:
        start = START if length is None else with_length(length)

        async def careless(scope: Scope, receive: Receive, send: Send) -> None:
            with file.open("rb") as opened:
                await send(start)
                try:
                    message = {"type": f"http.response.{kind}", "path": str(file), "file": opened, "more_body": True}
                    await send(message)
                except Exception:  # noqa: BLE001
                    await send({**LAST, "body": b""})

        async def scenario() -> None:
            served, octets = await self.answer(careless, file)
            assert len(octets) < 50_000_000
            assert b"HTTP/1.1" not in octets, "the next response would be taken for the rest of this one"
            assert served.slot.in_progress == 0

        run(scenario, loop)

    def test_nor_where_the_application_has_not_waited_for_it(self, loop: str, file: Path) -> None:
        async def impatient(scope: Scope, receive: Receive, send: Send) -> None:
            with file.open("rb") as opened:
                await send(START)
                message = {"type": "http.response.zerocopysend", "file": opened, "more_body": True}
                sending = asyncio.ensure_future(send(message))
                await asyncio.sleep(0.01)
                sending.cancel()
                await asyncio.wait([sending])
                await send(LAST)

        async def scenario() -> None:
            _, octets = await self.answer(impatient, file)
            assert not octets.endswith(b"0\r\n\r\n")
            assert b"HTTP/1.1" not in octets

        run(scenario, loop)


async def congested(served: Served) -> None:
    """Wait until the response on the one connection waits for its client."""
    while not any(isinstance(link, Link) and link.congested for link in served.server._service.registry.connections):
        await asyncio.sleep(0.01)


@each_loop
class TestSlowReaders:
    def test_a_file_waits_for_its_reader(self, loop: str, file: Path) -> None:
        with file.open("ab") as more:
            more.truncate(40_000_000)
        ended: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            try:
                await send({"type": "http.response.pathsend", "path": str(file)})
            except OSError as error:
                ended.append(error)
            else:
                ended.append(None)

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(CLOSE)
                await congested(served)
                assert not ended
                assert served.link._transport.get_write_buffer_size() == 0
                (response,) = parse(await peer.rest())
                assert len(response.body) == 40_000_000
                await peer.close()
                peer = await served.connect()
                peer.send(CLOSE)
                await congested(served)
                peer.writer.transport.abort()
                while len(ended) < 2:
                    await asyncio.sleep(0.01)
                assert ended[0] is None
                assert ended[1] is None, "what is sent to a client that has left is ignored"

        run(scenario, loop)

    def test_whoever_takes_nothing_of_it_is_cut_off(self, loop: str, file: Path) -> None:
        with file.open("ab") as more:
            more.truncate(40_000_000)
        application = sending(START, {"type": "http.response.pathsend", "path": str(file)})

        async def scenario() -> None:
            async with serving(application, write_timeout=60) as served:
                peer = await served.connect()
                peer.send(request())
                await congested(served)
                await asyncio.sleep(0.1)
                served.link.expire(served.server._service.clock() + 61)
                await settle()
                assert not served.server._service.registry.connections
                assert served.log.of("connection closed")
                await peer.close()

        run(scenario, loop)

    @pytest.mark.parametrize("turns", range(4))
    def test_a_client_that_leaves_has_not_got_its_file_whatever_transport_the_connection_has(
        self, loop: str, file: Path, turns: int
    ) -> None:
        """For its first turns that is one of our own, and an event loop takes over a connection in several steps."""
        ended: list[Exception | None] = []
        current: list[Served] = []
        begun = threading.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            try:
                with file.open("rb") as opened:
                    await send(START)
                    await send({"type": "http.response.zerocopysend", "file": opened, "count": 1, "more_body": True})
                    begun.set()
                    while not current[0].link.connected() & select.POLLERR:
                        pass  # the event loop does not hear of it before the rest is sent
                    await send({"type": "http.response.zerocopysend", "file": opened})
                await send(LAST)  # ignored, as the client has left; behind a complete response it is an error
            except Exception as error:  # noqa: BLE001
                ended.append(error)
            else:
                ended.append(None)

        def leave(address: tuple[str, int]) -> None:
            with socket.create_connection(address) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.sendall(request())
                begun.wait(20)

        async def scenario() -> None:
            async with serving(application) as served:
                current.append(served)
                await asyncio.to_thread(leave, served.listener.socket.getsockname())
                while not ended:
                    await asyncio.sleep(0.001)
                assert ended == [None]

        run(scenario, loop)

    def test_an_error_of_the_connection_is_none_of_the_application(self, loop: str, file: Path) -> None:
        with file.open("ab") as more:
            more.truncate(40_000_000)
        application = sending(START, {"type": "http.response.pathsend", "path": str(file)})

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(request() * 2000)  # so many that nothing more is read, which would meet the error first
                await congested(served)
                client = served.link._transport.get_extra_info("socket")
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)  # it takes nothing: ETIMEDOUT
                async with asyncio.timeout(20):
                    await served.accepted(0)
                await peer.close()
                assert not served.log.of("application failed")

        run(scenario, loop)

    def test_a_process_without_a_descriptor_to_spare_sends_all_the_same(self, loop: str, file: Path) -> None:
        with file.open("ab") as more:
            more.truncate(20_000_000)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with file.open("rb") as opened:
                await send(START)
                resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
                try:
                    await send({"type": "http.response.zerocopysend", "file": opened})
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        async def scenario() -> None:
            async with serving(application) as served:
                peer = await served.connect()
                peer.send(CLOSE)
                (response,) = parse(await peer.rest())
                assert len(response.body) == 20_000_000
                await peer.close()
                assert not served.log.of("application failed")

        run(scenario, loop)


@each_loop
class TestZerocopysend:
    def test_parts_of_files_are_pieces_of_a_body(self, loop: str, file: Path) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            with file.open("rb") as opened:
                opened.seek(100)
                message = {"type": "http.response.zerocopysend", "file": opened}
                await send(START)
                await send({**message, "offset": 10, "count": 5, "more_body": True})
                await send({**PIECE, "body": b"-between-"})
                await send({**message, "count": 7, "more_body": True})
                await send({**message, "count": 2, "more_body": True})
                await send({**message, "offset": len(CONTENT) - 3, "more_body": True})
                await send({**message, "offset": len(CONTENT), "count": 5})

        _, octets = answered(CLOSE, application, loop)
        (response,) = parse(octets)
        assert response.complete
        assert response.headers[b"transfer-encoding"] == b"chunked"
        assert response.body == CONTENT[10:15] + b"-between-" + CONTENT[100:109] + CONTENT[-3:]

    def test_it_can_be_the_whole_body(self, loop: str, file: Path) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            with file.open("rb") as opened:
                await send(START)
                await send({"type": "http.response.zerocopysend", "file": opened})

        _, octets = answered(CLOSE, application, loop)
        assert parse(octets)[0].body == CONTENT
        assert parse(octets)[0].headers[b"content-length"] == b"%d" % len(CONTENT)

    @pytest.mark.parametrize("part", [{"offset": -1}, {"count": -1}, {"count": "1"}, {"offset": 0.0}])
    def test_what_is_no_part_of_a_file_is_answered_500(self, loop: str, file: Path, part: dict[str, Any]) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            with file.open("rb") as opened:
                await send(START)
                await send({"type": "http.response.zerocopysend", "file": opened, **part, "more_body": True})

        served, octets = answered(CLOSE, application, loop)
        assert parse(octets)[0].status == 500
        assert "a number of octets" in str(served.log.of("application failed")[0]["exc_info"])

    def test_a_body_that_is_longer_than_announced_is_not_sent(self, loop: str, file: Path) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            with file.open("rb") as opened:
                await send(with_length(10))
                await send({"type": "http.response.zerocopysend", "file": opened, "more_body": True})

        served, octets = answered(CLOSE, application, loop)
        assert parse(octets)[0].status == 500
        assert "longer than its content-length" in str(served.log.of("application failed")[0]["exc_info"])
