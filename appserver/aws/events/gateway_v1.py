"""API Gateway: REST APIs with a Lambda proxy integration, and HTTP APIs with payload format 1.0."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

from appserver.aws.events.answer import joined_and_cookies, single_and_multiple, wanted, with_body
from appserver.aws.events.kind import MAX_ANSWER, Options
from appserver.aws.events.request import InvocationRequest, make_request, many, read_body, table
from appserver.http.fields import Fields

# Each character of ASCII, and what the query of a form has in its place.
_ENCODED = [quote_plus(chr(code)) for code in range(128)]


def _encode(value: Any) -> str:
    """Encode a name or a value of the query as forms are (null, of a console's test, is nothing)."""
    if type(value) is str and value.isascii():
        return value if value.isalnum() else value.translate(_ENCODED)
    return quote_plus("" if value is None else str(value), errors="replace")


class GatewayV1:
    """Parameters of the query arrive decoded, so they are encoded again; `path` lacks the stage, and has the base path."""

    name = "API Gateway (REST)"
    streams = True

    def limit(self, event: dict[str, Any]) -> int:  # noqa: ARG002 - the form of a kind
        return MAX_ANSWER

    def read(self, event: dict[str, Any], options: Options) -> InvocationRequest:
        identity = table(table(event, "requestContext"), "identity")
        single, multiple = table(event, "queryStringParameters"), table(event, "multiValueQueryStringParameters")
        query = "&".join([f"{_encode(name)}={_encode(value)}" for name, value in many(single, multiple)])
        return make_request(
            event.get("httpMethod"),
            event.get("path") or "/",
            query.encode(),
            many(table(event, "headers"), table(event, "multiValueHeaders")),
            read_body(event),
            client=identity.get("sourceIp") or "",
            base_path=options.base_path,
        )

    def write(
        self,
        event: dict[str, Any],  # noqa: ARG002 - the form of a kind
        status: int,
        fields: Fields,
        body: bytes,
        options: Options,
    ) -> dict[str, Any]:
        single, multiple = single_and_multiple(wanted(fields, options))
        answer: dict[str, Any] = {"statusCode": status, "headers": single}
        if multiple:
            answer["multiValueHeaders"] = multiple
        return with_body(answer, fields, body, options)

    def prelude(self, status: int, fields: Fields, options: Options) -> dict[str, Any]:
        headers, cookies = joined_and_cookies(wanted(fields, options), ", ")
        return {"statusCode": status, "headers": headers, "cookies": cookies}


GATEWAY_V1 = GatewayV1()
