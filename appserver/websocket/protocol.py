"""A session on the wire: octets in, messages out, and the other way round (RFC 6455 sections 5 to 8).

    receive_data ─▶ frames ─▶ data ────▶ messages          send_text, send_binary, encode ─▶ octets
                      │  └──▶ ping, pong, close ─▶ `Protocol` ─▶ data_to_send

What `websockets` has for it (`Protocol`) answers pings, knows the closing handshake and writes frames. Reading data is
done here, because that has to

- stop when enough messages wait for the application, rather than read all that has arrived: one read may hold tens of
  thousands of small messages, or some that decompress to a thousand times their size;
- check text while it arrives, not when a message is complete (Autobahn's cases 6.4), and count fragments;
- cost little, as it is done for every message.
"""

from __future__ import annotations

import codecs
from io import StringIO

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from appserver.websocket.compression import COMPRESS_FROM, most_deflated
from appserver.websocket.handshake import QUIET

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiler where it was installed
    from websockets.utils import apply_mask

Message = str | bytes

# The first octet of a message in one frame: FIN, and the opcode.
TEXT = 0x81
BINARY = 0x82

MAX_FRAGMENTS = 65_536
"""So many frames may continue a message: empty ones take no memory, but should not go on for ever either."""

MAX_QUEUED = 64 * 1024
"""Octets of messages that wait for the application before no more are read; one message may come on top."""

MESSAGE_COST = 64
"""The size that a waiting message counts besides its octets: empty ones take memory, too."""

FRAMES_PER_TURN = 1000
"""So many frames that are no message (pings, fragments) are read before others have their turn: about two milliseconds."""

MAX_REASON = 123
"""Octets of the reason in a close frame (RFC 6455 section 5.5: 125 with the code)."""

_CONTINUATION = 0x0
_MESSAGES = (TEXT, BINARY)
_SHORT = 126
_OPCODES = {int(opcode): opcode for opcode in Opcode}
_SHORT_HEADERS = {head: [bytes((head, length)) for length in range(_SHORT)] for head in (TEXT, BINARY)}


