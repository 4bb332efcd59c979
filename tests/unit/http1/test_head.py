"""What a head means: every attribute of Request, and what decides it."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.errors import RequestError
from appserver.http.fields import FORWARDING, Fields, known_authorities
from appserver.http.request import Request
from appserver.http1.head import Interpreted, interpret

HOST = (b"host", b"x")


def read_all(
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    target: bytes = b"/",
    version: bytes = b"1.1",
    host: bool = True,
) -> Interpreted:
    given: Fields = [HOST, *fields] if host else list(fields)
    return interpret(method, target, version, given)


def read(*fields: tuple[bytes, bytes], **options: Any) -> Request:
    return read_all(*fields, **options)[0]


def keeps_alive(*fields: tuple[bytes, bytes], **options: Any) -> bool:
    return read_all(*fields, **options)[2]


def refusal(*fields: tuple[bytes, bytes], **options: bytes) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(*fields, **options)
    return caught.value.status, caught.value.reason


def test_a_plain_head_has_plain_attributes() -> None:
    head, chunked, keep_alive = read_all((b"accept", b"*/*"))
    assert not chunked
    assert keep_alive
    assert {name: getattr(head, name) for name in Request.__slots__} == {
        "method": "GET",
        "target": b"/",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [HOST, (b"accept", b"*/*")],
        "authority": b"x",
        "content_length": None,
        "expect_continue": False,
        "upgrade": None,
        "may_upgrade": False,
        "accepts_trailers": False,
        "forwarded": [],
    }
    assert repr(head) == "<Request GET b'/' HTTP/1.1>"


@pytest.mark.parametrize("name", sorted(FORWARDING))
def test_a_field_of_a_proxy_is_noticed_and_changes_nothing_else(name: bytes) -> None:
    assert read((name, b"for=x")).forwarded == [(name, b"for=x")]
    assert keeps_alive((name, b"for=x"))


@pytest.mark.parametrize(
    "name", [b"x_user", b"_", b"x-user_", b"x_forwarded_for", b"content_length", b"x_" + b"y" * 100]
)
def test_a_field_whose_name_has_an_underscore_is_dropped(name: bytes) -> None:
    head = read((name, b"7"), (b"x-user", b"a_b"))
    assert head.headers == [HOST, (b"x-user", b"a_b")]
    assert head.content_length is None
    assert not head.forwarded


def test_more_names_than_are_remembered_are_read_alike() -> None:
    names = [b"x-%d" % number for number in range(1100)]
    for name in names:
        assert read((name, b"1"), (b"x_1", b"")).headers == [HOST, (name, b"1")]


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "raw_path", "path", "query"),
        [
            (b"/a/b", b"/a/b", "/a/b", b""),
            (b"/a?b=c", b"/a", "/a", b"b=c"),
            (b"/a?b?c=/d", b"/a", "/a", b"b?c=/d"),
            (b"/?", b"/", "/", b""),
            (b"//x/y", b"//x/y", "//x/y", b""),
            (b"/a:b@c/d", b"/a:b@c/d", "/a:b@c/d", b""),
            (b"/a/../b//c/", b"/a/../b//c/", "/a/../b//c/", b""),
            (b"/%2e%2e/x", b"/%2e%2e/x", "/../x", b""),
            (b"/caf%C3%A9?%C3%A9", b"/caf%C3%A9", "/caf\u00e9", b"%C3%A9"),
            (b"/%2Fa%3Fb", b"/%2Fa%3Fb", "//a?b", b""),
            (b"/%zz%", b"/%zz%", "/%zz%", b""),
            (b"/%ff", b"/%ff", "/\ufffd", b""),
            (b"http://y", b"/", "/", b""),
            (b"http://y?a=b", b"/", "/", b"a=b"),
            (b"HTTPS://y:443/%41/b?c?d", b"/%41/b", "/A/b", b"c?d"),
            (b"http://[::1]:8000/a", b"/a", "/a", b""),
            (b"http://y/http://z/", b"/http://z/", "/http://z/", b""),
        ],
    )
    def test_path_and_query_are_taken_from_the_target(
        self, target: bytes, raw_path: bytes, path: str, query: bytes
    ) -> None:
        head = read(target=target)
        assert (head.target, head.raw_path, head.path, head.query_string) == (target, raw_path, path, query)

    def test_an_asterisk_is_for_options(self) -> None:
        head = read(method=b"OPTIONS", target=b"*")
        assert (head.raw_path, head.path, head.query_string) == (b"*", "*", b"")
        assert refusal(target=b"*") == (400, "bad_request")

    def test_the_authority_of_an_absolute_form_replaces_host(self) -> None:
        head = read((b"accept", b"*/*"), target=b"http://good.example:81/")
        assert head.headers == [(b"host", b"good.example:81"), (b"accept", b"*/*")]
        assert head.authority == b"good.example:81"

    def test_it_becomes_host_where_there_was_none(self) -> None:
        head = read((b"accept", b"*/*"), target=b"http://y/", version=b"1.0", host=False)
        assert head.headers == [(b"host", b"y"), (b"accept", b"*/*")]
        assert head.authority == b"y"

    @pytest.mark.parametrize(
        "target", [b"http://", b"http:///a", b"http://u@y/", b"http://y:a/", b"http:/a", b"ftp://y/", b"a", b"?a"]
    )
    def test_other_forms_are_refused(self, target: bytes) -> None:
        assert refusal(target=target) == (400, "bad_request")

    def test_connect_is_not_implemented(self) -> None:
        assert refusal(method=b"CONNECT", target=b"x:443") == (501, "not_implemented")


class TestVersion:
    @pytest.mark.parametrize(
        ("version", "spoken"), [(b"1.0", "1.0"), (b"1.1", "1.1"), (b"1.2", "1.1"), (b"1.9", "1.1")]
    )
    def test_the_highest_known_minor_version_is_spoken(self, version: bytes, spoken: str) -> None:
        assert read(version=version).http_version == spoken

    @pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0"])
    def test_another_major_version_is_refused(self, version: bytes) -> None:
        assert refusal(version=version) == (505, "unsupported_version")

    def test_the_version_is_looked_at_before_anything_else(self) -> None:
        assert refusal((b"host", b"y"), version=b"2.0", target=b"*") == (505, "unsupported_version")


class TestHost:
    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"x",
            b"x:",
            b"x:80",
            b"a.b-c_d~e",
            b"127.0.0.1:8000",
            b"[::1]",
            b"[2001:db8::1]:443",
            b"[v1.a:b]",
            b"%41",
            b"a!$&'()*+;=b",
        ],
    )
    def test_a_valid_host_passes(self, value: bytes) -> None:
        assert interpret(b"GET", b"/", b"1.1", [(b"host", value)])[0].headers == [(b"host", value)]

    @pytest.mark.parametrize(
        "value", [b"u@x", b"a,b", b"a b", b"x/", b"x?", b"x:y", b":1", b"[", b"[]", b"[x]", b"%4", b"x:1:2", b"\xe4"]
    )
    def test_another_is_refused(self, value: bytes) -> None:
        with pytest.raises(RequestError, match="Host"):
            interpret(b"GET", b"/", b"1.1", [(b"host", value)])

    def test_http_1_0_needs_none(self) -> None:
        head = read(version=b"1.0", host=False)
        assert (head.headers, head.authority) == ([], None)

    def test_the_known_authorities_do_not_grow_without_end(self) -> None:
        for number in range(1000):
            interpret(b"GET", b"/", b"1.1", [(b"host", b"host-%d" % number)])
        assert len(known_authorities) <= 256
        interpret(b"GET", b"/", b"1.1", [(b"host", b"x" * 60_000)])
        assert max(map(len, known_authorities)) <= 256


class TestFraming:
    def test_a_length_is_a_number(self) -> None:
        assert read((b"content-length", b"0042")).content_length == 42
        assert read((b"content-length", b"0")).content_length == 0

    def test_chunked_is_known_in_any_case(self) -> None:
        head, chunked, _ = read_all((b"transfer-encoding", b"ChUnKeD"))
        assert chunked
        assert head.content_length is None

    @pytest.mark.parametrize("value", [b"gzip, chunked", b"gzip , deflate,\tCHUNKED", b"x;a=b, chunked"])
    def test_another_coding_before_chunked_is_not_implemented(self, value: bytes) -> None:
        assert refusal((b"transfer-encoding", value)) == (501, "not_implemented")

    @pytest.mark.parametrize(
        "value", [b"", b"gzip", b"chunked, gzip", b"chunked, chunked", b", chunked", b"gzip,,chunked", b"chunked,"]
    )
    def test_whatever_is_not_clearly_chunked_in_the_end_is_refused(self, value: bytes) -> None:
        assert refusal((b"transfer-encoding", value)) == (400, "bad_request")

    def test_a_length_of_18_digits_is_the_largest(self) -> None:
        assert read((b"content-length", b"9" * 18)).content_length == 10**18 - 1
        assert refusal((b"content-length", b"9" * 19)) == (413, "body_too_large")


class TestConnection:
    @pytest.mark.parametrize(
        ("version", "values", "keep_alive"),
        [
            (b"1.1", [], True),
            (b"1.1", [b"keep-alive"], True),
            (b"1.1", [b"Keep-Alive"], True),
            (b"1.1", [b"close"], False),
            (b"1.1", [b"CLOSE"], False),
            (b"1.1", [b"keep-alive, close"], False),
            (b"1.1", [b"keep-alive", b"close"], False),
            (b"1.1", [b"close", b"keep-alive"], False),
            (b"1.1", [b" ,\tclose ,"], False),
            (b"1.1", [b"closed"], True),
            (b"1.1", [b"", b"upgrade"], True),
            (b"1.2", [], True),
            (b"1.2", [b"close"], False),
            (b"1.0", [], False),
            (b"1.0", [b"keep-alive"], True),
            (b"1.0", [b"Keep-Alive, x"], True),
            (b"1.0", [b"keep-alive, close"], False),
            (b"1.0", [b"keep-alive", b"close"], False),
            (b"1.0", [b"close", b"keep-alive"], False),
            (b"1.0", [b"close"], False),
        ],
    )
    def test_persistence(self, version: bytes, values: list[bytes], keep_alive: bool) -> None:
        assert keeps_alive(*((b"connection", value) for value in values), version=version) is keep_alive

    def test_an_upgrade_needs_both_fields(self) -> None:
        upgrade, connection = (b"upgrade", b"WebSocket"), (b"connection", b"keep-alive, Upgrade")
        assert read(upgrade, connection).upgrade == b"websocket"
        assert read(upgrade, connection).may_upgrade
        assert read(upgrade).upgrade == b"websocket"
        assert not read(upgrade).may_upgrade
        assert not read(connection).may_upgrade

    def test_several_protocols_are_joined(self) -> None:
        fields = ((b"upgrade", b"h2c"), (b"upgrade", b"websocket"), (b"connection", b"upgrade"))
        assert read(*fields).upgrade == b"h2c,websocket"

    def test_no_upgrade_from_http_1_0(self) -> None:
        assert not read((b"upgrade", b"websocket"), (b"connection", b"upgrade"), version=b"1.0").may_upgrade

    @pytest.mark.parametrize("framing", [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
    def test_no_upgrade_with_a_body(self, framing: tuple[bytes, bytes]) -> None:
        head = read((b"upgrade", b"websocket"), (b"connection", b"upgrade"), framing)
        assert head.upgrade is None
        assert not head.may_upgrade

    def test_an_upgrade_with_an_empty_body(self) -> None:
        fields = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"content-length", b"0"))
        assert read(*fields).upgrade == b"websocket"

    def test_trailers_are_accepted_if_te_says_so(self) -> None:
        assert read((b"te", b"trailers")).accepts_trailers
        assert read((b"te", b"gzip;q=0.5, Trailers")).accepts_trailers
        assert not read((b"te", b"gzip")).accepts_trailers
        assert not read((b"te", b"trailers"), version=b"1.0").accepts_trailers


class TestExpectation:
    @pytest.mark.parametrize("framing", [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
    def test_a_client_with_a_body_can_wait_for_a_100(self, framing: tuple[bytes, bytes]) -> None:
        assert read((b"expect", b"100-Continue"), framing).expect_continue

    def test_one_without_a_body_does_not_wait(self) -> None:
        assert not read((b"expect", b"100-continue")).expect_continue
        assert not read((b"expect", b"100-continue"), (b"content-length", b"0")).expect_continue

    def test_an_empty_expectation_is_none(self) -> None:
        assert not read((b"expect", b""), (b"content-length", b"5")).expect_continue

    def test_http_1_0_does_not_wait(self) -> None:
        assert not read((b"expect", b"100-continue"), (b"content-length", b"5"), version=b"1.0").expect_continue

    def test_an_unknown_expectation_is_refused(self) -> None:
        assert refusal((b"expect", b"200-maybe")) == (417, "expectation_failed")
        assert refusal((b"expect", b"100-continue"), (b"expect", b"x")) == (417, "expectation_failed")
