"""The contract of the parser: the same events and the same verdict, whichever backend, however the octets arrive."""

from __future__ import annotations

import pytest

from appserver.errors import RequestError
from appserver.http.limits import Limits
from appserver.http1.grammar import Lexed
from appserver.http1.lexer_httptools import HttptoolsLexer
from appserver.http1.parser import IGNORE_LIMIT, Parser
from tests.unit.http1.corpus import BAD, CASES, CHUNKED, GET, GOOD, NEXT, POST, UPGRADE, Bad, Good
from tests.unit.http1.recorder import BACKENDS, Recorder, make_parser, octets, outcome

backends = pytest.mark.parametrize("backend", BACKENDS)
corpus = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class TestCorpus:
    @backends
    @pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
    def test_a_good_request_becomes_what_it_says(self, case: Good, backend: str) -> None:
        result = outcome(backend, [case.octets])
        assert result.refusal is None
        assert result.summary == list(case.requests)
        assert result.cut == ((400, "bad_request") if case.rest else None)

    @backends
    @pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
    def test_a_bad_request_is_refused(self, case: Bad, backend: str) -> None:
        result = outcome(backend, [case.octets])
        assert result.refusal == (case.status, case.reason)
        assert len(result.summary) == case.complete

    @corpus
    def test_both_backends_deliver_the_same(self, case: Good | Bad) -> None:
        first, second = (outcome(backend, [case.octets]) for backend in BACKENDS)
        assert first == second

    @backends
    @corpus
    def test_where_the_octets_are_split_makes_no_difference(self, case: Good | Bad, backend: str) -> None:
        data = case.octets
        whole = outcome(backend, [data])
        assert outcome(backend, octets(data)) == whole
        for split in range(1, len(data)):
            assert outcome(backend, [data[:split], data[split:]]) == whole, f"split at {split}"


@backends
class TestLimits:
    def test_a_target_of_the_largest_size_passes(self, backend: str) -> None:
        limits = Limits(max_target_size=10)
        assert outcome(backend, [b"GET /123456789 HTTP/1.1\r\nHost: x\r\n\r\n"], limits).summary

    @pytest.mark.parametrize(
        "end", [b" HTTP/1.1\r\nHost: x\r\n\r\n", b" HTTP/1.1\r\n: x\r\n\r\n", b"", b"\x00 HTTP/1.1\r\n\r\n"]
    )
    def test_a_larger_target_is_refused_with_414_whatever_follows(self, backend: str, end: bytes) -> None:
        data = b"GET /1234567890" + end
        for pieces in ([data], octets(data)):
            assert outcome(backend, pieces, Limits(max_target_size=10)).refusal == (414, "target_too_large")

    def test_a_larger_target_with_an_unknown_method_is_refused_too(self, backend: str) -> None:
        data = b"GETX /1234567890 HTTP/1.1\r\nHost: x\r\n\r\n"
        assert outcome(backend, [data], Limits(max_target_size=10)).refusal == (414, "target_too_large")

    def test_a_head_of_the_largest_size_passes(self, backend: str) -> None:
        data = GET + b"A: " + b"b" * 50 + b"\r\n\r\n"
        for pieces in ([data], octets(data), [data + data]):
            assert outcome(backend, pieces, Limits(max_header_size=len(data))).summary

    def test_a_head_one_octet_larger_is_refused_with_431(self, backend: str) -> None:
        data = GET + b"A: " + b"b" * 50 + b"\r\n\r\n"
        for pieces in ([data], octets(data), [data + NEXT]):
            assert outcome(backend, pieces, Limits(max_header_size=len(data) - 1)).refusal == (431, "head_too_large")

    def test_a_head_that_never_ends_is_refused_while_it_arrives(self, backend: str) -> None:
        recorder = Recorder()
        parser = make_parser(backend, recorder, Limits(max_header_size=4096))
        parser.feed(GET + b"A: ")
        with pytest.raises(RequestError) as caught:  # noqa: PT012, because the loop is what has to end
            for _ in range(50):
                parser.feed(b"b" * 100)
        assert caught.value.status == 431
        assert "http.max_header_size (4096 octets)" in str(caught.value)

    def test_it_is_refused_as_soon_as_it_cannot_end_within_the_limit(self, backend: str) -> None:
        data = GET + b"A: " + b"b" * 100
        for size, refusal in ((99, None), (100, (431, "head_too_large"))):
            assert outcome(backend, octets(data[:size]), Limits(max_header_size=100)).refusal == refusal

    def test_a_malformed_line_within_the_limit_comes_before_the_size(self, backend: str) -> None:
        data = GET + b"A : b\r\n" + b"C: " + b"d" * 5000
        for pieces in ([data], octets(data), [data + b"\r\n\r\n"]):
            assert outcome(backend, pieces, Limits(max_header_size=1000)).refusal == (400, "bad_request")

    def test_a_malformed_line_beyond_the_limit_does_not_count(self, backend: str) -> None:
        data = GET + b"C: " + b"d" * 1000 + b"\r\nA : b\r\n\r\n"
        for pieces in ([data], octets(data)):
            assert outcome(backend, pieces, Limits(max_header_size=1000)).refusal == (431, "head_too_large")

    def test_as_many_fields_as_allowed_pass_and_one_more_is_refused(self, backend: str) -> None:
        fields = b"A: b\r\n" * 9
        assert outcome(backend, [GET + fields + b"\r\n"], Limits(max_headers=10)).summary
        assert outcome(backend, [GET + fields + b"A: b\r\n\r\n"], Limits(max_headers=10)).refusal == (
            431,
            "head_too_large",
        )

    def test_a_trailer_section_is_held_to_the_limits_of_a_head(self, backend: str) -> None:
        for trailers in (b"A: " + b"b" * 2000 + b"\r\n", b"A: " + b"b" * 400 + b"\r\n"):
            data = CHUNKED + b"5\r\nhello\r\n0\r\n" + trailers * 3 + b"\r\n"
            for pieces in ([data], octets(data)):
                result = outcome(backend, pieces, Limits(max_header_size=1000))
                assert result.refusal == (431, "head_too_large")
                assert result.requests[0].body == b"hello"

    def test_trailer_fields_are_counted(self, backend: str) -> None:
        data = CHUNKED + b"0\r\n" + b"A: b\r\n" * 5
        assert outcome(backend, [data + b"\r\n"], Limits(max_headers=5)).summary
        assert outcome(backend, [data + b"A: b\r\n\r\n"], Limits(max_headers=5)).refusal == (431, "head_too_large")

    def test_a_trailer_section_that_fills_its_limit_can_still_end(self, backend: str) -> None:
        trailer = b"Abc: d" + b"e" * 92 + b"\r\n"
        data = CHUNKED + b"0\r\n" + trailer + b"\r\n"
        for pieces in ([data], octets(data)):
            assert outcome(backend, pieces, Limits(max_header_size=100)).summary

    def test_a_megabyte_of_a_chunk_extension_is_refused(self, backend: str) -> None:
        start = CHUNKED + b"5;a="
        for pieces in ([start + b"b" * (1 << 20) + b"\r\nhello\r\n0\r\n\r\n"], [start] + [b"b" * 1000] * 10):
            assert outcome(backend, pieces).refusal == (400, "bad_request")

    def test_many_small_extensions_are_refused_when_they_outgrow_the_data(self, backend: str) -> None:
        chunk = b"1;abcdefgh\r\nx\r\n"
        data = CHUNKED + chunk * 2000
        result = outcome(backend, [data])
        assert result.refusal == (400, "bad_request")
        assert outcome(backend, octets(data)) == result

    def test_an_extension_for_each_large_chunk_passes(self, backend: str) -> None:
        chunk = b"400;signature=" + b"f" * 64 + b"\r\n" + b"x" * 1024 + b"\r\n"
        assert outcome(backend, [CHUNKED, *[chunk] * 500, b"0\r\n\r\n"]).cut is None


