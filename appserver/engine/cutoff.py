"""The end of what takes longer than it may when serving ends: it is cut off, and the log says what it was and where it stood."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appserver.asgi.lifespan import Lifespan, Logger
from appserver.telemetry.task_stacks import describe_stack

if TYPE_CHECKING:
    from appserver.engine.server import Server  # a function on AWS Lambda has none


def report_cancelled(server: Server, limit: float, log: Logger) -> None:
    """Log what still runs after `limit` seconds (workers.graceful_timeout); it is to be cancelled next."""
    for running in (*server.running(), *server.sessions()):
        log.warning(
            "request cancelled",
            method=running.method,
            path=running.path,
            age_seconds=round(running.age, 3),
            **({} if running.request_id is None else {"request_id": running.request_id}),
            reason=f"still running {limit:g} s after the drain began (workers.graceful_timeout)",
            stack=describe_stack(running.task),
        )


async def end_lifespan(lifespan: Lifespan, limit: float, grace: float, log: Logger) -> None:
    """Run the lifespan shutdown. After `limit` seconds (workers.lifespan_timeout) it is cancelled, and has `grace` to end."""
    try:
        async with asyncio.timeout(limit):
            await lifespan.shutdown()
    except TimeoutError:
        reason = f"took longer than workers.lifespan_timeout ({limit:g} s)"
        stack = "" if lifespan.task is None else describe_stack(lifespan.task)
        log.error("lifespan shutdown cut off", reason=reason, stack=stack)  # noqa: TRY400 - not ours but its stack matters
        await lifespan.cancel(grace)
