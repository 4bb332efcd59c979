"""The engine: it serves the application over sockets, inside a worker's event loop.

It owns transports, tasks and time limits. What octets mean it leaves to `http`, `http1` and `http2`, which know no sockets; what to
count and where to log to `telemetry`; when to drain and when to give up to the worker.

The way of a request, in five files:

1. `opening` begins a connection: what stands in front of HTTP (`proxy_header`, `secure`), then the choice of the protocol.
2. `connection` speaks HTTP/1.1 on it: it feeds the parser, and carries one exchange after the other. Its states, and what may
   follow on what, are in `connection_states`; the transport below it is a `link`, and before the event loop has made one
   it is a `first_transport`.
3. `lifecycle` is what begins and ends a request, whatever carries it: id, client (`peer`), scoreboard, access log.
4. `calls` calls the application, in a task, with a `scope`, and decides what is said about applications that fail (`failure`,
   `refusal`); `admission` makes requests wait while too many are running.
5. `exchange` is the request and its response as ASGI sees them: `receive` and `send`. It talks to a `Carrier`, which the
   connection is; `file` and `filecopy` send files for it.

HTTP/2 takes the second step another way: `http2_connection` owns the frames' events and any number of exchanges, each carried
by a stream (`http2_stream`); `http2_link` says when something is written, and when the connection ends.

Around that:

- `server` is what a worker starts and drains, one per worker; `acceptor` takes connections from a `listener`; `service` is
  what all connections share; `work` is the registry of what is under way, which the drain, the sweep of the time limits,
  the reports and the scoreboard read. What a drain cuts off, `cutoff` reports.
- `session` is a WebSocket session, as ASGI sees it, on `session_client`, the client's side of it. It runs over a `pipe`.

No module imports another one that imports it, not even for types. The path of a request is short on purpose: one scope, one
exchange, one task, one write, no timer. Whatever is added to it costs every request; `tests/benchmarks` says how much.
"""

from __future__ import annotations