@backends
class TestDelivery:
    def test_a_body_in_one_segment_is_delivered_in_one_piece(self, backend: str) -> None:
        recorder = Recorder()
        make_parser(backend, recorder, Limits()).feed(CHUNKED + b"1\r\na\r\n" * 100 + b"0\r\n\r\n")
        assert recorder.pieces == [b"a" * 100]

    def test_a_body_is_delivered_as_it_arrives(self, backend: str) -> None:
        recorder = Recorder()
        parser = make_parser(backend, recorder, Limits())
        for piece in (POST + b"Content-Length: 6\r\n\r\n", b"ab", b"cd", b"ef" + NEXT):
            parser.feed(piece)
        assert recorder.pieces == [b"ab", b"cd", b"ef"]
        assert [request.complete for request in recorder.requests] == [True, True]

    def test_what_came_before_a_violation_is_delivered(self, backend: str) -> None:
        result = outcome(backend, [NEXT + CHUNKED + b"5\r\nhello\r\nX"])
        assert result.refusal is None
        result = outcome(backend, [NEXT + CHUNKED + b"5\r\nhello\r\nX\r\n"])
        assert result.refusal == (400, "bad_request")
        assert [request.body for request in result.requests] == [b"", b"hello"]

    def test_no_object_is_kept_for_a_segment_that_is_all_body(self, backend: str) -> None:
        recorder = Recorder()
        parser = make_parser(backend, recorder, Limits())
        parser.feed(POST + b"Content-Length: 10\r\n\r\n")
        segment = b"0123456789"
        parser.feed(segment)
        assert recorder.pieces[0] is segment

    def test_ten_thousand_pipelined_requests_are_read_in_linear_time(self, backend: str) -> None:
        count = 10_000 if backend == "httptools" else 1_000
        assert len(outcome(backend, [NEXT * count]).summary) == count


class Watched(HttptoolsLexer):
    """Counts the heads that it declines."""

    declined = 0

    def lex(self, raw: bytes) -> Lexed | None:
        lexed = super().lex(raw)
        self.declined += lexed is None
        return lexed


