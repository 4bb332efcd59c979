"""The h11 lexer: heads are taken apart in Python, by a library of its own."""

from __future__ import annotations

import h11

from appserver.http1.grammar import HEAD, Lexed


class H11Lexer:
    """Lexes the heads of one connection; declines what h11 does not report exactly as it was sent."""

    __slots__ = ()

    def lex(self, raw: bytes) -> Lexed | None:
        """Take a whole head apart as `grammar.lex` does, or return None to leave it to that.

        h11 takes more than the grammar (bare LF, folded lines, control characters), so it gets only what follows the
        grammar. It also judges framing, drops duplicates and respells values, which is not its task here: what it
        refuses, or reports in other octets than it got, is left to the grammar.
        """
        if HEAD.fullmatch(raw) is None:
            return None
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + 1)
        connection.receive_data(raw)
        try:
            request = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        assert isinstance(request, h11.Request)
        fields = request.headers.raw_items()
        lines = [b"%b %b HTTP/%b\r\n" % (request.method, request.target, request.http_version)]
        lines += [b"%b: %b\r\n" % field for field in fields]
        if b"".join(lines) + b"\r\n" != raw:
            return None
        return request.method, request.target, request.http_version, [(name.lower(), value) for name, value in fields]

    def forget(self) -> None:
        """Nothing is kept."""
