"""What the servers have to do: an application, and the requests that the load consists of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.benchmarks.varied import LUA

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
    varied: bool = False
    """Whether no two requests are alike (see `varied`)."""
    access_log: bool = False
    tls: bool = False
    floor: bool = False
    """Whether the bare protocol can do it."""
    file_size: int = 0
    """Octets of the file that is served, where it is one."""
    load: float = 0.0
    """Share of what uvicorn can do at most that is asked for; 0: as much as the server gives."""
    pace: float = 0.0
    """Requests per second that this share comes to."""
    message_size: int = 0
    """Octets of a WebSocket message: the load are these, in sessions (see `websocket_load`), in place of requests."""
    compressed: bool = False
    """Whether the client sends them compressed, and offers to get them so."""
    streams: int = 0
    """How many requests each connection has under way over HTTP/2; 0: the load is HTTP/1.1."""
    trio: bool = False
    """Whether the application runs under trio."""

    @property
    def http2(self) -> bool:
        """Whether the load is HTTP/2."""
        return self.streams > 0

    @property
    def script(self) -> str:
        """The Lua script for wrk: the request, and a report that can be read by a program."""
        headers = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(to)}\n" for name, to in self.headers.items())
        body = f'wrk.body = string.rep("x", {self.body_size})\n' if self.body_size else ""
        pace = PACE % (1000 * self.connections / self.pace) if self.pace else ""
        varied = LUA if self.varied else ""
        return f'wrk.method = "{self.method}"\n{headers}{body}{pace}{varied}{REPORT}'


REPORT = """
function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50_us": %.0f, "p99_us": %.0f, "errors": %d}\\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""

# What a connection waits between an answer and its next request: milliseconds, whole ones for wrk, twice %f at most.
PACE = """
function delay()
   local pause = 2 * math.random() * %f
   local whole = math.floor(pause)
   return math.random() < pause - whole and whole + 1 or whole
end
"""

WORKLOADS = (
    Workload("hello", '"Hello, world!", keep-alive, access log off', floor=True),
    Workload("access_log", "the same with an access log to a file", access_log=True),
    Workload("tls", "the same over TLS 1.3, without the log", tls=True),
    Workload("headers", "12 browser headers with a 600-octet cookie", headers=BROWSER_HEADERS, floor=True),
    Workload(
        "varied",
        "the same through a proxy on a trusted address: 2,000 targets, cookies, referers and clients in turn",
        headers=BROWSER_HEADERS,
        varied=True,
        floor=True,
    ),
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
        Workload(f"trio{number}", f'"Hello, world!" under trio, {number} in flight', connections=number, trio=True)
        for number in (1, 32)
    ),
    Workload("latency", "the same at 70 % of the load that uvicorn can bear", load=0.7),
    *(
        Workload(
            f"file{name}",
            f"a file of {about}, by http.response.pathsend",
            application="tests.benchmarks.applications:file",
            path=f"/{size}",
            file_size=size,
            connections=connections,
        )
        for name, about, size, connections in (
            ("100k", "100 KiB", 100 * 1024, 64),
            ("100m", "100 MiB", 100 * 1024 * 1024, 4),
        )
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
    Workload("h2_hello", "the same over HTTP/2, in clear text", connections=8, streams=32),
    Workload("h2_hello_tls", "the same over HTTP/2, with TLS 1.3", connections=8, streams=32, tls=True),
    Workload(
        "h2_varied",
        "12 browser headers over HTTP/2: 2,000 targets, cookies, referers and clients in turn",
        headers=BROWSER_HEADERS,
        varied=True,
        connections=8,
        streams=32,
    ),
    Workload(
        "h2_download",
        "1 MiB in sixteen messages over HTTP/2",
        application="tests.benchmarks.applications:download",
        connections=8,
        streams=4,
    ),
    Workload(
        "h2_upload",
        "a body of 1 MiB discarded, over HTTP/2",
        application="tests.benchmarks.applications:discard",
        method="POST",
        body_size=1024 * 1024,
        connections=8,
        streams=4,
    ),
)
