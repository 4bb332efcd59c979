"""Application Load Balancers, with and without multi-value headers for the target group."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from appserver.aws.events.answer import joined_and_cookies, text_of, wanted, with_body
from appserver.aws.events.kind import Options
from appserver.aws.events.request import QUERY_SAFE, InvocationRequest, make_request, many, read_body, table
from appserver.http.fields import Fields

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

MAX_ANSWER_OF_TARGET = 1024 * 1024


class LoadBalancer:
    """Parameters of the query arrive as they were sent, and are put together as they are.

    Without multi-value headers only the last value of a name arrives, of headers and of parameters. The client is the last
    one in X-Forwarded-For, which the load balancer has added.
    """

    name = "load balancer"
    streams = False

    def limit(self, event: dict[str, Any]) -> int:  # noqa: ARG002 - the form of a kind
        return MAX_ANSWER_OF_TARGET

    def read(self, event: dict[str, Any], options: Options) -> InvocationRequest:
        pairs = many(table(event, "queryStringParameters"), table(event, "multiValueQueryStringParameters"))
        query = "&".join(
            f"{quote(str(name), QUERY_SAFE, errors='replace')}={quote('' if value is None else str(value), QUERY_SAFE + '=', errors='replace')}"
            for name, value in pairs
        )
        return make_request(
            event.get("httpMethod"),
            event.get("path") or "/",
            query.encode(),
            many(table(event, "headers"), table(event, "multiValueHeaders")),
            read_body(event),
            client=None,
            base_path=options.base_path,
        )

    def write(
        self, event: dict[str, Any], status: int, fields: Fields, body: bytes, options: Options
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"statusCode": status, "statusDescription": _description(status)}
        if "multiValueHeaders" in event:
            values: dict[str, list[str]] = {}
            for name, value in wanted(fields, options):
                values.setdefault(name.decode(), []).append(text_of(value))
            answer["multiValueHeaders"] = values
        else:
            headers, cookies = joined_and_cookies(wanted(fields, options), ", ")
            headers |= {_spelling("set-cookie", number): cookie for number, cookie in enumerate(cookies)}
            answer["headers"] = headers
        return with_body(answer, fields, body, options)

    def prelude(self, status: int, fields: Fields, options: Options) -> dict[str, Any]:
        raise NotImplementedError("a load balancer takes whole responses only")


def _description(status: int) -> str:
    return f"{status} {_PHRASES.get(status, '')}".rstrip()


def _spelling(name: str, number: int) -> str:
    """One of the ways to spell a name with capitals. A JSON object has each name once, and set-cookie cannot be joined."""
    letters = []
    for letter in name:
        if letter.isalpha():
            letters.append(letter.upper() if number & 1 else letter)
            number >>= 1
        else:
            letters.append(letter)
    return "".join(letters)


LOAD_BALANCER = LoadBalancer()
