"""Reloads under clients of HTTP/2 that keep their connections: none of their requests is lost."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import httpx
import pytest

from tests.integration.test_http2_clients import GRPC, HAPROXY, needs, run
from tests.support.proxies import free_ports
from tests.support.server import Record, Server
from tests.support.waiting import eventually

RELOADS = 5

pytestmark = pytest.mark.long


class Clients:
    """Threads that ask again and again until `stop`. `answered` counts by their names; any exception is a failure."""

    def __init__(self) -> None:
        self.answered: dict[str, int] = {}
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, name: str, ask: Callable[[], object]) -> None:
        """Begin one that calls `ask`, which raises, or returns something false, if it has no good answer."""
        self.answered.setdefault(name, 0)

        def go_on() -> None:
            while not self._stop.is_set():
                try:
                    assert ask(), "the answer is wrong"
                except Exception as error:  # noqa: BLE001  # whatever a client raises
                    self.failures.append(f"{name}: {error!r}")
                self.answered[name] += 1

        self._threads.append(threading.Thread(target=go_on))
        self._threads[-1].start()

    def go_on(self) -> None:
        """Wait until each of them has asked ten times more."""
        before = dict(self.answered)
        eventually(lambda: all(self.answered[name] > before[name] + 10 for name in before), "all clients are answered")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_clients_that_keep_their_connections_lose_nothing_in_reloads(tmp_path: Path) -> None:
    """One request after the other with httpx, several at a time with gRPC, and uploads of many clients through HAProxy."""
    needs("haproxy")
    port, other = free_ports(2)
    settings = {"app": {"target": "grpc_app:app"}, "workers": {"count": 2}, "reload": {"linger": 2}}
    with Server(tmp_path / "server", settings, files={"grpc_app.py": GRPC}) as server:
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(HAPROXY.format(port=port, other=other, server=server.address))
        haproxy = subprocess.Popen(["/usr/sbin/haproxy", "-f", configuration], stdin=subprocess.DEVNULL)
        direct = httpx.Client(http1=False, http2=True, trust_env=False, base_url=f"http://{server.address}", timeout=30)
        clients = Clients()
        try:
            with contextlib.ExitStack() as opened, direct, grpc.insecure_channel(str(server.address)) as channel:
                call = channel.unary_unary("/test.Echo/Unary")
                clients.begin("httpx", lambda: direct.get("/pid").is_success)
                for _ in range(3):
                    clients.begin("grpc", lambda: call(b"hello", timeout=60) == b"hello")
                for _ in range(4):
                    proxied = httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{other}", timeout=30)
                    opened.callback(proxied.close)
                    eventually(partial(_answers, proxied), "HAProxy listens")
                    clients.begin("haproxy", partial(_is_echoed, proxied))
                for _ in range(RELOADS):
                    clients.go_on()
                    assert server.reload()["result"] == "ok"
                clients.go_on()
                clients.stop()
        finally:
            clients.stop()
            haproxy.terminate()
            haproxy.wait(30)
        assert not clients.failures
        assert not [record for record in server.output.records if record.get("outcome")]


def _is_echoed(client: httpx.Client) -> bool:
    return client.post("/echo", content=b"x").content == b"x"


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_success
    except httpx.TransportError:
        return False


def test_all_that_h2load_sends_in_reloads_is_answered(tmp_path: Path) -> None:
    """It opens no other connection when one ends, so it is run again and again.

    What it has ready when it reads a GOAWAY stays with it, and counts there as begun and failed. So the server's log says
    what it has sent.
    """
    needs("h2load")
    with Server(tmp_path, {"workers": {"count": 2}, "reload": {"linger": 2}}) as server:
        answered, clients = list[int](), Clients()

        def load() -> bool:
            shown = run("h2load", "-n", "300", "-c", "2", "-m", "8", f"http://{server.address}/sleep/0.01").stdout
            counts = re.search(r"(\d+) succeeded", shown)
            assert counts, shown
            answered.append(int(counts[1]))
            return True

        clients.begin("h2load", load)
        try:
            for _ in range(RELOADS):
                before = len(answered)
                assert server.reload()["result"] == "ok"
                eventually(partial(lambda wanted: len(answered) > wanted, before + 1), "h2load goes on")
        finally:
            clients.stop()
        assert not clients.failures
        assert min(answered) < 300, "no reload has met a connection of h2load"
        eventually(lambda: len(_requests(server)) == sum(answered), "each request has its answer")
        assert not [record for record in _requests(server) if record.get("outcome") or record["status"] != 200]


def _requests(server: Server) -> list[Record]:
    return [record for record in server.output.records if record["event"] == "request"]
