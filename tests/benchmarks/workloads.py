"""What the servers have to do: an application, and the requests that wrk sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

BROWSER_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://www.example.org/some/page?with=a&query=string",
    "DNT": "1",
    "Cookie": "session=" + "0123456789abcdef" * 37,
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}
"""With the Host that wrk adds: twelve fields, a cookie of 600 octets."""


@dataclass(frozen=True)
class Workload:
    """One row of the table."""

    name: str
    about: str
    application: str = "tests.benchmarks.applications:hello"
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body_size: int = 0
    connections: int = 64
    access_log: bool = False
    floor: bool = False
    """Whether the bare protocol can do it."""
    message_size: int = 0
    """Octets of a WebSocket message: the load are these, in sessions (see `websocket_load`), in place of requests."""
    compressed: bool = False
    """Whether the client sends them compressed, and offers to get them so."""

    @property
    def script(self) -> str:
        """The Lua script for wrk: the request, and a report that can be read by a program."""
        headers = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(to)}\n" for name, to in self.headers.items())
        body = f'wrk.body = string.rep("x", {self.body_size})\n' if self.body_size else ""
        return f'wrk.method = "{self.method}"\n{headers}{body}{REPORT}'


REPORT = """
function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50_us": %.0f, "p99_us": %.0f, "errors": %d}\\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""

WORKLOADS = (
    Workload("hello", '"Hello, world!", keep-alive, access log off', floor=True),
    Workload("access_log", "the same with an access log to a file", access_log=True),
    Workload("headers", "12 browser headers with a 600-octet cookie", headers=BROWSER_HEADERS, floor=True),
    Workload(
        "echo16k",
        "a body of 16 KiB echoed",
        application="tests.benchmarks.applications:echo",
        method="POST",
        body_size=16384,
    ),
    Workload(
        "upload",
        "a body of 16 MiB discarded",
        application="tests.benchmarks.applications:discard",
        method="POST",
        body_size=16 * 1024 * 1024,
        connections=8,
    ),
    Workload("download", "1 MiB in sixteen messages", application="tests.benchmarks.applications:download"),
    Workload("connections", "a new connection for each request", headers={"Connection": "close"}),
    Workload(
        "fastapi",
        "FastAPI, one JSON route",
        application="tests.benchmarks.fastapi_application:app",
        path="/items/7?name=somebody",
    ),
    *(
        Workload(
            f"websocket{name}{'_deflate' if compressed else ''}",
            f"a WebSocket message of {size} octets echoed, 32 sessions{', compressed' if compressed else ''}",
            application="tests.benchmarks.applications:websocket_echo",
            connections=32,
            message_size=size,
            compressed=compressed,
        )
        for compressed in (False, True)
        for name, size in (("64", 64), ("16k", 16384))
    ),
)
