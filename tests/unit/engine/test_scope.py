"""appserver.engine.scope: paths, and whose dictionaries these are."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.engine.scope import ASGI, http_scope, scope_template
from appserver.http.request import Request
from appserver.http1.grammar import lex
from appserver.http1.head import interpret


def head_of(target: str) -> Request:
    return interpret(*lex(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))[0]


def scope_of(
    target: str, root_path: str = "", state: dict[str, Any] | None = None, *, strips_prefix: bool = True
) -> dict[str, Any]:
    template = scope_template(scheme="http", server=("192.0.2.1", 80), root_path=root_path, strips_prefix=strips_prefix)
    return dict(http_scope(template, head_of(target), None, state or {}))


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/users", "/api/users"),
        ("/api/users", "/api/api/users"),  # would else be a second name of /api/users
        ("/api", "/api/api"),
        ("/%61pi/x", "/api/api/x"),
        ("/apist", "/api/apist"),
        ("/", "/api/"),
    ],
)
def test_the_root_path_is_put_in_front_of_every_path(root_path: str, target: str, path: str) -> None:
    scope = scope_of(target, root_path)
    assert (scope["path"], scope["root_path"]) == (path, "/api")
    assert scope["raw_path"] == target.encode(), "it is what the client has sent"


@pytest.mark.parametrize("target", ["/api/users", "/users", "/"])
def test_a_prefix_that_nobody_removes_is_not_put_in_front(target: str) -> None:
    scope = scope_of(target, "/api", strips_prefix=False)
    assert (scope["path"], scope["root_path"]) == (target, "/api")


@pytest.mark.parametrize("strips_prefix", [True, False])
def test_the_target_that_is_no_path_stays_as_it_is(strips_prefix: bool) -> None:
    head = interpret(*lex(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"))[0]
    template = scope_template(scheme="http", server=("192.0.2.1", 80), root_path="/api", strips_prefix=strips_prefix)
    scope = http_scope(template, head, None, {})
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("*", b"*", "/api")


def test_without_a_root_path_the_path_is_as_sent() -> None:
    scope = scope_of("/a%20b/c?d=%20")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b/c", b"/a%20b/c", b"d=%20")
    assert scope["root_path"] == ""


def test_nothing_that_an_application_may_change_is_shared() -> None:
    template = scope_template(scheme="http", server=("192.0.2.1", 80), root_path="")
    state = {"a": [1]}
    scope = http_scope(template, head_of("/"), None, state)
    scope["state"]["b"] = 2
    scope["asgi"]["c"] = "3"
    scope["extensions"]["d"] = {}
    scope["e"] = 5
    assert state == {"a": [1]}
    assert ASGI == {"version": "3.0", "spec_version": "2.3"}
    assert "d" not in http_scope(template, head_of("/"), None, state)["extensions"]
    assert "e" not in template


def test_the_state_is_a_shallow_copy() -> None:
    state: dict[str, Any] = {"pool": object()}
    assert scope_of("/", state=state)["state"]["pool"] is state["pool"]


@pytest.mark.parametrize(
    ("version", "headers", "extensions"),
    [
        ("1.1", "", {"early_hint", "pathsend", "zerocopysend"}),
        ("1.1", "TE: trailers\r\nConnection: te\r\n", {"early_hint", "pathsend", "trailers", "zerocopysend"}),
        ("1.0", "", {"pathsend", "zerocopysend"}),
    ],
)
def test_extensions_are_offered_as_far_as_the_client_understands_them(
    version: str, headers: str, extensions: set[str]
) -> None:
    head = interpret(*lex(f"GET / HTTP/{version}\r\nHost: x\r\n{headers}\r\n".encode()))[0]
    template = scope_template(scheme="http", server=("192.0.2.1", 80), root_path="")
    offered = http_scope(template, head, None, {})["extensions"]
    assert offered == {f"http.response.{name}": {} for name in extensions}
