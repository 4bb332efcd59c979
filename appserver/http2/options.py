"""The options of HTTP/2 connections, and the SETTINGS that tell clients of them."""

from __future__ import annotations

from dataclasses import dataclass

from appserver.http.limits import Limits
from appserver.http2.floods import CONTROL, RESETS
from appserver.http2.frames import DEFAULT_TABLE_SIZE


@dataclass(frozen=True, slots=True)
class Options:
    """The options of connections, from the section `[http2]` of the settings."""

    limits: Limits
    max_concurrent_streams: int = 100
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024
    header_table_size: int = DEFAULT_TABLE_SIZE
    max_resets: float = RESETS
    max_control_frames: float = CONTROL
    extended_connect: bool = True

    def settings(self) -> list[tuple[int, int]]:
        """The SETTINGS for the client (RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1)."""
        pairs = [
            (0x1, self.header_table_size),
            (0x3, self.max_concurrent_streams),
            (0x4, self.stream_window),
            (0x6, min(self.limits.max_header_size, 2**32 - 1)),
            (0x9, 1),
        ]
        return [*pairs, (0x8, 1)] if self.extended_connect else pairs
