"""Streams of sse-starlette."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.integration.frameworks.applications.leaving import record


async def events() -> AsyncIterator[dict[str, str]]:
    async for _ in record.feed():
        yield {"data": "hello"}


async def feed(request: Request) -> Response:
    return EventSourceResponse(events(), background=BackgroundTask(record.note, "background"), sep="\n")


async def snapshot(request: Request) -> Response:
    return JSONResponse(record.snapshot())


app = Starlette(routes=[Route("/feed", feed), Route("/record", snapshot)])
