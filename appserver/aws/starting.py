"""The start-up of the application, within the time that Lambda has for it."""

from __future__ import annotations

import asyncio

from appserver.asgi.lifespan import Lifespan, Logger
from appserver.errors import StartupError
from appserver.settings import Settings
from appserver.telemetry.task_stacks import describe_tasks

SLOW = 8.0
"""Seconds after which a start-up is reported: Lambda cuts it off after ten, and begins anew with the first invocation."""


def refuse_trio(settings: Settings) -> None:
    """Raise StartupError if the application is to run under trio: between invocations there is nothing that runs it."""
    if settings.app.async_library == "trio":
        raise StartupError(
            'app.async_library = "trio": applications written for trio are not served as Lambda functions;'
            " one that stands on anyio (Starlette, FastAPI) runs under asyncio as well"
        )


async def start_up(lifespan: Lifespan, limit: float, logger: Logger) -> None:
    """Run the lifespan start-up. Raises StartupError, also after `limit` seconds (workers.boot_timeout)."""
    loop = asyncio.get_running_loop()

    def report() -> None:
        logger.warning(
            "start-up is slow",
            detail=f"it has taken {SLOW:g} s; Lambda allows ten before it begins anew",
            stack=describe_tasks(loop),
        )

    timer = loop.call_later(SLOW, report)
    try:
        async with asyncio.timeout(limit):
            await lifespan.startup()
    except TimeoutError:
        stack = describe_tasks(loop)
        await lifespan.cancel()
        raise StartupError(
            f"the application's start-up took longer than {limit:g} s (workers.boot_timeout)", stack
        ) from None
    finally:
        timer.cancel()
