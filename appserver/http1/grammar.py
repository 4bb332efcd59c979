"""Which octets are a request head (RFC 9112 sections 2 to 5), and the reference lexer.

Strict: lines end with CR LF and with nothing else, no line is folded, white space stands only where the grammar has it,
and there are no control characters. What two implementations may read differently is refused, because one of them may
be the proxy in front (request smuggling).
"""

from __future__ import annotations

import re
import sys

from appserver.http.fields import TCHAR, VALUE, Fields, bad_request

# Method, target, version ("1.1"), fields in order with lower-case names and without the white space around values.
Lexed = tuple[bytes, bytes, bytes, Fields]

# Possessive quantifiers (`++`) wherever one character is repeated, so that nothing a client sends makes a pattern backtrack far. A group
# is never repeated like that: Python up to 3.11.4 goes on behind half a match of the group (python/cpython#106052).
# RFC 9110 section 9.1. The longest registered method has 17 characters (UPDATEREDIRECTREF).
METHOD = TCHAR + rb"{1,64}+"
# Visible ASCII. RFC 3986 has fewer characters, but browsers send "|" and "{" as they are. Not "#": no client sends a
# fragment (RFC 9112 section 3.2), and servers disagree on whether the path ends there.
TARGET = rb"[\x21\x22\x24-\x7e]++"

REQUEST_LINE = re.compile(rb"(" + METHOD + rb") (" + TARGET + rb") HTTP/([0-9]\.[0-9])\r\n")
FIELD_LINE = re.compile(rb"(" + TCHAR + rb"++):(" + VALUE + rb")\r\n")
HEAD = re.compile(REQUEST_LINE.pattern + rb"(?:" + FIELD_LINE.pattern + rb")*\r\n")

# How a request begins that may still be arriving; group 1 is the target, as far as it is there. Whether the method is one
# shows within START_SIZE octets.
START = re.compile(METHOD + rb"(?:\Z| ([^ \r\n]*+))")
START_SIZE = 66
TARGET_END = re.compile(rb"[ \r\n]")


def lex(raw: bytes) -> Lexed:
    """Take a head apart. `raw` is the whole head, from the method to the empty line, both included.

    This is the reference: a library returns the same, or declines. Raises RequestError (400).
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


def check_lines(raw: bytes | bytearray, checked: int, *, seen: int = 0, start: int = 0, stop: int = sys.maxsize) -> int:
    """Check the lines of a head that may still be arriving; return the size of those that are complete and checked.

    The head begins at `start` of `raw`, and what of it is there ends at `stop`. `checked` is what the last call returned,
    0 at first, and `seen` how much of the head was there then: each line is checked once, and each octet is searched for
    the end of a line once, however a head arrives. A head that can no longer become a request is refused at its first line
    that shows it, without waiting for the rest. Raises RequestError (400).
    """
    line = start + checked
    search = max(line, start + seen)
    while end := raw.find(b"\n", search, stop) + 1:
        if not (FIELD_LINE if line > start else REQUEST_LINE).fullmatch(raw, line, end):
            raise bad_request("a header field line is malformed" if line > start else "the request line is malformed")
        line = search = end
    return line - start
