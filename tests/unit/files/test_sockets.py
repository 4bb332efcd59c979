"""Binding, changing and removing the files of unix sockets, in directories of every kind."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserver.files import Access, bind_socket, change_socket, identify, remove_socket
from tests.support.attacker import GROUP, UID, USER, needs_root


@pytest.fixture(params=["own", pytest.param("theirs", marks=needs_root)])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the socket is to be: only this user can write there, or another one as well."""
    directory = tmp_path / "place"
    directory.mkdir()
    if request.param == "theirs":
        shutil.chown(directory, USER, GROUP)
    return directory


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        yield sock


def bind(sock: socket.socket, path: Path, mode: int = 0o600, uid: int = -1) -> tuple[int, int]:
    return bind_socket(sock, path, str(path), Access(mode, uid))


def test_it_can_be_connected_to_and_nothing_else_is_left(directory: Path, sock: socket.socket) -> None:
    identity = bind(sock, directory / "s", 0o606)
    sock.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(directory / "s"))
    assert os.listdir(directory) == ["s"]
    assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o606
    assert identify(directory / "s") == identity
    assert (directory / "s").stat().st_nlink == 1


@needs_root
def test_it_gets_its_owner(directory: Path, sock: socket.socket) -> None:
    bind(sock, directory / "s", uid=UID)
    assert (directory / "s").owner() == USER


def test_a_stale_one_is_replaced(directory: Path, sock: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "s"))
    bind(sock, directory / "s")


def test_a_live_one_is_not(directory: Path, sock: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(directory / "s"))
        live.listen()
        with pytest.raises(OSError, match="another server is listening on it"):
            bind(sock, directory / "s")
    assert os.listdir(directory) == ["s"]


@pytest.mark.parametrize("link", [False, True])
def test_a_file_or_a_link_is_left_alone(directory: Path, sock: socket.socket, link: bool) -> None:
    if link:
        (directory / "s").symlink_to("elsewhere")
    else:
        (directory / "s").write_text("precious")
    with pytest.raises(OSError, match="no socket is in the way"):
        bind(sock, directory / "s")
    assert os.listdir(directory) == ["s"]


def test_another_file_in_its_place_is_neither_changed_nor_removed(directory: Path, sock: socket.socket) -> None:
    identity = bind(sock, directory / "s")
    (directory / "s").unlink()
    (directory / "s").touch(0o600)
    change_socket(directory / "s", identity, Access(0o666))
    remove_socket(directory / "s", identity)
    assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o600


def test_a_link_to_it_is_no_way_to_it(directory: Path, sock: socket.socket) -> None:
    identity = bind(sock, directory / "s")
    (directory / "s").rename(directory / "t")
    (directory / "s").symlink_to("t")
    change_socket(directory / "s", identity, Access(0o666))
    assert stat.S_IMODE((directory / "t").stat().st_mode) == 0o600


def test_what_is_not_there_has_no_identity(directory: Path) -> None:
    assert identify(directory / "s") is None
    assert identify(directory / "none" / "s") is None


def test_a_file_system_without_hard_links_will_do(
    directory: Path, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_args: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    bind(sock, directory / "s")
    assert os.listdir(directory) == ["s"]
