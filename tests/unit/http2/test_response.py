"""The head of a response on a stream: what the server finds in it, and what it adds."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.http.fields import Fields
from appserver.http.response import DefaultFields, ResponseError
from appserver.http2.response import Response

# The second time a name is one of those that are remembered.
TIMES = range(2)


@pytest.fixture
def defaults() -> DefaultFields:
    return DefaultFields("appserver", date=True, id_name=b"x-request-id")


def head_of(defaults: DefaultFields, fields: Fields) -> Fields:
    response = Response(defaults, "GET")
    response.id_value = b"made-here"
    response.start(200, fields)
    return response.head(0, True)


@pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-ID"])
def test_the_id_of_the_application_counts(defaults: DefaultFields, name: bytes) -> None:
    for _ in TIMES:
        head = head_of(defaults, [(name, b"its-own")])
        assert [value for name, value in head if name == b"x-request-id"] == [b"its-own"]
        assert (b"x-request-id", b"made-here") in head_of(defaults, [])


def test_servers_with_other_names_for_the_id_do_not_disturb_each_other(defaults: DefaultFields) -> None:
    other = DefaultFields("appserver", date=True, id_name=b"x-trace")
    for _ in TIMES:
        head = head_of(other, [(b"x-request-id", b"its-own")])
        assert (b"x-request-id", b"its-own") in head
        assert (b"x-trace", b"made-here") in head
        head = head_of(defaults, [(b"x-request-id", b"its-own")])
        assert (b"x-request-id", b"made-here") not in head


@pytest.mark.parametrize("name", [b"date", b"Server"])
def test_what_the_application_sends_itself_is_not_added(defaults: DefaultFields, name: bytes) -> None:
    for _ in TIMES:
        head = head_of(defaults, [(name, b"its-own")])
        assert [value for known, value in head if known == name.lower()] == [b"its-own"]


@pytest.mark.parametrize("name", [b"content-type", b"Content-Type"])
def test_an_event_stream_is_one_however_its_field_is_spelled(defaults: DefaultFields, name: bytes) -> None:
    for _ in TIMES:
        assert Response(defaults, "GET").start(200, [(b"a", b"b"), (name, b"text/event-stream; charset=utf-8")])
        assert not Response(defaults, "GET").start(200, [(name, b"text/plain")])
        assert not Response(defaults, "GET").start(200, [(b"x-type", b"text/event-stream")])


def test_more_names_than_are_remembered_are_sent_alike(defaults: DefaultFields) -> None:
    for number in range(1100):
        assert (b"x-%d" % number, b"v") in head_of(defaults, [(b"X-%d" % number, b"v")])
    assert len(defaults.known_names) == 1024


@pytest.mark.parametrize("name", [b"x-name", b"X-Name", b"content-length", b"date"])
@pytest.mark.parametrize("value", ["3", bytearray(b"3"), 3, None])
def test_a_value_that_is_not_bytes_is_refused(defaults: DefaultFields, name: bytes, value: Any) -> None:
    for _ in TIMES:
        with pytest.raises(ResponseError, match="pairs of bytes"):
            Response(defaults, "GET").start(200, [(name, value)])
        head_of(defaults, [(name, b"0")])
