"""nginx and HAProxy in front, as deploy/nginx.conf and deploy/haproxy.cfg have them."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.load import Load
from tests.support.proxies import HAProxy, Nginx, Proxy
from tests.support.server import Server

AUTHORITY = Authority()


@dataclass
class Scene:
    """A server with a proxy in front of it."""

    server: Server
    proxy: Proxy

    def ask(self, target: str = "/", *, host: str = "localhost", body: bytes | None = None, **fields: str) -> bytes:
        """Send a request through the proxy, on a connection of its own; the body of the answer."""
        connection = https(self.proxy.encrypted)
        try:
            headers = {"Host": host, **{name.replace("_", "-"): value for name, value in fields.items()}}
            connection.request("GET" if body is None else "POST", target, body=body, headers=headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            return response.read()
        finally:
            connection.close()

    def scope(self, target: str = "/scope", **fields: Any) -> dict[str, Any]:
        """What the application was told about a request."""
        content: dict[str, Any] = json.loads(self.ask(target, **fields))
        return content


def https(address: Address) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", address.port, timeout=30, context=client())


def client() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=AUTHORITY.certificate)
    context.set_alpn_protocols(["http/1.1"])
    return context


def begin(kind: type[Proxy], transport: str, directory: Path, exits: ExitStack) -> Scene:
    """Start a server that is reached through a TCP or through a unix socket, and a proxy in front of it."""
    certificate, key = AUTHORITY.issue("appserver.internal", "localhost").write(directory)
    server = Server(
        directory,
        {
            "listeners": [
                {"bind": "127.0.0.1:0" if transport == "tcp" else f"unix:{directory / 'app.sock'}"},
                {"bind": "127.0.0.1:0", "tls": True},
                {"bind": "127.0.0.1:0", "tls": True, "proxy_protocol": True},
            ],
            "tls": {
                "certificate": str(certificate),
                "key": str(key),
                "client_ca": str(AUTHORITY.write(directory)),
                "client_verify": "optional",
            },
            "proxy": {"trusted": ["unix", "127.0.0.1"]},
            "workers": {"count": 2},
            "admin": {"control": str(directory / "control.sock")},
        },
    )
    exits.enter_context(server)
    near, far, announced = map(str, server.addresses)
    if kind is HAProxy:
        replaced = {
            "unix@/run/appserver/app.sock": near.replace("unix:", "unix@"),
            "appserver.internal:8444": far,
            "127.0.0.1:9443 send": f"{announced} send",
        }
    else:
        replaced = {"server unix:/run/appserver/app.sock": f"server {near}", "192.0.2.10:8443": far}
    return Scene(server, exits.enter_context(kind(directory / "proxy", AUTHORITY, replaced)))


# HAProxy's server line for a unix socket differs in its address only, and nginx over unix takes that way as well.
ALL = [
    pytest.param((Nginx, "tcp"), id="nginx-tcp"),
    pytest.param((Nginx, "unix"), id="nginx-unix"),
    pytest.param((HAProxy, "tcp"), id="haproxy-tcp"),
    pytest.param((HAProxy, "unix"), id="haproxy-unix", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=ALL)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for all tests that want the same, as none changes it."""
    kind, transport = request.param
    with ExitStack() as exits:
        yield begin(kind, transport, tmp_path_factory.mktemp("scene"), exits)


def only(*choices: str) -> pytest.MarkDecorator:
    """Run a test in these scenes only."""
    chosen = [param for param in ALL if param.id in choices]
    return pytest.mark.parametrize("scene", chosen, indirect=True, scope="module")


over_tcp = only("nginx-tcp", "haproxy-tcp")


def test_the_application_sees_the_client_and_not_what_it_claims(scene: Scene) -> None:
    lies = {
        "X_Forwarded_For": "203.0.113.66",
        "X_Forwarded_Proto": "http",
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Port": "1",
        "X_Forwarded_Prefix": "/evil",
        "Forwarded": "for=203.0.113.66",
    }
    told = scene.scope("/scope?lies", host="example.org:8443", **lies)
    assert told["client"] == ["127.0.0.1", 0]
    assert (told["scheme"], told["root_path"], told["path"]) == ("https", "", "/scope")
    assert told["server"] == ["example.org", 8443]
    assert told["headers"]["host"] == "example.org:8443"
    assert told["headers"].get("forwarded", "") == ""
    line = scene.server.output.wait_for("request", query="lies")
    assert (line["client"], line["host"]) == ("127.0.0.1", "example.org:8443")
    assert line["request_id"] == told["headers"]["x-request-id"]


