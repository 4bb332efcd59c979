"""Access lines, and what clients may try to do to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.http.request import Request
from appserver.telemetry.access_format import CombinedFormat, ConsoleFormat, Finished, Format, JSONFormat
from appserver.telemetry.console import Console
from tests.unit.telemetry.heads import BROWSER, a_head

WORKER = {"pid": 7, "process": "worker", "worker": 1, "generation": 2}
COMBINED = re.compile(
    r'\S+ - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(?:[^"\\]|\\.)*" (?:\d{3}|-) \d+'
    r' "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"\n'
)

json_format = JSONFormat(WORKER)
combined_format = CombinedFormat()
console_format = ConsoleFormat(WORKER, Console(colours=False))


def finished(
    head: Request | None = None,
    *,
    now: float = 1_000_000_000.25,
    client: tuple[str, int] | None = ("192.0.2.1", 5000),
    status: int = 200,
    seconds: float = 0.0012,
    received: int = 10,
    sent: int = 2000,
    outcome: str | None = None,
    request_id: str | None = None,
) -> Finished:
    return now, head or a_head(), client, status, seconds, received, sent, outcome, request_id


class TestJSON:
    def test_a_line_holds_everything_in_the_order_of_a_log_record(self) -> None:
        head = a_head(b"/caf%C3%A9?a=1&b=2", BROWSER, method=b"POST")
        members = json.loads(json_format(finished(head, request_id="r-1")))
        assert list(members.items()) == [
            ("timestamp", "2001-09-09T01:46:40.250Z"),
            ("level", "info"),
            ("event", "request"),
            ("logger", "appserver.access"),
            ("pid", 7),
            ("process", "worker"),
            ("worker", 1),
            ("generation", 2),
            ("method", "POST"),
            ("path", "/café"),
            ("query", "a=1&b=2"),
            ("http_version", "1.1"),
            ("status", 200),
            ("duration_ms", 1.2),
            ("received_bytes", 10),
            ("sent_bytes", 2000),
            ("client", "192.0.2.1"),
            ("host", "example.com"),
            ("user_agent", BROWSER[1][1].decode()),
            ("referer", "https://example.com/start"),
            ("request_id", "r-1"),
        ]

    def test_what_is_not_known_is_null(self) -> None:
        members = json.loads(json_format(finished(client=None, status=0)))
        assert {name for name, value in members.items() if value is None} == {
            "status", "client", "user_agent", "referer", "request_id",
        }  # fmt: skip

    def test_only_a_request_that_did_not_end_well_has_an_outcome(self) -> None:
        assert "outcome" not in json.loads(json_format(finished()))
        assert json.loads(json_format(finished(outcome="aborted")))["outcome"] == "aborted"

    def test_time_goes_on_and_may_be_set_back(self) -> None:
        steps = (0, 0.5, 0.9375, 1, 60.25, 59.5)
        stamps = [json.loads(json_format(finished(now=1e9 + step)))["timestamp"] for step in steps]
        assert [stamp[17:] for stamp in stamps] == [
            "40.000Z", "40.500Z", "40.937Z", "41.000Z", "40.250Z", "39.500Z",
        ]  # fmt: skip

    @pytest.mark.parametrize("seconds", [0.0, 1e-7, 0.0000006, 0.0012, 0.9999994, 0.9999996, 1.0, 59.0000014, 86400.5])
    def test_a_duration_is_exact_to_a_microsecond(self, seconds: float) -> None:
        assert f',"duration_ms":{seconds * 1000:.3f},' in json_format(finished(seconds=seconds))

    @pytest.mark.parametrize("octets", [0, 1, 999, 1000, 1001, 2**40])
    def test_octets_are_counted_whatever_their_number(self, octets: int) -> None:
        members = json.loads(json_format(finished(received=octets, sent=octets)))
        assert (members["received_bytes"], members["sent_bytes"]) == (octets, octets)

    def test_of_fields_that_come_twice_the_last_one_counts(self) -> None:
        fields = [(b"host", b"h"), (b"referer", b"first"), (b"user-agent", b"a"), (b"referer", b"last")]
        members = json.loads(json_format(finished(a_head(fields=fields))))
        assert (members["host"], members["user_agent"], members["referer"]) == ("h", "a", "last")

    def test_octets_that_are_no_text_are_shown(self) -> None:
        members = json.loads(json_format(finished(a_head(fields=[(b"host", b"h"), (b"user-agent", b"\xff\xc3\xbc")]))))
        assert members["user_agent"] == "\\xffü"

    def test_a_path_that_is_no_text_is_shown(self) -> None:
        head = a_head()
        head.path = "/\udcff"
        line = json_format(finished(head))
        assert orjson.loads(line)["path"] == "/\\udcff"


class TestCombined:
    def test_a_line_is_what_every_tool_reads(self) -> None:
        line = combined_format(finished(a_head(b"/a?b=c", BROWSER)))
        assert COMBINED.fullmatch(line)
        assert line.startswith("192.0.2.1 - - [0")
        assert line.endswith(
            '"GET /a?b=c HTTP/1.1" 200 2000 "https://example.com/start"'
            ' "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"\n'
        )

    def test_what_is_not_known_is_a_dash(self) -> None:
        line = combined_format(finished(client=None, status=0))
        assert line.startswith("- - - [")
        assert line.endswith('" - 2000 "-" "-"\n')

    def test_quotes_backslashes_and_control_characters_are_escaped(self) -> None:
        head = a_head(fields=[(b"host", b"h"), (b"user-agent", b'a"b\\c\x1b\xff')])
        assert combined_format(finished(head)).endswith(' "a\\"b\\\\c\\x1b\\xff"\n')


class TestConsole:
    def line(self, line_format: Format = console_format, **parts: Any) -> str:
        return line_format(finished(**parts))

    def test_a_line_stands_in_the_columns_of_the_log(self) -> None:
        line = self.line(head=a_head(b"/a?b=c"))
        assert re.fullmatch(r"\d\d:\d\d:\d\d  worker 1   200  GET  /a\?b=c +1.2 ms  1.95 KiB\n", line)
        assert len(line) == 80 + 1

    def test_a_long_path_is_shown_whole(self) -> None:
        assert "/" + "a" * 90 in self.line(head=a_head(b"/" + b"a" * 90))

    def test_the_only_process_is_not_named(self) -> None:
        line = ConsoleFormat({"process": "dev"}, Console(colours=False))(finished())
        assert re.match(r"\d\d:\d\d:\d\d  200  GET  /", line)
        assert len(line) == 80 + 1

    @pytest.mark.parametrize(
        ("parts", "shown"),
        [
            ({"seconds": 2.25}, "  2.2 s  "),
            ({"sent": 0}, "  0 B\n"),
            ({"sent": 5 << 20}, "  5 MiB\n"),
            ({"sent": 5 << 30}, "  5.0 GiB\n"),
            ({"outcome": "timed_out"}, "  timed_out\n"),
            ({"status": 0}, "worker 1   -    GET"),
        ],
    )
    def test_numbers_are_for_people(self, parts: dict[str, Any], shown: str) -> None:
        assert shown in self.line(**parts)

    def test_the_colour_says_how_it_went(self) -> None:
        coloured = ConsoleFormat(WORKER, Console(colours=True))
        colours = [
            re.findall(r"(\x1b\[3\dm)", self.line(coloured, **parts))[0]
            for parts in ({"status": 204}, {"status": 301}, {"status": 404}, {"status": 500}, {"outcome": "aborted"})
        ]
        assert colours == ["\x1b[32m", "\x1b[36m", "\x1b[33m", "\x1b[31m", "\x1b[31m"]


field_value = st.binary(max_size=30)
hostile = st.builds(
    finished,
    head=st.builds(
        a_head,
        target=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)).map(lambda text: b"/" + text.encode()),
        fields=st.tuples(field_value, field_value).map(
            lambda values: [(b"host", b"h"), (b"user-agent", values[0]), (b"referer", values[1])]
        ),
        method=st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(str.encode),
    ),
    request_id=st.text(st.characters(), max_size=10),
    status=st.integers(0, 999),
    seconds=st.floats(0, 1e6),
    sent=st.integers(0, 1 << 62),
)


class TestInjection:
    @given(hostile)
    def test_every_line_is_one_object(self, request: Finished) -> None:
        line = json_format(request)
        assert line.isascii()
        assert line.removesuffix("\n").isprintable()
        members = json.loads(line)
        assert members["method"] == request[1].method
        assert members["path"] == request[1].path
        assert members["query"] == request[1].query_string.decode()

    @given(hostile.filter(lambda request: request[3] == 0 or request[3] >= 100))
    def test_every_combined_line_has_its_parts(self, request: Finished) -> None:
        line = combined_format(request)
        assert COMBINED.fullmatch(line)
        assert line.isascii()
        assert line.removesuffix("\n").isprintable()

    @given(hostile)
    def test_no_line_talks_to_the_terminal(self, request: Finished) -> None:
        assert console_format(request).removesuffix("\n").isprintable()

    @pytest.mark.parametrize("line_format", [json_format, combined_format, console_format])
    def test_a_decoded_path_does_not_end_the_line(self, line_format: Callable[[Finished], str]) -> None:
        line = line_format(finished(a_head(b"/%0A%22%1b%5D0;title%07%C2%9B")))
        assert line.removesuffix("\n").isprintable()
