"""A Django project in one file, served through its ASGI handler."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

# Django publishes no types, and stubs for it are not worth a dependency of the tests.
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.db import connection  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path, reverse  # type: ignore[import-untyped]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "[::1]", "test"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEBUG=False,
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="the secret of tests",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)

journal: list[str] = []


def hello(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"Hello, {name}!", content_type="text/plain; charset=utf-8")


async def hello_async(request: HttpRequest, name: str) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(f"Hello, {name}, later!")


def patient(request: HttpRequest) -> HttpResponse:
    time.sleep(0.3)
    return HttpResponse("It took a while.")


async def patient_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.3)
    return HttpResponse("It took a while.")


def query(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s + %s", [request.GET["a"], request.GET["b"]])
        (total,) = cursor.fetchone()
    return JsonResponse({"sum": total, "host": request.get_host(), "all": request.GET.getlist("a")})


async def stream(request: HttpRequest, count: int) -> HttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"piece %d\n" % number
            await asyncio.sleep(0)

    return StreamingHttpResponse(pieces())


async def endless(request: HttpRequest) -> HttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        journal.append("endless opened")
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            journal.append("endless closed")

    return StreamingHttpResponse(pieces())


def upload(request: HttpRequest) -> HttpResponse:
    file: Any = request.FILES["file"]
    hasher = hashlib.sha256()
    for piece in file.chunks():
        hasher.update(piece)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": hasher.hexdigest(), **request.POST.dict()})


def visit(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


def redirect(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("hello", args=["again"]))


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("failed on purpose")


def read_journal(request: HttpRequest) -> HttpResponse:
    return JsonResponse(journal, safe=False)


urlpatterns = [
    path("hello/<name>/", hello, name="hello"),
    path("hello-async/<name>/", hello_async),
    path("patient/", patient),
    path("patient-async/", patient_async),
    path("query/", query),
    path("stream/<int:count>/", stream),
    path("endless/", endless),
    path("upload/", upload),
    path("visit/", visit),
    path("redirect/", redirect),
    path("fail/", fail),
    path("journal/", read_journal),
]

application = get_asgi_application()
