"""RFC 9113 section 8: what a header block has to hold, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.errors import RequestError
from appserver.http.limits import Limits
from appserver.http.request import Request
from appserver.http2.errors import Code, StreamFailure
from appserver.http2.priority import UNSAID, Priority
from appserver.http2.request import check_trailers, copy_request, interpret

Field = tuple[bytes, bytes]
GET: list[Field] = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]
POST: list[Field] = [(b":method", b"POST"), *GET[1:]]
CONNECT: list[Field] = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket")]


def without(name: bytes, fields: list[Field] = GET) -> list[Field]:
    return [field for field in fields if field[0] != name]


def replaced(name: bytes, value: bytes, fields: list[Field] = GET) -> list[Field]:
    return [(found, value if found == name else old) for found, old in fields]


def size(fields: list[Field]) -> int:
    return sum(len(name) + len(value) + 32 for name, value in fields)


def read(fields: list[Field], limits: Limits | None = None, *, complete: bool = True) -> Request:
    return interpret(fields, size(fields), limits or Limits(), complete=complete)[0]


def test_a_request() -> None:
    fields = [*replaced(b":path", b"/a%20b?c=d"), (b"accept", b"*/*"), (b"x-a", b"1"), (b"x-a", b"2")]
    request = read(fields)
    assert request.method == "GET"
    assert request.http_version == "2"
    assert (request.target, request.raw_path, request.path) == (b"/a%20b?c=d", b"/a%20b", "/a b")
    assert request.query_string == b"c=d"
    assert request.authority == b"example.org"
    assert request.headers == [(b"host", b"example.org"), (b"accept", b"*/*"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert request.content_length is None
    assert request.upgrade is None
    flags = (request.expect_continue, request.may_upgrade, request.accepts_trailers, bool(request.forwarded))
    assert flags == (False, False, False, False)


class TestMalformed:
    """RFC 9113 section 8.1.1: an error of the stream."""

    @pytest.mark.parametrize(
        "fields",
        [
            without(b":method"),
            without(b":scheme"),
            without(b":path"),
            without(b":authority"),
            replaced(b":method", b""),
            replaced(b":method", b"GE T"),
            replaced(b":method", b"M" * 65),
            replaced(b":scheme", b""),
            replaced(b":scheme", b"ht tp"),
            replaced(b":path", b""),
            replaced(b":path", b"x"),
            replaced(b":path", b"*"),
            replaced(b":path", b"/#fragment"),
            replaced(b":path", b"/a b"),
            replaced(b":path", b"/\xc3\xbc"),
            replaced(b":path", b"http://example.org/"),
            replaced(b":authority", b""),
            replaced(b":authority", b"user@example.org"),
            replaced(b":authority", b"example.org,example.com"),
            [*GET, (b":method", b"GET")],
            [*GET, (b":path", b"/")],
            [*GET, (b":status", b"200")],
            [*GET, (b":unknown", b"x")],
            [*GET, (b":", b"x")],
            [*GET, (b":protocol", b"websocket")],  # for CONNECT only
            [GET[0], (b"accept", b"*/*"), *GET[1:]],  # behind another field
            [*GET[:3], (b"te", b"trailers"), GET[3]],
        ],
    )
    def test_pseudo_header_fields(self, fields: list[Field]) -> None:
        self.is_malformed(fields)

    @pytest.mark.parametrize(
        "field",
        [
            (b"", b"x"),
            (b"Accept", b"x"),
            (b"a b", b"x"),
            (b"a:b", b"x"),
            (b"a\x00", b"x"),
            (b"\xfc", b"x"),
            (b"x", b"a\x00b"),
            (b"x", b"a\rb"),
            (b"x", b"a\nb"),
            (b"x", b"a\x7f"),
            (b"x", b" a"),
            (b"x", b"a "),
            (b"x", b"\ta"),
            (b"x", b"a\t"),
            (b"connection", b"close"),
            (b"connection", b""),
            (b"keep-alive", b"x"),
            (b"proxy-connection", b"keep-alive"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"websocket"),
            (b"te", b"gzip"),
            (b"te", b"trailers, gzip"),
            (b"te", b""),
            (b"host", b"example.com"),
            (b"content-length", b"x"),
            (b"content-length", b"-1"),
            (b"content-length", b"1"),  # and no body follows
        ],
    )
    def test_fields(self, field: Field) -> None:
        self.is_malformed([*GET, field])

    def test_fields_of_which_there_is_one_only(self) -> None:
        self.is_malformed([*GET, (b"host", b"example.org"), (b"host", b"example.org")])
        self.is_malformed([*POST, (b"content-length", b"1"), (b"content-length", b"1")], complete=False)

    @pytest.mark.parametrize("fields", [without(b":scheme", CONNECT), without(b":path", CONNECT)])
    def test_extended_connect_has_all_pseudo_header_fields(self, fields: list[Field]) -> None:
        self.is_malformed(fields)

    def test_connect_has_an_authority_and_no_more(self) -> None:
        self.is_malformed([(b":method", b"CONNECT")])
        self.is_malformed([(b":method", b"CONNECT"), *GET[1:]])

    def is_malformed(self, fields: list[Field], *, complete: bool = True) -> None:
        with pytest.raises(StreamFailure, match="malformed") as caught:
            read(fields, complete=complete)
        assert caught.value.code == Code.PROTOCOL_ERROR


class TestRefused:
    """What is well-formed and cannot be served has a status."""

    @pytest.mark.parametrize(
        ("fields", "limits", "status"),
        [
            ([(b":method", b"CONNECT"), (b":authority", b"example.org:443")], Limits(), 501),
            (replaced(b":path", b"/" + b"x" * 20), Limits(max_target_size=20), 414),
            ([*GET, (b"a", b"b"), (b"c", b"d")], Limits(max_headers=2), 431),
            ([*GET, (b"a", b"b" * 100)], Limits(max_header_size=300), 431),
            ([*GET, (b"expect", b"miracles")], Limits(), 417),
            ([*POST, (b"content-length", b"1" * 19)], Limits(), 413),
        ],
    )
    def test_statuses(self, fields: list[Field], limits: Limits, status: int) -> None:
        with pytest.raises(RequestError) as caught:
            read(fields, limits, complete=False)
        assert caught.value.status == status


class TestMeaning:
    def test_host_may_take_the_place_of_authority(self) -> None:
        request = read([*without(b":authority"), (b"a", b"b"), (b"host", b"example.org")])
        assert request.authority == b"example.org"
        assert request.headers == [(b"host", b"example.org"), (b"a", b"b")]

    def test_host_may_repeat_authority(self) -> None:
        request = read([*GET, (b"a", b"b"), (b"host", b"EXAMPLE.org")])
        assert request.headers == [(b"host", b"example.org"), (b"a", b"b")]

    def test_crumbs_of_cookies_are_put_together(self) -> None:
        request = read([*GET, (b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d"), (b"cookie", b"e=f")])
        assert request.headers[1:] == [(b"cookie", b"a=b; c=d; e=f"), (b"x", b"y")]

    def test_crumbs_count_as_one_field(self) -> None:
        assert read([*GET, *[(b"cookie", b"a=b")] * 50], Limits(max_headers=2)).headers[1][1].count(b";") == 49

    def test_names_with_underscores_are_dropped(self) -> None:
        request = read([*GET, (b"x_forwarded_for", b"1.2.3.4"), (b"x", b"y")])
        assert request.headers == [(b"host", b"example.org"), (b"x", b"y")]
        assert not request.forwarded

    def test_fields_of_proxies_are_noticed(self) -> None:
        assert read([*GET, (b"x-forwarded-for", b"1.2.3.4")]).forwarded
        assert read([*GET, (b"forwarded", b"for=1.2.3.4")]).forwarded

    def test_te(self) -> None:
        assert read([*GET, (b"te", b"trailers")]).accepts_trailers
        assert read([*GET, (b"te", b"Trailers")]).accepts_trailers

    @pytest.mark.parametrize(("complete", "waits"), [(False, True), (True, False)])
    def test_expect(self, complete: bool, waits: bool) -> None:
        assert read([*POST, (b"expect", b"100-continue")], complete=complete).expect_continue is waits

    def test_content_length(self) -> None:
        assert read([*POST, (b"content-length", b"12")], complete=False).content_length == 12
        assert read([*POST, (b"content-length", b"0")]).content_length == 0

    def test_options_for_the_server(self) -> None:
        request = read([(b":method", b"OPTIONS"), *replaced(b":path", b"*")[1:]])
        assert (request.raw_path, request.path) == (b"*", "*")

    def test_extended_connect(self) -> None:
        request = read(replaced(b":protocol", b"WebSocket", CONNECT), complete=False)
        assert (request.method, request.upgrade, request.path) == ("CONNECT", b"websocket", "/")

    def test_the_priority_of_the_response(self) -> None:
        fields = [*GET, (b"priority", b"u=1, i")]
        assert interpret(fields, size(fields), Limits(), complete=True)[1] == Priority(1, True)
        assert interpret(GET, size(GET), Limits(), complete=True)[1] is UNSAID

    def test_a_copy_has_everything_and_headers_of_its_own(self) -> None:
        request = read([*POST, (b"content-length", b"12"), (b"te", b"trailers")], complete=False)
        copy = copy_request(request)
        for name in Request.__slots__:
            assert getattr(copy, name) == getattr(request, name)
        copy.headers.append((b"a", b"b"))
        assert (b"a", b"b") not in request.headers


class TestTrailers:
    """RFC 9113 section 8.1: a trailer section holds no pseudo-header fields."""

    def test_good_ones(self) -> None:
        check_trailers([(b"grpc-status", b"0"), (b"x", b"")], 100, Limits())

    @pytest.mark.parametrize("field", [(b":path", b"/"), (b"Upper", b"x"), (b"x", b"\n"), (b"connection", b"close")])
    def test_malformed_ones(self, field: Field) -> None:
        with pytest.raises(StreamFailure) as caught:
            check_trailers([field], 100, Limits())
        assert caught.value.code == Code.PROTOCOL_ERROR

    def test_too_large_ones(self) -> None:
        for fields, list_size in (([(b"x", b"y")] * 101, 100), ([(b"x", b"y")], 64 * 1024 + 1)):
            with pytest.raises(StreamFailure) as caught:
                check_trailers(fields, list_size, Limits())
            assert caught.value.code == Code.ENHANCE_YOUR_CALM


NAMES = st.sampled_from([field[0] for field in CONNECT] + [b"host", b"te", b"cookie", b"connection", b"A", b"x_y", b""])
FIELDS = st.lists(
    st.tuples(NAMES | st.binary(max_size=5), st.binary(max_size=8) | st.sampled_from([b"/", b"trailers"]))
)


@given(FIELDS, st.booleans(), st.booleans())
def test_any_fields_become_a_request_or_are_refused(fields: list[Field], good: bool, complete: bool) -> None:
    fields = [*GET, *fields] if good else fields
    try:
        request = read(fields, complete=complete)
    except (StreamFailure, RequestError):
        return
    assert request.headers[0] == (b"host", request.authority)
    assert request.path
    for name, value in request.headers:
        assert name == name.lower() != b""
        assert not set(b":_") & set(name)
        assert not set(b"\r\n\0") & set(value)
