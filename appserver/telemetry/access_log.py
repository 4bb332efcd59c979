"""The access log: one line per request."""

from __future__ import annotations

from appserver.http.head import RequestHead
from appserver.settings import AccessLogSettings


class AccessLog:
    """Writes one line per finished request; buffers them until `flush`."""

    dropped: int  # lines lost so far

    def __init__(
        self, settings: AccessLogSettings, *, worker: int | None = None, generation: int | None = None
    ) -> None:
        """Open the destination; raises SettingsError if that cannot be done. `worker`, `generation`: stamped on lines."""
        raise NotImplementedError

    def start_writer(self) -> None:
        """Write from a thread of its own from now on."""

    def request(
        self,
        head: RequestHead,
        client: tuple[str, int] | None,
        status: int,
        seconds: float,
        received: int,
        sent: int,
        outcome: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Note a request whose response has ended. `outcome`: None, or "aborted", "timed_out", "error"."""

    def flush(self) -> None:
        """Hand the buffered lines to the output; to be called every 100 ms. Never blocks."""

    def reopen(self) -> None: ...

    def close(self, timeout: float = 2.0) -> None:
        """Flush, and write out what is buffered for at most `timeout` seconds."""