class TestOneLexerForMany:
    @pytest.mark.parametrize("last", [GET + b"Connection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"])
    def test_the_last_head_of_a_connection_leaves_the_next_one_a_lexer_that_works(self, last: bytes) -> None:
        lexer = Watched()
        for head in (last, last, GET + b"\r\n", last):
            recorder = Recorder()
            Parser(lexer, recorder, Limits()).feed(head)
            assert len(recorder.requests) == 1
        assert lexer.declined == 0


@backends
class TestTakeOver:
    def test_the_parser_stops_behind_the_head_and_hands_over_the_rest(self, backend: str) -> None:
        recorder = Recorder(take_over=True)
        parser = make_parser(backend, recorder, Limits())
        parser.feed(GET + UPGRADE + b"\r\n\x81\x00")
        parser.feed(b"more")
        assert recorder.requests[0].head["upgrade"] == b"websocket"
        assert not recorder.requests[0].complete
        assert not parser.idle
        assert parser.take_rest() == b"\x81\x00more"
        assert parser.take_rest() == b""
        parser.eof()

    def test_a_head_without_anything_behind_it_leaves_no_rest(self, backend: str) -> None:
        recorder = Recorder(take_over=True)
        parser = make_parser(backend, recorder, Limits())
        parser.feed(GET + UPGRADE + b"\r\n")
        assert parser.take_rest() == b""

    def test_a_request_behind_one_that_was_not_taken_over_can_be(self, backend: str) -> None:
        recorder = Recorder()
        parser = make_parser(backend, recorder, Limits())
        parser.feed(GET + UPGRADE + b"\r\n")
        recorder.take_over = True
        parser.feed(GET + UPGRADE + b"\r\nrest")
        assert [request.complete for request in recorder.requests] == [True, False]
        assert parser.take_rest() == b"rest"


@backends
class TestPause:
    def test_requests_behind_the_present_one_wait_until_resumed(self, backend: str) -> None:
        recorder = Recorder(pause=True)
        parser = recorder.parser = make_parser(backend, recorder, Limits())
        parser.feed(POST + b"Content-Length: 5\r\n\r\nhello" + NEXT + NEXT[:10])
        assert [request.body for request in recorder.requests] == [b"hello"]
        assert recorder.requests[0].complete
        assert not parser.idle
        parser.resume()
        assert len(recorder.requests) == 2
        parser.feed(NEXT[10:])
        assert len(recorder.requests) == 2
        parser.resume()
        assert len(recorder.requests) == 3
        assert parser.idle

    def test_a_violation_behind_the_present_request_is_reported_when_it_is_resumed(self, backend: str) -> None:
        recorder = Recorder(pause=True)
        parser = recorder.parser = make_parser(backend, recorder, Limits())
        parser.feed(NEXT + b"\x00")
        with pytest.raises(RequestError):
            parser.resume()

    def test_an_end_during_a_pause_is_judged_when_it_is_resumed(self, backend: str) -> None:
        for rest, whole in ((b"", True), (NEXT, True), (NEXT[:5], False)):
            recorder = Recorder(pause=True)
            parser = recorder.parser = make_parser(backend, recorder, Limits())
            parser.feed(NEXT + rest)
            parser.eof()
            recorder.pause = False
            if whole:
                parser.resume()
            else:
                with pytest.raises(RequestError):
                    parser.resume()


@backends
class TestIdle:
    def test_a_new_parser_is_idle(self, backend: str) -> None:
        assert make_parser(backend, Recorder(), Limits()).idle

    @pytest.mark.parametrize(
        "data", [NEXT, NEXT + b"\r\n", POST + b"Content-Length: 1\r\n\r\nx", CHUNKED + b"0\r\n\r\n"]
    )
    def test_it_is_idle_between_requests(self, backend: str, data: bytes) -> None:
        parser = make_parser(backend, Recorder(), Limits())
        parser.feed(data)
        assert parser.idle

    @pytest.mark.parametrize("data", [GET + b"Connection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"])
    def test_it_is_idle_behind_the_last_request_until_too_much_follows(self, backend: str, data: bytes) -> None:
        parser = make_parser(backend, Recorder(), Limits())
        idle = []
        for piece in (data, b"x" * IGNORE_LIMIT, b"x"):
            parser.feed(piece)
            idle.append(parser.idle)
        assert idle == [True, True, False]
        parser.eof()

    @pytest.mark.parametrize(
        "data", [b"G", NEXT[:-1], POST + b"Content-Length: 1\r\n\r\n", CHUNKED, CHUNKED + b"0\r\n"]
    )
    def test_it_is_not_idle_in_the_middle_of_a_request(self, backend: str, data: bytes) -> None:
        parser = make_parser(backend, Recorder(), Limits())
        parser.feed(data)
        assert not parser.idle
        with pytest.raises(RequestError, match="closed in the middle of a request"):
            parser.eof()


def test_auto_is_httptools() -> None:
    assert type(make_parser("auto", Recorder(), Limits())) is type(make_parser("httptools", Recorder(), Limits()))
