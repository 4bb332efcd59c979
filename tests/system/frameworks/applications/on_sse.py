"""sse-starlette."""

import asyncio
from pathlib import Path

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route


async def events(request):
    async def numbers():
        try:
            for number in range(1_000_000):
                yield {"data": str(number)}
                await asyncio.sleep(0.01)
        finally:
            Path("left").touch()

    return EventSourceResponse(numbers())


app = Starlette(routes=[Route("/events", events)])
