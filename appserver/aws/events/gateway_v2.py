"""API Gateway: HTTP APIs with payload format 2.0, and function URLs, which have the same form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appserver.aws.events.answer import joined_and_cookies, wanted, with_body
from appserver.aws.events.kind import MAX_ANSWER, Options
from appserver.aws.events.request import InvocationRequest, make_request, malformed, read_body, read_query, table
from appserver.http.fields import Fields


class GatewayV2:
    """The query comes as it was sent. Repeated headers arrive joined by commas, cookies in a list of their own.

    `rawPath` begins with the stage, unless that is `$default`.
    """

    def __init__(self, name: str, *, streams: bool) -> None:
        self.name = name
        self.streams = streams

    def limit(self, event: dict[str, Any]) -> int:  # noqa: ARG002 - the form of a kind
        return MAX_ANSWER

    def read(self, event: dict[str, Any], options: Options) -> InvocationRequest:
        http = table(table(event, "requestContext"), "http")
        return make_request(
            http.get("method"),
            event.get("rawPath") or http.get("path") or "/",
            read_query(event, "rawQueryString"),
            self._headers(event),
            read_body(event),
            client=http.get("sourceIp") or "",
            base_path=options.base_path,
        )

    def _headers(self, event: dict[str, Any]) -> Iterable[tuple[str, Any]]:
        headers = table(event, "headers")
        cookies = event.get("cookies")
        if not cookies:
            return headers.items()
        if not isinstance(cookies, list) or not all(isinstance(cookie, str) for cookie in cookies):
            raise malformed("cookies has to be a list of texts")
        pairs = [*headers.items(), ("cookie", "; ".join(cookies))]
        if "cookie" in headers or "Cookie" in headers:
            pairs = [pair for pair in pairs[:-1] if pair[0].lower() != "cookie"] + pairs[-1:]
        return pairs

    def write(
        self,
        event: dict[str, Any],  # noqa: ARG002 - the form of a kind
        status: int,
        fields: Fields,
        body: bytes,
        options: Options,
    ) -> dict[str, Any]:
        return with_body(self.prelude(status, fields, options), fields, body, options)

    def prelude(self, status: int, fields: Fields, options: Options) -> dict[str, Any]:
        headers, cookies = joined_and_cookies(wanted(fields, options), ", ")
        answer: dict[str, Any] = {"statusCode": status, "headers": headers}
        if cookies:
            answer["cookies"] = cookies
        return answer


GATEWAY_V2 = GatewayV2("API Gateway (HTTP)", streams=False)
FUNCTION_URL = GatewayV2("function URL", streams=True)
