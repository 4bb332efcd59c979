"""What systemd would hear: sd_notify messages on a real datagram socket, and the sockets that it would pass."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.processes import look_at
from tests.support.server import Server
from tests.support.waiting import eventually

Message = dict[str, str]

TIMEOUT = 30.0


class Manager:
    """The end of the socket at which systemd would listen."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.environment = {"NOTIFY_SOCKET": address}
        self.heard: list[Message] = []

    def listen(self, timeout: float) -> Message | None:
        """The next message, unless there is none within `timeout` seconds."""
        self._socket.settimeout(timeout)
        try:
            text = self._socket.recv(65536).decode()
        except TimeoutError:
            return None
        message = dict(line.split("=", 1) for line in text.split("\n"))
        self.heard.append(message)
        return message

    def wait_for(
        self, key: str, value: str = "1", *, skipping: Callable[[Message], bool] = lambda message: True
    ) -> Message:
        """The next message with this assignment; those before it have to be such as `skipping` allows."""
        deadline = time.monotonic() + TIMEOUT
        while (message := self.listen(max(0.01, deadline - time.monotonic()))) is not None:
            if message.get(key) == value:
                return message
            assert skipping(message), f"{message} before {key}={value}"
        raise AssertionError(f"{key}={value} was not said; heard: {self.heard}")

    def close(self) -> None:
        self._socket.close()


def state(pid: int) -> str:
    """The state of a process, as in proc(5)."""
    process = look_at(pid)
    return "" if process is None else process.state


def aside(message: Message) -> bool:
    """Whether a message changes no state."""
    return not message.keys() & {"READY", "RELOADING", "STOPPING"}


@pytest.fixture(params=["path", pytest.param("abstract", marks=pytest.mark.long)])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@appserver-test-{os.getpid()}"
    manager = Manager(address)
    yield manager
    manager.close()


def test_the_life_of_a_server_is_told_in_order(start_server: StartServer, manager: Manager) -> None:
    server = start_server({"workers": {"count": 2}}, environment=manager.environment)
    assert int(manager.wait_for("EXTEND_TIMEOUT_USEC", "15000000", skipping=aside)["EXTEND_TIMEOUT_USEC"])
    ready = manager.wait_for("READY", skipping=aside)
    assert ready["STATUS"] == "serving: 2 of 2 workers, generation 1"

    asked_at = time.monotonic_ns() // 1000
    assert server.reload()["result"] == "ok"
    reloading = manager.wait_for("RELOADING", skipping=aside)
    assert asked_at <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    ready = manager.wait_for("READY", skipping=aside)
    assert ready["STATUS"] == "serving: 2 of 2 workers, generation 2; last reload: ok"

    server.write("application.py", "raise RuntimeError('boom at import')\n")
    assert server.reload()["result"] == "rolled_back"
    manager.wait_for("RELOADING", skipping=aside)
    ready = manager.wait_for("READY", skipping=aside)
    assert "last reload: rolled_back (" in ready["STATUS"]
    assert "boom at import" in ready["STATUS"]

    server.write("server.toml", "[workers]\ncuont = 2\n")
    assert server.reload()["result"] == "refused"
    reloading = manager.wait_for("RELOADING", skipping=aside)
    ready = manager.wait_for("READY", skipping=aside)
    assert "last reload: refused (" in ready["STATUS"]

    assert server.stop() == 0
    stopping = manager.wait_for("STOPPING", skipping=aside)
    assert stopping["STATUS"].startswith("stopping: ")
    assert not any("MAINPID" in message or "WATCHDOG" in message for message in manager.heard)


