"""--watch: a change of the application, or of its settings, is served without anybody asking for a reload."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import eventually

APPLICATION = """
from application import app as usual

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await usual(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"old"})
"""


def wait_until_it_watches(server: Server) -> None:
    """Nothing in the log tells when a change begins to be seen, the kernel does: an inotify instance with its watches."""

    def watches() -> bool:
        for descriptor in Path(f"/proc/{server.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed in between
                if "inotify wd:" in descriptor.read_text():
                    return True
        return False

    eventually(watches, "it watches")


@pytest.fixture
def server(start_server: StartServer) -> Server:
    server = start_server(
        {"app": {"target": "shop:app"}, "reload": {"soak": 0, "linger": 0.1}},
        files={"shop.py": APPLICATION},
        arguments=["--config", "server.toml", "--watch"],
    )
    wait_until_it_watches(server)
    return server


def test_a_change_is_served(server: Server) -> None:
    assert server.request("/").text == "old"
    server.write("shop.py", APPLICATION.replace("old", "new"))
    assert server.log.wait_for("reload finished")["result"] == "ok"
    assert server.request("/").text == "new"


def test_what_does_not_import_is_not_served_and_its_repair_is(server: Server) -> None:
    server.write("shop.py", "async def app(:")
    assert server.log.wait_for("reload finished")["result"] == "rolled_back"
    assert server.request("/").text == "old"
    mark = len(server.log.records)
    server.write("shop.py", APPLICATION.replace("old", "new"))
    assert server.log.wait_for("reload finished", since=mark)["result"] == "ok"
    assert server.request("/").text == "new"


@pytest.mark.long
def test_a_new_program_goes_on_watching(server: Server) -> None:
    server.signal(signal.SIGUSR2)
    server.log.wait_for("upgraded")
    wait_until_it_watches(server)
    server.write("shop.py", APPLICATION.replace("old", "new"))
    assert server.log.wait_for("reload finished")["result"] == "ok"
    assert server.request("/").text == "new"


def test_files_that_are_not_the_applications_change_nothing(server: Server) -> None:
    server.write("shop.db", "nothing of interest")
    server.write("shop.py", APPLICATION.replace("old", "new"))
    assert server.log.wait_for("reload finished")["result"] == "ok"
    assert len(server.log.matching("reload started")) == 1
