"""Streams of Django."""

from __future__ import annotations

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from tests.integration.frameworks.applications.leaving import record

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none")
django.setup()


async def feed(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(record.feed(), content_type="text/event-stream")


async def flood(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(record.flood())


async def snapshot(request: HttpRequest) -> HttpResponse:
    return JsonResponse(record.snapshot())


urlpatterns = [path("feed", feed), path("flood", flood), path("record", snapshot)]
app = get_asgi_application()
