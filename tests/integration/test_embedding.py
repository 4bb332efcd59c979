"""appserver from within a program: run, serving, testing.serve, and the fixture for pytest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import sniffio
import trio
from structlog.testing import CapturingLogger

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


class Hanging:
    """Waits for ever in an event of its lifespan, or in a request."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.cancelled = threading.Event()
        self.reached = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                if kind == self.where:
                    await self.hang()
                await send({"type": f"lifespan.{kind}.complete"})
        else:
            await self.hang()

    async def hang(self) -> None:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


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
    with urllib.request.urlopen(url, timeout=30) as response:
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
                    with urllib.request.urlopen(server.url, timeout=30) as response:
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

    def test_a_start_up_that_hangs_is_cut_off_at_boot_timeout(self) -> None:
        application = Hanging("startup")

        async def look(url: str) -> None:
            raise AssertionError(url)

        with pytest.raises(StartupError, match=r"took longer than 0\.5 s \(workers\.boot_timeout\)") as raised:
            asyncio.run(self.scenario(application, look, workers={"boot_timeout": 0.5}))
        assert "in hang" in raised.value.traceback
        assert application.cancelled.is_set()

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
            ({"app": {"env_file": "nonsense.env"}}, SettingsError),
            ({"bind": "192.0.2.1:80"}, ListenerError),
        ],
    )
    def test_what_cannot_be_is_raised(self, options: dict[str, Any], error: type[Exception]) -> None:
        async def look(url: str) -> None:
            raise AssertionError(url)

        with pytest.raises(error):
            asyncio.run(self.scenario(Application(), look, **options))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"bind": 8000}, 'argument: bind = 8000: expected "HOST:PORT", or several of them'),
            ({"bind": None}, 'argument: bind = None: expected "HOST:PORT", or several of them'),
            ({"bind": [":1", 2]}, "argument: bind = [':1', 2]: expected \"HOST:PORT\", or several of them"),
            ({"http": 3}, "argument: http = 3: expected a mapping of the keys of that section to their values"),
            ({"listeners": []}, 'argument: listeners: the addresses are given as bind: "HOST:PORT", or several'),
            (
                {"listeners": {"bind": ":1"}},
                'argument: listeners: the addresses are given as bind: "HOST:PORT", or several',
            ),
            ({"app": {"target": "a:b"}}, "argument: app.target: the application is the first argument"),
            (
                {"admin": {"bind": "127.0.0.1:0"}, "workers": {"graceful_timeout": 1, "count": 1, "max_requests": 9}},
                (
                    "argument: admin.bind: there is no master, which has this listener\n"
                    "argument: workers.max_requests: there are no worker processes here: for these use "
                    'appserver.run("module:attribute") or the command'
                ),
            ),
            (
                {"app": {"directory": "/"}},
                "argument: app.directory: nothing is imported: it is for an application that is named",
            ),
            ({"workers": {"loop": "uvloop"}}, "argument: workers.loop: the event loop is that of the program"),
        ],
    )
    def test_an_argument_of_another_form_is_raised_as_what_it_is(self, options: dict[str, Any], said: str) -> None:
        async def look(url: str) -> None:
            raise AssertionError(url)

        with pytest.raises(SettingsError) as raised:
            asyncio.run(self.scenario(Application(), look, **options))
        assert str(raised.value) == said

    def test_a_socket_of_systemd_is_served(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def look(url: str) -> None:
            assert url == f"http://127.0.0.1:{passed.getsockname()[1]}"
            assert await asyncio.to_thread(get, url) == b"hello"

        with socket.create_server(("127.0.0.1", 0)) as passed:
            others = passed.fileno() - 3  # systemd would have passed it as the first of all: 3
            monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
            monkeypatch.setenv("LISTEN_FDS", str(others + 1))
            monkeypatch.setenv("LISTEN_FDNAMES", "other:" * others + "web")
            asyncio.run(self.scenario(Application(), look, bind="systemd:web"))

    def test_at_its_end_it_serves_on_for_the_delay_of_a_shutdown(self) -> None:
        async def scenario() -> None:
            left, server = asyncio.Event(), asyncio.Future[appserver.RunningServer]()

            async def live() -> None:
                async with appserver.serving(Application(), shutdown={"delay": 600}) as running:
                    server.set_result(running)
                left.set()

            task = asyncio.create_task(live())
            url = (await server).url
            for _ in range(3):  # the block has ended before the first of them is answered
                assert await asyncio.to_thread(get, url) == b"hello"
            assert not left.is_set()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        asyncio.run(scenario())

    def test_idle_connections_have_the_linger_of_a_shutdown_for_one_more_request(self) -> None:
        async def scenario() -> None:
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            async with appserver.serving(Application(), shutdown={"linger": 600}) as server:
                host, port = server.url.removeprefix("http://").split(":")
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(request)
                assert b"close" not in await reader.readuntil(b"hello")
                loop = asyncio.get_running_loop()
                loop.call_later(1.0, writer.write, request)  # ten times as long as it would have otherwise
            assert b"connection: close" in await reader.read()
            writer.close()
            await writer.wait_closed()

        asyncio.run(scenario())

    def test_certificates_are_renewed(self, tmp_path: Path) -> None:
        authority = Authority()
        certificate, key = authority.issue("127.0.0.1").write(tmp_path)
        tls = {"certificate": str(certificate), "key": str(key), "check_interval": 0.1}

        async def serial(url: str) -> object:
            host, port = url.removeprefix("https://").split(":")
            _, writer = await asyncio.open_connection(host, int(port), ssl=authority.client())
            shown = writer.get_extra_info("peercert")["serialNumber"]
            writer.close()
            await writer.wait_closed()
            return shown

        async def look(url: str) -> None:
            first = await serial(url)
            authority.issue("127.0.0.1").write(tmp_path)
            async with asyncio.timeout(60):
                while await serial(url) == first:
                    await asyncio.sleep(0.05)

        asyncio.run(self.scenario(Application(), look, tls=tls))


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

    def test_a_factory_makes_it_with_the_variables_of_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GREETING", "none")  # and what it was before comes back at the end
        (tmp_path / "app.env").write_text("GREETING=hi\n")

        def make() -> Callable[..., Any]:
            greeting = os.environ["GREETING"].encode()

            def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
                hello(environ, start_response)
                return [greeting * 2]

            return application

        app = {"factory": True, "env_file": str(tmp_path / "app.env")}
        with appserver.testing.serve(make, app=app) as server:
            assert get(server.url) == b"hihi"

    def test_the_log_names_what_the_end_has_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log = CapturingLogger()  # that of the process writes where the first test has had it write
        monkeypatch.setattr("appserver.inprocess.serving.get_logger", lambda _: log)
        request = Hanging("request")
        with ExitStack() as stack:
            server = stack.enter_context(appserver.testing.serve(request, workers={"graceful_timeout": 0}))
            address = urllib.parse.urlsplit(server.url)
            with socket.create_connection((str(address.hostname), address.port or 0), 30) as client:
                client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
                assert request.reached.wait(30)
                stack.close()
        assert request.cancelled.is_set()
        shutdown = Hanging("shutdown")
        with appserver.testing.serve(shutdown, workers={"lifespan_timeout": 0.5}):
            pass
        assert shutdown.cancelled.is_set()
        cut_off = [(call.args[0], call.kwargs.get("path")) for call in log.calls if call.method_name != "info"]
        assert cut_off == [("request cancelled", "/slow"), ("lifespan shutdown cut off", None)]

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
            httpx.Client(http1=encrypted or not enabled, http2=True, verify=authority.client(), timeout=30) as client,
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
import asyncio
import sys

import appserver

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        print("starting", file=sys.stderr)
        await asyncio.Event().wait()
    if scope["path"] == "/exit":
        raise SystemExit
    if scope["method"] == "POST":
        print("waiting", file=sys.stderr)
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"fine"})

