"""The settings of a client (RFC 9113 section 6.5)."""

from __future__ import annotations

from typing import Final

from appserver.http2.errors import Code, ConnectionFailure, violation
from appserver.http2.frames import MAX_FRAME_SIZE, MAX_WINDOW, MIN_FRAME_SIZE, SETTING

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME: Final = 0x5
ENABLE_CONNECT_PROTOCOL: Final = 0x8
NO_RFC7540_PRIORITIES: Final = 0x9

_FLAGS: Final = {
    ENABLE_PUSH: "SETTINGS_ENABLE_PUSH",
    ENABLE_CONNECT_PROTOCOL: "SETTINGS_ENABLE_CONNECT_PROTOCOL",
    NO_RFC7540_PRIORITIES: "SETTINGS_NO_RFC7540_PRIORITIES",
}


def read_settings(payload: bytes) -> dict[int, int]:
    """The settings of one frame: of each identifier the last value, after each has been checked.

    Raises ConnectionFailure. A frame has room for 2,730 values, and to apply one may mean to look at every stream; only the
    last can be observed, but for the size of the table (see `table_sizes`).
    """
    if len(payload) % SETTING.size:
        raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "the payload of SETTINGS is no multiple of 6 octets")
    settings = {}
    for identifier, value in SETTING.iter_unpack(payload):
        if identifier in _FLAGS and value > 1:
            raise violation(f"{_FLAGS[identifier]} is neither 0 nor 1")
        if identifier == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1")
        if identifier == MAX_FRAME and not MIN_FRAME_SIZE <= value <= MAX_FRAME_SIZE:
            raise violation("SETTINGS_MAX_FRAME_SIZE is not from 16,384 to 16,777,215")
        settings[identifier] = value
    return settings


def table_sizes(payload: bytes) -> list[int]:
    """The values of SETTINGS_HEADER_TABLE_SIZE, in their order.

    The smallest and the last have an effect: the peer's table has lost the entries that the smallest has no room for (RFC 7541 section 4.2).
    """
    return [value for identifier, value in SETTING.iter_unpack(payload) if identifier == HEADER_TABLE_SIZE]
