"""Streams of FastAPI, with work behind them."""

from __future__ import annotations

from typing import Any

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

from tests.integration.frameworks.applications.leaving import record

app = FastAPI()


@app.get("/feed")
async def feed(background: BackgroundTasks) -> StreamingResponse:
    background.add_task(record.note, "background")
    return StreamingResponse(record.feed(), media_type="text/event-stream", background=background)


@app.get("/flood")
async def flood() -> StreamingResponse:
    return StreamingResponse(record.flood())


@app.get("/compute")
async def compute(background: BackgroundTasks) -> dict[str, Any]:
    background.add_task(record.note, "background")
    await record.compute()
    return {}


@app.get("/record")
async def snapshot() -> dict[str, Any]:
    return record.snapshot()
