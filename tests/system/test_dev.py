"""appserver dev: one process at a terminal, with a debugger, input, and reloads."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.certificates import Authority
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]

APPLICATION = """
import asyncio
import sys


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            sys.stdout.write(message["type"] + "\\n")  # in one piece: the log writes to the terminal as well
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    answer = "version 1"
    if scope["path"] == "/debug":
        secret = 6 * 7
        breakpoint()
        answer = f"secret {secret}"
    elif scope["path"] == "/ask":
        answer = "hello " + input("your name? ")
    elif scope["path"] == "/slow":
        print("slow begins")
        await asyncio.sleep(600)
    body = answer.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


class Development:
    """A directory with an application, and the terminal in which it is developed."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        source: str = APPLICATION,
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        self.directory = directory
        self.save("main.py", source)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("APPSERVER_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PYTHONBREAKPOINT"))
        }
        self.terminal = Terminal(
            [python, "-m", "appserver", "dev", "main:app", "--bind", "127.0.0.1:0", *arguments],
            directory,
            {**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm", **(environment or {})},
        )

    def save(self, name: str, content: str) -> None:
        """Save a file as editors do, later by whole seconds than what was there: Python compares these with its .pyc."""
        path = self.directory / name
        after = path.stat().st_mtime + 2 if path.exists() else None
        new = path.with_name(f".{name}.new")
        new.write_text(content)
        if after is not None:
            os.utime(new, (after, after))
        new.replace(path)

    def edit(self, old: str, new: str) -> None:
        self.save("main.py", (self.directory / "main.py").read_text().replace(old, new))

    def wait_until_it_watches(self) -> None:
        def watches() -> bool:
            found = Path(f"/proc/{self.terminal.pid}/fdinfo")
            try:
                return any("inotify wd:" in one.read_text() for one in found.iterdir())
            except OSError:
                return False

        eventually(watches, "it watches")

    def serve(self) -> None:
        # With what comes behind the port: what is shown so far may end anywhere.
        urls = eventually(lambda: re.findall(r"serving (http://127\.0\.0\.1:\d+)\s", self.terminal.shown), "it serves")
        self.url = urls[0]
        self.wait_until_it_watches()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=90) as response:
            return str(response.read().decode())

    def press_until(self, heard: Callable[[], bool], what: str) -> None:
        """Press Ctrl-C, and again each second until it is heard."""

        def look() -> bool:
            if heard():
                return True
            with contextlib.suppress(OSError):  # nobody is at the terminal any more
                self.terminal.press("\x03")
            return False

        eventually(look, what, interval=1.0)

    def send(self, path: str) -> None:
        """Send a request which may never be answered."""

        def get() -> None:
            try:
                self.get(path)
            except urllib.error.HTTPError as answer:
                answer.close()
            except (OSError, HTTPException):
                pass

        threading.Thread(target=get, daemon=True).start()

    def ask(self, path: str) -> Iterator[str]:
        """Send a request; what is yielded, at once, is what will be the answer when it has been waited for."""
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(self.get(path)), daemon=True)
        thread.start()
        yield "sent"
        thread.join(90)
        yield answers[0]


@pytest.fixture(params=["asyncio", "uvloop"])
def development(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Development]:
    found = Development(tmp_path, "--loop", request.param)
    with found.terminal:
        found.serve()
        yield found


def test_it_is_one_process(development: Development) -> None:
    assert development.get("/") == "version 1"
    assert [found.pid for found in processes.in_session(development.terminal.pid)] == [development.terminal.pid]
    development.terminal.press("\x03")
    assert development.terminal.wait_for_exit() == 0
    assert "lifespan.shutdown" in development.terminal.shown


def test_breakpoint_opens_the_debugger_and_ctrl_c_there_is_its_own(development: Development) -> None:
    terminal = development.terminal
    for _ in range(2):  # pdb takes Ctrl-C for itself with the first `continue`, if one lets it
        mark = len(terminal.shown)
        request = development.ask("/debug")
        next(request)
        terminal.wait_for("(Pdb) ", since=mark)
        terminal.press("p secret\n")
        terminal.wait_for("\n42\n(Pdb) ", since=mark)

        def interrupted(since: int = mark) -> bool:
            if "--KeyboardInterrupt--\n(Pdb) " in terminal.shown[since:]:
                return True
            # Again until it is heard: a signal between the prompt and the read waits for the next key, as everywhere in Python.
            terminal.press("\x03")
            return False

        eventually(interrupted, "the debugger has heard Ctrl-C", interval=0.5)
        terminal.press("continue\n")
        assert next(request) == "secret 42"
    terminal.press("\x03")
    assert terminal.wait_for_exit() == 0


def test_input_reads_from_the_terminal(development: Development) -> None:
    request = development.ask("/ask")
    next(request)
    development.terminal.wait_for("your name? ")
    development.terminal.press("Bob\n")
    assert next(request) == "hello Bob"


def test_a_save_is_a_reload_of_the_same_process_and_one_line(development: Development) -> None:
    for version in (2, 3):
        development.edit(f"version {version - 1}", f"version {version}")
        development.terminal.wait_for("main.py changed", count=version - 1)
        development.wait_until_it_watches()
        assert development.get("/") == f"version {version}"
    lines = [line for line in development.terminal.shown.splitlines() if "reload" in line]
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in development.terminal.shown.splitlines())
    assert development.terminal.shown.count("lifespan.shutdown") == 2


def test_connections_wait_while_it_reloads(development: Development) -> None:
    development.edit("import asyncio\n", "import asyncio, time\ntime.sleep(1)\n")
    answers = set()

    def reloaded() -> bool:
        answers.add(development.get("/"))
        return "main.py changed" in development.terminal.shown

    eventually(reloaded, "it has reloaded")
    assert answers == {"version 1"}


def test_broken_code_is_shown_here_and_in_the_browser_and_its_repair_is_served(development: Development) -> None:
    development.edit("import asyncio\n", "import asyncio\n1 / 0\n")
    development.terminal.wait_for("ZeroDivisionError: division by zero", count=2)
    assert development.terminal.shown.rstrip().splitlines()[-1].endswith("ZeroDivisionError: division by zero")
    with pytest.raises(urllib.error.HTTPError) as caught:
        development.get("/")
    with caught.value as answer:
        assert answer.code == 500
        assert "ZeroDivisionError: division by zero" in answer.read().decode()
    development.wait_until_it_watches()
    development.edit("1 / 0\n", "")
    development.terminal.wait_for("main.py changed")
    assert development.get("/") == "version 1"


@pytest.mark.long
def test_a_start_up_that_hangs_is_shown_and_its_repair_is_served(tmp_path: Path) -> None:
    development = Development(tmp_path, "--set", "workers.boot_timeout=2")
    with development.terminal:
        development.serve()
        development.edit("            await send", "            await asyncio.sleep(600)\n            await send")
        development.terminal.wait_for("the application's start-up took longer than 2 s (workers.boot_timeout)")
        with pytest.raises(urllib.error.HTTPError) as caught:
            development.get("/")
        with caught.value as answer:
            assert "took longer than 2 s" in answer.read().decode()
        development.wait_until_it_watches()
        development.edit("            await asyncio.sleep(600)\n            await send", "            await send")
        development.terminal.wait_for("main.py changed")
        assert development.get("/") == "version 1"


def test_ctrl_c_says_what_it_waits_for_and_a_second_one_stops_at_once(development: Development) -> None:
    development.send("/slow")
    development.terminal.wait_for("slow begins")
    development.terminal.press("\x03")
    development.terminal.wait_for("stopping after GET /slow (Ctrl-C: stop at once)")
    development.terminal.press("\x03")
    assert development.terminal.wait_for_exit() == 0


def test_ctrl_c_twice_ends_a_program_that_waits_for_input(development: Development) -> None:
    development.send("/ask")
    development.terminal.wait_for("your name? ")
    # A signal between the prompt and the read waits for the next key, as in any program of Python: therefore again.
    development.press_until(lambda: "stopping after GET /ask" in development.terminal.shown, "the first one is heard")
    development.press_until(lambda: not processes.is_running(development.terminal.pid), "it has ended")
    assert development.terminal.wait_for_exit() == 0


def test_term_stops_it(development: Development) -> None:
    os.kill(development.terminal.pid, signal.SIGTERM)
    assert development.terminal.wait_for_exit() == 0


def test_broken_settings_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text('[app]\ntarget = "main:app"\n')
    development = Development(tmp_path, "--config", "server.toml")
    with development.terminal:
        development.serve()
        development.save("server.toml", "[app\n")
        development.terminal.wait_for("settings refused")
        assert development.get("/") == "version 1"
        development.save("server.toml", '[app]\ntarget = "main:app"\n[http]\nheaders = ["x-new: 1"]\n')
        development.terminal.wait_for("server.toml changed")
        with urllib.request.urlopen(development.url, timeout=30) as response:
            assert response.headers["x-new"] == "1"


@pytest.mark.long
def test_a_variable_of_the_file_goes_when_it_goes_there(tmp_path: Path) -> None:
    (tmp_path / "app.env").write_text("GREETING=hi\n")
    source = APPLICATION.replace('"version 1"', 'str(__import__("os").environ.get("GREETING"))')
    development = Development(tmp_path, "--env-file", "app.env", source=source)
    with development.terminal:
        development.serve()
        assert development.get("/") == "hi"
        development.save("app.env", "OTHER=1\n")
        development.terminal.wait_for("app.env changed")
        assert development.get("/") == "None"


@pytest.mark.long
def test_secrets_stay_with_the_server_and_what_is_not_used_is_told_once(tmp_path: Path) -> None:
    config = '{"version": 1, "loggers": {"shop": {"level": "CRITICAL"}}}'
    shown = """str((
        __import__("os").environ.get("APPSERVER_LOGGING__CONFIG"), __import__("logging").getLogger("shop").level
    ))"""
    source = APPLICATION.replace('"version 1"', shown)
    environment = {"APPSERVER_LOGGING__CONFIG": config}
    development = Development(tmp_path, "--workers", "3", source=source, environment=environment)
    with development.terminal:
        development.serve()
        assert development.get("/") == "(None, 50)"
        development.edit("secret = 6", "secret = 7")
        development.terminal.wait_for("main.py changed")
        assert development.get("/") == "(None, 50)"
        assert development.terminal.shown.count("not used in development") == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_usr1_opens_the_log_anew(tmp_path: Path, loop: str) -> None:
    log, access_log = tmp_path / "dev.log", tmp_path / "access.log"
    files = "--set", "logging.file=dev.log", "--set", "access_log.file=access.log"
    development = Development(tmp_path, "--loop", loop, *files)
    with development.terminal:
        eventually(lambda: log.exists() and "serving http" in log.read_text(), "it serves")
        log.rename(tmp_path / "dev.log.1")
        access_log.rename(tmp_path / "access.log.1")
        os.kill(development.terminal.pid, signal.SIGUSR1)
        eventually(log.exists, "the log is there again")
        eventually(access_log.exists, "and so is the access log")
        os.kill(development.terminal.pid, signal.SIGUSR2)
        eventually(lambda: "not upgraded" in log.read_text(), "there is nothing to upgrade, which is no reason to end")


LAUNCHER = """\
#!{python}
import os, socket, sys
web = socket.create_server(("127.0.0.1", 0))
os.dup2(web.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_sockets_of_systemd_are_served_and_certificates_renewed(tmp_path: Path) -> None:
    authority = Authority()
    authority.issue("127.0.0.1").write(tmp_path)
    launcher = tmp_path / "launcher"
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    tls = "--certfile", "server.crt", "--keyfile", "server.key", "--set", "tls.check_interval=0.2"
    source = APPLICATION.replace('"version 1"', '"version 1" + str(__import__("os").environ.get("LISTEN_FDS"))')
    development = Development(tmp_path, "--bind", "systemd:web", *tls, source=source, python=str(launcher))

    def answer() -> tuple[str, str]:
        made = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=authority.client())
        with contextlib.closing(made) as connection:
            connection.connect()
            serial = str((connection.sock.getpeercert() or {})["serialNumber"])
            connection.request("GET", "/")
            with connection.getresponse() as response:
                return response.read().decode(), serial

    def is_renewed() -> bool:
        body, shown = answer()
        return body == "version 1None" and shown != serial

    with development.terminal:
        (port,) = eventually(
            lambda: [int(found) for found in re.findall(r"serving https\S+ \S+:(\d+)\s", development.terminal.shown)],
            "it serves",
        )
        body, serial = answer()
        assert body == "version 1None", "what systemd says is for the server"
        authority.issue("127.0.0.1").write(tmp_path)
        eventually(is_renewed, "the new certificate")
        development.wait_until_it_watches()
        development.edit("secret = 6", "secret = 7")
        development.terminal.wait_for("main.py changed")
        assert is_renewed()
        development.wait_until_it_watches()
        (tmp_path / "server.key").write_text("")
        development.edit("secret = 7", "secret = 8")
        development.terminal.wait_for("settings refused")
        assert is_renewed(), "what runs goes on"
