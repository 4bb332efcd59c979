"""Every kind of event under `appserver lambda`, seen through the frameworks that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.runtime_api import Function, RuntimeAPI
from tests.unit.aws import events

STARLETTE = """
from starlette.requests import Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def show(request):
    return JSONResponse({
        "method": request.method,
        "path": request.url.path,
        "query": request.query_params.multi_items(),
        "cookies": request.cookies,
        "client": request.client.host,
        "host": request.url.netloc,
        "scheme": request.url.scheme,
        "body": (await request.body()).decode(),
    })

app = Starlette(routes=[Route("/{path:path}", show, methods=["GET", "POST", "PUT"])])
"""

FASTAPI = (
    STARLETTE[: STARLETTE.index("app = ")].replace("show(request)", "show(request: Request)")
    + """
from fastapi import FastAPI

app = FastAPI(openapi_url=None)
app.api_route("/{path:path}", methods=["GET", "POST", "PUT"])(show)
"""
)

DJANGO = """
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import re_path

def show(request):
    return JsonResponse({
        "method": request.method,
        "path": request.path,
        "query": [(name, value) for name, values in request.GET.lists() for value in values],
        "cookies": request.COOKIES,
        "client": request.META["REMOTE_ADDR"],
        "host": request.get_host(),
        "scheme": request.scheme,
        "body": request.body.decode(),
    })

urlpatterns = [re_path("", show)]
app = get_asgi_application()
"""

FLASK = """
from flask import Flask, jsonify, request

app = Flask(__name__)

@app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT"])
@app.route("/<path:path>", methods=["GET", "POST", "PUT"])
def show(path):
    return jsonify({
        "method": request.method,
        "path": request.path,
        "query": list(request.args.items(multi=True)),
        "cookies": request.cookies,
        "client": request.remote_addr,
        "host": request.host,
        "scheme": request.scheme,
        "body": request.get_data(as_text=True),
    })
"""

SITES = {"starlette": STARLETTE, "fastapi": FASTAPI, "django": DJANGO, "flask": FLASK}


def seen(method: str, path: str, query: list[list[str]], host: str, **more: Any) -> dict[str, Any]:
    usual = {"cookies": {}, "client": "192.0.2.1", "scheme": "https", "body": ""}
    return {**usual, "method": method, "path": path, "query": query, "host": host, **more}


EXPECTED = {
    "rest": seen(
        "POST",
        "/shop/café",
        [["tag", "a"], ["tag", "b&c"], ["name", "me"], ["empty", ""]],
        "abc123.execute-api.eu-central-1.amazonaws.com",
        body="hello",
    ),
    "rest test": seen("GET", "/", [], "localhost", client="test-invoke-source-ip"),
    "http": seen(
        "GET",
        "/prod/my/path",
        [["parameter1", "value1"], ["parameter1", "value2"], ["x", "/  "]],
        "api.example.com",
        cookies={"cookie1": "1", "cookie2": "2"},
    ),
    "function url": seen(
        "PUT",
        "/my/path",
        [["parameter1", "value1"], ["parameter1", "value2"], ["x", "/  "]],
        "api.example.com",
        cookies={"cookie1": "1", "cookie2": "2"},
        body="zażółć",
    ),
    "balancer": seen(
        "GET", "/", [["myKey", "val ue2"], ["sum", "1+1"]], "my-alb.eu-central-1.elb.amazonaws.com", scheme="http"
    ),
    "balancer multiple": seen(
        "GET",
        "/",
        [["myKey", "val1"], ["myKey", "val 2"]],
        "my-alb.eu-central-1.elb.amazonaws.com",
        cookies={"name1": "value1", "name2": "value2"},
    ),
    "edge": seen(
        "POST",
        "/picture.jpg",
        [["size", "large"]],
        "d111111abcdef8.cloudfront.net",
        cookies={"a": "1", "b": "2"},
        client="2001:db8::1",
        scheme="http",
        body="hello",
    ),
}


@pytest.mark.parametrize("streaming", ["false", "true"])
@pytest.mark.parametrize("name", SITES)
def test_every_kind_of_event_is_the_request_that_it_stands_for(name: str, streaming: str, tmp_path: Path) -> None:
    assert EXPECTED.keys() == events.ALL.keys()
    (tmp_path / "main.py").write_text(SITES[name], encoding="utf-8")
    with RuntimeAPI() as api, Function(api, tmp_path, "main:app", "--set", f"lambda.streaming={streaming}") as function:
        for kind, event in events.ALL.items():
            outcome = api.invoke(event)
            assert outcome.kind == "response", f"{kind}: {outcome.body!r}\n{function.text}"
            if outcome.headers.get("lambda-runtime-function-response-mode") == "streaming":
                assert kind in ("rest", "rest test", "function url")
                prelude, body = outcome.split()
                status = prelude["statusCode"]
            else:
                answer = outcome.json()
                status, body = int(answer.get("statusCode") or answer["status"]), answer["body"]
            assert (status, json.loads(body)) == (200, EXPECTED[kind]), kind
        assert function.stop() == 0
