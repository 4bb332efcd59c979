"""appserver.asgi.wsgi.response: start_response, write, the iterable (PEP 3333)."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from appserver.asgi.wsgi import ClientDisconnect, WSGIAdapter
from appserver.asgi.wsgi.call import WINDOW
from appserver.asgi.wsgi.response import JOIN_LIMIT, WSGIError
from tests.unit.asgi.wsgi.client import Client, Environ, Start, serve


def answer(application: Callable[[Environ, Start], Any], **client: Any) -> Client:
    """Serve one request and return what the client has got."""
    found = Client(method=client.pop("method", "GET"), **client)
    serve(application, found)
    return found


def starting(status: Any = "200 OK", headers: Any = (), body: Any = (b"body",)) -> Callable[[Environ, Start], Any]:
    def application(environ: Environ, start: Start) -> Any:
        start(status, list(headers) if headers == () else headers)
        return body

    return application


class TestValidity:
    """wsgiref's validator stands between the adapter and these applications, and complains about either."""

    @pytest.mark.filterwarnings("default::wsgiref.validate.WSGIWarning")
    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
    def test_an_application_that_does_everything(self, method: str) -> None:
        @validator
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            write = start("200 OK", [("Content-Type", "text/plain"), ("X-A", "1")])
            body = environ["wsgi.input"]
            write(body.read(3) + body.readline() + b"".join(body.readlines()))
            environ["wsgi.errors"].write("")
            environ["wsgi.errors"].flush()
            return [b"ab", b"", b"cd"]

        pieces = [b"x", b"yz\nlast"] if method == "POST" else []
        client = answer(application, method=method, headers=[(b"content-length", b"8")] if pieces else [])
        assert client.complete
        client = Client(*pieces, method=method, headers=[(b"content-length", b"8")] if pieces else [])
        serve(application, client)
        assert client.body == b"".join(pieces) + b"abcd"

    def test_an_application_below_a_prefix(self) -> None:
        @validator
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            start("200 OK", [("Content-Type", "text/plain")])
            return [environ["SCRIPT_NAME"].encode(), environ["PATH_INFO"].encode()]

        assert answer(application, root_path="/a", path="/a/b", raw_path=b"/b").body == b"/a/b"


class TestStart:
    @pytest.mark.parametrize(("text", "status"), [("200 OK", 200), ("200", 200), ("404 ", 404), ("599 Très mal", 599)])
    def test_a_status_is_a_number_with_a_reason_or_without(self, text: str, status: int) -> None:
        assert answer(starting(text)).status == status

    @pytest.mark.parametrize(
        "status", ["", "OK", "20 OK", "2000 OK", "100 Continue", "200OK", "200 a\nb", 200, b"200 OK"]
    )
    def test_another_status_is_refused(self, status: Any) -> None:
        with pytest.raises(WSGIError, match="the status is"):
            answer(starting(status))

    def test_headers_are_sent_as_they_are_in_lower_case(self) -> None:
        headers = [("Set-Cookie", "a=1"), ("set-cookie", " b=2\t"), ("X-É".replace("É", "E"), "é")]
        client = answer(starting(headers=headers))
        assert client.headers == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-e", b"\xe9")]

    @pytest.mark.parametrize(
        ("headers", "complaint"),
        [
            ([("X-A", "1\r\nX-B: 2")], "control character"),
            ([("X-A", "1\0")], "control character"),
            ([("X-A", "\u20ac")], "not in latin-1"),
            ([("X-A", 1)], "is a int"),
            ([("X-A", b"1")], "is a bytes"),
            ([("X A", "1")], "a token"),
            ([("X-A:", "1")], "a token"),
            ([("", "1")], "a token"),
            ([(b"X-A", "1")], "a token"),
            ([("X-A",)], "pairs of text"),
            ([None], "pairs of text"),
            ([("Content-Length", "-1")], "one number"),
            ([("Content-Length", "1"), ("content-length", "1")], "given once"),
            ([("Content-Length", "9" * 19)], "one number"),
        ],
    )
    def test_headers_that_are_wrong_are_refused_at_once(self, headers: Any, complaint: str) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            with pytest.raises(WSGIError, match=complaint):
                start("200 OK", headers)
            start("500 Oops", [])
            return []

        assert answer(application).status == 500

    @pytest.mark.parametrize(
        "name", ["Connection", "keep-alive", "Transfer-Encoding", "TE", "Trailers", "Upgrade", "Proxy-Authenticate"]
    )
    def test_headers_about_the_connection_are_refused(self, name: str) -> None:
        with pytest.raises(WSGIError, match="about the connection"):
            answer(starting(headers=[(name, "close")]))

    def test_it_has_to_be_called(self) -> None:
        bodies: list[Iterable[bytes]] = [[], [b"x"], iter([b"x"]), iter([]), iter([b""])]
        for body in bodies:

            def application(environ: Environ, start: Start, body: Iterable[bytes] = body) -> Iterable[bytes]:
                return body

            with pytest.raises(WSGIError, match="has not called start_response"):
                answer(application)

    def test_it_may_be_called_while_the_iterable_is_read(self) -> None:
        def application(environ: Environ, start: Start) -> Iterator[bytes]:
            yield b""
            start("201 Created", [])
            yield b"body"

        client = answer(application)
        assert (client.status, client.body) == (201, b"body")

    def test_a_second_call_without_an_exception_is_an_error(self) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            start("200 OK", [])
            start("202 Accepted", [], (None, None, None))
            return [b"both"]

        with pytest.raises(WSGIError, match="called twice"):
            answer(application)

    @pytest.mark.parametrize("by_name", [True, False])
    @pytest.mark.parametrize("generator", [True, False])
    def test_with_an_exception_it_replaces_a_head_that_was_not_sent(self, generator: bool, by_name: bool) -> None:
        def page(start: Start) -> Iterator[bytes]:
            start("200 OK", [("Content-Length", "1000"), ("X-Page", "report")])
            try:
                raise KeyError("price")
            except KeyError:
                if by_name:
                    start("500 Oops", [("X-Page", "error")], exc_info=sys.exc_info())
                else:
                    start("500 Oops", [("X-Page", "error")], sys.exc_info())
            yield b"sorry"

        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            return page(start) if generator else list(page(start))

        client = answer(application)
        assert (client.status, client.headers[0], client.body) == (500, (b"x-page", b"error"), b"sorry")

    def test_with_an_exception_it_raises_that_when_the_head_was_sent(self) -> None:
        reached = []

        def application(environ: Environ, start: Start) -> Iterator[bytes]:
            start("200 OK", [])
            yield b"half a page"
            try:
                raise KeyError("price")
            except KeyError:
                start("500 Oops", [], sys.exc_info())
            reached.append("behind")

        client = Client(method="GET")
        with pytest.raises(KeyError, match="price"):
            serve(application, client)
        assert (client.status, client.body, client.complete, reached) == (200, b"half a page", False, [])


