"""A log that cannot be written costs lines, which are counted, and no request; a rotation costs not even a line."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.system.faults.scene import either_preload, holders, measured_load


def test_an_access_log_on_a_full_disk_costs_its_lines_only(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}, "access_log": {"file": "/dev/full"}})
    with measured_load(server.address, "access log on /dev/full") as load:
        load.wait_for_requests(500)
        lost = server.log.wait_for("log lines dropped")
    assert load.tally.failed == 0
    assert lost["count"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["full", "closed"])
def test_a_log_that_cannot_be_written_does_not_keep_it_from_serving(tmp_path: Path, broken: str) -> None:
    address = Address(path=str(tmp_path / "server.sock"))
    settings = {"listeners": [{"bind": str(address)}], "workers": {"count": 2}}
    logging = {"logging": {"file": "/dev/full"}} if broken == "full" else {}
    limits = "exec 2>&-" if broken == "closed" else ""
    server = Server(tmp_path, {**settings, **logging}, limits=limits).start()
    try:
        eventually(lambda: _answers(address), "it serves", timeout=40)
        with measured_load(address, f"log {broken}") as load:
            load.wait_for_requests(200)
            [old, _] = server.wait_for_workers(2)
            server.signal(signal.SIGHUP)
            eventually(lambda: old.pid not in {worker.pid for worker in server.workers()}, "a reload", timeout=40)
            load.wait_for_requests(200)
        assert load.tally.failed == 0
        assert server.stop() == 0
    finally:
        server.close()


def _answers(address: Address) -> bool:
    try:
        return address.request().text == "hello"
    except OSError:
        return False


def test_a_log_reader_that_has_stopped_costs_lines_and_no_request(start_server: StartServer, tmp_path: Path) -> None:
    fifo = tmp_path / "access"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        server = start_server({"workers": {"count": 1}, "access_log": {"file": str(fifo)}})
        # Lines of seven kilobytes: the pipe and the buffer behind it are full after some seven hundred of them.
        with measured_load(server.address, "log reader stopped", pause=(0, 0), path="/?" + "x" * 7000) as load:
            load.wait_for_requests(1200, timeout=60)
        assert load.tally.failed == 0
        # It reads again.
        eventually(lambda: _read(reader) >= 0 and server.log.matching("log lines dropped"), "the loss is told")
        print(f"{server.log.matching('log lines dropped')[0]['count']} lines dropped")
    finally:
        os.close(reader)


@pytest.mark.long
def test_lines_that_a_worker_leaves_unwritten_are_counted(start_server: StartServer, tmp_path: Path) -> None:
    fifo = tmp_path / "access"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        settings = {"workers": {"count": 1}, "access_log": {"file": str(fifo)}, "admin": {"bind": "127.0.0.1:0"}}
        server = start_server(settings)
        [old] = server.workers()
        # More than the pipe holds, less than the buffer behind it: what is left when the worker ends is in the buffer.
        for _ in range(50):
            server.request("/?" + "x" * 7000)
        assert server.reload()["result"] == "ok"
        eventually(lambda: old.pid not in {worker.pid for worker in server.workers()}, "it has gone", timeout=40)
        written = os.read(reader, 1 << 20).count(b"\n")
        assert 0 < written < 50
        [admin] = server.log.matching("admin listening", controls=False)
        line = f"\nappserver_log_lines_dropped_total {50 - written}.0\n"
        address = Address.parse(admin["address"])
        eventually(lambda: line in address.request("GET", "/metrics").text, "they are counted")
    finally:
        os.close(reader)


def _read(fd: int) -> int:
    try:
        return len(os.read(fd, 1 << 20))
    except BlockingIOError:
        return 0


class TestRotation:
    @either_preload
    def test_no_line_is_lost_and_every_process_goes_on_in_the_new_file(
        self, start_server: StartServer, preload: bool, tmp_path: Path
    ) -> None:
        settings = {
            "workers": {"count": 2, "preload": preload},
            "access_log": {"file": str(tmp_path / "access.log")},
            "logging": {"file": str(tmp_path / "server.log")},
            "listeners": [{"bind": f"unix:{tmp_path / 'server.sock'}"}],
        }
        server = Server(tmp_path, settings).start()
        try:
            _rotate_under_load(server, Address(path=str(tmp_path / "server.sock")))
        finally:
            server.close()

    @pytest.mark.long
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user")
    def test_nor_where_the_workers_run_as_another_user(self, directory: Path) -> None:
        logs = directory / "log"
        logs.mkdir(mode=0o755)
        settings = {
            "workers": {"count": 2, "user": "nobody", "group": "nogroup"},
            "access_log": {"file": str(logs / "access.log")},
            "logging": {"file": str(logs / "server.log")},
            "listeners": [{"bind": f"unix:{directory / 'server.sock'}"}],
        }
        server = Server(directory, settings).start()
        try:
            _rotate_under_load(server, Address(path=str(directory / "server.sock")))
        finally:
            server.close()

    @pytest.fixture
    def directory(self) -> Iterator[Path]:
        """A directory that everybody may read: pytest's own are for their owner alone."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            yield Path(name)

    @pytest.mark.long
    def test_a_file_that_is_copied_and_truncated_goes_on_from_its_start(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "access.log"
        server = start_server({"workers": {"count": 2}, "access_log": {"file": str(path)}})
        with measured_load(server.address, "copytruncate") as load:
            load.wait_for_requests(100)
            eventually(lambda: path.stat().st_size, "lines in the file")
            os.truncate(path, 0)
            load.wait_for_requests(100)
            eventually(lambda: path.stat().st_size, "lines in the file again")
        assert load.tally.failed == 0
        assert not path.read_bytes().startswith(b"\0")


def _rotate_under_load(server: Server, address: Address) -> None:
    """Move both files away, three times, each with a USR1; compare the lines with the requests."""
    eventually(lambda: _answers(address), "it serves", timeout=40)
    access = _setting(server, "access.log")
    log = _setting(server, "server.log")
    eventually(lambda: "serving" in log.read_text(), "it is complete")
    before = eventually(lambda: _lines(access), "the line of that request")
    with measured_load(address, "three rotations") as load:
        for number in range(1, 4):
            load.wait_for_requests(200)
            for path in (access, log):
                path.rename(f"{path}.{number}")
            server.signal(signal.SIGUSR1)
            eventually(lambda: access.exists() and log.exists(), "the new files are there")
            eventually(lambda: not holders(server, ".log."), "nobody holds the old files")
    assert load.tally.failed == 0
    requests = load.tally.requests + before

    def written() -> int:
        return _lines(access) + sum(_lines(Path(f"{access}.{number}")) for number in range(1, 4))

    eventually(lambda: written() >= requests, "every line is written")
    assert written() == requests
    print(f"{requests} requests, {written()} lines")


def _setting(server: Server, name: str) -> Path:
    return next(path for path in (server.directory / name, server.directory / "log" / name) if path.exists())


def _lines(path: Path) -> int:
    """How many lines there are; each has to be complete, but for what is just being written at the end."""
    complete, _, _ = path.read_text().rpartition("\n")
    return sum(json.loads(line)["event"] == "request" for line in complete.splitlines())
