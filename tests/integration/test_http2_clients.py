"""HTTP/2 as its clients speak it: curl, nghttp, h2load, httpx, gRPC, and HAProxy and nginx in front."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest

from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.proxies import free_ports
from tests.support.server import Server
from tests.support.waiting import eventually

AUTHORITY = Authority()

# gRPC over ASGI: messages with five octets in front (compressed or not, length), a status in the trailers.
GRPC = """
import struct

from application import app as usual

def message(data):
    return struct.pack(">BL", 0, len(data)) + data

async def messages(receive):
    held = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        held += event["body"]
        while len(held) >= 5 and len(held) >= 5 + (size := int.from_bytes(held[1:5], "big")):
            yield held[5:5 + size]
            held = held[5 + size:]
        if not event["more_body"]:
            return

async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/refused":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
        return await send({"type": "http.response.body", "body": b"no"})
    if scope["type"] != "http" or not scope["path"].startswith("/test.Echo/"):
        return await usual(scope, receive, send)
    assert "http.response.trailers" in scope["extensions"]
    headers = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    status, method = b"0", scope["path"].rpartition("/")[2]
    async for data in messages(receive):
        if method == "Fail":
            status = b"5"
            break
        for _ in range(10 if method == "Many" else 1):
            await send({"type": "http.response.body", "body": message(data), "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    trailers = [(b"grpc-status", status), (b"grpc-message", b"as asked")]
    await send({"type": "http.response.trailers", "headers": trailers})
"""


def needs(*programs: str) -> None:
    if missing := [program for program in programs if shutil.which(program, path="/usr/bin:/usr/sbin:/bin") is None]:
        pytest.skip(f"needs {', '.join(missing)} (Debian packages curl, nghttp2-client, haproxy, nginx)")


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on two listeners: the first plain, the second encrypted."""
    directory = tmp_path_factory.mktemp("server")
    certificate, key = AUTHORITY.issue("localhost", "127.0.0.1").write(directory, "server")
    settings = {
        "app": {"target": "grpc_app:app"},
        "listeners": [{"bind": "127.0.0.1:0"}, {"bind": "127.0.0.1:0", "tls": True}],
        "tls": {"certificate": str(certificate), "key": str(key)},
        "workers": {"count": 2},
        "proxy": {"trusted": ["127.0.0.1"]},
    }
    with Server(directory, settings, files={"grpc_app.py": GRPC}) as started:
        yield started


@pytest.fixture(scope="module")
def plain(server: Server) -> Address:
    return server.addresses[0]


@pytest.fixture(scope="module")
def encrypted(server: Server) -> Address:
    return server.addresses[1]


class TestCurl:
    def test_over_tls_and_by_prior_knowledge(self, plain: Address, encrypted: Address, tmp_path: Path) -> None:
        needs("curl")
        authority = AUTHORITY.write(tmp_path)
        shown = ("-sS", "-o", "/dev/null", "-w", "%{http_version} %{http_code}")
        assert run("curl", *shown, "--cacert", authority, f"https://{encrypted}/").stdout == "2 200"
        assert run("curl", *shown, "--http1.1", "--cacert", authority, f"https://{encrypted}/").stdout == "1.1 200"
        assert run("curl", *shown, "--http2-prior-knowledge", f"http://{plain}/").stdout == "2 200"
        assert run("curl", *shown, f"http://{plain}/").stdout == "1.1 200"
        assert run("curl", *shown, "--http2", f"http://{plain}/").stdout == "1.1 200"  # Upgrade: h2c is passed over

    def test_a_large_body_both_ways(self, encrypted: Address, tmp_path: Path) -> None:
        needs("curl")
        authority, body, got = AUTHORITY.write(tmp_path), tmp_path / "body", tmp_path / "got"
        body.write_bytes(bytes(range(256)) * 20_000)
        options = ("-sS", "--cacert", authority, "--data-binary", f"@{body}", "-o", got)
        assert run("curl", *options, f"https://{encrypted}/echo").returncode == 0
        assert got.read_bytes() == body.read_bytes()


class TestNghttp:
    def test_many_requests_on_one_connection(self, plain: Address) -> None:
        needs("nghttp")
        shown = run("nghttp", "-nv", "-m", "5", f"http://{plain}/", f"http://{plain}/octets/100000").stdout
        assert shown.count(":status: 200") == 10
        assert "error_code=NO_ERROR" in shown or "GOAWAY" in shown

    def test_h2load_has_every_request_answered(self, plain: Address) -> None:
        needs("h2load")
        shown = run("h2load", "-n", "2000", "-c", "4", "-m", "16", f"http://{plain}/").stdout
        assert "2000 succeeded, 0 failed, 0 errored" in shown, shown

    def test_and_every_upload_taken(self, plain: Address, tmp_path: Path) -> None:
        needs("h2load")
        body = tmp_path / "body"
        body.write_bytes(bytes(500_000))
        shown = run("h2load", "-n", "20", "-c", "2", "-m", "5", "-d", body, f"http://{plain}/upload").stdout
        assert "20 succeeded, 0 failed, 0 errored" in shown, shown


class TestHttpx:
    def test_requests_share_a_connection(self, plain: Address) -> None:
        with httpx.Client(http1=False, http2=True, base_url=f"http://{plain}", trust_env=False, timeout=30) as client:
            for index in range(20):
                body = bytes([index]) * 10_000
                response = client.post("/echo", content=body)
                assert (response.http_version, response.content) == ("HTTP/2", body)
            scope = client.get("/scope").json()
        assert scope["scheme"] == "http"

    def test_what_is_sent_in_pieces(self, encrypted: Address) -> None:
        context = AUTHORITY.client()
        context.set_alpn_protocols(["h2"])
        with httpx.Client(http2=True, verify=context, trust_env=False, timeout=30) as client:
            response = client.get(f"https://{encrypted}/stream/20")
        assert (response.http_version, response.content) == ("HTTP/2", b"x" * 20_000)

    @pytest.mark.long
    def test_reloads_under_a_client_that_keeps_its_connection(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"workers": {"count": 2}}) as server:
            url, answers, stop = f"http://{server.address}/pid", list[str](), threading.Event()

            def ask() -> None:
                with httpx.Client(http1=False, http2=True, trust_env=False, timeout=30) as client:
                    while not stop.is_set():
                        answers.append(client.get(url).text)

            failures = list[BaseException]()

            def guarded() -> None:
                try:
                    ask()
                except BaseException as error:  # noqa: BLE001
                    failures.append(error)

            threads = [threading.Thread(target=guarded) for _ in range(3)]
            for thread in threads:
                thread.start()
            eventually(lambda: len(answers) > 10, "requests are answered")
            for _ in range(3):
                before = len(answers)
                server.reload()
                eventually(partial(lambda wanted: len(answers) > wanted, before + 10), "requests are answered")
            stop.set()
            for thread in threads:
                thread.join(30)
            assert not failures
            assert len(set(answers)) >= 4
            assert not [record for record in server.output.records if record.get("outcome")]


class TestEarlyRefusals:
    """The refusal of an upload is complete before that is: it must not be lost by the reset of what is left.

    A client that stands still for longer than the server waits for it still loses it, so each has some attempts.
    """

    ATTEMPTS = 5

    @pytest.mark.parametrize("size", [300_000, 5_000_000])
    def test_curl(self, plain: Address, tmp_path: Path, size: int) -> None:
        needs("curl")
        body = tmp_path / "body"
        body.write_bytes(bytes(size))
        shown = ("-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}")
        for upload in (("-T", body), ("-F", f"file=@{body}")):
            ends = (run("curl", *shown, *upload, f"http://{plain}/refused") for _ in range(self.ATTEMPTS))
            assert any((end.returncode, end.stdout) == (0, "401") for end in ends)

    @pytest.mark.parametrize("size", [300_000, 5_000_000])
    def test_httpx(self, plain: Address, size: int) -> None:
        def status() -> int:
            with httpx.Client(http1=False, http2=True, trust_env=False, timeout=5) as client:
                try:
                    return client.post(f"http://{plain}/refused", content=bytes(size)).status_code
                except httpx.TransportError:
                    return 0

        assert any(status() == 401 for _ in range(self.ATTEMPTS))


class TestGRPC:
    """Unary and streaming calls, which end with trailers."""

    @pytest.fixture
    def channel(self, plain: Address) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(str(plain)) as channel:
            yield channel

    def test_a_unary_call(self, channel: grpc.Channel) -> None:
        call = channel.unary_unary("/test.Echo/Unary")
        answer, state = call.with_call(b"hello", timeout=30)
        assert answer == b"hello"
        assert state.code() is grpc.StatusCode.OK

    def test_a_status(self, channel: grpc.Channel) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/test.Echo/Fail")(b"hello", timeout=30)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_streams_in_every_direction(self, channel: grpc.Channel) -> None:
        parts = [bytes([index]) * 30_000 for index in range(8)]
        assert list(channel.unary_stream("/test.Echo/Many")(b"x" * 50_000, timeout=30)) == [b"x" * 50_000] * 10
        assert list(channel.stream_stream("/test.Echo/Chat")(iter(parts), timeout=30)) == parts

    def test_calls_at_the_same_time(self, channel: grpc.Channel) -> None:
        call = channel.unary_unary("/test.Echo/Unary")
        futures = [call.future(b"%d" % index, timeout=30) for index in range(50)]
        assert [future.result() for future in futures] == [b"%d" % index for index in range(50)]


HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option forwardfor
frontend clients
    bind 127.0.0.1:{port} proto h2
    default_backend servers
frontend old_clients
    bind 127.0.0.1:{other}
    default_backend servers
backend servers
    http-request set-header X-Forwarded-Proto https
    server one {server} proto h2
"""

NGINX = """
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream servers {{ server {server}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{ grpc_pass grpc://servers; grpc_set_header X-Forwarded-For $remote_addr; }}
    }}
}}
"""


class TestProxies:
    @pytest.fixture(params=["haproxy", "nginx"])
    def proxy(
        self, request: pytest.FixtureRequest, plain: Address, tmp_path: Path
    ) -> Iterator[tuple[str, Address, Address]]:
        """A proxy that speaks HTTP/2 with the server: its name, and addresses for clients of HTTP/2 and of HTTP/1.1."""
        name: str = request.param
        needs(name)
        port, other = free_ports(2)
        template = HAPROXY if name == "haproxy" else NGINX
        path = tmp_path / "proxy.conf"
        path.write_text(template.format(port=port, other=other, server=plain, directory=tmp_path))
        program = shutil.which(name, path="/usr/bin:/usr/sbin:/bin")
        assert program is not None
        options = ["-f", path] if name == "haproxy" else ["-c", path, "-p", tmp_path]
        process = subprocess.Popen([program, *map(str, options)], stdin=subprocess.DEVNULL)
        try:
            eventually(lambda: _listens(port), f"{name} listens")
            yield name, Address("127.0.0.1", port), Address("127.0.0.1", other)
        finally:
            process.terminate()
            process.wait(30)

    def test_requests_through_a_proxy(self, proxy: tuple[str, Address, Address], plain: Address) -> None:
        name, address, other = proxy
        with grpc.insecure_channel(str(address)) as channel:
            call = channel.unary_unary("/test.Echo/Unary")
            for index in range(20):
                assert call(b"%d" % index, timeout=30) == b"%d" % index
            assert list(channel.unary_stream("/test.Echo/Many")(b"x" * 10_000, timeout=30)) == [b"x" * 10_000] * 10
        if name == "haproxy":
            with httpx.Client(base_url=f"http://{other}", trust_env=False, timeout=30) as client:
                assert client.post("/echo", content=b"y" * 100_000).content == b"y" * 100_000
                scope = client.get("/scope").json()
            assert scope["scheme"] == "https"
            assert scope["client"][0] == "127.0.0.1"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_the_protocol_is_in_the_access_log(server: Server, plain: Address) -> None:
    with httpx.Client(http1=False, http2=True, trust_env=False, timeout=30) as client:
        client.get(f"http://{plain}/version?in-the-log")
    record = server.output.wait_for("request", query="in-the-log")
    assert record["http_version"] == "2"
    assert re.fullmatch(r"[0-9a-f]{32}", record["request_id"])
