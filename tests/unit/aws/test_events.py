"""Events into requests, responses into answers."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.aws.events import InvocationRequest, Options, is_websocket, recognise, unknown
from appserver.errors import EventError, RequestError
from tests.unit.aws import events

FIELDS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"set-cookie", b"a=1; Path=/"),
    (b"set-cookie", b"b=2"),
    (b"vary", b"accept"),
    (b"vary", b"origin"),
]


DEFAULT = Options()


def read(event: Any, options: Options = DEFAULT) -> InvocationRequest:
    kind = recognise(event)
    assert kind is not None
    return kind.read(copy.deepcopy(event), options)


def write(event: Any, body: bytes = b"x", *, fields: Any = FIELDS, options: Options = DEFAULT) -> dict[str, Any]:
    kind = recognise(event)
    assert kind is not None
    answer = kind.write(event, 200, fields, body, options)
    json.dumps(answer)
    return answer


def changed(event: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(event), **members}


class TestRESTAPI:
    def test_the_request(self) -> None:
        request = read(events.REST)
        assert (request.method, request.raw_path, request.path) == ("POST", b"/shop/caf%C3%A9", "/shop/café")
        assert request.query_string == b"tag=a&tag=b%26c&name=me&empty="
        assert request.body == b"hello"
        assert request.client == ("192.0.2.1", 0)
        assert (request.scheme, request.server) == ("https", ("abc123.execute-api.eu-central-1.amazonaws.com", 443))
        assert [value for name, value in request.headers if name == b"x-tag"] == [b"first", b"second"]

    def test_crumbs_of_cookies_are_put_together_where_the_first_stood(self) -> None:
        """What a client of HTTP/2 has divided comes as it is; many frameworks look at one of several fields only."""
        headers = {"X-A": ["1"], "Cookie": ["a=1", "b=2; c=3"], "X-B": ["2"], "cookie": ["d=4"]}
        query = {"cookie": ["a", "b"]}
        request = read(changed(events.REST_TEST, multiValueHeaders=headers, multiValueQueryStringParameters=query))
        assert request.headers == [(b"x-a", b"1"), (b"cookie", b"a=1; b=2; c=3; d=4"), (b"x-b", b"2")]
        assert request.query_string == b"cookie=a&cookie=b"

    def test_the_length_of_the_body_is_said(self) -> None:
        """REST APIs leave Content-Length out; what is built on CGI reads nothing without it."""
        assert (b"content-length", b"5") in read(events.REST).headers
        assert read(events.REST).content_length == 5

    def test_a_wrong_length_is_put_right(self) -> None:
        event = changed(events.REST, multiValueHeaders={"Content-Length": ["999"]}, headers={})
        assert [value for name, value in read(event).headers if name == b"content-length"] == [b"5"]

    def test_a_test_of_the_console_has_nothing(self) -> None:
        request = read(events.REST_TEST)
        assert (request.method, request.path, request.headers, request.body) == ("GET", "/", [], b"")
        assert request.client == ("test-invoke-source-ip", 0)

    def test_a_path_that_is_decoded_is_encoded_again(self) -> None:
        assert read(changed(events.REST, path="/a b/ü?x")).raw_path == b"/a%20b/%C3%BC%3Fx"

    def test_the_answer(self) -> None:
        assert write(events.REST) == {
            "statusCode": 200,
            "headers": {"content-type": "text/html; charset=utf-8"},
            "multiValueHeaders": {"set-cookie": ["a=1; Path=/", "b=2"], "vary": ["accept", "origin"]},
            "body": "x",
            "isBase64Encoded": False,
        }


class TestHTTPAPI:
    def test_the_request(self) -> None:
        request = read(events.HTTP)
        assert (request.method, request.path) == ("GET", "/prod/my/path")
        assert request.query_string == b"parameter1=value1&parameter1=value2&x=%2F%20+"
        assert (b"cookie", b"cookie1=1; cookie2=2") in request.headers
        assert (b"header1", b"value1,value2") in request.headers
        assert request.server == ("api.example.com", 443)

    def test_the_answer(self) -> None:
        assert write(events.HTTP) == {
            "statusCode": 200,
            "headers": {"content-type": "text/html; charset=utf-8", "vary": "accept, origin"},
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "x",
            "isBase64Encoded": False,
        }

    def test_only_a_function_url_streams(self) -> None:
        assert [recognise(event).streams for event in (events.HTTP, events.FUNCTION_URL)] == [False, True]  # type: ignore[union-attr]

    def test_text_of_a_body_is_utf_8(self) -> None:
        assert read(events.FUNCTION_URL).body == "zażółć".encode()


class TestQueries:
    """ASGI's query_string is percent-encoded. What the client has sent as it stands there is left alone."""

    @pytest.mark.parametrize(
        ("sent", "query"),
        [
            ("name=ü&x=a b#c", b"name=%C3%BC&x=a%20b%23c"),
            ("a[]=1&b={x}|y&c=%zz%&d=+%20&e==\"'<>", b"a[]=1&b={x}|y&c=%zz%&d=+%20&e==\"'<>"),
            ("a=\r\nb\x00", b"a=%0D%0Ab%00"),
            ("a=\ud800", b"a=?"),
        ],
    )
    def test_what_no_query_may_have_is_encoded(self, sent: str, query: bytes) -> None:
        assert read(changed(events.HTTP, rawQueryString=sent)).query_string == query
        event = copy.deepcopy(events.EDGE)
        event["Records"][0]["cf"]["request"]["querystring"] = sent
        assert read(event).query_string == query

    def test_half_a_character_is_no_error_of_the_function(self) -> None:
        """JSON can hold what UTF-8 cannot."""
        assert read(changed(events.HTTP, rawPath="/\ud800")).raw_path == b"/%3F"
        assert read(changed(events.BALANCER, queryStringParameters={"\ud800": "\ud800"})).query_string == b"?=?"