def test_connections_to_the_server_are_kept(scene: Scene) -> None:
    before = connections(scene)
    connection = https(scene.proxy.encrypted)
    for _ in range(20):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
    connection.close()
    assert connections(scene) - before <= 4, "one, and what the proxy checks meanwhile"


def connections(scene: Scene) -> int:
    """How many connections the server has accepted."""
    page = Address(path=str(scene.server.directory / "control.sock")).request("GET", "/metrics").text
    return int(
        float(next(line for line in page.splitlines() if line.startswith("appserver_connections_total")).split()[1])
    )


@over_tcp
def test_large_bodies_pass_in_both_directions(scene: Scene) -> None:
    body = os.urandom(8_000_000)
    for target in ("/digest", "/upload/unbuffered"):  # as deploy/nginx.conf has it
        assert scene.ask(target, body=body).decode() == hashlib.sha256(body).hexdigest()
    assert scene.ask("/octets/8000000") == b"x" * 8_000_000


@over_tcp
def test_encrypted_again_both_sides_show_who_they_are(scene: Scene) -> None:
    told = scene.scope(host="elsewhere.example.org:443")
    assert told["tls"]["client_cert_name"] == "CN=localhost"
    assert (told["scheme"], told["headers"]["host"]) == ("https", "elsewhere.example.org:443")


def test_websockets(scene: Scene) -> None:
    url = f"wss://localhost:{scene.proxy.encrypted.port}/session/scope"

    async def converse() -> None:  # in one thread: two of them may not use one TLS connection of OpenSSL's at once
        async with connect(url, ssl=client(), proxy=None) as session:
            told = json.loads(await session.recv())
            assert (told["type"], told["scheme"], told["client"]) == ("websocket", "wss", ["127.0.0.1", 0])
            for message in ("hello", b"\0" * 100_000):
                await session.send(message)
                assert await session.recv() == message

    asyncio.run(converse())


@over_tcp
def test_plain_http_is_sent_to_https(scene: Scene) -> None:
    answer = scene.proxy.plain.request("GET", "/x?y=1")
    assert (answer.status, answer.headers["location"][:8]) == (301, "https://")


@only("nginx-tcp")
def test_nginx_takes_a_prefix_off(scene: Scene) -> None:
    told = scene.scope("/mounted/scope")
    assert (told["root_path"], told["path"]) == ("/mounted", "/mounted/scope")


@only("haproxy-tcp")
def test_haproxy_passes_connections_on_with_the_proxy_protocol(scene: Scene) -> None:
    connection = https(scene.proxy.other)
    connection.request("GET", "/scope")
    told = json.loads(connection.getresponse().read())
    assert told["client"] == list(connection.sock.getsockname())
    assert told["server"] == ["127.0.0.1", scene.proxy.other.port]
    assert (told["scheme"], told["tls"]["tls_version"]) == ("https", 772)
    connection.close()
    assert not scene.server.log.matching("connection refused"), "the proxy's own health checks are taken"


@pytest.mark.long
@only("nginx-unix", "haproxy-tcp")
def test_no_request_fails_while_the_server_reloads(scene: Scene) -> None:
    with Load(scene.proxy.encrypted, connections=20, pause=(0, 0.02), client=client()) as load:
        load.wait_for_requests(100)
        for _ in range(2):
            assert scene.server.reload()["result"] == "ok"
            load.wait_for_requests(100)
    assert (load.tally.failed, load.tally.details) == (0, [])


@pytest.mark.long
@over_tcp
def test_no_request_fails_while_server_and_proxy_reload(scene: Scene) -> None:
    """Proxies close their clients' idle connections when they reload, so each request has its own."""
    with Load(scene.proxy.encrypted, connections=4, client=client(), keep_alive=False) as load:
        load.wait_for_requests(50)
        scene.proxy.reload()
        assert scene.server.reload()["result"] == "ok"
        scene.proxy.reload()
        load.wait_for_requests(100)
    assert (load.tally.failed, load.tally.details) == (0, [])
