"""Preloading: what the import leaves behind must not be shared by the workers, and what it prints must come out once."""

from __future__ import annotations

import os
import socket
import socketserver
import textwrap
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import eventually

APPLICATION = textwrap.dedent("""
    import asyncio, os, socket

    {opened}

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        print("served")
        answer = await asyncio.to_thread(ask, scope["query_string"].decode())
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": f"{{answer}} {{os.getpid()}}".encode()}})
    """)

CONNECTION = """
connection = socket.create_connection(("127.0.0.1", {port}))
connection.sendall(b"hello\\n")
connection.recv(100)

def ask(question):
    connection.sendall(question.encode() + b"\\n")
    return connection.recv(100).decode().strip()
"""

DATABASE = """
import sqlite3
database = sqlite3.connect("site.db", check_same_thread=False)
database.execute("create table if not exists page (name text)")
database.commit()

def ask(question):
    return database.execute("select ?", [question]).fetchone()[0]
"""

PRINTING = """
print("imported in", os.getpid())
print("half a line", end="")
journal = open("journal.txt", "a")
journal.write("imported\\n")

def ask(question):
    return question
"""


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a service that answers each line with the same."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as service:
        service.daemon_threads = True
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service.server_address[1]
        service.shutdown()


def start(start_server: StartServer, opened: str, *, count: int = 2) -> Server:
    """Start a server whose application does what `opened` says when it is imported."""
    settings = {"app": {"target": "opening:app"}, "workers": {"count": count, "preload": True}}
    settings |= {"access_log": {"enabled": False}}
    files = {"opening.py": APPLICATION.format(opened=opened)}
    return start_server(settings, files=files)


def test_a_connection_made_at_the_import_is_each_workers_own(start_server: StartServer, echo: int) -> None:
    server = start(start_server, CONNECTION.format(port=echo))
    [obstacle] = server.log.wait_for("preload given up")["obstacles"]
    assert obstacle.startswith(f"connection to 127.0.0.1:{echo} (descriptor ")
    pids = {str(worker.pid) for worker in server.workers()}
    for number in range(20):
        answer, pid = server.request(f"/?question-{number}").text.split()
        assert answer == f"question-{number}"
        assert pid in pids


def test_a_database_of_sqlite_opened_at_the_import_is_each_workers_own(start_server: StartServer) -> None:
    server = start(start_server, DATABASE)
    [obstacle] = server.log.wait_for("preload given up")["obstacles"]
    assert obstacle.startswith(f"SQLite file {os.path.realpath(server.directory)}/site.db (descriptor ")
    assert server.request("/?name").text.split()[0] == "name"


def test_what_the_import_prints_comes_out_once_and_at_once(start_server: StartServer) -> None:
    server = start(start_server, PRINTING, count=3)
    [zygote] = server.zygotes()
    eventually(lambda: server.output.lines, "the import has printed a line")
    assert server.output.lines[0] == f"imported in {zygote.pid}"
    server.request("/")
    # At once, while the worker runs; and what was printed without an end of line is not another worker's, too.
    eventually(lambda: "served" in server.output.text, "the request has printed a line")
    server.stop()
    assert server.output.text.count("imported in") == 1
    assert server.output.text.count("half a line") == 1
    assert (server.directory / "journal.txt").read_text() == "imported\n"


def test_a_socket_that_listens_does_not_forbid_it(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        opened = f"HELD = socket.create_server(('127.0.0.1', 0))\nPORT = {holder.getsockname()[1]}\nask = str\n"
        server = start(start_server, opened)
    assert not server.log.matching("preload given up")


def test_an_application_that_ignores_the_end_of_children_is_preloaded(start_server: StartServer) -> None:
    ignoring = (
        "import signal\n\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\ndef ask(question):\n    return question\n"
    )
    server = start(start_server, ignoring)
    assert server.request("/?question").text.split()[0] == "question"
    assert not server.log.matching("zygote exited")


def test_an_application_that_wants_to_adopt_processes_does_not_get_the_workers(start_server: StartServer) -> None:
    adopting = "import ctypes\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\nfrom application import app as app\n"
    settings = {"app": {"target": "adopting:app"}, "workers": {"count": 2, "preload": True}}
    server = start_server(settings, files={"adopting.py": adopting})
    assert server.request("/").text == "hello"
    assert server.log.wait_for("zygote ready")["preloaded"] is True
    assert server.reload()["result"] == "ok"
