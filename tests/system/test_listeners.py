"""Every kind of listener, as the operator configured it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.waiting import eventually

AUTHORITY = Authority()


def test_several_listeners_serve_at_once(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = start_server({"listeners": [{"bind": "127.0.0.1:0"}, {"bind": "127.0.0.1:0"}, {"bind": f"unix:{path}"}]})
    assert len(set(server.addresses)) == 3
    assert [address.request().text for address in server.addresses] == ["hello"] * 3


def test_an_ipv6_listener_serves(start_server: StartServer) -> None:
    server = start_server({"listeners": [{"bind": "[::1]:0"}]})
    assert str(server.address).startswith("[::1]:")
    assert server.request("/").text == "hello"


def test_one_listener_for_both_families(start_server: StartServer) -> None:
    server = start_server({"listeners": [{"bind": "[::]:0", "dual_stack": True}]})
    for host in ("127.0.0.1", "::1"):
        told = json.loads(Address(host, server.address.port).request("GET", "/scope").text)
        assert (told["client"][0], told["server"]) == (host, [host, server.address.port])


def test_an_abstract_unix_socket_serves(start_server: StartServer, tmp_path: Path) -> None:
    name = f"@appserver-{os.getpid()}-{tmp_path.name}"
    server = start_server({"listeners": [{"bind": f"unix:{name}"}]})
    assert Address(path=f"\0{name[1:]}").request().text == "hello"
    assert server.stop() == 0


def test_a_reload_adds_changes_and_removes_listeners(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    stays, goes = {"bind": "127.0.0.1:0"}, {"bind": f"unix:{path}"}
    server = start_server({"listeners": [stays, goes]})
    server.configure({"listeners": [stays, {**goes, "mode": "0600"}, {"bind": "[::1]:0"}]})
    assert server.reload()["result"] == "ok"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [address.request().text for address in server.addresses] == ["hello"] * 3
    certificate, key = AUTHORITY.issue("localhost").write(tmp_path)
    tls = {"certificate": str(certificate), "key": str(key)}
    server.configure({"listeners": [{**stays, "tls": True}], "tls": tls})
    assert server.reload()["result"] == "ok"
    eventually(lambda: not path.exists(), "the listener that nobody wants any more is closed")

    def encrypted() -> bool:
        with AUTHORITY.client().wrap_socket(server.address.connect(), server_hostname="localhost") as connection:
            return connection.version() == "TLSv1.3"

    server.wait_for_workers(1)
    assert encrypted()


def refuses(address: Address) -> bool:
    try:
        address.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_kernel_has_the_backlog_that_was_configured(start_server: StartServer) -> None:
    if shutil.which("ss") is None:
        pytest.skip("needs ss (Debian package iproute2)")
    server = start_server({"listeners": [{"bind": "127.0.0.1:0", "backlog": 37}], "workers": {"count": 2}})
    assert server.request("/").status == 200
    listing = subprocess.run(
        ["ss", "-Hltn", f"sport = :{server.address.port}"], check=True, capture_output=True, text=True
    ).stdout
    # Of a listening socket, Send-Q is the length that the queue may have.
    assert [line.split()[2] for line in listing.splitlines()] == ["37"]


def test_an_inherited_descriptor_serves(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        address = Address(*inherited.getsockname())
        server = start_server({"listeners": [{"bind": f"fd://{inherited.fileno()}"}]}, pass_fds=[inherited.fileno()])
        assert server.address == address
        assert address.request().text == "hello"


class TestUnixSocket:
    def test_its_mode_is_as_configured(self, start_server: StartServer, tmp_path: Path) -> None:
        first, second = tmp_path / "first.sock", tmp_path / "second.sock"
        start_server({"listeners": [{"bind": f"unix:{first}"}, {"bind": f"unix:{second}", "mode": "0600"}]})
        assert [oct(path.stat().st_mode & 0o777) for path in (first, second)] == ["0o660", "0o600"]

    @pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
    def test_its_owner_is_as_configured(self, start_server: StartServer, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        start_server({"listeners": [{"bind": f"unix:{path}", "user": "nobody", "group": "nogroup"}]})
        assert (path.owner(), path.group()) == ("nobody", "nogroup")

    def test_a_stale_one_is_replaced(self, start_server: StartServer, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        server = start_server({"listeners": [{"bind": f"unix:{path}"}], "workers": {"count": 2}})
        assert server.request("/").text == "hello"

    def test_a_clean_stop_removes_it(self, start_server: StartServer, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        server = start_server({"listeners": [{"bind": f"unix:{path}"}]})
        assert server.stop() == 0
        assert not path.exists()

    def test_what_a_killed_server_left_does_not_block_the_next_start(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "app.sock"
        settings = {"listeners": [{"bind": f"unix:{path}"}], "admin": {"pid_file": str(tmp_path / "server.pid")}}
        killed = start_server(settings)
        killed.kill_everything()
        assert path.is_socket()
        server = start_server(settings)
        assert server.request("/").text == "hello"


class TestReload:
    def test_a_socket_file_that_somebody_has_removed_is_made_anew(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "app.sock"
        server = start_server({"listeners": [{"bind": f"unix:{path}"}], "workers": {"count": 2}})
        path.unlink()
        good = (server.directory / "application.py").read_text()
        server.write("application.py", "raise RuntimeError('no')\n")
        assert server.reload()["result"] == "rolled_back"
        eventually(lambda: not path.exists(), "nobody is to wait in a backlog that no worker looks into")
        server.write("application.py", good)
        assert server.reload()["result"] == "ok"
        assert server.request("/").text == "hello"

    def test_a_socket_file_that_cannot_be_made_anew_fails_the_reload(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "app.sock"
        server = start_server({"listeners": [{"bind": "127.0.0.1:0"}, {"bind": f"unix:{path}"}]})
        path.unlink()
        path.write_text("precious")
        outcome = server.reload()
        assert outcome["result"] == "rolled_back"
        assert "no socket is in the way" in outcome["reason"]
        assert path.read_text() == "precious"
        assert server.request("/").text == "hello"

    @pytest.mark.long
    def test_what_is_removed_refuses_although_a_worker_still_holds_it(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "app.sock"
        both = [{"bind": "127.0.0.1:0"}, {"bind": f"unix:{path}"}, {"bind": "localhost:0"}]
        short = {"graceful_timeout": 2}
        server = start_server({"listeners": both, "workers": short})
        first, _, *removed = server.addresses
        with server.address.connect() as connection:
            connection.sendall(b"GET /sleep/600 HTTP/1.1\r\nHost: test\r\n\r\n")  # so that an old worker stays
            assert server.request("/").text == "hello"
            server.configure({"listeners": both[:1], "workers": short})
            assert server.reload()["result"] == "ok"
            eventually(lambda: not path.exists(), "the file of the unix socket is gone")
            # The record of the reload comes a moment before the master lets go of them.
            eventually(lambda: all(map(refuses, removed)), "the removed ones refuse")
            assert first.request().text == "hello"
            server.configure({"listeners": both[:2], "workers": short})
            assert server.reload()["result"] == "ok"
            assert server.addresses[-1].request().text == "hello"