class TestBasePath:
    OPTIONS = Options("/prod")

    def test_it_is_the_root_path_and_stays_in_the_path(self) -> None:
        request = read(events.HTTP, self.OPTIONS)
        assert (request.root_path, request.path) == ("/prod", "/prod/my/path")

    @pytest.mark.parametrize("path", ["/production", "/pro", "/"])
    def test_other_paths_are_left_alone(self, path: str) -> None:
        assert read(changed(events.HTTP, rawPath=path), self.OPTIONS).root_path == ""

    def test_the_base_alone(self) -> None:
        assert read(changed(events.HTTP, rawPath="/prod"), self.OPTIONS).root_path == "/prod"


class TestLoadBalancer:
    def test_parameters_are_as_they_were_sent(self) -> None:
        request = read(events.BALANCER)
        assert request.query_string == b"myKey=val%20ue2&sum=1%2B1"
        assert (request.scheme, request.server[1]) == ("http", 80)

    def test_the_client_is_who_the_load_balancer_has_seen(self) -> None:
        """What stands before that may be anything: the client has sent it."""
        assert read(events.BALANCER).client == ("192.0.2.1", 0)

    def test_all_values_where_they_are_switched_on(self) -> None:
        request = read(events.BALANCER_MULTIPLE)
        assert request.query_string == b"myKey=val1&myKey=val%202"
        assert [value for name, value in request.headers if name == b"cookie"] == [b"name1=value1; name2=value2"]

    def test_the_answer_without_multiple_values(self) -> None:
        answer = write(events.BALANCER)
        assert answer["statusDescription"] == "200 OK"
        assert answer["headers"] == {
            "content-type": "text/html; charset=utf-8",
            "vary": "accept, origin",
            "set-cookie": "a=1; Path=/",
            "Set-cookie": "b=2",
        }

    def test_the_answer_with_multiple_values(self) -> None:
        answer = write(events.BALANCER_MULTIPLE)
        assert "headers" not in answer
        assert answer["multiValueHeaders"]["set-cookie"] == ["a=1; Path=/", "b=2"]
        assert answer["multiValueHeaders"]["content-type"] == ["text/html; charset=utf-8"]


