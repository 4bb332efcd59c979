"""The client of the Runtime API on a socket: what is sent to the octet, and replies in every form."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import pytest

from appserver.aws.runtime_api import Connection, ResponseStream
from appserver.aws.wire import Reply, Wire
from appserver.errors import RuntimeAPIError

INVOCATION = Reply(
    200, {"lambda-runtime-aws-request-id": "request-1", "lambda-runtime-invocation-id": "invocation-1"}, b"{}"
)
NEXT = b"Lambda-Runtime-Aws-Request-Id: request-1\r\n"


async def talk(answers: list[bytes], client: Callable[[str], Awaitable[object]]) -> tuple[object, list[bytes]]:
    """Have a server send one answer for each request; returns the result of the client and what the server got."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answers:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            if b"chunked" in head:
                head += await reader.readuntil(b"\r\n0\r\n")
                head += await reader.readuntil(b"\r\n") if head.endswith(b"\r\n0\r\n") else b""
                while not head.endswith(b"\r\n\r\n"):
                    head += await reader.readuntil(b"\r\n")
            elif b"Content-Length: " in head:
                head += await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
            received.append(head)
            answer = answers.pop(0)
            if answer:
                writer.write(answer)
            if not answer or b"onnection: close" in answer:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(10):
            return await client(f"127.0.0.1:{port}"), received
    finally:
        server.close()


def run(answers: list[bytes], client: Callable[[str], Awaitable[object]]) -> tuple[object, list[bytes]]:
    return asyncio.run(talk(answers, client))


async def ask(address: str) -> Reply:
    connection = Connection(address)
    try:
        return await connection.next()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + NEXT + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + NEXT + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n" + NEXT + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + NEXT + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + NEXT + b"Connection: close\r\n\r\n{}",
    ],
)
def test_invocations_come_in_several_forms(answer: bytes) -> None:
    reply, received = run([answer], ask)
    assert isinstance(reply, Reply)
    assert reply.body == b"{}"
    assert received[0].startswith(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        *(b"HTTP/1.1 200 OK\r\n" + NEXT + b"Content-Length: %b\r\n\r\n{}" % size for size in (b"x", b"-2")),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx\r\n\r\n",
    ],
)
def test_a_reply_that_is_none_is_asked_for_again(answer: bytes) -> None:
    good = b"HTTP/1.1 200 OK\r\n" + NEXT + b"Content-Length: 2\r\n\r\n{}"

    async def client(address: str) -> object:
        return await ask(address)

    reply, received = run([answer, good], client)
    assert isinstance(reply, Reply)
    assert len(received) == 2


def test_a_connection_that_was_closed_meanwhile_is_made_again() -> None:
    async def client(address: str) -> object:
        connection = Connection(address)
        invocation = await connection.next()
        await asyncio.sleep(0)
        reply = await connection.respond(invocation, b'{"a":1}')
        connection.close()
        return reply

    closing = b"HTTP/1.1 200 OK\r\n" + NEXT + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    reply, received = run([closing, b"", b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"], client)
    assert isinstance(reply, Reply)
    assert reply.status == 202
    assert received[-1].endswith(b'{"a":1}')
    assert b"/invocation/request-1/response" in received[-1]


@pytest.mark.parametrize("address", ["", "localhost", ":9001", "a:b"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(RuntimeAPIError, match="HOST:PORT"):
        Connection(address)


async def stream(address: str, write: Callable[[ResponseStream], None]) -> object:
    host, _, port = address.rpartition(":")
    wire = await Wire.open(host, int(port), address)
    sent = ResponseStream(wire, INVOCATION)
    write(sent)
    reply = await sent.confirmed()
    wire.abort()
    return reply


def test_a_stream_is_sent_in_chunks() -> None:
    def write(sent: ResponseStream) -> None:
        sent.write(b"{}" + bytes(8))
        sent.write(b"hello")
        sent.end()

    _, received = run([b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"], lambda address: stream(address, write))
    head, _, body = received[0].partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /2018-06-01/runtime/invocation/request-1/response HTTP/1.1"
    assert set(head.splitlines()[3:]) == {
        b"Content-Type: application/vnd.awslambda.http-integration-response",
        b"Lambda-Runtime-Function-Response-Mode: streaming",
        b"Lambda-Runtime-Invocation-Id: invocation-1",
        b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        b"Transfer-Encoding: chunked",
    }
    assert body == b"a\r\n{}" + bytes(8) + b"\r\n5\r\nhello\r\n0\r\n\r\n"


def test_a_stream_that_breaks_off_says_why_in_trailers() -> None:
    def write(sent: ResponseStream) -> None:
        sent.write(b"half")
        sent.fail("Function.ResponseBrokenOff", "the application failed")

    _, received = run([b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"], lambda address: stream(address, write))
    _, _, trailers = received[0].partition(b"\r\n0\r\n")
    kind, body = trailers.split(b"\r\n")[:2]
    assert kind == b"Lambda-Runtime-Function-Error-Type: Function.ResponseBrokenOff"
    name, _, value = body.partition(b": ")
    assert name == b"Lambda-Runtime-Function-Error-Body"
    assert json.loads(base64.b64decode(value)) == {
        "errorMessage": "the application failed",
        "errorType": "Function.ResponseBrokenOff",
    }


def test_a_stream_that_is_not_confirmed_is_an_error() -> None:
    def write(sent: ResponseStream) -> None:
        sent.write(b"all")
        sent.end()

    with pytest.raises(RuntimeAPIError, match="not confirmed"):
        run([b""], lambda address: stream(address, write))
