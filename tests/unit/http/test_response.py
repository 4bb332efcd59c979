"""What a response keeps to whatever carries it, and the fields that the server adds."""

from __future__ import annotations

import pytest

from appserver.errors import RequestError
from appserver.http.response import (
    HAS_DATE,
    HAS_SERVER,
    DefaultFields,
    ResponseError,
    check_trailer,
    describe_error,
    still_owed,
)


class TestDefaultFields:
    def test_what_the_application_has_sent_is_not_added(self) -> None:
        fields = DefaultFields("s", date=True, fields=[("x-a", "1")])
        date = (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")
        assert fields.missing(0) == [(b"server", b"s"), date, (b"x-a", b"1")]
        assert fields.missing(HAS_SERVER) == [date, (b"x-a", b"1")]
        assert fields.missing(HAS_DATE | HAS_SERVER) == [(b"x-a", b"1")]

    def test_the_date_is_that_of_the_last_refresh(self) -> None:
        fields = DefaultFields("", date=True)
        fields.refresh(1e9)
        assert fields.missing(0) == [(b"date", b"Sun, 09 Sep 2001 01:46:40 GMT")]

    def test_both_can_be_left_out(self) -> None:
        fields = DefaultFields("", date=False)
        fields.refresh(1e9)
        assert fields.missing(0) == []


class TestLength:
    def test_a_body_of_the_announced_length_passes(self) -> None:
        assert still_owed(5, 2, True) == 3
        assert still_owed(3, 3, False) == 0

    @pytest.mark.parametrize(
        ("size", "more", "fault"), [(6, True, "longer"), (6, False, "longer"), (4, False, "shorter")]
    )
    def test_any_other_is_refused(self, size: int, more: bool, fault: str) -> None:
        with pytest.raises(ResponseError, match=fault):
            still_owed(5, size, more)


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"a b", "text"])
def test_what_comes_too_late_is_no_trailer_field(name: object) -> None:
    with pytest.raises(ResponseError):
        check_trailer(name, b"1")


def test_the_answer_to_an_error_says_what_was_wrong_and_when_to_come_back() -> None:
    fields, body = describe_error(RequestError(503, "overload", "too much"))
    assert (b"retry-after", b"1") in fields
    assert body == b"503 Service Unavailable: too much\n"
