"""TLS as an operator has it: files, privileges, reloads, renewals, and the programs that people use as clients."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.server import ROOT, Server
from tests.support.waiting import eventually

AUTHORITY = Authority()

LISTENER = {"bind": "127.0.0.1:0", "tls": True}


def settings(directory: Path, **more: Any) -> dict[str, Any]:
    """Settings of a server with a TLS listener; writes the certificate and the key that they name."""
    certificate, key = AUTHORITY.issue("localhost", "127.0.0.1").write(directory)
    tls = {"certificate": str(certificate), "key": str(key), **more.pop("tls", {})}
    return {"listeners": [LISTENER, {"bind": "127.0.0.1:0"}], "tls": tls, **more}


def connect(address: Address, client: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
    connection = http.client.HTTPSConnection(
        address.host, address.port, timeout=30, context=client or AUTHORITY.client()
    )
    connection.connect()
    return connection


def get(connection: http.client.HTTPSConnection, target: str = "/") -> str:
    connection.request("GET", target)
    with connection.getresponse() as response:
        assert response.status == 200
        return response.read().decode()


def serial(connection: http.client.HTTPSConnection) -> str:
    """The serial number of the certificate that the server has shown."""
    assert isinstance(connection.sock, ssl.SSLSocket)
    shown: Mapping[str, Any] = connection.sock.getpeercert() or {}
    return str(shown["serialNumber"])


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **options)


@pytest.mark.parametrize("loop", [pytest.param("asyncio", marks=pytest.mark.long), "uvloop"])
def test_plain_and_encrypted_listeners_side_by_side(start_server: StartServer, tmp_path: Path, loop: str) -> None:
    server = start_server(settings(tmp_path, workers={"count": 2, "loop": loop}))
    encrypted, plain = server.addresses
    assert plain.request().text == "hello"
    connection = connect(encrypted)
    assert [get(connection), get(connection)] == ["hello", "hello"]
    scope = json.loads(get(connection, "/scope"))
    assert (scope["scheme"], scope["server"], scope["tls"]["tls_version"]) == (
        "https",
        ["127.0.0.1", encrypted.port],
        772,
    )
    connection.close()
    assert b"HTTP" not in encrypted.converse(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.log.wait_for("connection refused")["reason"] == "tls"


def test_curl_and_openssl_are_served(start_server: StartServer, tmp_path: Path) -> None:
    if missing := [program for program in ("curl", "openssl") if shutil.which(program) is None]:
        pytest.skip(f"needs {missing} (Debian packages curl and openssl)")
    certificate, key = AUTHORITY.issue("other.example").write(tmp_path, "other")
    sni = [{"name": "other.example", "certificate": str(certificate), "key": str(key)}]
    server = start_server(settings(tmp_path, tls={"sni": sni}))
    authority, address = str(AUTHORITY.write(tmp_path)), server.address
    url = f"https://localhost:{address.port}/"
    resolve = ["--resolve", f"localhost:{address.port}:127.0.0.1"]
    assert run("curl", "-sS", *resolve, "--cacert", authority, url, f"{url}version").stdout == "hello1"
    assert run("curl", "-sS", *resolve, "--cacert", authority, "--tls-max", "1.2", url).stdout == "hello"
    upload = tmp_path / "upload"
    upload.write_bytes(os.urandom(1_000_000))
    command = ["curl", "-sS", *resolve, "--cacert", authority, "--data-binary", f"@{upload}", f"{url}echo"]
    assert subprocess.run(command, capture_output=True, timeout=30, check=True).stdout == upload.read_bytes()

    client = ["openssl", "s_client", "-connect", str(address), "-CAfile", authority, "-verify_return_error"]
    shown = run(*client, "-servername", "other.example", "-alpn", "h2,http/1.1", input="").stdout
    assert "CN = other.example" in shown.replace("CN=", "CN = ")
    assert "ALPN protocol: h2" in shown
    assert "Verify return code: 0 (ok)" in shown
    old = run(*client, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", input="")
    assert old.returncode != 0


@pytest.mark.long
def test_sessions_are_resumed_by_every_worker(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(settings(tmp_path, workers={"count": 2}))
    client = AUTHORITY.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # the ticket comes with the handshake
    sessions: list[ssl.SSLSession | None] = [None]
    reused: list[bool | None] = []
    pids: set[bytes] = set()
    for _ in range(8):
        with ssl_socket(server.address, client, sessions[-1]) as sock:
            sock.sendall(b"GET /pid HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
            pids.add(answer.rpartition(b"\r\n\r\n")[2])
            sessions.append(sock.session)
            reused.append(sock.session_reused)
    assert reused == [False] + [True] * 7


def ssl_socket(address: Address, client: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSocket:
    return client.wrap_socket(address.connect(), server_hostname="localhost", session=session)


class TestClientCertificates:
    def test_the_application_sees_who_it_is(self, start_server: StartServer, tmp_path: Path) -> None:
        names = AUTHORITY.issue("somebody").write(tmp_path, "client")
        server = start_server(
            settings(tmp_path, tls={"client_ca": str(AUTHORITY.write(tmp_path)), "client_verify": "required"})
        )
        connection = connect(server.address, AUTHORITY.client(names))
        told = json.loads(get(connection, "/scope"))["tls"]
        connection.close()
        assert told["client_cert_name"] == "CN=somebody"
        assert told["client_cert_chain"][0] == names[0].read_text()
        stranger = connect(server.address)  # in TLS 1.3 a client has finished before the server has judged it
        with pytest.raises((ssl.SSLError, OSError)):
            get(stranger)
        stranger.close()
        assert "did not return a certificate" in server.log.wait_for("connection refused")["detail"]


class TestRefusals:
    def test_at_the_start_there_is_a_message_and_no_listener(self, tmp_path: Path) -> None:
        other = AUTHORITY.issue("localhost").write(tmp_path, "other")[1]
        values = settings(tmp_path, tls={"key": str(other)})
        server = Server(tmp_path, values)
        server.start()
        assert server.wait_for_exit() == 2
        assert "server.toml: tls.key" in server.log.text
        assert "does not belong to the certificate" in server.log.text
        assert not server.log.matching("listening")
        check = run(
            sys.executable, "-m", "appserver", "check", "--config", "server.toml", cwd=tmp_path, env=environment()
        )
        assert (check.returncode, "does not belong" in check.stderr) == (2, True)
        server.close()

    def test_at_a_reload_what_serves_goes_on(self, start_server: StartServer, tmp_path: Path) -> None:
        server = start_server(settings(tmp_path))
        connection = connect(server.address)
        assert get(connection) == "hello"
        AUTHORITY.issue("localhost", starts=timedelta(days=-3), ends=timedelta(days=-1)).write(tmp_path)
        record = server.reload()
        assert record["result"] == "refused"
        assert "the certificate has expired on" in record["reason"]
        assert get(connection) == "hello"
        connection.close()
        again = connect(server.address)
        assert get(again) == "hello"
        again.close()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class TestRenewal:
    def test_files_that_change_are_taken_over_and_connections_stay(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        server = start_server(settings(tmp_path, tls={"check_interval": "200ms"}, workers={"count": 2}))
        workers = server.workers()
        before = connect(server.address)
        first = serial(before)
        assert get(before) == "hello"
        AUTHORITY.issue("localhost", "127.0.0.1", ends=timedelta(days=5)).write(tmp_path)
        server.log.wait_for("certificate renewed")

        def renewed() -> bool:
            connection = connect(server.address)
            try:
                return get(connection) == "hello" and serial(connection) != first
            finally:
                connection.close()

        assert all(eventually(renewed, "the new certificate") for _ in range(6))
        assert server.log.wait_for("certificate expires soon")["days_left"] == 4
        assert get(before) == "hello", "an open connection is not touched"
        before.close()
        assert [worker.pid for worker in server.workers()] == [worker.pid for worker in workers]
        # Workers that are forked later have it as well.
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        server.wait_for_workers(2, without=[worker.pid for worker in workers])
        server.log.wait_for("worker ready", count=4)
        assert all(renewed() for _ in range(6))

    @pytest.mark.parametrize("names", [1, 100], ids=["short", "too long for a message"])
    def test_a_worker_without_descriptors_takes_them_over(
        self, start_server: StartServer, tmp_path: Path, names: int
    ) -> None:
        values = settings(
            tmp_path,
            tls={"check_interval": "200ms"},
            workers={"count": 1, "max_open_files": 64},
            http={"header_timeout": 600},
        )
        pair = {name: values["tls"][name] for name in ("certificate", "key")}
        values["tls"]["sni"] = [{"name": f"{number}.example", **pair} for number in range(names)]
        server = start_server(values)
        before = connect(server.address)
        first = serial(before)
        before.close()
        clients = [server.address.connect() for _ in range(80)]
        server.log.wait_for("cannot accept")
        AUTHORITY.issue("localhost", "127.0.0.1").write(tmp_path)
        server.log.wait_for("certificate renewed")
        for client in clients:
            client.close()

        def renewed() -> bool:
            connection = connect(server.address)
            try:
                return get(connection) == "hello" and serial(connection) != first
            finally:
                connection.close()

        eventually(renewed, "the new certificate")

    def test_a_reload_takes_it_over(self, start_server: StartServer, tmp_path: Path) -> None:
        server = start_server(settings(tmp_path))
        before = connect(server.address)
        AUTHORITY.issue("localhost", "127.0.0.1").write(tmp_path)
        assert server.reload()["result"] == "ok"
        after = connect(server.address)
        assert serial(after) != serial(before)
        assert get(after) == "hello"
        for connection in (before, after):
            connection.close()

    @pytest.mark.long
    def test_it_outlives_the_replacement_of_the_program_and_the_loss_of_its_files(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        server = start_server(settings(tmp_path))
        server.signal(signal.SIGUSR2)
        server.log.wait_for("upgraded")
        (tmp_path / "server.key").unlink()
        (zygote,) = server.zygotes()
        os.kill(zygote.pid, signal.SIGKILL)
        server.log.wait_for("zygote ready", count=2)
        (worker,) = server.workers()
        os.kill(worker.pid, signal.SIGKILL)
        server.wait_for_workers(1, without=[worker.pid])
        server.log.wait_for("worker ready", count=2)
        connection = connect(server.address)
        assert get(connection) == "hello"
        connection.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may have keys that the workers must not read")
def test_a_key_that_only_the_master_may_read_is_enough(start_server: StartServer, tmp_path: Path) -> None:
    directory = tmp_path / "private"
    values = settings(directory, workers={"count": 1, "user": "nobody"}, tls={"check_interval": "200ms"})
    directory.chmod(0o700)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    server = start_server(values)
    connection = connect(server.address)
    uid = int(get(connection, "/ids").split()[0])
    assert uid != 0
    connection.close()
    AUTHORITY.issue("localhost", "127.0.0.1").write(directory)
    server.log.wait_for("certificate renewed")
    connection = connect(server.address)
    assert get(connection) == "hello"
    connection.close()


def test_the_metrics_say_when_certificates_expire(start_server: StartServer, tmp_path: Path) -> None:
    start_server(settings(tmp_path, admin={"control": str(tmp_path / "control.sock")}))
    page = Address(path=str(tmp_path / "control.sock")).request("GET", "/metrics").text
    path = tmp_path / "server.crt"
    (line,) = [line for line in page.splitlines() if line.startswith("appserver_tls_certificate_expiry")]
    assert line.startswith(f'appserver_tls_certificate_expiry_timestamp_seconds{{certificate="{path}"}} 1.')
