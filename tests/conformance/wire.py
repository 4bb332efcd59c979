"""What a server has sent, read strictly: everything that RFC 9112 asks of a response is an AssertionError if missing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)")


@dataclass
class Response:
    """One response; `framing` says how its end is found: none, length, chunked or close."""

    status: int
    fields: list[tuple[str, str]]
    framing: str = "none"
    body: bytes = b""
    complete: bool = True

    def values(self, name: str) -> list[str]:
        """The values of a field, in order."""
        return [value for given, value in self.fields if given == name]

    def json(self) -> Any:
        """The body, which has to be JSON."""
        assert self.complete, f"an incomplete response: {self}"
        return json.loads(self.body)


def parse(data: bytes, methods: Sequence[str], *, closed: bool) -> tuple[list[Response], bytes]:
    """Read all responses in `data`, interim ones too, and return what is behind them.

    `methods` are those of the requests (GET when there are more responses); `closed` tells that nothing more comes. The
    last response may be incomplete.
    """
    responses: list[Response] = []
    finals = 0
    while (end := data.find(b"\r\n\r\n")) >= 0:
        response = _head(data[:end])
        responses.append(response)
        data = data[end + 4 :]
        if response.status == 101:
            break
        if response.status >= 200:
            method = methods[finals] if finals < len(methods) else "GET"
            finals += 1
            data = _body(response, data, method, closed=closed)
        if not response.complete:
            break
    return responses, data


def _head(head: bytes) -> Response:
    status_line, *lines = head.split(b"\r\n")
    match = STATUS_LINE.fullmatch(status_line)
    assert match, f"malformed status line {status_line!r}"
    fields = []
    for line in lines:
        field = FIELD_LINE.fullmatch(line)
        assert field, f"malformed field line {line!r}"
        fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
    return Response(int(match[1]), fields)


def _body(response: Response, data: bytes, method: str, *, closed: bool) -> bytes:
    """Read the body of a final response (RFC 9112 section 6.3); return what is behind it."""
    codings, lengths = response.values("transfer-encoding"), response.values("content-length")
    assert not (codings and lengths), "Transfer-Encoding and Content-Length in one response"
    assert len(lengths) <= 1, f"{len(lengths)} Content-Length fields in one response"
    if response.status in (204, 304):
        assert not codings, f"Transfer-Encoding in a {response.status}"
        assert not (lengths and response.status == 204), "Content-Length in a 204"
        return data
    if method == "HEAD":
        return data
    if codings:
        assert codings == ["chunked"], codings
        response.framing = "chunked"
        return _chunks(response, data)
    if lengths:
        assert lengths[0].isdecimal(), lengths
        response.framing = "length"
        size = int(lengths[0])
        response.body, response.complete = data[:size], len(data) >= size
        return data[size:]
    response.framing, response.body, response.complete = "close", data, closed
    return b""


def _chunks(response: Response, data: bytes) -> bytes:
    response.complete = False
    while (end := data.find(b"\r\n")) >= 0:
        line = SIZE_LINE.fullmatch(data, 0, end)
        assert line, f"malformed chunk size {data[:end]!r}"
        size, data = int(line[1], 16), data[end + 2 :]
        if not size:
            return _trailers(response, data)
        response.body += data[:size]
        if len(data) < size + 2:
            return b""
        assert data[size : size + 2] == b"\r\n", "a chunk without CRLF behind it"
        data = data[size + 2 :]
    return data


def _trailers(response: Response, data: bytes) -> bytes:
    while (end := data.find(b"\r\n")) >= 0:
        line, data = data[:end], data[end + 2 :]
        if not line:
            response.complete = True
            return data
        assert FIELD_LINE.fullmatch(line), f"malformed trailer line {line!r}"
    return data
