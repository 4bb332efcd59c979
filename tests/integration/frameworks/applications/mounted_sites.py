"""The same small site in several frameworks, for a server that is mounted below /shop; the Host field chooses one.

Each has /admin/users and /shop/open, and /hello, which answers with a link to itself as the framework builds it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import falcon
import falcon.asgi
import flask
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import path, reverse  # type: ignore[import-untyped]
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from appserver.asgi.wsgi import WSGIAdapter

PREFIX = "/shop"

# Django

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="the secret of tests")


def django_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(reverse("hello"))


urlpatterns = [
    path("hello", django_page, name="hello"),
    path("admin/users", django_page),
    path("shop/open", django_page),
]

# Flask

flask_site = flask.Flask(__name__)


@flask_site.get("/hello")
def hello() -> str:
    return flask.url_for("hello")


@flask_site.get("/admin/users")
@flask_site.get("/shop/open")
def others() -> str:
    return ""


# FastAPI

fastapi_site = FastAPI()


@fastapi_site.get("/hello", name="hello")
async def fastapi_hello(request: Request) -> Response:
    return PlainTextResponse(request.url_for("hello").path)


@fastapi_site.get("/admin/users")
@fastapi_site.get("/shop/open")
async def fastapi_others() -> str:
    return ""


# Starlette, where what is below a mount is found by the part of the path that the mount has not used


async def starlette_hello(request: Request) -> Response:
    return PlainTextResponse(request.url_for("hello").path)


async def starlette_others(request: Request) -> Response:
    return PlainTextResponse("")


starlette_site = Starlette(
    routes=[
        Route("/hello", starlette_hello, name="hello"),
        Mount("/admin", routes=[Route("/users", starlette_others)]),
        Mount("/shop", routes=[Route("/open", starlette_others)]),
    ]
)


# Falcon


class Page:
    """A resource of Falcon, for ASGI and (below) for WSGI."""

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.text = request.path


class SyncPage:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.text = request.relative_uri


falcon_site = falcon.asgi.App()
falcon_wsgi_site = falcon.App()
for target in ("/hello", "/admin/users", "/shop/open"):
    falcon_site.add_route(PREFIX + target, Page())  # its routes are matched against the whole path
    falcon_wsgi_site.add_route(target, SyncPage())

# No framework: the whole path as it is seen.


async def seen(scope: dict[str, Any], receive: Callable[..., Awaitable[Any]], send: Callable[..., Any]) -> None:
    await PlainTextResponse(scope["path"])(scope, receive, send)


def seen_by_wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1")]


SITES: dict[str, Any] = {
    "django": get_asgi_application(),
    "django-wsgi": WSGIAdapter(get_wsgi_application(), 4),
    "falcon": falcon_site,
    "falcon-wsgi": WSGIAdapter(falcon_wsgi_site, 4),
    "fastapi": fastapi_site,
    "flask": WSGIAdapter(flask_site, 4),
    "starlette": starlette_site,
    "seen": seen,
    "seen-wsgi": WSGIAdapter(seen_by_wsgi, 4),
}


async def site(scope: dict[str, Any], receive: Callable[..., Awaitable[Any]], send: Callable[..., Any]) -> None:
    """Leave the request to the site that its Host field names."""
    if scope["type"] == "lifespan":
        return
    await SITES[dict(scope["headers"])[b"host"].decode()](scope, receive, send)