class TestEdge:
    def test_the_request(self) -> None:
        request = read(events.EDGE)
        assert (request.method, request.target, request.body) == ("POST", b"/picture.jpg?size=large", b"hello")
        assert request.client == ("2001:db8::1", 0)
        assert request.scheme == "http"
        assert request.server == ("d111111abcdef8.cloudfront.net", 80)
        assert [value for name, value in request.headers if name == b"cookie"] == [b"a=1; b=2"]

    def test_a_body_that_was_cut_off_is_refused(self) -> None:
        event = copy.deepcopy(events.EDGE)
        event["Records"][0]["cf"]["request"]["body"]["inputTruncated"] = True
        with pytest.raises(RequestError, match="cut the body off") as caught:
            read(event)
        assert caught.value.status == 413

    def test_a_trigger_that_has_a_response_is_refused(self) -> None:
        event = copy.deepcopy(events.EDGE)
        event["Records"][0]["cf"]["response"] = {}
        with pytest.raises(EventError, match="use origin-request or viewer-request"):
            read(event)

    def test_the_answer(self) -> None:
        fields = [*FIELDS, (b"content-length", b"1"), (b"via", b"x"), (b"x-edge-location", b"y")]
        assert write(events.EDGE, fields=fields) == {
            "status": "200",
            "statusDescription": "OK",
            "headers": {
                "content-type": [{"key": "content-type", "value": "text/html; charset=utf-8"}],
                "set-cookie": [{"key": "set-cookie", "value": "a=1; Path=/"}, {"key": "set-cookie", "value": "b=2"}],
                "vary": [{"key": "vary", "value": "accept"}, {"key": "vary", "value": "origin"}],
            },
            "body": "x",
            "bodyEncoding": "text",
        }

    def test_an_answer_without_a_body_says_nothing_of_one(self) -> None:
        """CloudFront answers 502 to a 204 that has a body."""
        assert write(events.EDGE, b"").keys() == {"status", "statusDescription", "headers"}

    @pytest.mark.parametrize(("trigger", "limit"), [("viewer-request", 40 * 1024), ("origin-request", 1024 * 1024)])
    def test_the_limit_is_that_of_the_trigger(self, trigger: str, limit: int) -> None:
        event = copy.deepcopy(events.EDGE)
        event["Records"][0]["cf"]["config"]["eventType"] = trigger
        kind = recognise(event)
        assert kind is not None
        assert kind.limit(event) == limit


class TestBodies:
    @pytest.mark.parametrize(
        ("kind", "coding", "body", "is_text"),
        [
            (b"text/plain", None, b"x", True),
            (b"TEXT/plain", None, "ü".encode(), True),
            (b"text/plain; charset=latin-1", None, "ü".encode("latin-1"), False),
            (b"application/json", None, b"{}", True),
            (b"application/problem+json; charset=utf-8", None, b"{}", True),
            (b"image/svg+xml", None, b"<svg/>", True),
            (b"application/json", b"gzip", b"{}", False),
            (b"application/json", b"identity", b"{}", True),
            (b"image/png", None, b"x", False),
            (None, None, b"x", False),
            (b"image/png", None, b"", True),
        ],
    )
    def test_what_is_passed_on_as_text(
        self, kind: bytes | None, coding: bytes | None, body: bytes, is_text: bool
    ) -> None:
        fields = [(b"content-type", kind)] if kind else []
        fields += [(b"content-encoding", coding)] if coding else []
        assert write(events.HTTP, body, fields=fields)["isBase64Encoded"] is not is_text

    def test_headers_can_be_left_out(self) -> None:
        answer = write(events.HTTP, options=Options(exclude=frozenset({b"vary", b"set-cookie"})))
        assert answer["headers"] == {"content-type": "text/html; charset=utf-8"}
        assert "cookies" not in answer

    @pytest.mark.parametrize("value", ["ü".encode(), "ü".encode("latin-1")])
    def test_a_value_beyond_ascii_is_the_same_text_in_either_encoding(self, value: bytes) -> None:
        assert write(events.HTTP, fields=[(b"x", value)])["headers"] == {"x": "ü"}


