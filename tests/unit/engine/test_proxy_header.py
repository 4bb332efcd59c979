"""appserver.engine.proxy_header: connections that a proxy makes for others, on real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.listener import Listener
from appserver.settings import ProxySettings
from tests.unit.engine.serving import Peer, listen, serving
from tests.unit.engine.test_secure import Script, secure, until
from tests.unit.engine.world import LOOPS, request, respond, run
from tests.unit.proxy.test_protocol import v2

pytestmark = pytest.mark.parametrize("loop", LOOPS)

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
TRUSTING = ProxySettings(trusted=("127.0.0.1", "unix"))


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, json.dumps([scope["client"], scope["server"], scope["scheme"]]).encode())


def listener(directory: Path | None = None, *, tls: bool = False) -> Listener:
    bound = listen() if directory is None else listen(directory / "s.sock")
    return Listener(bound.socket, bound.name, tls=tls, proxy_protocol=True)


async def described(peer: Peer) -> Any:
    return json.loads((await peer.response()).body)


ANNOUNCED = [["192.0.2.1", 56324], ["198.51.100.1", 443], "http"]


@pytest.mark.parametrize("header", [V1, v2(), v2(tlvs=b"\x04\x00\x10" + b"x" * 16)])
@pytest.mark.parametrize("pieces", ["one", "octets"])
def test_the_client_is_the_one_that_the_proxy_names(loop: str, header: bytes, pieces: str) -> None:
    async def scenario() -> None:
        async with serving(describe, listener(), proxy=TRUSTING) as served:
            peer = await served.connect()
            octets = header + request()
            for piece in [octets] if pieces == "one" else [octets[n : n + 1] for n in range(len(octets))]:
                peer.send(piece)
                await peer.writer.drain()
                await asyncio.sleep(0)
            assert await described(peer) == ANNOUNCED
            peer.send(request())
            assert await described(peer) == ANNOUNCED
            await peer.close()

    run(scenario, loop)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(command=0x20, kind=0, block=b"")])
def test_a_health_check_of_the_proxy_speaks_for_itself(loop: str, header: bytes) -> None:
    async def scenario() -> None:
        async with serving(describe, listener(), proxy=TRUSTING) as served:
            peer = await served.connect()
            peer.send(header + request())
            client, server, _ = await described(peer)
            assert client == list(peer.writer.get_extra_info("sockname"))
            assert server == list(served.listener.socket.getsockname())
            await peer.close()

    run(scenario, loop)


NAMELESS = [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2\r\n", v2(kind=0x00, block=b""), v2(kind=0x12)]


@pytest.mark.parametrize("header", NAMELESS)
def test_a_client_that_the_proxy_cannot_name_is_not_believed(loop: str, header: bytes) -> None:
    async def scenario() -> None:
        async with serving(describe, listener(), proxy=TRUSTING) as served:
            peer = await served.connect()
            peer.send(header + request("/", "GET", "X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https"))
            client, _, scheme = await described(peer)
            assert (client, scheme) == (list(peer.writer.get_extra_info("sockname")), "http")
            await peer.close()

    run(scenario, loop)


def test_a_health_check_of_the_proxy_is_believed_as_the_proxy_is(loop: str) -> None:
    async def scenario() -> None:
        async with serving(describe, listener(), proxy=TRUSTING) as served:
            peer = await served.connect()
            peer.send(v2(command=0x20, kind=0, block=b"") + request("/", "GET", "X-Forwarded-For: 203.0.113.5"))
            client, _, _ = await described(peer)
            assert client == ["203.0.113.5", 0]
            await peer.close()

    run(scenario, loop)


def test_the_client_behind_the_proxy_is_trusted_on_its_own_merits(loop: str) -> None:
    """Its header fields count only if it is a trusted proxy itself."""

    async def scenario() -> None:
        fields = ("X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https")
        async with serving(describe, listener(), proxy=TRUSTING) as served:
            peer = await served.connect()
            peer.send(V1 + request("/", "GET", *fields))
            assert await described(peer) == ANNOUNCED
            await peer.close()
        second = ProxySettings(trusted=("127.0.0.1", "192.0.2.1"))
        async with serving(describe, listener(), proxy=second) as served:
            peer = await served.connect()
            peer.send(V1 + request("/", "GET", *fields))
            assert await described(peer) == [["203.0.113.5", 0], ["198.51.100.1", 443], "https"]
            await peer.close()

    run(scenario, loop)


def test_in_front_of_tls(loop: str) -> None:
    async def scenario() -> None:
        async with serving(describe, listener(tls=True), proxy=TRUSTING, tls=secure()) as served:
            peer = await served.connect()
            peer.send(v2())
            script = Script(peer)
            await script.shake_hands()
            peer.send(script.write(request()))
            answer = await script.read()
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == [*ANNOUNCED[:2], "https"]
            await peer.close()

    run(scenario, loop)


def test_on_a_unix_socket(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(describe, listener(tmp_path), proxy=TRUSTING) as served:
            peer = await served.connect()
            peer.send(V1 + request())
            assert await described(peer) == ANNOUNCED
            await peer.close()

    run(scenario, loop)


class TestRefusals:
    @pytest.mark.parametrize(
        "octets", [request(), b"\x16\x03\x01\x02\x00\x01", b"PROXY nonsense\r\n", v2(command=0x2F)]
    )
    def test_one_that_does_not_begin_with_a_header_is_closed(self, loop: str, octets: bytes) -> None:
        async def scenario() -> None:
            async with serving(describe, listener(), proxy=TRUSTING) as served:
                peer = await served.connect()
                peer.send(octets)
                try:
                    assert await peer.rest() == b""
                except ConnectionResetError:
                    pass
                await peer.close()
                (record,) = served.log.of("connection refused")
                assert (record["reason"], record["client"]) == ("proxy_protocol", "127.0.0.1")
                await until(lambda: not served.server._service.registry.connections)

        run(scenario, loop)

    def test_one_whose_peer_is_not_trusted_is_closed_whatever_it_says(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(describe, listener(), proxy=ProxySettings(trusted=("10.0.0.0/8",))) as served:
                peer = await served.connect()
                peer.send(V1 + request())
                try:
                    assert await peer.rest() == b""
                except ConnectionResetError:
                    pass
                await peer.close()
                (record,) = served.log.of("connection refused")
                assert record["detail"] == "the peer is not in proxy.trusted"

        run(scenario, loop)

    @pytest.mark.parametrize("octets", [b"", V1[:20], v2()[:14]])
    def test_the_header_has_to_be_there_in_time(self, loop: str, octets: bytes) -> None:
        async def scenario() -> None:
            async with serving(describe, listener(), proxy=TRUSTING, header_timeout=0.01) as served:
                peer = await served.connect()
                peer.send(octets)
                assert await peer.rest() == b""
                await peer.close()

        run(scenario, loop)

    @pytest.mark.parametrize("octets", [b"", V1[:20]])
    def test_one_that_ends_before_its_header_is_no_matter(self, loop: str, octets: bytes) -> None:
        async def scenario() -> None:
            async with serving(describe, listener(), proxy=TRUSTING) as served:
                peer = await served.connect()
                peer.send(octets)
                peer.writer.write_eof()
                assert await peer.rest() == b""
                await peer.close()
                assert not served.log.records
                await until(lambda: not served.server._service.registry.connections)

        run(scenario, loop)
