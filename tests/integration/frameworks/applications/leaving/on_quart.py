"""Streams of Quart."""

from __future__ import annotations

from typing import Any

from quart import Quart, Response

from tests.integration.frameworks.applications.leaving import record

app = Quart(__name__)


@app.route("/feed")
async def feed() -> Response:
    response = Response(record.feed(), content_type="text/event-stream")
    response.timeout = None
    return response


@app.route("/flood")
async def flood() -> Response:
    return Response(record.flood())


@app.route("/record")
async def snapshot() -> dict[str, Any]:
    return record.snapshot()