class TestWhatIsWrong:
    @pytest.mark.parametrize("name", events.ALL)
    def test_garbage_in_base64_is_a_400(self, name: str) -> None:
        event = copy.deepcopy(events.ALL[name])
        if name == "edge":
            event["Records"][0]["cf"]["request"]["body"]["data"] = "no base64!"
        else:
            event |= {"body": "no base64!", "isBase64Encoded": True}
        with pytest.raises(RequestError, match="base64") as caught:
            read(event)
        assert caught.value.status == 400

    @pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\x00b", "\x7f"])
    def test_a_header_value_that_would_be_two_fields_is_refused(self, value: str) -> None:
        with pytest.raises(RequestError, match="control character"):
            read(changed(events.HTTP, headers={"x": value}))

    def test_names_that_are_none_and_those_with_underscores_are_left_out(self) -> None:
        headers = {"a b": "1", "": "2", "X_Forwarded_For": "3", "ü": "4", "ok": "5"}
        assert read(changed(events.HTTP, headers=headers, cookies=[])).headers == [(b"ok", b"5")]

    def test_a_value_beyond_ascii_is_utf_8(self) -> None:
        assert read(changed(events.HTTP, headers={"x": " ü\t"}, cookies=[])).headers == [(b"x", "ü".encode())]

    @pytest.mark.parametrize("method", ["", "GET /", "GE\nT", "ü", "x" * 65])
    def test_a_method_that_is_none_is_a_400(self, method: str) -> None:
        with pytest.raises(RequestError, match="method"):
            read(changed(events.REST, httpMethod=method))

    @pytest.mark.parametrize(
        "event",
        [
            changed(events.REST, httpMethod=None),
            changed(events.REST, path=3),
            changed(events.REST, headers=[], multiValueHeaders=3),
            changed(events.REST, body={"a": 1}),
            changed(events.HTTP, cookies="a=b"),
            changed(events.HTTP, rawQueryString=1),
            changed(events.HTTP, headers={"x": 1}),
            changed(events.HTTP, requestContext={"http": []}),
            {"Records": [{"cf": {}}]},
            {"Records": [{"cf": {"config": "viewer-request", "request": {"method": "GET"}}}]},
            {"Records": [{"cf": {"request": {"method": "GET", "headers": {"x": "y"}}}}]},
        ],
    )
    def test_members_of_another_type_are_named(self, event: dict[str, Any]) -> None:
        with pytest.raises(EventError, match="not as documented") as caught:
            read(event)
        assert caught.value.kind == "MalformedEvent"

    @pytest.mark.parametrize(
        ("event", "words"),
        [
            ({"Records": [{"eventSource": "aws:s3"}]}, "records of aws:s3"),
            ({"Records": [{"EventSource": "aws:sns"}]}, "records of aws:sns"),
            ({"source": "aws.events", "detail-type": "Scheduled Event"}, "an event of aws.events"),
            ({"a": 1, "b": 2}, "the members a, b"),
            ({}, "an empty object"),
            (None, "NoneType"),
            ({**events.REST, "type": "REQUEST", "methodArn": "arn:aws:execute-api"}, "to a Lambda authorizer"),
            ({**events.HTTP, "type": "REQUEST", "routeArn": "arn:aws:execute-api"}, "to a Lambda authorizer"),
            ("x", "str"),
            ({"Records": []}, "members Records"),
            ({"requestContext": {}}, "members requestContext"),
        ],
    )
    def test_what_is_none_of_them_is_described(self, event: Any, words: str) -> None:
        assert recognise(event) is None
        assert words in str(unknown(event))
        assert "lambda.other" in str(unknown(event))

    def test_websocket_apis_are_told_apart(self) -> None:
        event = {"requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "x"}}
        assert is_websocket(event)
        assert recognise(event) is None
        assert not is_websocket(events.HTTP)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(events.ALL)), st.data())
def test_a_broken_event_is_an_error_of_ours_or_a_request(name: str, data: st.DataObject) -> None:
    """One member, anywhere in the event, is replaced by anything."""
    event = copy.deepcopy(events.ALL[name])
    place: Any = event
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
            break
        place = place[key]
    try:
        kind = recognise(event)
        if kind is not None:
            request = kind.read(event, Options())
            assert all(type(name) is bytes and type(value) is bytes for name, value in request.headers)
            assert request.raw_path.startswith(b"/")
    except (EventError, RequestError):
        pass
