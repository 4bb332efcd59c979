"""Lambda@Edge: a function that answers in place of CloudFront's cache (viewer request) or of the origin (origin request)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from appserver.aws.events.answer import encode_body, text_of, wanted
from appserver.aws.events.kind import Options
from appserver.aws.events.request import InvocationRequest, decode_base64, make_request, malformed, table
from appserver.errors import EventError, RequestError
from appserver.http.fields import Fields

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

# Header fields that a function may not set: CloudFront answers 502 to it.
_FORBIDDEN = frozenset(
    (
        b"connection", b"content-length", b"expect", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"trailer", b"transfer-encoding", b"upgrade", b"via", b"x-cache", b"x-forwarded-proto",
        b"x-real-ip",
    )
)  # fmt: skip
_FORBIDDEN_PREFIXES = (b"x-accel-", b"x-amz-cf-", b"x-edge-")


class Edge:
    """Headers come as lists of a name in its original spelling and a value. A body comes only if the trigger includes it."""

    name = "Lambda@Edge"
    streams = False
    max_body = 1024 * 1024

    def read(self, event: dict[str, Any], options: Options) -> InvocationRequest:
        cf = table(event["Records"][0], "cf")
        if "response" in cf:
            kind = table(cf, "config").get("eventType")
            raise EventError(
                f"the trigger of Lambda@Edge is {kind}, which has a response already: use origin-request or viewer-request",
                "UnknownEvent",
            )
        request = table(cf, "request")
        query = request.get("querystring") or ""
        if not isinstance(query, str):
            raise malformed("querystring has to be text")
        pairs = []
        for name, values in table(request, "headers").items():
            if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
                raise malformed("headers of Lambda@Edge have to be lists of objects")
            pairs += [(name, value.get("value")) for value in values]
        found = make_request(
            request.get("method"),
            request.get("uri") or "/",
            query.encode("ascii", "backslashreplace"),
            pairs,
            _body(table(request, "body")),
            client=request.get("clientIp") or "",
            base_path=options.base_path,
        )
        if ("cloudfront-forwarded-proto", "http") in pairs:
            found.scheme = "http"
        return found

    def write(
        self,
        event: dict[str, Any],  # noqa: ARG002 - the form of a kind
        status: int,
        fields: Fields,
        body: bytes,
        options: Options,
    ) -> dict[str, Any]:
        headers: dict[str, list[dict[str, str]]] = {}
        for octets, value in wanted(fields, options):
            if octets not in _FORBIDDEN and not octets.startswith(_FORBIDDEN_PREFIXES):
                name = octets.decode()
                headers.setdefault(name, []).append({"key": name, "value": text_of(value)})
        text, is_base64 = encode_body(fields, body, options)
        return {
            "status": str(status),
            "statusDescription": _PHRASES.get(status, ""),
            "headers": headers,
            "body": text,
            "bodyEncoding": "base64" if is_base64 else "text",
        }

    def prelude(self, status: int, fields: Fields, options: Options) -> dict[str, Any]:
        raise NotImplementedError("Lambda@Edge takes whole responses only")


def _body(body: dict[str, Any]) -> bytes:
    if body.get("inputTruncated"):
        raise RequestError(413, "body_too_large", "CloudFront has cut the body off, so it cannot be answered")
    data = body.get("data") or ""
    if not isinstance(data, str):
        raise malformed("the data of a body has to be text")
    return decode_base64(data) if body.get("encoding") == "base64" else data.encode("utf-8", "surrogatepass")


EDGE = Edge()
