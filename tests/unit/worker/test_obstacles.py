"""What forbids a zygote to fork after it has imported the application."""

from __future__ import annotations

import asyncio
import logging.handlers
import multiprocessing
import os
import select
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from appserver.worker import obstacles


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What a test opens, closed at its end."""
    with ExitStack() as stack:
        yield stack


def descriptors(before: obstacles.Descriptors) -> list[str]:
    """What is found that is a descriptor; the threads of the tests' process are left out."""
    return [found for found in obstacles.find(before) if "(descriptor " in found]


class TestConnections:
    @pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
    def test_the_peer_is_named(self, opened: ExitStack, family: socket.AddressFamily, host: str) -> None:
        listening = opened.enter_context(socket.create_server((host, 0), family=family))
        port = listening.getsockname()[1]
        before = obstacles.Descriptors.now()
        connection = opened.enter_context(socket.create_connection((host, port)))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert descriptors(before) == [f"connection to {address} (descriptor {connection.fileno()})"]

    def test_a_unix_socket_is_named_by_its_path(self, opened: ExitStack, tmp_path: Path) -> None:
        path = str(tmp_path / "db.sock")
        listening = opened.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen()
        before = obstacles.Descriptors.now()
        connection = opened.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(path)
        assert descriptors(before) == [f"connection to {path} (descriptor {connection.fileno()})"]

    def test_a_connection_that_is_being_made_is_one(self, opened: ExitStack) -> None:
        # The kernel answers no third client of a full backlog.
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        before = obstacles.Descriptors.now()
        for _ in range(3):
            connection = opened.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(listening.getsockname())
        assert f"connection that is being made (descriptor {connection.fileno()})" in descriptors(before)

    def test_a_netlink_socket_is_one(self, opened: ExitStack) -> None:
        before = obstacles.Descriptors.now()
        asking = opened.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        assert descriptors(before) == [f"netlink socket (descriptor {asking.fileno()})"]

    def test_a_socket_pair_is_one(self, opened: ExitStack) -> None:
        before = obstacles.Descriptors.now()
        for end in socket.socketpair():
            opened.enter_context(end)
        assert len(descriptors(before)) == 2

    def test_sockets_without_a_peer_and_datagrams_are_none(self, opened: ExitStack) -> None:
        receiving = opened.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        receiving.bind(("127.0.0.1", 0))
        before = obstacles.Descriptors.now()
        opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        opened.enter_context(socket.socket())
        sending = opened.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        sending.connect(receiving.getsockname())
        opened.enter_context(closing(logging.handlers.SysLogHandler(receiving.getsockname())))
        assert descriptors(before) == []

    def test_what_was_open_before_is_none(self, opened: ExitStack) -> None:
        for end in socket.socketpair():
            opened.enter_context(end)
        assert descriptors(obstacles.Descriptors.now()) == []

    def test_a_number_that_is_used_again_is_looked_at(self, opened: ExitStack) -> None:
        first = os.open("/dev/null", os.O_RDONLY)
        before = obstacles.Descriptors.now()
        os.close(first)
        left, right = map(opened.enter_context, socket.socketpair())
        assert first in (left.fileno(), right.fileno())
        assert len(descriptors(before)) == 2

    def test_what_nobody_refers_to_any_more_is_none(self) -> None:
        before = obstacles.Descriptors.now()
        circle: list[object] = [select.epoll()]
        circle.append(circle)
        del circle
        assert descriptors(before) == []


class TestFiles:
    @pytest.mark.parametrize("mode", ["delete", "wal"])
    def test_a_database_of_sqlite_is_named(self, opened: ExitStack, tmp_path: Path, mode: str) -> None:
        before = obstacles.Descriptors.now()
        database = opened.enter_context(closing(sqlite3.connect(tmp_path / "site.db")))
        database.execute(f"pragma journal_mode = {mode}")
        database.execute("create table page (name text)")
        found = descriptors(before)
        assert [f"SQLite file {tmp_path / 'site.db'} " in line for line in found].count(True) == 1

    def test_one_that_has_not_been_written_yet_is_known_by_its_journal(self, opened: ExitStack, tmp_path: Path) -> None:
        before = obstacles.Descriptors.now()
        database = opened.enter_context(closing(sqlite3.connect(tmp_path / "site.db", isolation_level=None)))
        database.execute("pragma cache_size = 1")
        database.execute("begin")
        database.execute("create table page (name text)")
        database.executemany("insert into page values (?)", [("x" * 1000,)] * 50)
        assert any("SQLite file" in line for line in descriptors(before))

    def test_one_in_memory_is_each_workers_own(self, opened: ExitStack) -> None:
        before = obstacles.Descriptors.now()
        database = opened.enter_context(closing(sqlite3.connect(":memory:")))
        database.execute("create table page (name text)")
        assert descriptors(before) == []

    def test_other_files_are_none(self, opened: ExitStack, tmp_path: Path) -> None:
        before = obstacles.Descriptors.now()
        for name, mode in (("log", "w"), ("more", "a+")):
            opened.enter_context((tmp_path / name).open(mode)).write("SQLite")
        assert descriptors(before) == []


class TestWhatTheKernelKeepsAStateFor:
    def test_an_epoll_instance(self, opened: ExitStack) -> None:
        before = obstacles.Descriptors.now()
        epoll = opened.enter_context(select.epoll())
        assert descriptors(before) == [f"epoll instance (descriptor {epoll.fileno()})"]

    def test_an_event_loop_is_named_itself(self, opened: ExitStack) -> None:
        before = obstacles.Descriptors.now()
        opened.enter_context(closing(asyncio.new_event_loop()))
        assert any(found.startswith("event loop") for found in obstacles.find(before))

    def test_pipes_and_the_locks_of_processes_are_none(self) -> None:
        multiprocessing.Lock()  # starts the process that watches such things, outside of what is looked at
        before = obstacles.Descriptors.now()
        lock = multiprocessing.Lock()
        pipe = os.pipe()
        try:
            assert descriptors(before) == []
        finally:
            for fd in pipe:
                os.close(fd)
            del lock
