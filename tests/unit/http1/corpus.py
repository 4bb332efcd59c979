"""Requests that every parser has to read the same way, in families: what they become, or how they are refused."""

from __future__ import annotations

from dataclasses import dataclass

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"


@dataclass(frozen=True)
class Good:
    """Octets, and the (method, target, body) of the requests that they hold. `rest`: the last one is not complete."""

    name: str
    octets: bytes
    requests: tuple[tuple[str, bytes, bytes], ...] = (("GET", b"/", b""),)
    rest: bool = False


@dataclass(frozen=True)
class Bad:
    """Octets that are refused, how, and the number of complete requests before that."""

    name: str
    octets: bytes
    status: int = 400
    reason: str = "bad_request"
    complete: int = 0


def _get(line: bytes) -> bytes:
    return line + b"\r\nHost: x\r\n\r\n"


def _field(line: bytes) -> bytes:
    return GET + line + b"\r\n\r\n"


HELLO = (("POST", b"/p", b"hello"),)
EMPTY = (("POST", b"/p", b""),)

GOOD: tuple[Good, ...] = (
    # Request lines
    Good("plain", GET + b"\r\n"),
    Good("a registered method", _get(b"PROPFIND /a HTTP/1.1"), (("PROPFIND", b"/a", b""),)),
    Good("an unknown method", _get(b"GETX /a HTTP/1.1"), (("GETX", b"/a", b""),)),
    Good("a method in lower case is another method", _get(b"get / HTTP/1.1"), (("get", b"/", b""),)),
    Good("every character of a token", _get(b"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1"), (("!#$%&'*+-.^_`|~09azAZ", b"/", b""),)),
    Good("target with query", _get(b"GET /a/b?c=d&e HTTP/1.1"), (("GET", b"/a/b?c=d&e", b""),)),
    Good("every character of a target", _get(b"GET /!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~ HTTP/1.1"),
         (("GET", b"/!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~", b""),)),
    Good("absolute-form", _get(b"GET http://y/a?b HTTP/1.1"), (("GET", b"http://y/a?b", b""),)),
    Good("asterisk-form", _get(b"OPTIONS * HTTP/1.1"), (("OPTIONS", b"*", b""),)),
    Good("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n"),
    Good("a minor version of the future", _get(b"GET / HTTP/1.7")),
    Good("an empty line before the request", b"\r\n" + GET + b"\r\n"),
    Good("an empty line before each request", b"\r\n" + GET + b"\r\n\r\n" + NEXT, (("GET", b"/", b""), ("GET", b"/next", b""))),
    Good("an empty line behind the last request", GET + b"\r\n\r\n"),
    # Field lines
    Good("no white space around the value", _field(b"A:b")),
    Good("much white space around the value", _field(b"A: \t \tb \t")),
    Good("empty values", _field(b"A:\r\nB: \r\nC:\t\r\nD: \t ")),
    Good("obs-text and tabs in values", _field(b"A: \xe4\tb \xff")),
    Good("every character of a name", _field(b"!#$%&'*+-.^_`|~09azAZ: 1")),
    Good("colons in the value", _field(b"A: b:c::")),
    Good("the same field twice", _field(b"A: 1\r\na: 2")),
    Good("Host with port", b"GET / HTTP/1.1\r\nHost: example.com:8000\r\n\r\n"),
    Good("Host as IPv6 address", b"GET / HTTP/1.1\r\nhOsT: [::1]:80\r\n\r\n"),
    Good("empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    # Bodies of known length
    Good("body", POST + b"Content-Length: 5\r\n\r\nhello", HELLO),
    Good("body of a GET", GET + b"Content-Length: 5\r\n\r\nhello" + NEXT, (("GET", b"/", b"hello"), ("GET", b"/next", b""))),
    Good("empty body", POST + b"Content-Length: 0\r\n\r\n" + NEXT, (*EMPTY, ("GET", b"/next", b""))),
    Good("length with zeros in front", POST + b"Content-Length: 0005\r\n\r\nhello", HELLO),
    Good("a body that looks like a request", POST + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT + NEXT,
         (("POST", b"/p", NEXT), ("GET", b"/next", b""))),
    Good("unfinished body", POST + b"Content-Length: 9\r\n\r\nhello", (), rest=True),
    Good("unfinished head", GET + b"A: b", (), rest=True),
    # Chunked bodies
    Good("chunks", CHUNKED + b"5\r\nhello\r\nA\r\n0123456789\r\n00b\r\n abcdefghij\r\n0\r\n\r\n",
         (("POST", b"/p", b"hello0123456789 abcdefghij"),)),
    Good("no chunk", CHUNKED + b"0\r\n\r\n", EMPTY),
    Good("chunked in mixed case", POST + b"transfer-ENCODING: ChUnKeD\r\n\r\n5\r\nhello\r\n000\r\n\r\n", HELLO),
    Good("chunk extensions", CHUNKED + b'5;a=b;c="d \\"e";f\r\nhello\r\n0;z\r\n\r\n', HELLO),
    Good("bad white space in chunk extensions", CHUNKED + b"5 ; a\t=  b ;c\r\nhello\r\n0\r\n\r\n", HELLO),
    Good("trailer section", CHUNKED + b"5\r\nhello\r\n0\r\nA: 1\r\nB:\r\n\r\n" + NEXT, (*HELLO, ("GET", b"/next", b""))),
    Good("framing fields in the trailer section", CHUNKED + b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: y\r\n\r\n" + NEXT,
         (*EMPTY, ("GET", b"/next", b""))),
    Good("a chunk that looks like the end", CHUNKED + b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", (("POST", b"/p", b"\r\n0\r\n\r\n"),)),
    Good("unfinished chunk", CHUNKED + b"5\r\nhel", (), rest=True),
    Good("unfinished end of a chunk", CHUNKED + b"5\r\nhello\r", (), rest=True),
    Good("unfinished trailer section", CHUNKED + b"0\r\nA: b\r\n\r", (), rest=True),
    # Persistence
    Good("pipelined requests", NEXT * 3, (("GET", b"/next", b""),) * 3),
    Good("nothing is read behind Connection: close", GET + b"Connection: close\r\n\r\n" + NEXT),
    Good("nothing is read behind a body with Connection: close", POST + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello\x00\x01", HELLO),
    Good("nothing is read behind HTTP/1.0", b"GET / HTTP/1.0\r\nHost: x\r\n\r\n" + NEXT),
    Good("HTTP/1.0 with keep-alive", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + NEXT, (("GET", b"/", b""), ("GET", b"/next", b""))),
    # Upgrade that nobody takes
    Good("upgrade", GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT, (("GET", b"/", b""), ("GET", b"/next", b""))),
    Good("upgrade with a body", POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(NEXT) + NEXT + NEXT,
         (("POST", b"/p", NEXT), ("GET", b"/next", b""))),
    Good("upgrade with a chunked body", POST + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + NEXT,
         (*HELLO, ("GET", b"/next", b""))),
    Good("upgrade without Connection", GET + b"Upgrade: h2c\r\n\r\n" + NEXT, (("GET", b"/", b""), ("GET", b"/next", b""))),
)  # fmt: skip

_BAD_LINES = {
    "a method with a separator": b"G@T / HTTP/1.1",
    "an endless method": b"G" * 65 + b" / HTTP/1.1",
    "no method": b" / HTTP/1.1",
    "white space before the method": b" GET / HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "empty target": b"GET  HTTP/1.1",
    "control character in the target": b"GET /\x01 HTTP/1.1",
    "NUL in the target": b"GET /\x00 HTTP/1.1",
    "DEL in the target": b"GET /\x7f HTTP/1.1",
    "tab in the target": b"GET /\t HTTP/1.1",
    "raw UTF-8 in the target": b"GET /\xc3\xa9 HTTP/1.1",
    "space in the target": b"GET /a b HTTP/1.1",
    "fragment in the target": b"GET /a#b HTTP/1.1",
    "relative target": b"GET a/b HTTP/1.1",
    "target of a query only": b"GET ?a HTTP/1.1",
    "authority-form": b"GET example.com:80 HTTP/1.1",
    "asterisk-form with GET": b"GET * HTTP/1.1",
    "asterisk-form with more": b"OPTIONS */a HTTP/1.1",
    "absolute-form without authority": b"GET http:///a HTTP/1.1",
    "absolute-form with userinfo": b"GET http://u:p@x/ HTTP/1.1",
    "absolute-form with a port that is none": b"GET http://x:a/ HTTP/1.1",
    "absolute-form of another scheme": b"GET ftp://x/ HTTP/1.1",
    "HTTP/0.9": b"GET /",
    "no digits in the version": b"GET / HTTP/",
    "one digit in the version": b"GET / HTTP/1",
    "two digits in the version": b"GET / HTTP/1.10",
    "comma in the version": b"GET / HTTP/1,1",
    "lower case in the version": b"GET / http/1.1",
    "another protocol": b"GET / ICE/1.0",
    "space behind the version": b"GET / HTTP/1.1 ",
    "two spaces before the version": b"GET /  HTTP/1.1",
    "two spaces before the target": b"GET  / HTTP/1.1",
    "tabs for spaces": b"GET\t/\tHTTP/1.1",
    "LF for a space": b"GET /\nHTTP/1.1",
    "CR in the request line": b"GET /\r HTTP/1.1",
    "a bare LF at its end": b"GET / HTTP/1.1\nA: b",
    "two CR at its end": b"GET / HTTP/1.1\r",
}

_BAD_FIELDS = {
    "no colon": b"A",
    "no name": b": b",
    "space before the colon": b"A : b",
    "tab before the colon": b"A\t: b",
    "space before the name": b" A: b",
    "space in the name": b"A B: c",
    "brackets in the name": b"A[b]: c",
    "quotes in the name": b'"A": b',
    "NUL in the name": b"A\x00: b",
    "CR in the name": b"A\rB: c",
    "obs-text in the name": b"\xe4: b",
    "folded value": b"A: b\r\n c",
    "folded with a tab": b"A: b\r\n\tc",
    "folded empty value": b"A:\r\n b",
    "folded Transfer-Encoding": b"Transfer-Encoding:\r\n chunked",
    "bare CR in the value": b"A: b\rC: d",
    "bare CR at the end of the value": b"A: b\r",
    "bare LF in the value": b"A: b\nC: d",
    "LF and CR": b"A: b\n\rC: d",
    "NUL in the value": b"A: b\x00",
    "BEL in the value": b"A: \x07",
    "VT in the value": b"A: b\x0bc",
    "DEL in the value": b"A: b\x7f",
    "VT before the value": b"A:\x0bb",
}

_BAD_HOSTS = {
    "no Host": b"",
    "two Hosts": b"Host: x\r\nHost: x\r\n",
    "two Hosts in different spellings": b"Host: x\r\nhOST: y\r\n",
    "userinfo in Host": b"Host: u@x\r\n",
    "a list in Host": b"Host: a, b\r\n",
    "a comma in Host": b"Host: a,b\r\n",
    "a path in Host": b"Host: x/a\r\n",
    "a scheme in Host": b"Host: http://x\r\n",
    "a space in Host": b"Host: a b\r\n",
    "a port that is none in Host": b"Host: x:a\r\n",
    "a port alone in Host": b"Host: :80\r\n",
    "a port beyond five digits in Host": b"Host: x:123456\r\n",
    "two ports in Host": b"Host: x:1:2\r\n",
    "obs-text in Host": b"Host: \xe4\r\n",
    "a quote in Host": b'Host: "x"\r\n',
    "half an IPv6 address in Host": b"Host: [::1\r\n",
    "an IPv6 address without brackets in Host": b"Host: ::1\r\n",
    "half a percent-encoding in Host": b"Host: %4\r\n",
}

_BAD_LENGTHS = {
    "+5", "-5", "0x5", "5_0", "5.0", "5 5", "5,5", "5, 6", "5;", "five", "", "\xb2", "\xd9\xa5", "\u00b9", "0b1", "1e1",
}  # fmt: skip

_BAD_FRAMING = {
    "two equal lengths": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "two different lengths": b"Content-Length: 5\r\nContent-Length: 0\r\n",
    "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "length 0 and chunked": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "an unknown coding and length": b"Transfer-Encoding: x\r\nContent-Length: 5\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "chunked is not final": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked, then identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "empty coding": b"Transfer-Encoding:\r\n",
    "comma before chunked": b"Transfer-Encoding: ,chunked\r\n",
    "comma behind chunked": b"Transfer-Encoding: chunked,\r\n",
    "parameter of chunked": b"Transfer-Encoding: chunked;a=b\r\n",
    "quoted chunked": b'Transfer-Encoding: "chunked"\r\n',
    "chunked concatenated": b"Transfer-Encoding: chunkedchunked\r\n",
    "chunked with obs-text": b"Transfer-Encoding: \xa0chunked\r\n",
}

_BAD_CHUNKS = {
    "0x prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "plus sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "minus sign": b"-5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "only an extension": b";a\r\nhello\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "tab behind the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"g\r\nhello\r\n0\r\n\r\n",
    "2**64 + 5": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "21 digits": b"fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "16 digits": b"fffffffffffffffe\r\nhello\r\n0\r\n\r\n",
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR behind the size": b"5\rXhello\r\n0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR behind the data": b"5\r\nhello\r0\r\n\r\n",
    "more data than announced": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "less data than announced": b"5\r\nhell\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "LF in a quoted extension": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "an extension without a name": b"5;\r\nhello\r\n0\r\n\r\n",
    "an extension without its value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    "an extension that is not closed": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "a space inside an extension": b"5;a b\r\nhello\r\n0\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\njunk\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nA : b\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a trailer with a bare LF": b"0\r\nA: b\n\r\n",
    "a bare LF at the end": b"0\r\n\n",
    "a bare CR at the end": b"0\r\n\rX\r\n",
    "negative zero": b"-0\r\n\r\n",
}

BAD: tuple[Bad, ...] = (
    *(Bad("request line: " + name, _get(line)) for name, line in _BAD_LINES.items()),
    *(Bad("field: " + name, _field(line)) for name, line in _BAD_FIELDS.items()),
    *(Bad("first field: " + name, b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: x\r\n\r\n") for name, line in _BAD_FIELDS.items()),
    *(Bad("host: " + name, b"GET / HTTP/1.1\r\n" + line + b"\r\n") for name, line in _BAD_HOSTS.items()),
    *(Bad(f"length: {value!r}", POST + b"Content-Length: " + value.encode("utf-8") + b"\r\n\r\nhello") for value in sorted(_BAD_LENGTHS)),
    *(Bad("framing: " + name, POST + line + b"\r\n5\r\nhello\r\n0\r\n\r\n" + NEXT) for name, line in _BAD_FRAMING.items()),
    *(Bad("chunks: " + name, CHUNKED + body + NEXT) for name, body in _BAD_CHUNKS.items()),
    Bad("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Bad("chunked in HTTP/1.0 with a length", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello"),
    Bad("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"),
    Bad("a Host that is not valid beside absolute-form", b"GET http://x/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
    Bad("no Host beside absolute-form", b"GET http://x/ HTTP/1.1\r\n\r\n"),
    Bad("a length beyond all bounds", POST + b"Content-Length: 18446744073709551621\r\n\r\nhello", 413, "body_too_large"),
    Bad("gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "not_implemented"),
    Bad("gzip, chunked in two fields", POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "not_implemented"),
    Bad("CONNECT", b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 501, "not_implemented"),
    Bad("HTTP/2.0", _get(b"GET / HTTP/2.0"), 505, "unsupported_version"),
    Bad("HTTP/0.9 with a version", _get(b"GET / HTTP/0.9"), 505, "unsupported_version"),
    Bad("HTTP/9.9", _get(b"GET / HTTP/9.9"), 505, "unsupported_version"),
    Bad("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported_version"),
    Bad("an unknown expectation", POST + b"Expect: 200-maybe\r\nContent-Length: 5\r\n\r\nhello", 417, "expectation_failed"),
    Bad("one known and one unknown expectation", POST + b"Expect: 100-continue, x\r\n\r\n", 417, "expectation_failed"),
    Bad("two empty lines before a request", b"\r\n\r\n" + GET + b"\r\n"),
    Bad("empty lines only", b"\r\n\r\n\r\n\r\n"),
    Bad("LF before a request", b"\n" + GET + b"\r\n"),
    Bad("CR before a request", b"\r" + GET + b"\r\n"),
    Bad("a head of bare LF", b"GET / HTTP/1.1\nHost: x\n\n"),
    Bad("a head of bare CR", b"GET / HTTP/1.1\rHost: x\r\r\n\r\n"),
    Bad("CR LF at first, then LF", b"GET / HTTP/1.1\r\nHost: x\n\n"),
    Bad("a TLS ClientHello", bytes.fromhex("16030100c8010000c40303") + bytes(range(64, 96)) + b"\x00" * 157),
    Bad("noise", bytes((i * 73 + 41) % 256 for i in range(1024))),
    Bad("garbage behind a request", NEXT + b"\x01\x02garbage\r\n\r\n", complete=1),
    Bad("a second request that is not valid", NEXT + b"GET / HTTP/1.1\r\n\r\n", complete=1),
    Bad("octets behind a body", POST + b"Content-Length: 5\r\n\r\nhello\x00", complete=1),
    Bad("octets behind the last chunk", CHUNKED + b"0\r\n\r\n\x00", complete=1),
)  # fmt: skip

CASES: tuple[Good | Bad, ...] = (*GOOD, *BAD)
