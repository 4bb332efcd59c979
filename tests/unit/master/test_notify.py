"""The sender of sd_notify(3) messages never waits, and says nothing to nobody."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appserver.master.notify import MAX_WAITING, Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def heard(manager: socket.socket) -> str:
    return manager.recv(65536).decode()


def test_the_assignments_of_a_message_are_lines(manager: socket.socket) -> None:
    with closing(Notifier({"NOTIFY_SOCKET": manager.getsockname()}, 1)) as notifier:
        assert notifier
        notifier.send("READY=1", "STATUS=fine")
        notifier.send()
        notifier.send("STOPPING=1")
    assert [heard(manager), heard(manager)] == ["READY=1\nSTATUS=fine", "STOPPING=1"]


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative"])
def test_without_an_address_of_a_unix_socket_there_is_nobody_to_tell(address: str | None) -> None:
    notifier = Notifier({} if address is None else {"NOTIFY_SOCKET": address}, 1)
    assert not notifier
    notifier.send("READY=1")
    notifier.close()


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    with closing(Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}, 1)) as notifier:
        notifier.send("READY=1")


def test_what_a_slow_manager_has_no_room_for_is_sent_later_in_order(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()}, 1)
    count = 600  # more than a queue of datagrams holds (net.unix.max_dgram_qlen)
    for number in range(count):
        notifier.send(f"N={number}")
    manager.setblocking(False)
    numbers = []
    while True:
        try:
            numbers.append(int(heard(manager).removeprefix("N=")))
        except BlockingIOError:
            if numbers[-1] == count:
                break
            notifier.send(f"N={count}")
    notifier.close()
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert set(range(count - MAX_WAITING + 2, count)) <= set(numbers), "only the oldest of those that waited are lost"


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "9" * 5000}, 0.0),
    ],
)
def test_the_watchdogs_limit_is_taken_if_it_is_for_this_process(environ: dict[str, str], limit: float) -> None:
    assert Notifier(environ, 42).watchdog_limit == limit
