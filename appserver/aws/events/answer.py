"""How responses are written into answers: text or base64, and fields that come more than once."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from appserver.aws.events.kind import Options
from appserver.http.fields import Fields


def text_of(value: bytes) -> str:
    """The value of a field as text. Values are octets, which JSON cannot hold: UTF-8 where they are that, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def encode_body(fields: Fields, body: bytes, options: Options) -> tuple[str, bool]:
    """The body as text, and whether that is base64.

    Text is passed on as it is if its type says so and it is UTF-8, for that is what the gateways make of text; what has a
    content coding (gzip) is never text.
    """
    if not body:
        return "", False
    if _is_text(fields, options):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _is_text(fields: Fields, options: Options) -> bool:
    kind = b""
    for name, value in fields:
        if name == b"content-type":
            kind = value.lower()
        elif name == b"content-encoding" and value.lower() != b"identity":
            return False
    if kind.startswith(options.text_types):
        return True
    return kind.partition(b";")[0].rstrip().endswith((b"+json", b"+xml"))


def wanted(fields: Fields, options: Options) -> Iterable[tuple[bytes, bytes]]:
    """The fields that are to be passed on."""
    if not options.exclude:
        return fields
    return [field for field in fields if field[0] not in options.exclude]


def single_and_multiple(fields: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The fields that come once, and those that come more often."""
    single: dict[str, str] = {}
    multiple: dict[str, list[str]] = {}
    for octets, value in fields:
        name = octets.decode()
        if name in multiple:
            multiple[name].append(text_of(value))
        elif name in single:
            multiple[name] = [single.pop(name), text_of(value)]
        else:
            single[name] = text_of(value)
    return single, multiple


def joined_and_cookies(fields: Iterable[tuple[bytes, bytes]], separator: str) -> tuple[dict[str, str], list[str]]:
    """The fields, with the values of equal names put together (RFC 9110 section 5.3), and those that set cookies."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for octets, value in fields:
        if octets == b"set-cookie":
            cookies.append(text_of(value))
            continue
        name = octets.decode()
        headers[name] = f"{headers[name]}{separator}{text_of(value)}" if name in headers else text_of(value)
    return headers, cookies


def with_body(answer: dict[str, Any], fields: Fields, body: bytes, options: Options) -> dict[str, Any]:
    """Add the body to an answer."""
    answer["body"], answer["isBase64Encoded"] = encode_body(fields, body, options)
    return answer
