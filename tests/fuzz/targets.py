"""What is fuzzed: each target takes any octets, and raises where the server would be wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import hpack

from appserver.errors import RequestError
from appserver.http.fields import AUTHORITY
from appserver.http.limits import Limits
from appserver.http2.compression import Decoder
from appserver.http2.errors import ConnectionFailure, StreamFailure
from appserver.http2.options import Options
from appserver.http2.request import interpret
from appserver.proxy import Trust
from appserver.proxy.forwarded import read_forwarded
from appserver.proxy.protocol import ProxyProtocolError, measure, parse
from appserver.proxy.x_forwarded import read_x_forwarded
from appserver.websocket.handshake import shake_hands
from appserver.websocket.protocol import FrameProtocol
from tests.unit.http1.corpus import CASES
from tests.unit.http1.recorder import outcome
from tests.unit.http2 import client as http2
from tests.unit.http2.client import Client as HTTP2Client
from tests.unit.proxy.test_protocol import VALID as PROXY_HEADERS
from tests.unit.websocket.frames import BINARY, CONTINUATION, PING, TEXT, close, frame, text
from tests.unit.websocket.test_handshake import GOOD

PEER = ("127.0.0.1", 50000)
TRUST = Trust(["127.0.0.1", "10.0.0.0/8", "unix"])
EXTENSIONS = b"sec-websocket-extensions"

SMALL = Limits(max_target_size=40, max_header_size=200, max_headers=5)
EVERY_SPLIT = 80
"""Up to so many octets, every split into two is tried; beyond it, one that the octets themselves choose."""


@dataclass(frozen=True, slots=True)
class Target:
    """`examine` is called with octets that the fuzzer makes from `seeds`; it raises if the server would be wrong."""

    examine: Callable[[bytes], None]
    seeds: Iterable[bytes]


def examine_requests(data: bytes) -> None:
    """Both parsers give one answer to `data`, however it is split, under generous limits and under narrow ones."""
    for limits in (Limits(), SMALL):
        answer = outcome("httptools", [data], limits)
        cuts = range(len(data)) if len(data) <= EVERY_SPLIT else [sum(data[:64]) * 251 % len(data)]
        for backend in ("httptools", "h11"):
            for cut in cuts:
                found = outcome(backend, [data[:cut], data[cut:]], limits)
                assert found == answer, f"{backend}, split at {cut}: {found}, in one piece: {answer}"


def examine_proxy_protocol(data: bytes) -> None:
    """A header of the PROXY protocol is measured the same way however much of it is there, and read or refused."""
    found = [_measure(data[:size]) for size in range(min(len(data), EVERY_SPLIT) + 1)]
    decided = [measured for measured in found if measured is not None]
    assert len(set(decided)) <= 1, f"measured differently as it arrives: {decided}"
    assert None not in found[len(found) - len(decided) :], "measured, and then not any more"
    if decided and isinstance(size := decided[0], int) and size <= len(data):
        try:
            parse(data[:size])
        except ProxyProtocolError:
            pass


def _measure(data: bytes) -> int | str | None:
    try:
        return measure(data)
    except ProxyProtocolError:
        return "refused"


def examine_forwarding(data: bytes) -> None:
    """What proxies say is read or passed over; what is read is what applications can rely on."""
    names = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix")
    # As the parser of requests leaves them: no control characters, nothing blank around.
    values = [re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", line).strip() for line in data.split(b"\n")]
    fields = [(names[number % len(names)], value) for number, value in enumerate(values)]
    for origin in (
        read_x_forwarded(fields, PEER, TRUST),
        read_forwarded([(b"forwarded", value) for value in values], PEER, TRUST),
    ):
        assert origin.scheme in (None, "http", "https")
        assert origin.client is None or 0 <= origin.client[1] <= 65535
        host = origin.host("https", b"example.org")
        assert host is None or AUTHORITY.fullmatch(host), host
        assert origin.prefix is None or origin.prefix == "" or origin.prefix.startswith("/")
        origin.server("http", ("127.0.0.1", 80))


def examine_frames(data: bytes) -> None:
    """A session reads the same messages, and ends in the same way, however its octets are split; compressed ones, too."""
    for offer in (None, b"permessage-deflate"):
        whole = _session(offer, [data])
        for cut in range(len(data)) if len(data) <= EVERY_SPLIT else [sum(data[:64]) * 251 % len(data)]:
            found = _session(offer, [data[:cut], data[cut:]])
            assert found == whole, f"split at {cut}: {found}, in one piece: {whole}"


def _session(offer: bytes | None, pieces: list[bytes]) -> tuple[list[str | bytes], bytes]:
    """The messages of a session, and what it writes."""
    extensions = shake_hands("GET", "1.1", [*GOOD, (EXTENSIONS, offer)], compression=True).extensions if offer else []
    protocol = FrameProtocol(extensions, max_size=1000, max_queue=3)
    messages: list[str | bytes] = []
    for piece in pieces:
        protocol.receive_data(piece)
        while protocol.messages or protocol.held:
            messages += protocol.messages
            protocol.messages.clear()
            protocol.queued = 0
            protocol.receive_data(b"")
    return messages, b"".join(protocol.data_to_send())


def examine_http2(data: bytes) -> None:
    """A connection says and writes the same however its octets are split, and ends with nothing but a failure it names."""
    whole = _http2([data])
    cuts = range(len(data)) if len(data) <= EVERY_SPLIT else [sum(data[:64]) * 251 % len(data)]
    for cut in cuts:
        found = _http2([data[:cut], data[cut:]])
        assert found == whole, f"split at {cut}: {found}, in one piece: {whole}"


def _http2(pieces: list[bytes]) -> tuple[list[tuple[object, ...]], bytes]:
    """What a connection tells its handler, which answers every request, and what it writes."""
    client = HTTP2Client(Options(SMALL, max_concurrent_streams=3, max_resets=5, max_control_frames=20))
    for piece in pieces:
        client.send(piece)
        connection = client.connection
        assert connection.failure is None or connection.failure is client.failure
    for stream in list(connection.streams.values()):
        connection.send_head(stream, [(b":status", b"200")])
        connection.send_data(stream, bytes(100), end=True)
    return client.events, connection.octets_to_send(1 << 20)


def examine_header_blocks(data: bytes) -> None:
    """A header block is read as `hpack` reads it, or refused; what is read is a request that applications can rely on."""
    own, other = Decoder(1 << 16), hpack.Decoder()
    try:
        expected = [tuple(field) for field in other.decode(data, raw=True)]
    except hpack.HPACKError:
        expected = None
    try:
        fields = own.decode(data)
    except ConnectionFailure as failure:
        refused = str(failure)
    else:
        refused = ""
    if refused:
        assert expected is None or "a change of the table's size" in refused
        return
    assert fields == expected
    try:
        request, _ = interpret(fields, own.list_size, Limits(), complete=True)
    except (StreamFailure, RequestError):
        return
    assert request.headers[0][0] == b"host"
    assert all(name == name.lower() and not set(value) & {0, 10, 13} for name, value in request.headers)


FRAMES = [
    text("hello") + close(),
    frame(TEXT, "grüße".encode()[:3], fin=False) + frame(CONTINUATION, "grüße".encode()[3:]),
    frame(BINARY, bytes(200)) + frame(PING, b"x"),
    frame(BINARY, bytes(300), fin=False)
    + frame(CONTINUATION, bytes(300), fin=False)
    + frame(PING)
    + frame(CONTINUATION),
    frame(TEXT, b"\xcaH\xcd\xc9\xc9\x07\x00", rsv=4) + close(1001, "away"),  # RFC 7692 section 7.2.3.1
]
HTTP2_HEAD = b"\x82\x87\x84\x41\x07example"
HTTP2_FRAMES = [
    http2.frame(http2.HEADERS, 5, 1, HTTP2_HEAD) + http2.frame(http2.PING, 0, 0, bytes(8)),
    http2.frame(http2.HEADERS, 1, 1, HTTP2_HEAD[:3]) + http2.frame(http2.CONTINUATION, 4, 1, HTTP2_HEAD[3:]),
    http2.frame(http2.HEADERS, 4, 1, b"\x83" + HTTP2_HEAD[1:])
    + http2.frame(http2.DATA, 9, 1, b"\x01ab\0")
    + http2.frame(http2.WINDOW_UPDATE, 0, 0, http2.number(5)),
    http2.settings((4, 10), (5, 20_000)) + http2.frame(http2.HEADERS, 0x25, 3, bytes(5) + HTTP2_HEAD),
    http2.frame(http2.PRIORITY_UPDATE, 0, 0, http2.number(1) + b"u=1, i")
    + http2.frame(http2.RST_STREAM, 0, 1, bytes(4)),
]
HEADER_BLOCKS = [
    HTTP2_HEAD + b"\x40\x06cookie\x03a=b\xbe",
    bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"),
    b"\x20\x3f\xe1\x1f" + HTTP2_HEAD + b"\x0f\x0d\x010\x10\x02te\x08trailers",
]
PROXIES = [header for header, _ in PROXY_HEADERS]
FORWARDED = [
    b'for="[2001:db8:cafe::17]:4711";proto=https;host=example.org, for=10.0.0.1',
    b"192.0.2.1, 10.0.0.1\nhttps\nexample.org:8443\n8443\n/prefix/",
]

TARGETS: Mapping[str, Target] = {
    "requests": Target(examine_requests, [case.octets for case in CASES]),
    "proxy-protocol": Target(examine_proxy_protocol, PROXIES),
    "forwarding": Target(examine_forwarding, FORWARDED),
    "frames": Target(examine_frames, FRAMES),
    "http2": Target(examine_http2, HTTP2_FRAMES),
    "header-blocks": Target(examine_header_blocks, HEADER_BLOCKS),
}
