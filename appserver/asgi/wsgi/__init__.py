"""WSGI applications (PEP 3333) behind the interface of ASGI 3.0: each call in a thread of a pool.

    event loop                                  thread
    WSGIAdapter ── Call ──▶ Threads ─────────▶ Call.run ─▶ the application
        receive ─▶ Body ───────────────────────▶ Input (wsgi.input)
        send    ◀─ Call.deliver ◀── messages ── Response (start_response, write, the iterable)

Each direction is bounded: a client that sends faster than the application reads waits, and so does an application that
is faster than its client reads. Start reading with `adapter`, then `call`; `environ` has what frameworks look for.
"""

from __future__ import annotations

from appserver.asgi.wsgi.adapter import WSGIAdapter
from appserver.asgi.wsgi.body import ClientDisconnect
from appserver.asgi.wsgi.threads import Meter

__all__ = ["ClientDisconnect", "Meter", "WSGIAdapter"]