class TestWrite:
    def test_it_sends_in_front_of_what_is_returned(self) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            write = start("200 OK", [])
            write(b"one ")
            write(b"two ")
            return [b"three"]

        assert answer(application).body == b"one two three"

    def test_it_sends_the_head_even_if_it_is_given_nothing(self) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            write = start("200 OK", [])
            write(b"")
            try:
                raise KeyError("late")
            except KeyError:
                start("500 Oops", [], sys.exc_info())
            return []

        with pytest.raises(KeyError, match="late"):
            answer(application)

    def test_it_raises_when_the_client_has_left(self) -> None:
        raised = threading.Event()

        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            write = start("200 OK", [])
            try:
                while True:
                    write(b"x" * 1000)
            except ClientDisconnect:
                raised.set()
            return []

        client = Client(method="GET")
        client.gone = True
        serve(application, client)
        assert raised.is_set()

    def test_it_wants_bytes(self) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            start("200 OK", [])("text")
            return []

        with pytest.raises(WSGIError, match="write gave a str"):
            answer(application)


class TestIterable:
    @pytest.mark.parametrize("body", [[b"one"], (b"one",), [b"on", b"", b"e"], [b"o", b"n", b"e"]])
    def test_a_list_is_sent_in_one_piece(self, body: Any) -> None:
        client = answer(starting(body=body))
        assert [message["type"] for message in client.messages] == ["http.response.start", "http.response.body"]
        assert client.body == b"one"
        assert client.complete

    def test_a_large_list_is_sent_piece_by_piece(self) -> None:
        client = answer(starting(body=[b"x" * JOIN_LIMIT, b"", b"y"]))
        assert [len(message["body"]) for message in client.messages[1:]] == [JOIN_LIMIT, 1, 0]

    def test_nothing_is_a_body_without_octets(self) -> None:
        for body in ([], iter([]), [b""], iter([b"", b""])):
            client = answer(starting("204 No Content", body=body))
            assert (client.status, client.body, client.complete) == (204, b"", True)

    @pytest.mark.parametrize("body", [["text"], iter(["text"]), [""], "text", [None], [bytearray(b"x")]])
    def test_it_gives_bytes(self, body: Any) -> None:
        with pytest.raises(WSGIError, match="the iterable gave a"):
            answer(starting(body=body))

    @pytest.mark.parametrize(("body", "kind"), [(None, "NoneType"), (5, "int")])
    def test_it_is_one(self, body: Any, kind: str) -> None:
        with pytest.raises(WSGIError, match=f"returned a {kind}"):
            answer(starting(body=body))

    def test_a_subclass_of_bytes_is_sent_as_bytes(self) -> None:
        class Marked(bytes):
            pass

        for body in ([Marked(b"x")], iter([Marked(b"x")])):
            assert type(answer(starting(body=body)).body) is bytes

    def test_the_first_piece_goes_out_while_the_second_is_being_made(self) -> None:
        client = Client(method="GET")
        seen = threading.Event()

        def application(environ: Environ, start: Start) -> Iterator[bytes]:
            start("200 OK", [])
            yield b"one"
            assert seen.wait(30)
            yield b"two"

        async def main() -> None:
            task = asyncio.ensure_future(WSGIAdapter(application, 1)(client.scope, client.receive, client.send))
            async with asyncio.timeout(30):
                while client.body != b"one":
                    await asyncio.sleep(0)
            seen.set()
            await task

        asyncio.run(main())
        assert client.body == b"onetwo"

    def test_it_is_not_read_further_than_the_client_reads(self) -> None:
        given = []

        def application(environ: Environ, start: Start) -> Iterator[bytes]:
            start("200 OK", [])
            for number in range(100):
                given.append(number)
                yield b"x" * 10_000

        async def main() -> None:
            client = Client(method="GET")
            client.reads.clear()
            adapter = WSGIAdapter(application, 1)
            task = asyncio.ensure_future(adapter(client.scope, client.receive, client.send))
            most = WINDOW // 10_000 + 1
            async with asyncio.timeout(30):
                while len(given) < most:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.05)  # for more, which must not come
            assert len(given) == most
            client.reads.set()
            await task
            assert len(client.body) == 1_000_000

        asyncio.run(main())

    @pytest.mark.parametrize("gone", [True, False])
    def test_it_is_closed(self, gone: bool) -> None:
        class Body:
            closed = 0

            def __iter__(self) -> Iterator[bytes]:
                return iter([b"x"] * 3)

            def close(self) -> None:
                self.closed += 1

        body = Body()
        client = Client(method="GET")
        client.gone = gone
        serve(starting(body=body), client)
        assert body.closed == 1

    def test_it_is_closed_if_it_raises(self) -> None:
        class Body(io.BytesIO):
            def __next__(self) -> bytes:
                raise ValueError("in the middle")

        body = Body()
        with pytest.raises(ValueError, match="in the middle"):
            answer(starting(body=body))
        assert body.closed

    def test_an_exception_of_close_comes_out(self) -> None:
        class Body(list[bytes]):
            def close(self) -> None:
                raise ValueError("in close")

        with pytest.raises(ValueError, match="in close"):
            answer(starting(body=Body([b"x"])))


