"""Applications written for trio behind the interface of ASGI 3.0, which the engine calls in tasks of asyncio.

    event loop of the worker                        trio, a guest of that loop
    TrioAdapter ── Call.serve ── start_soon ──────▶ Call.run ─▶ the application
        receive, send ◀──────── bridge.finish ───── receive, send
        cancelled ──────────── CancelScope.cancel ▶ trio.Cancelled
        the outcome ◀────────── future ──────────── returned, raised

trio runs in guest mode: it has no loop of its own, the loop of the worker calls it whenever a task of trio can go on. So both
are in one thread, and a task of trio may call what belongs to the event loop, as long as it does not wait there in asyncio's
way. `bridge` is that way of waiting. Start reading with `adapter`, then `call`.

`adapter` and `mistakes` do not import trio, as most servers have none.
"""

from __future__ import annotations

from appserver.asgi.trio.adapter import TrioAdapter

__all__ = ["TrioAdapter"]
