"""Access lines by a pattern."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.settings.access_pattern import ATOMS, parse_access_format
from appserver.telemetry.access_format import CombinedFormat, Finished, SessionEnd
from appserver.telemetry.access_pattern import PatternFormat
from tests.unit.telemetry.heads import BROWSER, a_head

GUNICORN = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""Gunicorn's default."""


def finished(target: bytes = b"/a%20b?c=1", *, status: int = 200, sent: int = 2000) -> Finished:
    return 1e9, a_head(target, BROWSER, method=b"POST"), ("192.0.2.1", 5000), status, 1.2345678, 10, sent, None, None


@pytest.mark.parametrize("status", [200, 0])
def test_gunicorns_default_is_the_combined_format(status: int) -> None:
    assert PatternFormat(GUNICORN)(finished(status=status)) == CombinedFormat()(finished(status=status))


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("%(m)s %(U)s?%(q)s %(H)s", "POST /a%20b?c=1 HTTP/1.1"),
        ("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234568"),
        ("%(B)s %(b)s", "0 -"),
        ("100%% of %({User-Agent}i)s", f"100% of {dict(BROWSER)[b'user-agent'].decode()}"),
        ("%({x-nothing}i)s", "-"),
        ("plain %(s)s", "plain 200"),
    ],
)
def test_an_atom_is_what_it_is_for_gunicorn(pattern: str, line: str) -> None:
    assert PatternFormat(pattern)(finished(sent=0)) == f"{line}\n"


def test_the_process_is_written_as_gunicorn_does() -> None:
    assert PatternFormat("%(p)s")(finished()) == f"<{os.getpid()}>\n"


def test_a_session_is_a_request_with_status_101() -> None:
    _, head, client, *_ = finished()
    end = SessionEnd(2.0, 5, 7, 1, 1, 1000, None)
    assert PatternFormat("%(s)s %(B)s %(T)s").session(1e9, head, client, end, None) == "101 7 2\n"


@given(st.binary(max_size=30))
def test_nothing_that_a_client_sends_ends_the_line(value: bytes) -> None:
    pattern = " ".join(f"%({atom})s" for atom in ATOMS)
    head = a_head(b"/", [(b"host", b"x"), (b"referer", value), (b"user-agent", value), (b"x-a", value)])
    line = PatternFormat(f"{pattern} %({{x-a}}i)s")((1e9, head, None, 200, 0.1, 1, 1, None, None))
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize("value", ["auto", "JSON", "combined", "console", GUNICORN, "%(h)s 100%%"])
def test_names_and_patterns_are_formats(value: str) -> None:
    assert parse_access_format(value) in (value, value.lower())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("apache", 'expected "auto", "json", "combined" or "console", or a pattern'),
        (3, "expected"),
        ("%(h)s\n", "expected"),
        ("%(h)s %({x}o)s", "%({x}o)s is unknown"),
        ("%(h)s %(z)s", "%(z)s is unknown"),
        ("%(h)s 100%", "% is unknown"),
    ],
)
def test_what_is_neither_is_told_with_what_is_unknown_in_it(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_access_format(value)
