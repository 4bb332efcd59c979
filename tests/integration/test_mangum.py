"""Mangum beside appserver on the same events. Where they differ, the table says how; deploy/lambda/README.md says who is right."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mangum import Mangum

import appserver.aws
from tests.unit.aws import events


class Context:
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it has seen, and with fields of every kind."""
    message = await receive()
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "root_path": scope["root_path"],
        "query": scope["query_string"].decode(),
        "scheme": scope["scheme"],
        "server": scope["server"],
        "client": scope["client"][0],
        "body": message["body"].decode(),
        "headers": sorted(
            [name.decode(), value.decode()]
            for name, value in scope["headers"]
            if name not in (b"x-request-id", b"content-length")
        ),
    }
    headers = [
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-request-id", b"ours"),
    ]
    body = json.dumps(seen).encode()
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def handlers() -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    theirs: Any = Mangum(application, lifespan="off")

    def with_mangum(event: Any) -> Any:
        asyncio.set_event_loop(loop)
        return theirs(event, Context())

    ours = appserver.aws.handler(application, lifespan="off")
    yield lambda event: ours(event, Context()), with_mangum
    loop.close()


def differences(ours: Any, theirs: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    found = {}
    for name in {**ours, **theirs}:
        mine, other = ours.get(name), theirs.get(name)
        if mine != other:
            found[prefix + name] = (mine, other)
    return found


HOST = "my-alb.eu-central-1.elb.amazonaws.com"
EXPECTED: dict[str, dict[str, tuple[Any, Any]]] = {
    "rest": {
        # One field each, as they were sent; X-Tag is joined by Mangum.
        "seen.headers": (..., ...),
    },
    # Mangum takes 80 where nothing is said of the port, with https as well.
    "http": {"seen.server": (["api.example.com", 443], ["api.example.com", 80])},
    "function url": {"seen.server": (["api.example.com", 443], ["api.example.com", 80])},
    "balancer": {
        "statusDescription": ("201 Created", None),
        "seen.client": ("192.0.2.1", "198.51.100.66, 192.0.2.1"),  # the first one is what the client has claimed
        "seen.query": ("myKey=val%20ue2&sum=1%2B1", "myKey=val+ue2&sum=1%2B1"),  # as sent; and in another spelling
    },
    "balancer multiple": {
        "statusDescription": ("201 Created", None),
        "seen.query": ("myKey=val1&myKey=val%202", "myKey=val1&myKey=val+2"),
        "seen.headers": (..., ...),  # cookies in one field
    },
    "edge": {
        "status": ("201", 201),
        "statusDescription": ("Created", None),
        "bodyEncoding": ("text", None),
        "isBase64Encoded": (None, False),
        "headers": (..., ...),  # all cookies
        "seen.headers": (..., ...),  # all cookies
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_both_answer_alike_but_for(name: str, handlers: tuple[Callable[..., Any], Callable[..., Any]]) -> None:
    ours, theirs = (handler(copy.deepcopy(events.ALL[name])) for handler in handlers)
    found = differences(json.loads(ours.pop("body")), json.loads(theirs.pop("body")), "seen.")
    for answer in (ours, theirs):  # an empty one says nothing, and Mangum adds no length
        for member in ("headers", "multiValueHeaders"):
            answer.get(member, {}).pop("content-length", None)
            if not answer.get(member):
                answer.pop(member, None)
    found |= differences(ours, theirs)
    expected = EXPECTED[name]
    assert {key: value if ... not in expected.get(key, ()) else (..., ...) for key, value in found.items()} == expected
