"""Header compression (RFC 7541): blocks into fields, and fields into blocks.

The tables of the RFC, static and Huffman's, are those of the `hpack` library. Reading and writing the representations is
ours: the library's decoder takes 12 µs for a browser's head and knows no bound for the number of fields; its encoder puts
every field into its table, also those that never come again.
"""

from __future__ import annotations

from typing import Final

from hpack import HPACKDecodingError
from hpack.table import HeaderTable

from appserver.http.fields import Fields
from appserver.http2 import huffman
from appserver.http2.errors import Code, ConnectionFailure, Flood
from appserver.http2.frames import DEFAULT_TABLE_SIZE

STATIC: Final[tuple[tuple[bytes, bytes], ...]] = HeaderTable.STATIC_TABLE
FIRST_DYNAMIC: Final = len(STATIC) + 1
ENTRY_OVERHEAD: Final = 32
"""The size of an entry beyond its name and value, in octets (section 4.1); the same goes for SETTINGS_MAX_HEADER_LIST_SIZE."""

MAX_INTEGER_OCTETS: Final = 5
"""Beyond the prefix: enough for 2**32, and an end to integers that have none (section 5.1)."""
MAX_SIZE_UPDATES: Final = 2
"""So many changes of the table's size stand at most at the start of a block (section 4.2)."""

# Strings that have come Huffman-coded, and what they say: decoding takes 1 µs and more.
_decoded: dict[bytes, bytes] = {}
_MAX_DECODED = 1024
_MAX_DECODED_SIZE = 256


def _broken(message: str) -> ConnectionFailure:
    """A block that cannot be read leaves the table unknown, and so every block behind it (RFC 9113 section 4.3)."""
    return ConnectionFailure(Code.COMPRESSION_ERROR, message)


class Decoder:
    """Reads the header blocks of one connection, in their order; none may be left out.

    `changes` counts what has happened to the table: while it stays the same, equal blocks mean equal fields. `list_size` is
    the size of the last block's fields, each with 32 octets on top, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
    """

    __slots__ = ("_max_list_size", "_max_size", "_size", "_table", "_table_size", "_update_due", "changes", "list_size")

    def __init__(self, max_list_size: int) -> None:
        """`max_list_size`: octets that the fields of a block may come to, each with 32 on top (RFC 9113 section 6.5.2)."""
        self.changes = self.list_size = 0
        self._max_list_size = max_list_size
        self._max_size = DEFAULT_TABLE_SIZE  # what the peer may make of the table
        self._table_size = DEFAULT_TABLE_SIZE  # what it has made of it
        self._update_due = False  # the next block has to make the table smaller
        self._table: Fields = []  # the oldest first, as a list of few takes a tenth of a deque's memory
        self._size = 0

    def limit_table(self, size: int) -> None:
        """Take SETTINGS_HEADER_TABLE_SIZE, of ours, for the blocks from now on: the peer has acknowledged it."""
        self.changes += 1
        self._max_size = size
        self._update_due = self._table_size > size

    def decode(self, block: bytes) -> Fields:
        """Read one block. Raises ConnectionFailure."""
        fields: Fields = []
        position, size, updates, list_size = 0, len(block), 0, 0
        try:
            while position < size:
                first = block[position]
                if first & 0x80:  # an indexed field (section 6.1)
                    index = first & 0x7F
                    position += 1
                    if index == 0x7F:
                        index, position = _read_rest(block, position, index)
                    field = self._entry(index)
                elif first & 0x40:  # a literal that goes into the table (section 6.2.1)
                    field, position = self._read_literal(block, position, 0x3F)
                    self._add(field)
                elif first & 0x20:  # a change of the table's size (section 6.3)
                    updates += 1
                    if fields or updates > MAX_SIZE_UPDATES:
                        raise _broken("a change of the table's size stands where none may (RFC 7541 section 4.2)")
                    position = self._resize(block, position)
                    continue
                else:  # a literal that does not (sections 6.2.2 and 6.2.3)
                    field, position = self._read_literal(block, position, 0x0F)
                list_size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
                if list_size > self._max_list_size:
                    message = f"a header block unpacks to more than {self._max_list_size} octets"
                    raise Flood("header_block", message)
                fields.append(field)
        except IndexError:
            raise _broken("a header block breaks off") from None
        if self._update_due and updates == 0:
            raise _broken("the table is larger than SETTINGS_HEADER_TABLE_SIZE allows (RFC 7541 section 4.2)")
        self._update_due = False
        self.list_size = list_size
        return fields

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        """The field at an index of either table (section 2.3.3)."""
        if 0 < index < FIRST_DYNAMIC:
            return STATIC[index - 1]
        index = len(self._table) + FIRST_DYNAMIC - 1 - index
        if not 0 <= index < len(self._table):
            raise _broken("a header block refers to a field that the table does not have")
        return self._table[index]

    def _read_literal(self, block: bytes, position: int, mask: int) -> tuple[tuple[bytes, bytes], int]:
        """Read a field whose value, and perhaps name, is given (section 6.2)."""
        index = block[position] & mask
        position += 1
        if index == mask:
            index, position = _read_rest(block, position, index)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _read_string(block, position)
        value, position = _read_string(block, position)
        return (name, value), position

    def _add(self, field: tuple[bytes, bytes]) -> None:
        """Put a field into the table, and let the oldest ones go that have no room beside it (section 4.4)."""
        self.changes += 1
        size = len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
        self._evict(self._table_size - size)
        if size <= self._table_size:
            self._table.append(field)
            self._size += size

    def _evict(self, limit: int) -> None:
        gone, size = 0, self._size
        for name, value in self._table:
            if size <= limit:
                break
            size -= len(name) + len(value) + ENTRY_OVERHEAD
            gone += 1
        if gone:
            del self._table[:gone]
            self._size = size

    def _resize(self, block: bytes, position: int) -> int:
        size = block[position] & 0x1F
        position += 1
        if size == 0x1F:
            size, position = _read_rest(block, position, size)
        if size > self._max_size:
            raise _broken("the table is made larger than SETTINGS_HEADER_TABLE_SIZE allows (RFC 7541 section 6.3)")
        self.changes += 1
        self._table_size = size
        self._evict(size)
        return position


