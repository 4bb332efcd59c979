"""Which octets are a request head (RFC 9112 sections 2 to 5), and the reference lexer.

Strict: lines end with CR LF and with nothing else, no line is folded, white space stands only where the grammar has it,
and there are no control characters. What two implementations may read differently is refused, because one of them may
be the proxy in front (request smuggling).
"""

from __future__ import annotations

import re

from appserver.errors import RequestError

Fields = list[tuple[bytes, bytes]]
# Method, target, version ("1.1"), fields in order with lower-case names and without the white space around values.
Lexed = tuple[bytes, bytes, bytes, Fields]

# Possessive quantifiers (`++`) throughout: nothing that a client sends makes a pattern backtrack.
TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# RFC 9110 section 9.1. The longest registered method has 17 characters (UPDATEREDIRECTREF).
METHOD = TCHAR + rb"{1,64}+"
# Visible ASCII. RFC 3986 has fewer characters, but browsers send "|" and "{" as they are. Not "#": no client sends a
# fragment (RFC 9112 section 3.2), and servers disagree on whether the path ends there.
TARGET = rb"[\x21\x22\x24-\x7e]++"
# RFC 9110 section 5.5: visible ASCII, obs-text, SP and HTAB.
VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"

REQUEST_LINE = re.compile(rb"(" + METHOD + rb") (" + TARGET + rb") HTTP/([0-9]\.[0-9])\r\n")
FIELD_LINE = re.compile(rb"(" + TCHAR + rb"++):(" + VALUE + rb")\r\n")
HEAD = re.compile(REQUEST_LINE.pattern + rb"(?:" + FIELD_LINE.pattern + rb")*+\r\n")

# How a request begins that may still be arriving; group 1 is the target, as far as it is there.
START = re.compile(METHOD + rb"(?:\Z| ([^ \r\n]*+))")


def bad_request(message: str) -> RequestError:
    """The error for a violated grammar (RFC 9110 section 15.5.1)."""
    return RequestError(400, "bad_request", message)


def lex(raw: bytes) -> Lexed:
    """Take a head apart. `raw` is the whole head, from the method to the empty line, both included.

    This is the reference: a backend returns the same, or declines. Raises RequestError (400).
    """
    line = REQUEST_LINE.match(raw)
    if line is None:
        raise bad_request("the request line is malformed")
    fields, position, end = [], line.end(), len(raw) - 2
    while position < end:
        field = FIELD_LINE.match(raw, position)
        if field is None:
            raise bad_request("a header field line is malformed")
        fields.append((field[1].lower(), field[2].strip(b" \t")))
        position = field.end()
    return line[1], line[2], line[3], fields


def check_lines(raw: bytes, checked: int) -> int:
    """Check the lines of a head that may still be arriving; return the size of those that are complete and checked.

    `checked` is what the last call returned, 0 at first, so that each line is checked once however a head arrives.
    A head that can no longer become a request is refused at its first line that shows it, without waiting for the
    rest. Raises RequestError (400).
    """
    while end := raw.find(b"\n", checked) + 1:
        if not (FIELD_LINE if checked else REQUEST_LINE).fullmatch(raw, checked, end):
            raise bad_request("a header field line is malformed" if checked else "the request line is malformed")
        checked = end
    return checked
