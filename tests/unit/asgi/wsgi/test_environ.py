"""appserver.asgi.wsgi.environ: what PEP 3333 asks for, and what frameworks look for."""

from __future__ import annotations

import sys
from typing import Any
from wsgiref.util import request_uri

import pytest

from appserver import __version__
from appserver.asgi.wsgi import environ as module
from appserver.asgi.wsgi.environ import common_environ, make_environ
from appserver.asgi.wsgi.files import FileWrapper
from tests.unit.asgi.wsgi.client import Client


def environ_of(**scope: Any) -> dict[str, Any]:
    return make_environ(common_environ(multithread=True), Client(**scope).scope)


def test_it_holds_what_gunicorn_gives() -> None:
    client = Client(
        method="PUT",
        path="/a b",
        raw_path=b"/a%20b",
        query=b"x=%20&y",
        headers=[
            (b"host", b"example.org"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"3"),
            (b"x-a-b", b"caf\xc3\xa9"),
            (b"transfer-encoding", b"chunked"),
        ],
        scheme="https",
    )
    environ = make_environ(common_environ(multithread=False), client.scope)
    assert environ == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "x=%20&y",
        "RAW_URI": "/a%20b?x=%20&y",
        "REQUEST_URI": "/a%20b?x=%20&y",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"appserver/{__version__}",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "2",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_HOST": "example.org",
        "HTTP_X_A_B": "caf\xc3\xa9",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "asgi.scope": client.scope,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


def test_fields_that_came_more_than_once_are_joined() -> None:
    fields = [(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2"), (b"x-a", b"2"), (b"x-a", b"3, 4")]
    environ = environ_of(headers=[*fields, (b"content-type", b"a/b"), (b"content-type", b"c/d")])
    assert (environ["HTTP_COOKIE"], environ["HTTP_X_A"]) == ("a=1; b=2", "1,2,3, 4")
    assert environ["CONTENT_TYPE"] == "c/d"


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "script_name", "path_info"),
    [
        ("", "/", b"/", "", "/"),
        ("", "/café", b"/caf%C3%A9", "", "/caf\xc3\xa9"),
        ("", "/caf\ufffd", b"/caf%E9", "", "/caf\xe9"),  # no UTF-8: its octets are there nevertheless
        ("", "/a/b", b"/a%2Fb", "", "/a/b"),
        ("", "/a?b", b"/a%3Fb", "", "/a?b"),
        ("/api", "/api/x", b"/x", "/api", "/x"),  # the proxy has removed the prefix
        ("/api", "/api/api/x", b"/api/x", "/api", "/api/x"),
        ("/api", "/api/x", b"/api/x", "/api", "/x"),  # it has not
        ("/api", "/api", b"/api", "/api", ""),
        ("/api", "/api/", b"/", "/api", "/"),
        ("/api", "/api/x y", b"/x%20y", "/api", "/x y"),
        ("/api", "/api/x y", b"/api/x%20y", "/api", "/x y"),
        ("/api", "/apix", b"/apix", "/api", "/apix"),
        ("/é", "/é/x", b"/x", "/\xc3\xa9", "/x"),
        ("/é", "/é/x", b"/%C3%A9/x", "/\xc3\xa9", "/x"),
        ("/é", "/é/é", b"/%C3%A9", "/\xc3\xa9", "/\xc3\xa9"),
        ("/é", "/é/é", b"", "/\xc3\xa9", "/\xc3\xa9"),  # a server that gives no raw_path
        ("/api", "*", b"*", "", "*"),
    ],
)
def test_the_path_is_parted_at_the_root_path(
    root_path: str, path: str, raw_path: bytes, script_name: str, path_info: str
) -> None:
    environ = environ_of(path=path, raw_path=raw_path, root_path=root_path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_without_a_raw_path_the_target_is_quoted() -> None:
    assert environ_of(path="/a é", raw_path=b"")["REQUEST_URI"] == "/a%20%C3%A9"


@pytest.mark.parametrize(
    ("server", "scheme", "host", "name", "port"),
    [
        (("192.0.2.1", 8080), "http", b"example.org", "192.0.2.1", "8080"),
        (("/run/app.sock", None), "http", b"example.org", "example.org", "80"),
        (("/run/app.sock", None), "https", b"example.org", "example.org", "443"),
        (("/run/app.sock", None), "https", b"example.org:8443", "example.org", "8443"),
        (("/run/app.sock", None), "http", b"[::1]", "[::1]", "80"),
        (None, "http", b"", "localhost", "80"),
    ],
)
def test_the_server_has_a_name_and_a_port_through_a_unix_socket_too(
    server: tuple[str, int | None] | None, scheme: str, host: bytes, name: str, port: str
) -> None:
    environ = environ_of(server=server, scheme=scheme, headers=[(b"host", host)] if host else [])
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert request_uri(environ).startswith(f"{scheme}://{host.decode() or 'localhost'}")


def test_a_client_that_is_not_known_has_an_empty_address() -> None:
    environ = environ_of(client=None)
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ


def test_names_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_variables", dict(module._variables))
    headers = [(b"x-%d" % number, b"1") for number in range(2 * module._MAX_VARIABLES)]
    environ = environ_of(headers=[*headers, (b"x-" + b"y" * 100, b"2"), (b"content-type", b"a/b")])
    assert environ[f"HTTP_X_{2 * module._MAX_VARIABLES - 1}"] == "1"
    assert (environ["HTTP_X_" + "Y" * 100], environ["CONTENT_TYPE"]) == ("2", "a/b")
    assert len(module._variables) == module._MAX_VARIABLES
