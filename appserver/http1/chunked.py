"""The chunked transfer coding (RFC 9112 section 7.1), decoded strictly and within bounds."""

from __future__ import annotations

import re
from typing import Final

from appserver.http.fields import TCHAR, bad_request
from appserver.http.limits import Limits
from appserver.http1.grammar import FIELD_LINE

# chunk-size [chunk-ext] CRLF. 15 digits are below 2**63. The white space around ";" and "=" is bad white space, which
# "a recipient MUST parse for" (section 7.1.1); none of it may stand behind a size without an extension.
QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
EXTENSION = rb"[\t ]*+;[\t ]*+" + TCHAR + rb"++(?:[\t ]*+=[\t ]*+(?:" + TCHAR + rb"++|" + QUOTED + rb"))?"
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15}+)((?:" + EXTENSION + rb")*)\r\n")

# How many octets of extensions a body may hold more than octets of data, at any point of it. Nobody reads them, so they
# would be a way to send for ever what counts nowhere (CVE-2023-39326); a signature per chunk stays possible.
MAX_EXTENSIONS = 4096
MAX_SIZE_LINE = 15 + MAX_EXTENSIONS + 2

# The part of a chunk that comes next on the wire.
SIZE: Final = 0
DATA: Final = 1
DATA_END: Final = 2
TRAILER: Final = 3


class ChunkedDecoder:
    """Decodes one chunked body; the owner feeds `decode` until `finished`."""

    __slots__ = ("_extensions", "_left", "_limits", "_next", "_seen", "_trailer_count", "_trailer_left", "finished")

    def __init__(self, limits: Limits) -> None:
        self.finished = False
        self._limits = limits
        self._next = SIZE
        self._left = 0  # octets of the present chunk that are still to come
        self._seen = 0  # so many octets of an unfinished line hold no end of it
        self._extensions = 0  # octets of extensions, less the octets of data before them, never below 0
        # Without a limit sys.maxsize stands there; a position in the data has to fit on top of it.
        self._trailer_left = min(limits.max_header_size, 2**32)
        self._trailer_count = 0

    def decode(self, data: bytes | bytearray, position: int, pieces: list[bytes | bytearray]) -> int:
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
                position = self._read_chunk(data, position, pieces)
            elif self._next == DATA:
                position = self._read_data(data, position, pieces)
            elif self._next == DATA_END:
                position = self._read_data_end(data, position)
            else:
                position = self._read_trailer(data, position)
            if position == before:
                break
        return position

    def _read_chunk(self, data: bytes | bytearray, position: int, pieces: list[bytes | bytearray]) -> int:
        # A line that drips in is searched for its end first, one octet at a time, and matched once.
        if self._seen and data.find(b"\n", position + self._seen, position + MAX_SIZE_LINE) < 0:
            return self._await_size(data, position)
        line = SIZE_LINE.match(data, position, position + MAX_SIZE_LINE)
        if line is None:
            if data.find(b"\n", position, position + MAX_SIZE_LINE) >= 0:
                raise bad_request("a chunk-size line is malformed")
            return self._await_size(data, position)
        self._seen = 0
        size, start = int(line[1], 16), line.end()
        if line[2] or self._extensions:
            self._count_extensions(len(line[2]), size)
        end = start + size
        if size and data[end : end + 2] == b"\r\n":
            # All of the chunk is there, as it is for small ones; so each of them takes one call.
            pieces.append(data[start:end])
            return end + 2
        self._left = size
        self._next = DATA if size else TRAILER
        return start

    def _await_size(self, data: bytes | bytearray, position: int) -> int:
        self._seen = len(data) - position
        if self._seen >= MAX_SIZE_LINE:
            raise bad_request("a chunk-size line is too long")
        return position

    def _read_data(self, data: bytes | bytearray, position: int, pieces: list[bytes | bytearray]) -> int:
        piece = data[position : position + self._left]
        if piece:
            pieces.append(piece)
            self._left -= len(piece)
            if not self._left:
                self._next = DATA_END
        return position + len(piece)

    def _read_data_end(self, data: bytes | bytearray, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self._next = SIZE
            return position + 2
        if data[position : position + 2] in (b"", b"\r"):
            return position
        raise bad_request("chunk data is not followed by CRLF")

    def _read_trailer(self, data: bytes | bytearray, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self.finished = True
            return position + 2
        if data[position : position + 2] in (b"", b"\r"):
            return position
        # The end first, as for the size.
        end = data.find(b"\n", position + self._seen, position + self._trailer_left) + 1
        if not end:
            self._seen = len(data) - position
            if self._seen >= self._trailer_left:
                raise self._limits.head_too_large()
            return position
        self._seen = 0
        if not FIELD_LINE.fullmatch(data, position, end):
            raise bad_request("a trailer field line is malformed")
        self._count_trailer(end - position)
        return end

    def _count_extensions(self, octets: int, size: int) -> None:
        self._extensions += octets
        if self._extensions > MAX_EXTENSIONS:
            raise bad_request("chunk extensions are larger than what they extend")
        self._extensions = max(0, self._extensions - size)

    def _count_trailer(self, size: int) -> None:
        self._trailer_left -= size
        self._trailer_count += 1
        if self._trailer_count > self._limits.max_headers:
            raise self._limits.too_many_fields()