def _read_rest(block: bytes, position: int, value: int) -> tuple[int, int]:
    """Read an integer whose prefix is full (section 5.1); returns it, and where it ends."""
    shift = 0
    for octet in block[position : position + MAX_INTEGER_OCTETS]:
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
    raise _broken("an integer in a header block has no end")


def _read_string(block: bytes, position: int) -> tuple[bytes, int]:
    """Read a string (section 5.2); returns it, and where it ends."""
    first = block[position]
    size = first & 0x7F
    position += 1
    if size == 0x7F:
        size, position = _read_rest(block, position, size)
    end = position + size
    if end > len(block):
        raise _broken("a header block breaks off")
    data = block[position:end]
    return (_decode(data) if first & 0x80 else data), end


def _decode(data: bytes) -> bytes:
    """Decode a Huffman-coded string (section 5.2)."""
    known = _decoded.get(data)
    if known is not None:
        return known
    try:
        text = huffman.decode(data)
    except HPACKDecodingError:
        raise _broken("a string in a header block is not Huffman-coded as RFC 7541 has it") from None
    if len(data) <= _MAX_DECODED_SIZE:
        if len(_decoded) >= _MAX_DECODED:
            _decoded.clear()
        _decoded[data] = text
    return text


# The end of what is remembered of a name: its representation as a literal's name, without the value.
_names: dict[bytes, bytes] = {}
_MAX_NAMES = 1024

_STATIC_FIELDS = {field: bytes((0x80 | index,)) for index, field in reversed(list(enumerate(STATIC, 1)))}
_STATIC_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(STATIC, 1)))}

NEVER_INDEXED: Final = frozenset((b"authorization", b"proxy-authorization", b"set-cookie"))
"""Fields that nobody on the way may put into a table, because what is compressed can be guessed (section 7.1.3)."""

VARYING: Final = frozenset(
    (b"content-length", b"content-range", b"date", b"etag", b"expires", b"last-modified", b"location"),
)
"""Fields whose values seldom come again on one connection, but perhaps on another, or at once."""

UNIQUE: Final = frozenset((b"x-request-id",))
"""Fields whose values never come again."""

