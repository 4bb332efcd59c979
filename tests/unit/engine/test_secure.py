"""appserver.engine.secure: HTTP over TLS on real sockets, as clients of every kind of manners speak it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from appserver.asgi.types import ASGIApplication, Receive, Scope, Send
from appserver.engine.link import Link
from appserver.engine.listener import Listener
from appserver.engine.secure import SecureTransport
from appserver.settings import TLSSettings
from appserver.tls import Material, Pair, ServerTLS
from tests.support.certificates import Authority
from tests.unit.engine.serving import Peer, Served, listen, serving
from tests.unit.engine.world import LOOPS, echo, read_body, request, respond, run

pytestmark = pytest.mark.parametrize("loop", LOOPS)

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue("localhost")


def secure() -> ServerTLS:
    return ServerTLS(
        TLSSettings(), Material((Pair(None, "server.crt", ISSUED.certificate, ISSUED.key),), None), http2=False
    )


@asynccontextmanager
async def served(application: ASGIApplication, **http: Any) -> AsyncIterator[Served]:
    """Serve; with patience for clients that send octet by octet, or much, on a busy machine."""
    listener = Listener(listen().socket, "tls", tls=True)
    async with serving(application, listener, tls=secure(), **{"header_timeout": 300, **http}) as found:
        yield found


async def connect(found: Served, **options: Any) -> Peer:
    return await found.connect(ssl=AUTHORITY.client(), server_hostname="localhost", **options)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


class Script:
    """A client in memory on a plain connection: it sends records when, and in the pieces in which, the test wants."""

    def __init__(self, peer: Peer, keys: Path | None = None) -> None:
        """`keys`: a file that the secrets are written to."""
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = AUTHORITY.client()
        if keys is not None:
            context.keylog_filename = str(keys)
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def shake_hands(self) -> None:
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(await self.peer.reader.read(65536))
            else:
                self.flush()
                return

    def flush(self) -> None:
        self.peer.send(self.outgoing.read())

    def write(self, octets: bytes) -> bytes:
        """What sends these octets."""
        self.session.write(octets)
        return self.outgoing.read()

    async def read(self) -> bytes:
        """What comes next; empty at close_notify. Raises EOFError where the connection ends without one."""
        while True:
            try:
                return self.session.read(65536)
            except ssl.SSLWantReadError:
                octets = await self.peer.reader.read(65536)
                if not octets:
                    raise EOFError from None
                self.incoming.write(octets)
            except ssl.SSLZeroReturnError:
                return b""


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    tls = scope["extensions"]["tls"]
    seen = (scope["scheme"], tls["tls_version"], tls["server_cert"] == ISSUED.certificate, tls["client_cert_chain"])
    tls.clear()  # it belongs to this request
    await respond(send, repr(seen).encode())


def test_the_application_is_told_of_it(loop: str) -> None:
    async def scenario() -> None:
        async with served(describe) as found:
            peer = await connect(found)
            for _ in range(2):
                peer.send(request())
                assert (await peer.response()).body == b"('https', 772, True, [])"
            await peer.close()

    run(scenario, loop)


def test_half_a_greeting_costs_no_session(loop: str) -> None:
    """OpenSSL takes some 50 KB for each."""

    async def scenario() -> None:
        async with served(describe) as found:
            script = Script(await found.connect())
            with pytest.raises(ssl.SSLWantReadError):
                script.session.do_handshake()
            await found.accepted(1)
            transport: Any = found.link._transport
            greeting = script.outgoing.read()
            for size in range(len(greeting)):
                assert transport.get_extra_info("ssl_object") is None
                assert found.link.encrypted
                await until(lambda size=size: len(transport._greeting) == size)  # type: ignore[misc]
                script.peer.send(greeting[size : size + 1])
            await until(lambda: transport.get_extra_info("ssl_object") is not None)
            await script.shake_hands()
            script.peer.send(script.write(request()))
            assert b"772" in await script.read()
            await script.peer.close()

    run(scenario, loop)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3_000_000])
def test_bodies_of_every_size_in_both_directions(loop: str, size: int) -> None:
    async def back(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, await read_body(receive) or b"", 200, (b"content-length", b"%d" % size))

    async def scenario() -> None:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        async with served(back) as found:
            peer = await connect(found)
            for _ in range(2):
                peer.send(request(method="POST", body=body) if body else request())
                assert (await peer.response()).body == body
            await peer.close()

    run(scenario, loop)


def test_a_slow_reader_is_waited_for_and_a_slow_application_makes_the_client_wait(loop: str) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"] * 4, "more_body": more})
            await asyncio.sleep(0)

    async def scenario() -> None:
        async with served(slow) as found:
            script = Script(peer := await found.connect(limit=2**14))  # uvloop's own client loses what comes last
            await script.shake_hands()
            peer.send(script.write(request("/", "POST", "Connection: close", body=b"x" * 2_000_000)))
            connections = found.server._service.registry.connections
            await until(lambda: any(isinstance(link, Link) and link.congested for link in connections))
            count = 0
            while octets := await script.read():
                count += octets.count(b"x")
            assert count == 8_000_000
            await peer.close()

    run(scenario, loop)


class TestManners:
    def test_octet_by_octet(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                peer = await found.connect()
                script = Script(peer)
                await script.shake_hands()
                for octet in script.write(request("/slow")):
                    peer.send(bytes([octet]))
                    await peer.writer.drain()
                assert b"GET /slow " in await script.read()
                await peer.close()

        run(scenario, loop)

    def test_many_requests_in_one_piece(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                script = Script(peer := await found.connect())
                await script.shake_hands()
                peer.send(b"".join(script.write(request(f"/{number}")) for number in range(5)))
                answers = b""
                while b"/4 " not in answers:
                    answers += await script.read()
                assert [answers.count(b"/%d " % number) for number in range(5)] == [1] * 5
                await peer.close()

        run(scenario, loop)

    def test_one_that_has_said_its_last_word_still_gets_the_answer_and_a_proper_end(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                script = Script(peer := await found.connect())
                await script.shake_hands()
                octets = script.write(request("/last"))
                with pytest.raises(ssl.SSLWantReadError):
                    script.session.unwrap()
                peer.send(octets + script.outgoing.read())
                assert b"GET /last " in await script.read()
                assert await script.read() == b"", "close_notify, or it might have been cut off"
                await peer.close()

        run(scenario, loop)

    def test_an_end_without_a_word_is_an_end(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                script = Script(peer := await found.connect())
                await script.shake_hands()
                peer.send(script.write(request("/cut")))
                peer.writer.write_eof()
                assert b"GET /cut " in await script.read()
                await peer.close()
                await until(lambda: not found.server._service.registry.connections)

        run(scenario, loop)

    def test_a_response_that_breaks_off_has_no_proper_end(self, loop: str) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError

        async def scenario() -> None:
            async with served(broken) as found:
                script = Script(peer := await found.connect())
                await script.shake_hands()
                peer.send(script.write(request(version="1.0")))
                assert (await script.read()).endswith(b"half")
                with pytest.raises((EOFError, ConnectionResetError)):
                    await script.read()
                await peer.close()

        run(scenario, loop)

    def test_new_keys_in_the_middle(self, loop: str) -> None:
        """The records that a client sends behind a handshake are no data, and are answered in their turn."""

        async def scenario() -> None:
            async with served(echo) as found:
                script = Script(peer := await found.connect())
                await script.shake_hands()
                peer.send(script.write(request("/a")))
                answers = b""
                while b"GET /a " not in answers:
                    answers += await script.read()  # the tickets of the server come with it
                peer.send(script.write(request("/b")))
                assert b"GET /b " in await script.read()
                await peer.close()

        run(scenario, loop)

    def test_an_upload_that_is_refused_gets_its_answer(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo, max_body_size=1000) as found:
                peer = await connect(found)
                peer.send(request(method="POST", body=b"x" * 500_000))
                assert (await peer.rest()).startswith(b"HTTP/1.1 413 ")
                await peer.close()

        run(scenario, loop)


class KeyUpdates:
    """Writes what Python's ssl cannot be asked for: changes of keys that are to be answered (RFC 8446 section 4.6.3)."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: that of the client's side, of a connection on which it has sent nothing since the handshake."""
        self._secret = secret

    def make(self, count: int) -> bytes:
        return b"".join(self._next() for _ in range(count))

    def _next(self) -> bytes:
        content = b"\x18\0\0\x01\x01" + b"\x16"  # key_update, update_requested; handshake
        head = struct.pack("!BHH", 0x17, 0x0303, len(content) + 16)
        # The first record of each key: the number that the nonce is combined with is 0.
        record = head + AESGCM(self._expand(b"key", 32)).encrypt(self._expand(b"iv", 12), content, head)
        self._secret = self._expand(b"traffic upd", 48)
        return record

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = struct.pack("!HB", size, len(label)) + label + b"\0"
        return HKDFExpand(SHA384(), size, info).derive(self._secret)


class TestChangesOfKeys:
    """A client may want each answered, and ask for any number of them."""

    async def begin(self, found: Served, directory: Path) -> tuple[Script, KeyUpdates, SecureTransport]:
        found.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer = await found.connect(limit=1024)
        script = Script(peer, keys := directory / "keys")
        await script.shake_hands()
        assert script.session.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
        line = next(line for line in keys.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0"))
        connection = found.link
        transport = connection._transport
        assert isinstance(transport, SecureTransport)
        return script, KeyUpdates(bytes.fromhex(line.split()[2])), transport

    def test_who_takes_no_answers_is_not_read_from_until_it_does(self, loop: str, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                script, updates, transport = await self.begin(found, tmp_path)
                peer = script.peer
                asked = 0
                while transport._plain.is_reading():
                    assert asked < 100_000, f"{transport.get_write_buffer_size()} octets wait to be written"
                    peer.send(updates.make(1000))
                    asked += 1000
                    await asyncio.sleep(0.001)
                answered = 0
                while not transport._plain.is_reading():
                    octets = await peer.reader.read(65536)
                    assert octets, "the connection has been closed"
                    answered += len(octets)
                assert answered > 0
                peer.writer.transport.abort()

        run(scenario, loop)


class TestRefusals:
    @pytest.mark.parametrize(
        ("octets", "detail"),
        [
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http request"),
            (b"\x16\x03\x01\x00\x02xx" * 20, ""),
            (b"x" * 100, ""),
        ],
    )
    def test_what_is_no_tls_gets_no_http(self, loop: str, octets: bytes, detail: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                peer = await found.connect()
                peer.send(octets)
                assert b"HTTP" not in await peer.rest()
                await peer.close()
                (record,) = found.log.of("connection refused")
                assert record["reason"] == "tls"
                assert record["client"] == "127.0.0.1"
                assert detail in record["detail"]
                await until(lambda: found.slot._ints[found.slot._connections_open] == 0)

        run(scenario, loop)

    def test_a_record_that_somebody_has_changed_ends_the_connection(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                script = Script(peer := await found.connect())
                await script.shake_hands()
                octets = bytearray(script.write(request()))
                octets[-1] ^= 1
                peer.send(bytes(octets))
                with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):
                    await script.read()
                await peer.close()
                await until(lambda: not found.server._service.registry.connections)

        run(scenario, loop)

    @pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01"])
    def test_a_handshake_has_to_be_through_in_time(self, loop: str, octets: bytes) -> None:
        async def scenario() -> None:
            async with served(echo, header_timeout=0.01) as found:
                peer = await found.connect()
                peer.send(octets)
                assert await peer.rest() == b""
                await peer.close()

        run(scenario, loop)

    def test_a_drain_does_not_wait_for_a_handshake(self, loop: str) -> None:
        async def scenario() -> None:
            async with served(echo) as found:
                peer = await found.connect()
                await found.accepted(1)
            assert await peer.rest() == b""
            await peer.close()

        run(scenario, loop)


def test_a_file_is_read_and_encrypted(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4000)

    async def send_file(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % path.stat().st_size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async def scenario() -> None:
        async with served(send_file) as found:
            peer = await connect(found)
            for _ in range(2):
                peer.send(request())
                assert (await peer.response()).body == path.read_bytes()
            await peer.close()

    run(scenario, loop)


def test_a_client_that_reads_nothing_is_given_up(loop: str) -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})

    async def scenario() -> None:
        async with served(endless, write_timeout=0.01) as found:
            listening: socket.socket = found.listener.socket
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            script = Script(peer := await found.connect(limit=1024))
            await script.shake_hands()
            peer.send(script.write(request()))
            await until(lambda: found.log.of("connection closed"))
            assert found.log.of("connection closed")[0]["reason"] == "write_timeout"
            peer.writer.transport.abort()

    run(scenario, loop)