def test_a_failed_start_is_never_ready(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    server = Server(tmp_path, files={"application.py": "def app(:\n"}, environment=manager.environment)
    try:
        assert server.start().wait_for_exit() == 4
    finally:
        server.close()
    while manager.listen(0.1):
        pass
    assert manager.heard
    assert all("READY" not in message for message in manager.heard)
    manager.close()


@pytest.mark.long
def test_an_upgrade_keeps_telling(start_server: StartServer, manager: Manager) -> None:
    server = start_server(environment={**manager.environment, "WATCHDOG_USEC": "1000000"})
    manager.wait_for("READY", skipping=aside)
    server.signal(signal.SIGUSR2)
    server.log.wait_for("upgraded")
    manager.wait_for("READY", skipping=aside)
    manager.wait_for("WATCHDOG", skipping=aside)
    server.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", skipping=aside)
    manager.wait_for("READY", skipping=aside)


def test_the_applications_processes_are_not_told_of_it(start_server: StartServer, manager: Manager) -> None:
    server = start_server(environment={**manager.environment, "WATCHDOG_USEC": "1000000"})
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        assert server.request(f"/env/{name}").text == ""


class TestWatchdog:
    LIMIT = 1.0

    @pytest.fixture
    def watched(self, start_server: StartServer, manager: Manager) -> Server:
        return start_server(environment={**manager.environment, "WATCHDOG_USEC": str(int(self.LIMIT * 1e6))})

    def test_the_server_is_alive_at_half_of_the_limit(self, watched: Server, manager: Manager) -> None:
        manager.wait_for("READY")
        manager.wait_for("WATCHDOG")
        times = []
        for _ in range(4):
            manager.wait_for("WATCHDOG")
            times.append(time.monotonic())
        assert all(later - earlier < self.LIMIT for earlier, later in itertools.pairwise(times)), times

    def test_a_stopped_master_says_nothing(self, watched: Server, manager: Manager) -> None:
        manager.wait_for("READY")
        manager.wait_for("WATCHDOG")
        watched.signal(signal.SIGSTOP)
        eventually(lambda: state(watched.pid) == "T", "it is stopped")
        while manager.listen(0.01):  # what it had said before
            pass
        assert manager.listen(2 * self.LIMIT) is None
        watched.signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG")

    @pytest.mark.long
    def test_without_a_healthy_worker_the_server_is_not_alive(self, watched: Server, manager: Manager) -> None:
        manager.wait_for("READY")
        [worker] = watched.workers()
        os.kill(worker.pid, signal.SIGSTOP)
        deadline = time.monotonic() + TIMEOUT
        last = time.monotonic()
        while time.monotonic() - last < 2 * self.LIMIT:
            assert time.monotonic() < deadline
            if "WATCHDOG" in (manager.listen(0.1) or {}):
                last = time.monotonic()
        os.kill(worker.pid, signal.SIGCONT)
        manager.wait_for("WATCHDOG")

    def test_a_server_whose_workers_cannot_boot_is_left_to_its_own_attempts(
        self, watched: Server, manager: Manager
    ) -> None:
        manager.wait_for("READY")
        watched.write("application.py", "def app(:\n")
        [worker] = watched.workers()
        os.kill(worker.pid, signal.SIGKILL)
        watched.log.wait_for("worker exited", reason="boot_failed")
        while manager.listen(0.01):  # what it had said before
            pass
        for _ in range(3):
            manager.wait_for("WATCHDOG")

    @pytest.mark.long
    def test_a_watchdog_for_another_process_is_none_of_ours(self, start_server: StartServer, manager: Manager) -> None:
        start_server(environment={**manager.environment, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
        manager.wait_for("READY", skipping=lambda message: "WATCHDOG" not in message)
        assert "WATCHDOG" not in (manager.listen(1.0) or {})


LAUNCHER = """\
#!{python}
import os, sys
for number, fd in enumerate({fds}, 3):
    os.dup2(fd, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS={count!r}, LISTEN_FDNAMES={names!r})
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_sockets_of_systemd_are_served_by_name_over_upgrade_and_reload(
    start_server: StartServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("127.0.0.1", 0)) as admin:
        fds = [web.fileno(), admin.fileno()]
        assert min(fds) > 4, "the launcher moves them to 3 and 4 in order"
        launcher = tmp_path / "launcher"
        launcher.write_text(LAUNCHER.format(python=sys.executable, fds=fds, count="2", names="web:admin"))
        launcher.chmod(0o755)
        server = start_server({"listeners": [{"bind": "systemd:web"}]}, python=str(launcher), pass_fds=fds)
        assert server.request().text == "hello"
        assert server.address == Address(*web.getsockname())
        assert server.request("/env/LISTEN_FDS").text == ""
        server.signal(signal.SIGUSR2)
        server.log.wait_for("upgraded")
        server.configure({"listeners": [{"bind": "systemd:web"}, {"bind": "systemd:admin"}]})
        assert server.reload()["result"] == "ok"
        assert Address(*admin.getsockname()).request().text == "hello"
        server.configure({"listeners": [{"bind": "systemd:wbe"}]})
        assert server.reload()["reason"] == "cannot listen on systemd:wbe: the names passed are web, admin"
        assert server.stop() == 0


def test_an_abstract_unix_socket_is_served(start_server: StartServer) -> None:
    name = f"@appserver-test-web-{os.getpid()}"
    start_server({"listeners": [{"bind": f"unix:{name}"}]})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{name[1:]}")
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(4096), b"")).endswith(b"hello")