if __name__ == "__main__":
    raise SystemExit(appserver.run(APPLICATION, bind="127.0.0.1:0", WORKERS app={"lifespan": "off"}))
"""


class TestRun:
    def start(
        self, directory: Path, application: str, workers: str = "", lifespan: str = "off"
    ) -> tuple[subprocess.Popen[bytes], Log]:
        program = PROGRAM.replace("APPLICATION", application).replace("WORKERS", workers).replace("off", lifespan)
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
            record = log.wait_for("serving", timeout=40)
            assert record["workers"] == 2
            assert get(record["urls"][0]) == b"fine"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        log.join(5)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_application_itself_is_served_in_this_process(self, tmp_path: Path, number: signal.Signals) -> None:
        files = 'logging={"file": "server.log"}, access_log={"enabled": True, "file": "access.log"}, '
        process, log = self.start(tmp_path, "app", files)
        logs = [tmp_path / "server.log", tmp_path / "access.log"]
        try:
            eventually(lambda: log.lines, "it says where it serves")
            assert get(log.lines[0].split()[1]) == b"fine"
            for path in logs:
                path.rename(path.with_suffix(".1"))
            process.send_signal(signal.SIGUSR1)
            eventually(lambda: all(path.exists() for path in logs), "the logs are there again")
        finally:
            process.send_signal(number)
        assert process.wait(30) == 0
        log.join(5)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_a_start_up(self, tmp_path: Path, number: signal.Signals) -> None:
        process, log = self.start(tmp_path, "app", 'workers={"lifespan_timeout": 1}, ', lifespan="on")
        try:
            eventually(lambda: log.lines == ["starting"], "it is starting up")
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()
        log.join(5)
        assert log.lines == ["starting"]

    @contextmanager
    def stopping(
        self, directory: Path, number: signal.Signals
    ) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
        """A server which this signal has told to stop, and which waits for the body of a request."""
        process, log = self.start(directory, "app")
        try:
            eventually(lambda: log.lines, "it says where it serves")
            host, port = log.lines[0].removeprefix("serving http://").split(":")
            with (
                socket.create_connection((host, int(port)), 30) as idle,
                socket.create_connection((host, int(port)), 30) as busy,
            ):
                idle.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                assert idle.recv(1000).startswith(b"HTTP/1.1 200")
                busy.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
                eventually(lambda: "waiting" in log.lines, "the request is under way")
                process.send_signal(number)
                while idle.recv(1000):
                    pass
                yield process, busy
            assert process.wait(30) == 0
            log.join(5)
            assert "Traceback" not in "".join(log.lines)
        finally:
            process.kill()

    @pytest.mark.long
    @pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
    def test_ctrl_c_while_it_stops_stops_it_at_once(self, tmp_path: Path, first: signal.Signals) -> None:
        with self.stopping(tmp_path, first) as (process, client):
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert client.recv(1000).startswith(b"HTTP/1.1 503")

    def test_a_delay_of_the_shutdown_is_said_and_cut_short_by_ctrl_c(self, tmp_path: Path) -> None:
        process, log = self.start(tmp_path, "app", 'shutdown={"delay": 600}, ')
        try:
            eventually(lambda: log.lines, "it says where it serves")
            process.send_signal(signal.SIGTERM)
            eventually(lambda: "stopping in 600 s (Ctrl-C: stop at once)" in log.lines, "it says what it does")
            assert get(log.lines[0].split()[1]) == b"fine"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
        log.join(5)
        assert "Traceback" not in "".join(log.lines)

    @pytest.mark.long
    def test_another_term_lets_it_finish_what_it_is_serving(self, tmp_path: Path) -> None:
        with self.stopping(tmp_path, signal.SIGTERM) as (process, client):
            process.send_signal(signal.SIGTERM)
            client.sendall(b"body")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")

    def test_an_application_that_exits_ends_it(self, tmp_path: Path) -> None:
        process, log = self.start(tmp_path, "app")
        try:
            eventually(lambda: log.lines, "it says where it serves")
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(log.lines[0].split()[1] + "/exit")
            caught.value.close()
            assert process.wait(30) == 0
        finally:
            process.kill()
        log.join(5)
        assert "application ended the worker" in "".join(log.lines)

    @pytest.mark.parametrize("workers", [2, {"count": 2}])
    def test_other_processes_need_a_name(self, workers: Any) -> None:
        with pytest.raises(ValueError, match='need the name of the application, "module:attribute"'):
            appserver.run(Application(), workers=workers)


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
        urllib.request.urlopen(url, timeout=30)
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

    @pytest.mark.long
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
