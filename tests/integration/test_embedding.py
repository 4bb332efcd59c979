"""appserver from within a program: run, serving, testing.serve, and the fixture for pytest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import sniffio
import trio

import appserver
from appserver.asgi.types import Receive, Scope, Send
from appserver.errors import ListenerError, SettingsError, StartupError
from appserver.pytest_plugin import Serve
from tests.support.certificates import Authority
from tests.support.server import Log
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


class TrioApplication:
    """Keeps a task of trio for its life."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await receive()
                self.events.append("startup")
                if self.failing:
                    await send({"type": "lifespan.startup.failed"})
                    try:
                        await trio.sleep_forever()
                    finally:
                        self.events.append("cancelled")
                await send({"type": "lifespan.startup.complete"})
                await receive()
                self.events.append("shutdown")
                nursery.cancel_scope.cancel()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await trio.to_thread.run_sync(int)
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": f"under {sniffio.current_async_library()}".encode()})


class Application:
    """Notes the events of its lifespan, and answers with what its start-up has left in the state."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                self.events.append(kind)
                if self.failing:
                    await send({"type": f"lifespan.{kind}.failed", "message": "no database"})
                    return
                scope["state"]["greeting"] = b"hello"
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body = scope["state"]["greeting"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("content-length", "4")])
    return [b"wsgi"]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read())


class TestServing:
    async def scenario(self, application: Any, look: Callable[[str], Awaitable[None]], **options: Any) -> None:
        async with appserver.serving(application, **options) as server:
            await look(server.url)

    def test_an_application_is_served_with_its_lifespan(self) -> None:
        application = Application()

        async def look(url: str) -> None:
            assert application.events == ["startup"]
            assert await asyncio.to_thread(get, url) == b"hello"

        asyncio.run(self.scenario(application, look))
        assert application.events == ["startup", "shutdown"]

    def test_several_addresses_and_settings(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            bind = ["127.0.0.1:0", f"unix:{tmp_path}/x.sock"]
            async with appserver.serving(Application(), bind=bind, http={"server_header": "mine"}) as server:
                assert server.urls[1] == f"unix:{tmp_path}/x.sock"
                assert (tmp_path / "x.sock").is_socket()

                def ask() -> str | None:
                    with urllib.request.urlopen(server.url, timeout=10) as response:
                        return str(response.headers["server"])

                assert await asyncio.to_thread(ask) == "mine"

        asyncio.run(scenario())
        assert not (tmp_path / "x.sock").exists()

    def test_when_the_block_fails_everything_is_shut_down_all_the_same(self) -> None:
        application = Application()
        urls = []

        async def look(url: str) -> None:
            urls.append(url)
            raise LookupError

        with pytest.raises(LookupError):
            asyncio.run(self.scenario(application, look))
        assert application.events == ["startup", "shutdown"]
        with pytest.raises(urllib.error.URLError):
            get(urls[0])

    def test_a_failed_start_up_is_raised(self) -> None:
        application = Application()
        application.failing = True

        async def look(url: str) -> None:
            raise AssertionError(url)

        with pytest.raises(StartupError, match="no database"):
            asyncio.run(self.scenario(application, look))

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"http": {"nonsense": 1}}, SettingsError),
            ({"http": "nonsense"}, SettingsError),
            ({"listeners": [{"bind": "127.0.0.1:0"}]}, SettingsError),
            ({"bind": "nonsense"}, SettingsError),
            ({"bind": "192.0.2.1:80"}, ListenerError),
        ],
    )
    def test_what_cannot_be_is_raised(self, options: dict[str, Any], error: type[Exception]) -> None:
        async def look(url: str) -> None:
            raise AssertionError(url)

        with pytest.raises(error):
            asyncio.run(self.scenario(Application(), look, **options))


class TestThread:
    def test_a_program_without_a_loop_has_a_server(self) -> None:
        application = Application()
        with appserver.testing.serve(application) as server:
            assert get(server.url) == b"hello"
        assert application.events == ["startup", "shutdown"]
        assert not [thread for thread in threading.enumerate() if thread.name == "appserver"]

    def test_wsgi(self) -> None:
        with appserver.testing.serve(hello, app={"interface": "wsgi"}) as server:
            assert get(server.url) == b"wsgi"

    def test_trio(self) -> None:
        application = TrioApplication()
        for _ in range(2):  # the first leaves nothing behind
            with appserver.testing.serve(application, app={"async_library": "trio"}) as server:
                assert get(server.url) == b"under trio"
        assert application.events == ["startup", "shutdown"] * 2
        application.failing = True
        with pytest.raises(StartupError), appserver.testing.serve(application, app={"async_library": "trio"}):
            pass
        assert application.events[4:] == ["startup", "cancelled"]

    @pytest.mark.parametrize("encrypted", [False, True])
    @pytest.mark.parametrize("enabled", [True, False])
    def test_http2_is_spoken_unless_it_is_switched_off(self, tmp_path: Path, encrypted: bool, enabled: bool) -> None:
        authority = Authority()
        certificate, key = authority.issue("localhost", "127.0.0.1").write(tmp_path)
        settings: dict[str, Any] = {"http2": {"enabled": enabled}}
        if encrypted:
            settings["tls"] = {"certificate": str(certificate), "key": str(key)}
        with (
            appserver.testing.serve(Application(), **settings) as server,
            # In clear text it is spoken by those who know (RFC 9113 section 3.3): by this client if it may speak nothing else.
            httpx.Client(http1=encrypted or not enabled, http2=True, verify=authority.client()) as client,
        ):
            answer = client.get(server.url)
        assert (answer.text, answer.http_version) == ("hello", "HTTP/2" if enabled else "HTTP/1.1")

    def test_a_failed_start_up_is_raised_where_it_was_asked_for(self) -> None:
        application = Application()
        application.failing = True
        with pytest.raises(StartupError, match="no database"), appserver.testing.serve(application):
            raise AssertionError

    def test_the_fixture_serves_several(self, appserver: Serve) -> None:
        first, second = appserver(Application()), appserver(hello, app={"interface": "wsgi"})
        assert (get(first.url), get(second.url)) == (b"hello", b"wsgi")
        assert first.url != second.url


PROGRAM = """
import appserver

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"fine"})

