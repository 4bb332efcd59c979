"""What is logged through Python's logging, as the operator, the application or Django configures it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import eventually

SHOP = """
import logging

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

log = logging.getLogger("shop")
log.info("imported")

async def sell(request):
    log.info("sold")
    logging.getLogger("other").warning("bought")
    return PlainTextResponse("sold")

app = Starlette(routes=[Route("/", sell)])
"""

PARTS = """
import logging

class Mine(logging.Formatter):
    def format(self, record):
        return f"mine: {super().format(record)}"
"""

CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "appserver.logs.JSONFormatter"}, "mine": {"()": "parts.Mine"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": "shop.log", "formatter": "json"},
        "console": {"class": "logging.StreamHandler", "formatter": "mine"},
    },
    "loggers": {"shop": {"level": "DEBUG", "handlers": ["file", "console"]}},
}

DJANGO = """
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(DEBUG=True, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of tests")
urlpatterns = [path("", lambda request: HttpResponse("hello"))]
application = get_asgi_application()
"""


def shop(**settings: Any) -> dict[str, Any]:
    return {"app": {"target": "shop:app"}, **settings}


@pytest.mark.parametrize("preload", [False, True])
def test_the_configuration_of_the_operator_is_there_before_the_application(
    start_server: StartServer, preload: bool
) -> None:
    settings = shop(logging={"config_file": "log.json"}, workers={"count": 1, "preload": preload})
    server = start_server(settings, files={"shop.py": SHOP, "parts.py": PARTS, "log.json": json.dumps(CONFIG)})
    request_id = server.request("/").headers["x-request-id"]
    assert server.log.wait_for("bought")["request_id"] == request_id

    def in_its_file() -> list[tuple[Any, ...]]:
        records = map(json.loads, (server.directory / "shop.log").read_text().splitlines())
        return [(record["event"], record["process"], record.get("request_id")) for record in records]

    expected = [("imported", "zygote" if preload else "worker", None), ("sold", "worker", request_id)]
    eventually(lambda: in_its_file() == expected, "the file of the application holds its records")
    assert [line for line in server.log.lines if line.startswith("mine")] == ["mine: imported", "mine: sold"]
    assert server.log.matching("sold") == []


def test_the_option_of_other_servers(start_server: StartServer) -> None:
    arguments = ["shop:app", "--bind", "127.0.0.1:0", "--workers", "1", "--log-config", "log.yaml"]
    yaml = "version: 1\ndisable_existing_loggers: false\nloggers: {shop: {level: ERROR}}\n"
    server = start_server(arguments=arguments, files={"shop.py": SHOP, "log.yaml": yaml})
    server.request("/")
    server.log.wait_for("bought")
    assert server.log.matching("sold") == []


def test_a_reload_with_a_configuration_that_cannot_be_used_changes_nothing(start_server: StartServer) -> None:
    settings = shop(logging={"config_file": "log.json"})
    server = start_server(settings, files={"shop.py": SHOP, "parts.py": PARTS, "log.json": json.dumps(CONFIG)})
    server.write("log.json", json.dumps({**CONFIG, "formatters": {"mine": {"()": "parts.Missing"}, "json": {}}}))
    finished = server.reload()
    assert finished["result"] == "rolled_back"
    assert "log.json: logging.config_file: formatters.mine: Cannot resolve 'parts.Missing'" in json.dumps(finished)
    assert server.request("/").text == "sold"


@pytest.mark.parametrize("preload", [False, True])
def test_what_cannot_be_set_up_ends_the_start(tmp_path: Path, preload: bool) -> None:
    config = {"version": 1, "handlers": {"file": {"class": "logging.FileHandler", "filename": "/nowhere/log"}}}
    settings = shop(logging={"config": config}, workers={"count": 1, "preload": preload})
    server = Server(tmp_path, settings, files={"shop.py": SHOP}).start()
    try:
        assert server.wait_for_exit() == 2
        assert "logging.config: handlers.file: FileNotFoundError" in server.log.text
    finally:
        server.close()


def test_records_of_django_come_once_and_as_the_others(start_server: StartServer) -> None:
    server = start_server({"app": {"target": "project:application"}}, files={"project.py": DJANGO})
    request_id = server.request("/missing").headers["x-request-id"]
    assert server.log.wait_for("Not Found: /missing")["request_id"] == request_id
    server.output.wait_for("request")
    assert [line for line in server.log.lines if "Not Found" in line and not line.startswith("{")] == []
    assert len(server.log.matching("Not Found: /missing")) == 1
