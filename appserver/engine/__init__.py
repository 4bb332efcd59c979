"""The engine: it serves the application over sockets, inside a worker's event loop.

It owns transports, tasks and time limits. What octets mean it leaves to `http`, which knows no sockets; what to count
and where to log to `telemetry`; when to drain and when to give up to the worker.

- `server` is what a worker starts and drains; one per worker. Start reading there.
- `acceptor` takes connections from a `listener`.
- `connection` serves one connection. It stands on `responder`, its response side, and that on `link`, which is about
  transports and knows no HTTP.
- `exchange` is one request and its response, as ASGI sees them; `scope` what the application is told about it; `file`
  and `filecopy` send files for it; `admission` makes it wait while too many are running.
- `session` is one WebSocket session, as ASGI sees it, and takes its connection over; it stands on `session_link`, the
  client's side of it, and that on `link`, too.
- `refusal` has the answers that the engine gives itself, `failure` what is logged about applications that fail.
- `service` is what all connections share.

The path of a request is short on purpose: one scope, one exchange, one task, one write, no timer. Whatever is added to
it costs every request; `tests/benchmarks` says how much.
"""

from __future__ import annotations