if __name__ == "__main__":
    raise SystemExit(appserver.run(APPLICATION, bind="127.0.0.1:0", WORKERS app={"lifespan": "off"}))
"""


class TestRun:
    def start(self, directory: Path, application: str, workers: str = "") -> tuple[subprocess.Popen[bytes], Log]:
        program = PROGRAM.replace("APPLICATION", application).replace("WORKERS", workers)
        (directory / "main.py").write_text(program)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("APPSERVER_")}
        process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=directory,
            env={**inherited, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stderr is not None
        return process, Log(process.stderr, "stderr")

    def test_a_named_application_is_served_as_by_the_command(self, tmp_path: Path) -> None:
        process, log = self.start(tmp_path, '"main:app"', "workers=2,")
        try:
            record = log.wait_for("serving", timeout=20)
            assert record["workers"] == 2
            assert get(record["urls"][0]) == b"fine"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        log.join(5)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_application_itself_is_served_in_this_process(self, tmp_path: Path, number: signal.Signals) -> None:
        process, log = self.start(tmp_path, "app")
        try:
            eventually(lambda: log.lines, "it says where it serves", timeout=20)
            assert get(log.lines[0].split()[1]) == b"fine"
        finally:
            process.send_signal(number)
        assert process.wait(20) == 0
        log.join(5)

    def test_other_processes_need_a_name(self) -> None:
        with pytest.raises(ValueError, match='need the name of the application, "module:attribute"'):
            appserver.run(Application(), workers=2)


LOGGING_PROGRAM = """
import asyncio, json, logging, sys, urllib.error, urllib.request
import appserver

async def app(scope, receive, send):
    logging.getLogger("shop").info("open at %s", scope["type"])
    if scope["type"] == "http":
        raise LookupError("broken")
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

def get(url):
    try:
        urllib.request.urlopen(url, timeout=10)
    except urllib.error.HTTPError as error:
        error.close()

async def main():
    async with appserver.serving(app, logging=json.loads(sys.argv[1])) as server:
        await asyncio.to_thread(get, server.url)
    logging.getLogger("shop").info("closed")
    assert not logging.root.handlers

asyncio.run(main())
"""

INI = """
[loggers]
keys = root, shop
[handlers]
keys = shop
[formatters]
keys =
[logger_root]
handlers =
[logger_shop]
qualname = shop
level = INFO
handlers = shop
[handler_shop]
class = FileHandler
args = ("shop.log",)
"""


class TestLogging:
    CONFIG: ClassVar[dict[str, Any]] = {
        "version": 1,
        "handlers": {"shop": {"class": "logging.FileHandler", "filename": "shop.log"}},
        "loggers": {"shop": {"handlers": ["shop"], "level": "INFO"}},
    }

    def run(self, directory: Path, **logging: Any) -> subprocess.CompletedProcess[str]:
        """Run a program in which serving is one thing among others, with settings of [logging]."""
        return subprocess.run(
            [sys.executable, "-c", LOGGING_PROGRAM, json.dumps(logging)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    @pytest.mark.parametrize("form", ["table", "log.json", "log.ini"])
    def test_a_configuration_is_set_up_before_the_application_starts_and_stays(self, tmp_path: Path, form: str) -> None:
        (tmp_path / "log.json").write_text(json.dumps(self.CONFIG))
        (tmp_path / "log.ini").write_text(INI)
        given: dict[str, Any] = {"config": self.CONFIG} if form == "table" else {"config_file": form}
        done = self.run(tmp_path, **given)
        assert done.returncode == 0, done.stderr
        log = (tmp_path / "shop.log").read_text()
        assert log.splitlines() == ["open at lifespan", "open at http", "closed"]
        assert "LookupError: broken" in done.stderr

    def test_a_configuration_that_cannot_be_is_raised(self) -> None:
        config = {"version": 1, "handlers": {"shop": {"class": "nonsense.Handler"}}}
        with (
            pytest.raises(SettingsError, match=r"logging\.config.*handlers\.shop.*nonsense"),
            appserver.testing.serve(Application(), logging={"config": config}),
        ):
            raise AssertionError

    def test_the_rest_is_about_what_the_server_itself_logs(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, file="server.log", format="json")
        assert (done.returncode, done.stderr) == (0, "")
        [record] = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
        assert record["level"] == "error"
        assert "LookupError: broken" in str(record)
        done = self.run(tmp_path, level="critical")
        assert (done.returncode, done.stderr) == (0, "")


def test_importing_it_is_cheap() -> None:
    program = "import appserver, sys; print(sorted({'asyncio', 'pydantic', 'socket', 'structlog'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout == "[]\n"


def test_what_there_is_not_is_said_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'appserver' has no attribute 'nonsense'"):
        getattr(appserver, "nonsense")  # noqa: B009 - as a slip in a program