class TestContentLength:
    def test_the_response_is_complete_with_its_last_octet(self) -> None:
        client = Client(method="GET")
        sent = []

        def application(environ: Environ, start: Start) -> Iterator[bytes]:
            start("200 OK", [("Content-Length", "4")])
            yield b"12"
            yield b"34"
            sent.append(True)

        serve(application, client)
        assert [message.get("more_body") for message in client.messages[1:]] == [True, False]
        assert sent == [True], "the iterable is read to its end"

    @pytest.mark.parametrize("body", [[b"12345"], iter([b"12345"]), iter([b"1234", b"5"])])
    def test_more_than_that_is_an_error(self, body: Any) -> None:
        with pytest.raises(WSGIError, match="longer than its Content-Length, by 1"):
            answer(starting(headers=[("Content-Length", "4")], body=body))


class TestEarlyHints:
    def test_links_are_announced_before_the_response(self) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload"), ("X-A", "1")])
            environ["wsgi.early_hints"]([("X-A", "1")])
            write = start("200 OK", [])
            write(b"x")
            environ["wsgi.early_hints"]([("Link", "</late.css>")])
            return []

        client = answer(application)
        assert client.messages[0] == {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
        assert [message["type"] for message in client.messages].count("http.response.early_hint") == 1

    def test_a_link_cannot_break_the_head(self) -> None:
        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            environ["wsgi.early_hints"]([("Link", "<a>\r\nx: y")])
            return []

        with pytest.raises(WSGIError, match="control character"):
            answer(application)

    def test_there_is_none_for_a_client_that_would_not_understand(self) -> None:
        found = []

        def application(environ: Environ, start: Start) -> Iterable[bytes]:
            found.append("wsgi.early_hints" in environ)
            start("200 OK", [])
            return []

        answer(application, extensions={})
        assert found == [False]
