"""`appserver lambda` under AWS's own Runtime Interface Emulator, with the frameworks that people have."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxies import free_ports
from tests.support.runtime_api import Function, RuntimeAPI, url_event
from tests.support.runtime_interface import PATH, fetch
from tests.support.waiting import eventually

STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def show(request):
    return JSONResponse({"path": request.url.path, "tags": request.query_params.getlist("tag"), "body": (await request.body()).decode()})

app = Starlette(routes=[Route("/items/{name}", show, methods=["POST"])])
"""

FASTAPI = """
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request

@asynccontextmanager
async def lifespan(app):
    yield {"ready": True}

app = FastAPI(lifespan=lifespan)

@app.post("/items/{name}")
async def show(name: str, request: Request):
    assert request.state.ready
    return {"path": request.url.path, "tags": request.query_params.getlist("tag"), "body": (await request.body()).decode()}
"""

DJANGO = """
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path

def show(request, name):
    return JsonResponse({"path": request.path, "tags": request.GET.getlist("tag"), "body": request.body.decode()})

urlpatterns = [path("items/<name>", show)]
app = get_asgi_application()
"""

SITES = {"starlette": STARLETTE, "fastapi": FASTAPI, "django": DJANGO}
EVENT = url_event("/items/bell", "POST", rawQueryString="tag=a&tag=b", body="hello")
EXPECTED = {"path": "/items/bell", "tags": ["a", "b"], "body": "hello"}


@pytest.mark.parametrize("name", SITES)
def test_frameworks_answer(name: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SITES[name], encoding="utf-8")
    with RuntimeAPI() as api, Function(api, tmp_path) as function:
        answer = api.invoke(EVENT).json()
        assert answer["statusCode"] == 200, function.text
        assert json.loads(answer["body"]) == EXPECTED


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetch(tmp_path_factory.mktemp("emulator"))


class Emulated:
    """A function under the emulator, which starts it with the first event."""

    def __init__(self, emulator: Path, directory: Path, *arguments: str) -> None:
        self.port, api = free_ports(2)
        addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"]
        addresses += ["--runtime-api-address", f"127.0.0.1:{api}"]
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(emulator), *addresses, sys.executable, "-m", "appserver", "lambda", *arguments],
                cwd=directory,
                env={**os.environ, "AWS_LAMBDA_FUNCTION_TIMEOUT": "60"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._listens, "the emulator listens")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def invoke(self, event: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}{PATH}"
        with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=60) as response:
            return json.load(response)

    def close(self) -> None:
        os.killpg(self.process.pid, 9)  # it has no other end
        self.process.wait(10)


@pytest.mark.long
class TestEmulator:
    @pytest.fixture
    def start(self, emulator: Path, tmp_path: Path) -> Iterator[Any]:
        running: list[Emulated] = []

        def begin(site: str, *arguments: str) -> Emulated:
            (tmp_path / "main.py").write_text(site, encoding="utf-8")
            running.append(Emulated(emulator, tmp_path, *(arguments or ("main:app",))))
            return running[0]

        yield begin
        for one in running:
            one.close()

    @pytest.mark.parametrize("name", SITES)
    def test_frameworks_answer(self, name: str, start: Any) -> None:
        function = start(SITES[name])
        for _ in range(3):
            answer = function.invoke(EVENT)
            assert json.loads(answer["body"]) == EXPECTED, function.log.read_text()
        assert "Internal agent appserver" in function.log.read_text()

    def test_what_is_no_request_is_an_error(self, start: Any) -> None:
        function = start(STARLETTE)
        assert function.invoke({"x": 1})["errorType"] == "Function.UnknownEvent"
        assert function.invoke(EVENT)["statusCode"] == 200

    def test_streams_are_taken(self, start: Any) -> None:
        """The emulator waits for the end, and shows prelude and body as they are."""
        function = start(STARLETTE, "main:app", "--set", "lambda.streaming=true")
        url = f"http://127.0.0.1:{function.port}{PATH}"
        with urllib.request.urlopen(url, json.dumps(EVENT).encode(), timeout=60) as response:
            prelude, body = response.read().split(bytes(8))
        assert json.loads(prelude)["statusCode"] == 200
        assert json.loads(body) == EXPECTED
