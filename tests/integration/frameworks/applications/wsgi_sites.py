"""The same site in five WSGI frameworks, each with what that offers for it.

/hello?name=… greets, /describe tells what was seen of the request, /digest takes an upload, /stream answers in pieces,
/file sends FILE, /cookies sets two, /fail raises, /journal tells which uploads were complete and which responses closed.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bottle  # type: ignore[import-untyped]
import falcon
import flask
from django.conf import settings  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # type: ignore[import-untyped]
from pyramid.config import Configurator  # type: ignore[import-untyped]
from pyramid.request import Request  # type: ignore[import-untyped]
from pyramid.response import FileResponse as PyramidFileResponse  # type: ignore[import-untyped]
from pyramid.response import Response

FILE = Path(os.path.abspath(__file__))  # noqa: PTH100  as it is, not as it is linked
journal: list[str] = []


def digest_of(read: Callable[[int], bytes]) -> str:
    """Read an upload to its end, in pieces."""
    digest = hashlib.sha256()
    while piece := read(50_000):
        digest.update(piece)
    journal.append("upload complete")
    return digest.hexdigest()


def pieces(count: int = 20) -> Iterator[bytes]:
    try:
        for number in range(count):
            yield b"piece %d\n" % number
    finally:
        journal.append("stream closed")


def describe(environ: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "SERVER_NAME", "REQUEST_URI", "HTTP_X_LIST")
    return {name: environ.get(name) for name in names} | seen


# Flask

flask_site = flask.Flask(__name__)


@flask_site.get("/hello")
def flask_hello() -> str:
    return f"Hello, {flask.request.args['name']}!"


@flask_site.get("/describe/<name>")
def flask_describe(name: str) -> dict[str, Any]:
    request = flask.request
    seen = {"name": name, "cookies": dict(request.cookies), "addr": request.remote_addr, "url": request.url}
    return describe(request.environ, seen)


@flask_site.post("/digest")
def flask_digest() -> str:
    return digest_of(flask.request.stream.read)


@flask_site.get("/stream")
def flask_stream() -> flask.Response:
    return flask.Response(pieces())


@flask_site.get("/file")
def flask_file() -> flask.Response:
    return flask.send_file(FILE)


@flask_site.get("/cookies")
def flask_cookies() -> flask.Response:
    response = flask.Response("set")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@flask_site.get("/fail")
def flask_fail() -> str:
    raise RuntimeError("failed on purpose")


@flask_site.get("/journal")
def flask_journal() -> list[str]:
    return journal


# Django

settings.configure(
    ALLOWED_HOSTS=["*"], DEBUG=False, MIDDLEWARE=[], ROOT_URLCONF=__name__, SECRET_KEY="the secret of tests"
)


def django_describe(request: HttpRequest, name: str) -> HttpResponse:
    addr, url = request.META["REMOTE_ADDR"], request.build_absolute_uri()
    return JsonResponse(describe(request.META, {"name": name, "cookies": request.COOKIES, "addr": addr, "url": url}))


def django_cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("set")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def django_fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("failed on purpose")


urlpatterns = [
    path("hello", lambda request: HttpResponse(f"Hello, {request.GET['name']}!")),
    path("describe/<str:name>", django_describe),
    path("digest", lambda request: HttpResponse(digest_of(request.read))),
    path("stream", lambda request: StreamingHttpResponse(pieces())),
    path("file", lambda request: FileResponse(FILE.open("rb"))),
    path("cookies", django_cookies),
    path("fail", django_fail),
    path("journal", lambda request: JsonResponse(journal, safe=False)),
]
django_site = get_wsgi_application()


# Bottle

bottle_site = bottle.Bottle()
bottle_site.get("/hello", callback=lambda: f"Hello, {bottle.request.query.name}!")
bottle_site.post("/digest", callback=lambda: digest_of(bottle.request.body.read))
bottle_site.get("/stream", callback=pieces)
bottle_site.get("/file", callback=lambda: bottle.static_file(FILE.name, str(FILE.parent)))
bottle_site.get("/journal", callback=lambda: json.dumps(journal))


def bottle_describe(name: str) -> str:
    request = bottle.request
    seen = {"cookies": dict(request.cookies), "addr": request.remote_addr, "url": request.url}
    return json.dumps(describe(request.environ, {"name": name, **seen}))


def bottle_cookies() -> str:
    bottle.response.set_cookie("a", "1")
    bottle.response.set_cookie("b", "2")
    return "set"


def bottle_fail() -> str:
    raise RuntimeError("failed on purpose")


bottle_site.get("/describe/<name>", callback=bottle_describe)
bottle_site.get("/cookies", callback=bottle_cookies)
bottle_site.get("/fail", callback=bottle_fail)


# Falcon


class Page:
    """A resource of Falcon with one responder."""

    def __init__(self, responder: Callable[..., None], method: str = "on_get") -> None:
        setattr(self, method, responder)


def falcon_hello(request: falcon.Request, response: falcon.Response) -> None:
    response.text = f"Hello, {request.params['name']}!"


def falcon_describe(request: falcon.Request, response: falcon.Response, name: str) -> None:
    seen = {"name": name, "cookies": request.cookies, "addr": request.remote_addr, "url": request.url}
    response.media = describe(request.env, seen)


def falcon_digest(request: falcon.Request, response: falcon.Response) -> None:
    response.text = digest_of(request.stream.read)


def falcon_stream(request: falcon.Request, response: falcon.Response) -> None:
    response.stream = pieces()


def falcon_file(request: falcon.Request, response: falcon.Response) -> None:
    response.content_type = mimetypes.guess_type(FILE)[0] or ""
    response.set_stream(FILE.open("rb"), FILE.stat().st_size)


def falcon_cookies(request: falcon.Request, response: falcon.Response) -> None:
    response.text = "set"
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")


def falcon_fail(request: falcon.Request, response: falcon.Response) -> None:
    raise RuntimeError("failed on purpose")


def falcon_journal(request: falcon.Request, response: falcon.Response) -> None:
    response.media = journal


falcon_site = falcon.App()
falcon_site.add_route("/hello", Page(falcon_hello))
falcon_site.add_route("/describe/{name}", Page(falcon_describe))
falcon_site.add_route("/digest", Page(falcon_digest, "on_post"))
falcon_site.add_route("/stream", Page(falcon_stream))
falcon_site.add_route("/file", Page(falcon_file))
falcon_site.add_route("/cookies", Page(falcon_cookies))
falcon_site.add_route("/fail", Page(falcon_fail))
falcon_site.add_route("/journal", Page(falcon_journal))


# Pyramid


def pyramid_describe(request: Request) -> Response:
    seen = {"cookies": dict(request.cookies), "addr": request.remote_addr, "url": request.url}
    return Response(json=describe(request.environ, {"name": request.matchdict["name"], **seen}))


def pyramid_cookies(request: Request) -> Response:
    response = Response("set")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def pyramid_fail(request: Request) -> Response:
    raise RuntimeError("failed on purpose")


def make_pyramid_site() -> Any:
    views: dict[str, Callable[[Request], Response]] = {
        "/hello": lambda request: Response(f"Hello, {request.params['name']}!"),
        "/describe/{name}": pyramid_describe,
        "/digest": lambda request: Response(digest_of(request.body_file.read)),
        "/stream": lambda request: Response(app_iter=pieces()),
        "/file": lambda request: PyramidFileResponse(FILE, request),
        "/cookies": pyramid_cookies,
        "/fail": pyramid_fail,
        "/journal": lambda request: Response(json=journal),
    }
    with Configurator() as configurator:
        for route, view in views.items():
            configurator.add_route(route, route)
            configurator.add_view(view, route_name=route)
        return configurator.make_wsgi_app()


pyramid_site = make_pyramid_site()
