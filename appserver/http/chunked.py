"""The chunked transfer coding (RFC 9112 section 7.1), decoded strictly and within bounds."""

from __future__ import annotations

import re
from typing import Final

from appserver.errors import RequestError
from appserver.http.grammar import FIELD_LINE, TCHAR, bad_request
from appserver.http.head import Limits

# chunk-size [chunk-ext] CRLF. 15 digits are below 2**63. The white space around ";" and "=" is bad white space, which
# "a recipient MUST parse for" (section 7.1.1); none of it may stand behind a size without an extension.
QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
EXTENSION = rb"[\t ]*+;[\t ]*+" + TCHAR + rb"++(?:[\t ]*+=[\t ]*+(?:" + TCHAR + rb"++|" + QUOTED + rb"))?+"
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15}+)((?:" + EXTENSION + rb")*+)\r\n")

# How many octets of extensions a body may hold more than octets of data, at any point of it. Nobody reads them, so they
# would be a way to send for ever what counts nowhere (CVE-2023-39326); a signature per chunk stays possible.
MAX_EXTENSIONS = 4096
MAX_SIZE_LINE = 15 + MAX_EXTENSIONS + 2

# What comes next on the wire.
SIZE: Final = 0
DATA: Final = 1
DATA_END: Final = 2
TRAILER: Final = 3


class ChunkedDecoder:
    """Decodes one chunked body; the owner feeds `decode` until `finished`."""

    __slots__ = ("_extensions", "_left", "_limits", "_next", "_trailer_count", "_trailer_left", "finished")

    def __init__(self, limits: Limits) -> None:
        self.finished = False
        self._limits = limits
        self._next = SIZE
        self._left = 0  # octets of the present chunk that are still to come
        self._extensions = 0  # octets of extensions, less the octets of data before them, never below 0
        self._trailer_left = limits.max_header_size
        self._trailer_count = 0

    def decode(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """Decode `data` from `position` on, append the octets of the body to `pieces`, return the position reached.

        What is behind that position has to come again, with more behind it; unless `finished`, then it belongs to the
        next message. Trailer fields are checked and discarded: they must not be merged into the header section by
        somebody who doesn't know them (RFC 9110 section 6.5.1).

        Raises RequestError: 400 for what violates the grammar, 431 for a trailer section beyond the limits of a head.
        `pieces` then holds what came before.
        """
        while not self.finished:
            before = position
            if self._next == SIZE:
                position = self._read_size(data, position)
            elif self._next == DATA:
                position = self._read_data(data, position, pieces)
            elif self._next == DATA_END:
                position = self._read_data_end(data, position)
            else:
                position = self._read_trailer(data, position)
            if position == before:
                break
        return position

    def _read_size(self, data: bytes, position: int) -> int:
        line = SIZE_LINE.match(data, position, position + MAX_SIZE_LINE)
        if line is None:
            return _unfinished(data, position, MAX_SIZE_LINE, bad_request("a chunk-size line is too long"))
        self._open_chunk(int(line[1], 16), len(line[2]))
        return line.end()

    def _read_data(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        piece = data[position : position + self._left]
        if piece:
            pieces.append(piece)
            self._left -= len(piece)
            if not self._left:
                self._next = DATA_END
        return position + len(piece)

    def _read_data_end(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self._next = SIZE
            return position + 2
        if data[position : position + 2] in (b"", b"\r"):
            return position
        raise bad_request("chunk data is not followed by CRLF")

    def _read_trailer(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self.finished = True
            return position + 2
        if data[position : position + 2] in (b"", b"\r"):
            return position
        line = FIELD_LINE.match(data, position, position + self._trailer_left)
        if line is None:
            return _unfinished(data, position, self._trailer_left, self._limits.head_too_large())
        self._count_trailer(line.end() - position)
        return line.end()

    def _open_chunk(self, size: int, extension_size: int) -> None:
        self._extensions += extension_size
        if self._extensions > MAX_EXTENSIONS:
            raise bad_request("chunk extensions are larger than what they extend")
        self._extensions = max(0, self._extensions - size)
        self._left = size
        self._next = DATA if size else TRAILER

    def _count_trailer(self, size: int) -> None:
        self._trailer_left -= size
        self._trailer_count += 1
        if self._trailer_count > self._limits.max_headers:
            raise self._limits.too_many_fields()


def _unfinished(data: bytes, position: int, limit: int, too_large: RequestError) -> int:
    """Return `position`, where a line begins that is not complete; raise if more octets cannot make it valid."""
    if data.find(b"\n", position, position + limit) >= 0:
        raise bad_request("a chunk-size line or trailer field line is malformed")
    if len(data) - position >= limit:
        raise too_large
    return position
