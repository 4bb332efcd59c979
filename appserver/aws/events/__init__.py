"""The triggers of functions that speak HTTP: the form of their events, and of the answers that they want.

`recognise` finds the kind of an event. A kind reads an event into a request, and writes a response as the trigger wants it; it
also says how the head of a streamed response looks. Nothing here does input or output, or knows the application.

| kind | event | answer |
|---|---|---|
| REST API, HTTP API with payload 1.0 | `gateway_v1` | headers, multiValueHeaders |
| HTTP API with payload 2.0, function URL | `gateway_v2` | headers joined by commas, cookies |
| Application Load Balancer | `load_balancer` | headers or multiValueHeaders, as the event; statusDescription |
| Lambda@Edge | `edge` | lists of key and value |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appserver.aws.events.edge import EDGE
from appserver.aws.events.gateway_v1 import GATEWAY_V1
from appserver.aws.events.gateway_v2 import FUNCTION_URL, GATEWAY_V2
from appserver.aws.events.kind import Kind, Options
from appserver.aws.events.load_balancer import LOAD_BALANCER
from appserver.aws.events.request import InvocationRequest
from appserver.errors import EventError

__all__ = ["InvocationRequest", "Kind", "Options", "is_websocket", "recognise", "unknown", "websocket_refusal"]

_WEBSOCKET = (
    "WebSocket APIs of API Gateway are not served: it keeps the connections itself, calls the function once for each message, and"
    " has answers sent to an address of its own, so there is no session that an ASGI application could hold"
)


def recognise(event: object) -> Kind | None:
    """The kind of an HTTP event; None if it is none that is known. Raises EventError for one that cannot be answered."""
    if not isinstance(event, dict):
        return None
    context = event.get("requestContext")
    if isinstance(context, dict):
        if _is_for_authorizer(event):
            return None
        if "http" in context and event.get("version") == "2.0":
            return FUNCTION_URL if ".lambda-url." in str(context.get("domainName")) else GATEWAY_V2
        if "elb" in context:
            return LOAD_BALANCER
        if "httpMethod" in event:
            return GATEWAY_V1
        return None
    records = event.get("Records")
    if isinstance(records, list) and records and isinstance(records[0], dict) and "cf" in records[0]:
        return EDGE
    return None


def _is_for_authorizer(event: Mapping[str, Any]) -> bool:
    """Whether a gateway asks a Lambda authorizer about a request: it wants a policy, and nothing is to be done yet."""
    return event.get("type") == "REQUEST" and ("methodArn" in event or "routeArn" in event)


def is_websocket(event: object) -> bool:
    """Whether it is an event of a WebSocket API."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    return isinstance(context, dict) and "connectionId" in context and "http" not in context


def websocket_refusal() -> EventError:
    """The reason why WebSocket APIs are refused."""
    return EventError(_WEBSOCKET, "WebSocketsNotServed")


def unknown(event: object) -> EventError:
    """Say what an event is that nobody here understands, as far as that can be seen, and what to do."""
    advice = 'name a function for it: lambda.other = "module:function"'
    return EventError(f"the event is no HTTP request, but {_describe(event)}; {advice}")


def _describe(event: object) -> str:
    if not isinstance(event, Mapping):
        return f"of the type {type(event).__name__}"
    records = event.get("Records")
    first: Any = records[0] if isinstance(records, list) and records else None
    if isinstance(first, Mapping):
        source = first.get("eventSource") or first.get("EventSource")
        if source:
            return f"records of {str(source)[:64]}"
    if _is_for_authorizer(event):
        return "a question of API Gateway to a Lambda authorizer"
    if "detail-type" in event:
        return f"an event of {str(event.get('source'))[:64]}"
    names = ", ".join(sorted(map(str, event))[:12])
    return f"an object with the members {names[:256]}" if names else "an empty object"
