"""Where a worker counts what is particular to HTTP/2, in its slot of the scoreboard."""

from __future__ import annotations

from appserver.telemetry.layout import HTTP2_CODES, HTTP2_FLOODS, OTHER, Layout


class HTTP2Counts:
    """Part of a `WorkerSlot`: the methods are for its worker alone, the properties for anybody."""

    __slots__ = ("_connections", "_connections_open", "_floods", "_ints", "_resets", "_streams", "_streams_open")

    def __init__(self, layout: Layout, ints: memoryview[int], start: int) -> None:
        """`start` is where the slot begins in `ints`."""

        def cell(name: str) -> int:
            return start + layout.offsets[name]

        self._ints = ints
        self._connections = cell("http2_connections")
        self._connections_open = cell("http2_connections_open")
        self._streams = cell("http2_streams")
        self._streams_open = cell("http2_streams_open")
        ((_, directions), (_, codes)) = layout.fields["http2_resets"].axes
        resets = cell("http2_resets")
        self._resets = {direction: resets + row * len(codes) for row, direction in enumerate(directions)}
        self._floods = cell("http2_floods")

    def connection_opened(self) -> None:
        """A client has chosen HTTP/2, on a connection that `WorkerSlot.connection_opened` has counted."""
        self._ints[self._connections] += 1
        self._ints[self._connections_open] += 1

    def connection_closed(self) -> None:
        self._ints[self._connections_open] -= 1

    def count_streams(self, begun: int, more_open: int) -> None:
        """So many streams have begun, and so many more (or, negative, less) are open than before."""
        self._ints[self._streams] += begun
        self._ints[self._streams_open] += more_open

    def stream_reset(self, direction: str, code: int) -> None:
        """Count a RST_STREAM that was "sent" or "received"."""
        last = len(HTTP2_CODES) - 1  # OTHER
        self._ints[self._resets[direction] + min(code, last)] += 1

    def flood(self, kind: str) -> None:
        """Count a connection that has ended because its client makes too much work."""
        self._ints[self._floods + HTTP2_FLOODS.index(kind if kind in HTTP2_FLOODS else OTHER)] += 1

    @property
    def connections(self) -> int:
        """How many connections that speak HTTP/2 are open."""
        return self._ints[self._connections_open]

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._ints[self._streams_open]
