"""How many connections wait."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appserver.master.backlog import backlog_length


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_it_is_the_number_of_connections_that_nobody_has_accepted(
    family: socket.AddressFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place: dict[int, object] = {
        socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0), socket.AF_UNIX: "a.sock",
    }  # fmt: skip
    with socket.socket(family) as listener:
        listener.bind(place[family])  # type: ignore[arg-type]
        listener.listen(10)
        assert backlog_length(listener) == 0
        clients = [socket.socket(family) for _ in range(3)]
        for client in clients:
            client.connect(listener.getsockname())
        assert backlog_length(listener) == 3
        listener.accept()[0].close()
        assert backlog_length(listener) == 2
        for client in clients:
            client.close()


def test_a_socket_without_a_backlog_has_no_length() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert backlog_length(other) is None
