"""Streams of Starlette, with work behind them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.integration.frameworks.applications.leaving import record


async def feed(request: Request) -> Response:
    behind = BackgroundTask(record.note, "background")
    return StreamingResponse(record.feed(), media_type="text/event-stream", background=behind)


async def flood(request: Request) -> Response:
    return StreamingResponse(record.flood())


async def compute(request: Request) -> Response:
    await record.compute()
    return JSONResponse({}, background=BackgroundTask(record.note, "background"))


async def snapshot(request: Request) -> Response:
    return JSONResponse(record.snapshot())


class PassOn(BaseHTTPMiddleware):
    """The kind of middleware that runs the application in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


behind_middleware = Starlette(routes=[Route("/feed", feed)], middleware=[Middleware(PassOn)])
app = Starlette(
    routes=[
        Route("/feed", feed),
        Route("/flood", flood),
        Route("/compute", compute),
        Route("/record", snapshot),
        Mount("/middleware", behind_middleware),
    ]
)
