"""A client of Lambda's Runtime API, and of as much of the Extensions API as it takes to be told of the end.

The API is HTTP/1.1 on an address of the execution environment (AWS_LAMBDA_RUNTIME_API). A `Connection` has one exchange at a
time, and is kept open: `next` waits for an invocation, as long as that takes, and what becomes of it goes back over the same
connection with `respond`, `fail` or `stream`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from appserver.aws.wire import Reply, Wire
from appserver.errors import RuntimeAPIError

RUNTIME = "/2018-06-01/runtime"
EXTENSION = "/2020-01-01/extension"

STREAM_TYPE = "application/vnd.awslambda.http-integration-response"
ERROR_TYPE = "application/vnd.aws.lambda.error+json"

ATTEMPTS = 5
"""So often in a row the next invocation is asked for before the environment counts as over."""
DELAY = 0.05
"""Seconds before the second attempt; each further one waits twice as long."""
ANSWER_TIMEOUT = 60.0
"""How long, in seconds, the API may take to confirm what it was sent."""


class Connection:
    """One connection to the API, made when it is needed, and again when the other side has closed it."""

    def __init__(self, address: str) -> None:
        """`address`: host and port, as AWS_LAMBDA_RUNTIME_API has them. Raises RuntimeAPIError if it is none."""
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()):
            raise RuntimeAPIError(f"AWS_LAMBDA_RUNTIME_API is {address!r}, which is no HOST:PORT")
        self._host, self._port = host.removeprefix("[").removesuffix("]"), int(port)
        self._address = address
        self._wire: Wire | None = None

    async def next(self) -> Reply:
        """Wait for the next invocation. Raises RuntimeAPIError when there will be none."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(DELAY * 2 ** (attempt - 1))
            try:
                reply = await self._request("GET", f"{RUNTIME}/invocation/next")
            except OSError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if reply.status == 200:
                if reply.headers.get("lambda-runtime-aws-request-id"):
                    return reply
                problem = "it has sent an invocation without an id"
            else:
                problem = f"it has answered {reply.status}: {reply.excerpt()}"
        self.close()
        raise RuntimeAPIError(f"the Runtime API at {self._address} has no invocation: {problem}")

    async def respond(self, invocation: Reply, payload: bytes) -> Reply:
        """Send the answer to an invocation; returns what the API says of it. Raises RuntimeAPIError."""
        return await self._post(
            f"{_path(invocation)}/response", payload, {"Content-Type": "application/json", **_echo(invocation)}
        )

    async def fail(self, invocation: Reply, error: Mapping[str, Any]) -> Reply:
        """Report that an invocation has failed; `error` as of `describe`. Raises RuntimeAPIError."""
        fields = {"Content-Type": ERROR_TYPE, "Lambda-Runtime-Function-Error-Type": error["errorType"]}
        return await self._post(f"{_path(invocation)}/error", _json(error), fields | _echo(invocation))

    async def fail_init(self, error: Mapping[str, Any]) -> None:
        """Report that the function cannot be started. Raises RuntimeAPIError."""
        fields = {"Content-Type": ERROR_TYPE, "Lambda-Runtime-Function-Error-Type": error["errorType"]}
        await self._post(f"{RUNTIME}/init/error", _json(error), fields)

    async def connect(self) -> Wire:
        """An open connection, for what is sent piece by piece. Raises OSError."""
        if self._wire is None or self._wire.is_lost:
            self._wire = await Wire.open(self._host, self._port, self._address)
        return self._wire

    async def register(self, name: str) -> str | None:
        """Register as an internal extension; returns its identifier, or None if the API does not want one.

        Only with an extension does Lambda send SIGTERM, and wait, before it ends an environment. `wait_for_end` has to follow.
        """
        try:
            reply = await self._request(
                "POST", f"{EXTENSION}/register", b'{"events":[]}', {"Lambda-Extension-Name": name}, limit=1.0
            )
        except (OSError, TimeoutError):
            self.close()
            return None
        return reply.headers.get("lambda-extension-identifier") if reply.status == 200 else None

    async def wait_for_end(self, identifier: str) -> None:
        """Say that the extension is ready, by asking for an event; none was asked for, so none comes."""
        try:
            await self._request("GET", f"{EXTENSION}/event/next", fields={"Lambda-Extension-Identifier": identifier})
        except OSError:
            self.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _post(self, path: str, body: bytes, fields: Mapping[str, str]) -> Reply:
        """Send something that may be sent twice: the API refuses the second one."""
        try:
            try:
                return await self._request("POST", path, body, fields, limit=ANSWER_TIMEOUT)
            except ConnectionError:  # it may have been closed while nobody used it
                return await self._request("POST", path, body, fields, limit=ANSWER_TIMEOUT)
        except (OSError, TimeoutError) as error:
            self.close()
            raise RuntimeAPIError(f"the Runtime API at {self._address} does not take {path}: {error!r}") from error

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        fields: Mapping[str, str] | None = None,
        limit: float | None = None,
    ) -> Reply:
        """One exchange. Raises OSError if the connection breaks, TimeoutError after `limit` seconds."""
        async with asyncio.timeout(limit):
            wire = await self.connect()
            wire.begin(method, path, fields or {}, length=len(body) if method == "POST" else None)
            if body:
                wire.write(body)
            return await wire.reply()


class ResponseStream:
    """A response on its way, piece by piece: `write`, then `end` or `fail`, then `confirmed`."""

    def __init__(self, wire: Wire, invocation: Reply) -> None:
        """Begin it. The wire must not be used for anything else until it has been `confirmed`."""
        self._wire = wire
        fields = {
            "Content-Type": STREAM_TYPE,
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
            **_echo(invocation),
        }
        wire.begin("POST", f"{_path(invocation)}/response", fields, length=-1)

    @property
    def congested(self) -> bool:
        return self._wire.congested

    async def writable(self) -> None:
        await self._wire.writable()

    def write(self, data: bytes) -> None:
        """Send a piece, which is not empty."""
        self._wire.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self._wire.write(b"0\r\n\r\n")

    def fail(self, kind: str, message: str) -> None:
        body = base64.b64encode(_json({"errorMessage": message, "errorType": kind})).decode()
        trailers = f"Lambda-Runtime-Function-Error-Type: {kind}\r\nLambda-Runtime-Function-Error-Body: {body}\r\n"
        self._wire.write(b"0\r\n" + trailers.encode() + b"\r\n")

    async def confirmed(self) -> Reply:
        """The confirmation of the API. Raises RuntimeAPIError."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await self._wire.reply()
        except (OSError, TimeoutError) as error:
            self._wire.abort()
            raise RuntimeAPIError(f"the Runtime API has not confirmed a streamed response: {error!r}") from error


def _path(invocation: Reply) -> str:
    return f"{RUNTIME}/invocation/{invocation.headers['lambda-runtime-aws-request-id']}"


def _echo(invocation: Reply) -> dict[str, str]:
    """The field of an invocation that its answer has to repeat, where several are under way at once."""
    found = invocation.headers.get("lambda-runtime-invocation-id")
    return {} if found is None else {"Lambda-Runtime-Invocation-Id": found}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
