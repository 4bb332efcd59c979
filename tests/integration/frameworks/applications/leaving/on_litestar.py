"""Streams of Litestar, with work behind them."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, get
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from tests.integration.frameworks.applications.leaving import record


@get("/feed")
async def feed() -> Stream:
    behind = BackgroundTask(note)
    return Stream(record.feed(), media_type="text/event-stream", background=behind)


async def note() -> None:
    record.note("background")


@get("/flood")
async def flood() -> Stream:
    return Stream(record.flood())


@get("/record")
async def snapshot() -> dict[str, Any]:
    return record.snapshot()


app = Litestar([feed, flood, snapshot], openapi_config=None)
