"""The id of a request, found again wherever the request has left a trace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.server import Server

CHATTY = """
import asyncio
import logging
import threading
import warnings

import structlog
from fastapi import FastAPI, Request

app = FastAPI()

@app.get("/everywhere")
async def everywhere(request: Request):
    logging.getLogger("shop").warning("from logging")
    structlog.get_logger("shop").warning("from structlog")
    warnings.warn("from warnings")
    await asyncio.create_task(elsewhere("from a task"))
    await asyncio.to_thread(logging.warning, "from a thread")
    return request.state.request_id

async def elsewhere(event):
    logging.warning(event)

@app.get("/synchronous")
def synchronous(request: Request):
    logging.warning("from a worker thread")
    return request.state.request_id

@app.get("/broken")
async def broken():
    asyncio.get_running_loop().create_task(failing(), name="orders")
    await asyncio.sleep(0.05)
    raise ValueError("no such order")

async def failing():
    raise LookupError("in a task")
"""


@pytest.fixture
def server(start_server: StartServer) -> Server:
    settings: dict[str, Any] = {"app": {"target": "chatty:app"}, "request_id": {"header": "X-Trace"}}
    return start_server(settings, files={"chatty.py": CHATTY})


@pytest.mark.parametrize(
    ("path", "events"),
    [
        ("/everywhere", ["from logging", "from structlog", "from warnings", "from a task", "from a thread"]),
        ("/synchronous", ["from a worker thread"]),
    ],
)
def test_it_is_in_every_record_that_is_made_for_the_request(server: Server, path: str, events: list[str]) -> None:
    response = server.request(path)
    request_id = response.headers["x-trace"]
    assert response.text == f'"{request_id}"'
    for event in events:
        assert server.log.wait_for(event)["request_id"] == request_id
    assert server.output.wait_for("request")["request_id"] == request_id


def test_it_is_in_the_records_of_what_goes_wrong(server: Server) -> None:
    request_id = server.request("/broken").headers["x-trace"]
    failure = server.log.wait_for("application failed")
    assert (failure["request_id"], "no such order" in failure["exception"]) == (request_id, True)


def test_it_is_taken_from_a_trusted_proxy(server: Server) -> None:
    assert server.request("/synchronous", headers={"x-trace": "of-the-proxy"}).text == '"of-the-proxy"'
    assert server.log.wait_for("from a worker thread")["request_id"] == "of-the-proxy"


def test_it_is_not_taken_from_anybody_else(start_server: StartServer) -> None:
    settings = {"app": {"target": "chatty:app"}, "proxy": {"trusted": ["192.0.2.0/24"]}}
    server = start_server(settings, files={"chatty.py": CHATTY})
    response = server.request("/synchronous", headers={"x-request-id": "mine"})
    assert response.text == f'"{response.headers["x-request-id"]}"' != '"mine"'


CORRELATED = """
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request, Response

app = FastAPI()

@app.get("/")
async def index(request: Request):
    return [request.headers["x-request-id"], request.state.request_id, correlation_id.get()]

@app.get("/own")
async def own(response: Response):
    response.headers["X-Request-ID"] = "made-by-the-application"

app.add_middleware(CorrelationIdMiddleware)
"""


@pytest.mark.parametrize(
    ("sent", "trusted"),
    [
        ({}, []),
        pytest.param({}, ["127.0.0.1"], marks=pytest.mark.long),
        pytest.param({"X-Request-ID": "7f3e0c1a5b9d4e2f8a6c0d1e2f3a4b5c"}, [], marks=pytest.mark.long),
        ({"X-Request-ID": "7f3e0c1a5b9d4e2f8a6c0d1e2f3a4b5c"}, ["127.0.0.1"]),
        pytest.param({"X-Request-ID": "no id"}, [], marks=pytest.mark.long),
        ({"X-Request-ID": "no id"}, ["127.0.0.1"]),
    ],
)
def test_a_middleware_that_makes_ids_of_its_own_takes_ours(
    start_server: StartServer, sent: dict[str, str], trusted: list[str]
) -> None:
    settings = {"app": {"target": "correlated:app"}, "proxy": {"trusted": trusted}}
    server = start_server(settings, files={"correlated.py": CORRELATED})
    response = server.address.request(headers=sent)
    seen = response.headers["x-request-id"]
    assert json.loads(response.body) == [seen] * 3
    assert server.output.wait_for("request")["request_id"] == seen
    assert (seen in sent.values()) is bool(trusted and sent and "no id" not in sent.values())


def test_the_access_log_has_the_id_that_was_sent(start_server: StartServer) -> None:
    server = start_server({"app": {"target": "correlated:app"}}, files={"correlated.py": CORRELATED})
    sent = server.address.request(target="/own").headers["x-request-id"]
    assert server.output.wait_for("request", path="/own")["request_id"] == sent