_MAX_SEEN: Final = 64


class Encoder:
    """Writes the header blocks of one connection, in the order in which they are sent.

    A field goes into the table when it comes for the second time, and stays there; when the table is full, it stays as it
    is. So a usual response is a handful of octets, and what comes once costs the table nothing.
    """

    __slots__ = ("_indexed", "_limit", "_pending", "_seen", "_size")

    def __init__(self) -> None:
        self._limit = DEFAULT_TABLE_SIZE
        self._pending = b""  # the change of the table's size that the next block has to begin with
        # The fields that have come once; an empty set takes three times the memory.
        self._seen: dict[tuple[bytes, bytes], None] = {}
        self._indexed: dict[tuple[bytes, bytes], bytes] = {}  # the table, the oldest first, and how each is written
        self._size = 0

    def limit_table(self, size: int) -> None:
        """Take SETTINGS_HEADER_TABLE_SIZE of the peer; more than the default is not used (section 4.2)."""
        size = min(size, DEFAULT_TABLE_SIZE)
        if size == self._limit:
            return
        self._limit = size
        self._pending = b"\x20" + _integer(size, 0x1F, 0x20)  # through 0, which empties the table
        self._seen.clear()
        self._indexed.clear()
        self._size = 0

    def encode(self, fields: Fields) -> bytes:
        """Write one block; names are in lower case."""
        parts = [self._pending]
        self._pending = b""
        indexed = self._indexed
        for field in fields:
            known = indexed.get(field) or _literals.get(field)
            parts.append(known if known is not None else self._encode(field))
        return b"".join(parts)

    def _encode(self, field: tuple[bytes, bytes]) -> bytes:
        """Write a field that is not in the table, and perhaps put it there."""
        name, value = field
        literal = _names.get(name) or _remember(name)
        size = len(value)
        if name in VARYING and size <= 32:
            return _remember_literal(field, literal + _length(size) + value)
        if name in VARYING or name in NEVER_INDEXED or name in UNIQUE or size > 256:
            return literal + _length(size) + value
        if field not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen[field] = None
            return literal + _length(size) + value
        needed = len(name) + size + ENTRY_OVERHEAD
        if self._size + needed > self._limit:
            return literal + _length(size) + value
        del self._seen[field]
        self._size += needed
        table = self._indexed
        table[field] = b""
        newest = FIRST_DYNAMIC + len(table) - 1
        for position, known in enumerate(table):  # all of them move by one
            table[known] = _integer(newest - position, 0x7F, 0x80)
        index = _STATIC_NAMES.get(name, 0)
        start = _integer(index, 0x3F, 0x40) if index else b"\x40" + _length(len(name)) + name
        return start + _length(size) + value


# Fields that are written in the same way on each connection: those of the static table, and behind them short literals that vary.
_literals: dict[tuple[bytes, bytes], bytes] = dict(_STATIC_FIELDS)
_MAX_LITERALS = 512


def _remember_literal(field: tuple[bytes, bytes], octets: bytes) -> bytes:
    if len(_literals) >= _MAX_LITERALS:
        _literals.clear()
        _literals.update(_STATIC_FIELDS)
    _literals[field] = octets
    return octets


def _remember(name: bytes) -> bytes:
    """The name of a literal that goes into no table (sections 6.2.2 and 6.2.3)."""
    kind = 0x10 if name in NEVER_INDEXED else 0x00
    index = _STATIC_NAMES.get(name, 0)
    literal = _integer(index, 0x0F, kind) if index else bytes((kind,)) + _length(len(name)) + name
    if len(_names) < _MAX_NAMES and len(name) <= 64:
        _names[name] = literal
    return literal


def _length(size: int) -> bytes:
    """The length of a string that is not Huffman-coded."""
    return _LENGTHS[size] if size < 0x7F else _integer(size, 0x7F, 0)


def _integer(value: int, mask: int, kind: int) -> bytes:
    """Write an integer (section 5.1) behind the bits `kind`."""
    if value < mask:
        return bytes((kind | value,))
    octets = [kind | mask]
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


_LENGTHS = tuple(bytes((size,)) for size in range(0x7F))