class FrameProtocol(Protocol):
    """The server's side of a session.

    Feed it with `receive_data`; then take what is in `messages`, and write what is in `writes`. While `held` is true,
    some of what was fed has not been read: call `receive_data` with nothing once `messages` is empty (or, if `tired` is
    true, as soon as others have had their turn). When `state` is not OPEN any more, a close frame has been
    written; `eof_sent` says that nothing more will be read or written.
    """

    def __init__(self, extensions: list[Extension], *, max_size: int, max_queue: int) -> None:
        """`max_size`: octets of a message, decompressed; `max_queue`: messages that may wait."""
        super().__init__(Side.SERVER, state=State.OPEN, max_size=None, logger=QUIET)
        self.extensions = extensions
        self.compresses = bool(extensions)
        self.messages: list[Message] = []
        self.queued = 0  # what they count; whoever has taken the last one sets it to 0
        self.received = 0  # messages so far
        self.held = self.tired = False
        self._max_size = max_size
        self._max_queue = max_queue
        self._rest = b""  # octets that have not been read, from `_position` on
        self._position = 0
        self.violation: tuple[int, str] | None = None  # the code and the reason for which the session fails
        # The frame that is being read: its first octet, what is left of its payload, and the mask for that.
        self._head = 0
        self._left = 0
        self._mask = b""
        self._payload = bytearray()  # of a control frame or a compressed one, as far as it has arrived
        # The message that is being read, from its first frame to its last.
        self._kind = 0  # TEXT or BINARY; 0 between messages
        self._compressed = False
        self._size = 0
        self._fragments = 0
        self._binary = bytearray()
        self._text: StringIO | None = None
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def is_full(self) -> bool:
        """Whether enough messages wait."""
        return len(self.messages) >= self._max_queue or self.queued > MAX_QUEUED

    @property
    def unfinished(self) -> bool:
        """Whether a message or frame has begun to arrive and is not complete, though everything was read."""
        return bool(self._kind or self._left or self._rest) and not self.held

    # Writing.

    def encode(self, data: bytes, head: int) -> list[bytes]:
        """The octets for a message (`head`: TEXT or BINARY), compressed if that is agreed on and worth while."""
        size = len(data)
        if self.compresses and size >= COMPRESS_FROM:
            if head == TEXT:
                self.send_text(data)
            else:
                self.send_binary(data)
            return self.data_to_send()
        if size < _SHORT:
            return [_SHORT_HEADERS[head][size], data]
        if size < 0x10000:
            return [bytes((head, 126, size >> 8, size & 0xFF)), data]
        return [bytes((head, 127)) + size.to_bytes(8), data]

    def close(self, code: int, reason: str) -> None:
        """Write a close frame, with as much of the reason as fits."""
        self.send_close(code, reason.encode()[:MAX_REASON].decode(errors="ignore"))

    # Reading.

    def receive_data(self, data: bytes | bytearray) -> None:
        """Read what has arrived, up to the limits; a violation fails the session (RFC 6455 section 7.1.7).

        But not before the application has taken, and may have answered, the messages before it.
        """
        if self.violation is None:
            try:
                self._read(bytes(data))
            except ProtocolError as error:
                self.violation = CloseCode.PROTOCOL_ERROR, str(error)[:MAX_REASON]
            except UnicodeDecodeError:
                self.violation = CloseCode.INVALID_DATA, "a text that is not UTF-8"
            except PayloadTooBig:
                self.violation = CloseCode.MESSAGE_TOO_BIG, "a message is larger than websocket.max_message_size"
        if self.violation is not None:
            self.held = bool(self.messages)
            if not self.held and not self.eof_sent:
                self.fail(*self.violation)

    def discard_unfinished(self) -> None:
        """Free what will never be complete, and the compressors: the session is over. Messages that wait stay."""
        self.held = self.tired = False
        self._left = self._kind = 0
        self._rest = b""
        self._payload = bytearray()
        self._binary = bytearray()
        self._text = self._decoder = None
        self.extensions.clear()

    def _read(self, data: bytes) -> None:
        position = 0
        if self._rest:
            # The octets held are not copied again for each queue of messages that is taken from them.
            if data:
                data = self._rest[self._position :] + data
            else:
                data, position = self._rest, self._position
            self._rest = b""
        self.held = self.tired = False
        size = len(data)
        messages = self.messages
        max_queue = self._max_queue
        budget = FRAMES_PER_TURN
        while position < size and not self.eof_sent:
            if self._left:
                position = self._read_payload(data, position)
                continue
            if len(messages) >= max_queue or self.queued > MAX_QUEUED or not budget:
                self.tired = not budget
                self.held = True
                self._rest, self._position = data, position
                return
            if size - position > 7 and not self._kind and (head := data[position]) in _MESSAGES:
                # The usual case: one frame of up to 64 KiB, all there. The rest is for `_read_header`.
                second = data[position + 1]
                start = position + 6
                end = start + second - 0x80
                if second == 0x80 + _SHORT:
                    start = position + 8
                    end = start + (data[position + 2] << 8 | data[position + 3])
                if start <= end <= size and second <= 0x80 + _SHORT and end - start <= self._max_size:
                    payload = apply_mask(data[start:end], data[start - 4 : start])
                    messages.append(payload.decode() if head == TEXT else payload)
                    self.queued += end - start + MESSAGE_COST
                    self.received += 1
                    position = end
                    continue
            budget -= 1
            start = self._read_header(data, position)
            if not start:
                self._rest, self._position = data[position:], 0
                return
            position = start
            if not self._left:
                self._end_frame()

    def _read_header(self, data: bytes, position: int) -> int:
        """Read the header of a frame (RFC 6455 section 5.2); returns where its payload begins, 0 if it is incomplete."""
        size = len(data) - position
        if size < 2:
            return 0
        head, second = data[position], data[position + 1]
        self._check_header(head, second)
        length = second & 0x7F
        start = position + 2
        if length >= _SHORT:
            octets = 2 if length == _SHORT else 8
            length = int.from_bytes(data[start : start + octets])
            start += octets
        start += 4
        if start > len(data):
            return 0
        if not head & 0x08:
            left = self._max_size - self._size
            if head & 0x40 or self._compressed:
                left = most_deflated(left)
            if length > left:
                raise PayloadTooBig(length, self._max_size)
            self._begin_fragment(head)
        self._head = head
        self._left = length
        self._mask = data[start - 4 : start]
        return start

    def _check_header(self, head: int, second: int) -> None:
        opcode = head & 0x0F
        if head & (0x30 if self.compresses else 0x70):
            raise ProtocolError("a reserved bit is set")
        if opcode not in _OPCODES:
            raise ProtocolError("an unknown opcode")
        if not second & 0x80:
            raise ProtocolError("a frame without a mask")
        if opcode & 0x08:
            if head & 0x40 or not head & 0x80 or second > 0x80 + 125:
                raise ProtocolError("a control frame that is compressed, fragmented or too long")
        elif opcode == _CONTINUATION:
            if not self._kind or head & 0x40:
                raise ProtocolError("a continuation without a beginning, or with RSV1")
        elif self._kind:
            raise ProtocolError("a new message within another one")

    def _begin_fragment(self, head: int) -> None:
        if head & 0x0F != _CONTINUATION:
            self._kind = TEXT if head & 0x0F == Opcode.TEXT else BINARY
            self._compressed = bool(head & 0x40)
            return
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            raise ProtocolError(f"a message of more than {MAX_FRAGMENTS} fragments")

    def _read_payload(self, data: bytes, position: int) -> int:
        """Read what is there of the payload; returns where that ends."""
        piece = apply_mask(data[position : position + self._left], self._mask)
        size = len(piece)
        self._left -= size
        if self._left and size & 3:
            self._mask = self._mask[size & 3 :] + self._mask[: size & 3]
        if self._compressed or self._head & 0x08:
            self._payload += piece
        elif not self._left and self._head & 0x80 and not self._size:
            self._deliver(piece if self._kind == BINARY else piece.decode(), size)
            return position + size
        else:
            self._take(piece)
        if not self._left:
            self._end_frame()
        return position + size

    def _end_frame(self) -> None:
        """Act on a frame that is complete."""
        head = self._head
        if head & 0x08:
            payload = self._take_payload()
            self.recv_frame(Frame(_OPCODES[head & 0x0F], payload))
            self.events.clear()
            return
        if self._compressed:
            self._decompress(head)
        if head & 0x80:
            self._deliver(self._finish_text() if self._kind == TEXT else bytes(self._binary), self._size)

    def _decompress(self, head: int) -> None:
        frame = Frame(_OPCODES[head & 0x0F], self._take_payload(), bool(head & 0x80))
        limit = self._max_size - self._size
        for extension in self.extensions:
            frame = extension.decode(frame, max_size=limit)
        self._take(bytes(frame.data))

    def _take_payload(self) -> bytes:
        payload = bytes(self._payload)
        self._payload = bytearray()
        return payload

    def _take(self, piece: bytes) -> None:
        """Add to the message; text is checked as far as it is there. Raises UnicodeDecodeError."""
        self._size += len(piece)
        if self._kind == BINARY:
            self._binary += piece
            return
        if self._text is None or self._decoder is None:
            self._text, self._decoder = StringIO(), codecs.getincrementaldecoder("utf-8")()
        self._text.write(self._decoder.decode(piece))

    def _finish_text(self) -> str:
        if self._text is None or self._decoder is None:
            return ""
        self._decoder.decode(b"", True)
        return self._text.getvalue()

    def _deliver(self, message: Message, size: int) -> None:
        """The message is complete."""
        self.messages.append(message)
        self.queued += size + MESSAGE_COST
        self.received += 1
        self._kind = self._size = self._fragments = 0
        self._compressed = False
        self._text = self._decoder = None
        if self._binary:
            self._binary = bytearray()
