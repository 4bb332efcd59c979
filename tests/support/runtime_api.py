"""Lambda's Runtime API for tests: an ASGI application on the engine itself, in a thread, and a function that runs under it.

    with RuntimeAPI() as api, Function(api, "main:app", tmp_path) as function:
        assert api.invoke(event).json()["statusCode"] == 200

What it does not do: trailers (the parser of the engine drops them), and freezing the process between invocations.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from appserver.testing import serve
from tests.support.server import PYTHONPATH
from tests.support.waiting import eventually

PREFIX = "/2018-06-01/runtime"
EXTENSION = "/2020-01-01/extension"


@dataclass
class Outcome:
    """The outcome of an invocation: `pieces` as they came, with the seconds since the invocation at which they did."""

    request_id: str
    timeout: float  # seconds that the function has, from when it takes it
    began: float = field(default_factory=time.monotonic)
    kind: str = ""  # "response" or "error"; empty until one has come
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.pieces)

    def json(self) -> Any:
        return json.loads(self.body)

    def split(self) -> tuple[Any, bytes]:
        """Prelude and body of a streamed response."""
        prelude, body = self.body.split(bytes(8), 1)
        return json.loads(prelude), body

    def wait(self, timeout: float = 40.0) -> Self:
        assert self.done.wait(timeout), f"invocation {self.request_id} was not answered within {timeout} s"
        return self


class RuntimeAPI:
    """`faults` are what the API does wrong, by path: the number of a status, or "close", each taken once."""

    def __init__(self) -> None:
        self.init_error: Any = None
        self.registered: list[str] = []
        self.polls = 0  # that are waiting
        self.most_polls = 0
        self.faults: dict[str, list[int | str]] = {}
        self._number = 0
        self._outcomes: dict[str, Outcome] = {}
        self._waiting: list[tuple[Outcome, bytes, dict[str, str]]] = []
        self._wanted: asyncio.Condition
        self._loop: asyncio.AbstractEventLoop
        self._stack = contextlib.ExitStack()
        self.address = ""

    def __enter__(self) -> Self:
        server = self._stack.enter_context(serve(self._application, http={"request_timeout": 0}))
        self.address = server.url.removeprefix("http://")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, event: Any, *, timeout: float = 30.0, **headers: Any) -> Outcome:
        """Have an invocation taken; its function has `timeout` seconds. `headers` are further ones, with underscores."""
        self._number += 1
        outcome = Outcome(f"request-{self._number}", timeout)
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        fields = {
            "Lambda-Runtime-Aws-Request-Id": outcome.request_id,
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:test",
            "Lambda-Runtime-Trace-Id": f"Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e7{self._number:02};Sampled=1",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self._outcomes[outcome.request_id] = outcome
        asyncio.run_coroutine_threadsafe(self._offer(outcome, body, fields), self._loop).result(10)
        return outcome

    def invoke(self, event: Any, *, timeout: float = 30.0, **headers: Any) -> Outcome:
        """The same, and wait for what becomes of it."""
        return self.send(event, timeout=timeout, **headers).wait()

    async def _offer(self, outcome: Outcome, body: bytes, fields: dict[str, str]) -> None:
        async with self._wanted:
            self._waiting.append((outcome, body, fields))
            self._wanted.notify()

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self._loop, self._wanted = asyncio.get_running_loop(), asyncio.Condition()
            for _ in range(2):
                await send({"type": (await receive())["type"] + ".complete"})
            return
        path: str = scope["path"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        faults = self.faults.get("" if path.endswith("/event/next") else path.rpartition("/")[2], [])
        fault = faults.pop(0) if faults else None
        if fault == "close":
            await _answer(send, 200, {"Content-Length": "5", "Lambda-Runtime-Aws-Request-Id": "broken"}, b"", more=True)
            raise ConnectionError("on purpose")
        if isinstance(fault, int):
            await _drain(receive)
            await _answer(send, fault, {}, b'{"errorMessage":"on purpose"}')
        elif path == f"{PREFIX}/invocation/next":
            await self._next(receive, send)
        elif path == f"{PREFIX}/init/error":
            self.init_error = json.loads(await _drain(receive))
            await _answer(send, 202, {}, b"{}")
        elif path.startswith(f"{PREFIX}/invocation/"):
            await self._take(path, headers, receive, send)
        elif path == f"{EXTENSION}/register":
            self.registered.append(headers["lambda-extension-name"])
            await _answer(send, 200, {"Lambda-Extension-Identifier": "extension-1"}, b"{}")
        elif path == f"{EXTENSION}/event/next":
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await _answer(send, 404, {}, b"{}")

    async def _next(self, receive: Any, send: Any) -> None:
        await _drain(receive)
        gone = asyncio.ensure_future(receive())
        self.polls += 1
        self.most_polls = max(self.polls, self.most_polls)
        try:
            async with self._wanted:
                taking = asyncio.ensure_future(self._wanted.wait_for(lambda: self._waiting))
                await asyncio.wait([gone, taking], return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    await asyncio.wait([taking])
                    return
                outcome, body, fields = self._waiting.pop(0)
        finally:
            self.polls -= 1
            gone.cancel()
        outcome.began = time.monotonic()
        deadline = {"Lambda-Runtime-Deadline-Ms": str(int((time.time() + outcome.timeout) * 1000))}
        await _answer(send, 200, {"Content-Type": "application/json", **deadline, **fields}, body)

    async def _take(self, path: str, headers: dict[str, str], receive: Any, send: Any) -> None:
        request_id, kind = path.split("/")[-2:]
        outcome = self._outcomes.get(request_id)
        if outcome is None or outcome.kind:
            await _drain(receive)
            await _answer(send, 403, {}, b'{"errorMessage":"no such invocation"}')
            return
        outcome.kind, outcome.headers = kind, headers
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            if message["body"]:
                outcome.pieces.append((time.monotonic() - outcome.began, message["body"]))
            if not message["more_body"]:
                await _answer(send, 202, {}, b'{"status":"OK"}')
                break
        outcome.done.set()


async def _drain(receive: Any) -> bytes:
    body = b""
    while (message := await receive())["type"] != "http.disconnect":
        body += message["body"]
        if not message["more_body"]:
            break
    return body


async def _answer(send: Any, status: int, headers: Mapping[str, str], body: bytes, *, more: bool = False) -> None:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": more})


class Function:
    """`appserver lambda` under a Runtime API, in a directory with `main.py`. What it logs is in `records()` afterwards or before."""

    def __init__(
        self, api: RuntimeAPI, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = directory / "log"
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("APPSERVER_", "AWS_"))}
        variables |= {"AWS_LAMBDA_RUNTIME_API": api.address, "AWS_LAMBDA_FUNCTION_NAME": "test", **(environment or {})}
        variables |= {"PYTHONPATH": PYTHONPATH}  # this tree, and not the one that is installed
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "appserver", "lambda", *(arguments or ("main:app",))],
                cwd=directory,
                env=variables,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        """The JSON records that it has logged so far, of `event` if that is given."""
        found = list(_records(self.text))
        return [record for record in found if event is None or record.get("event") == event]

    def wait_for_record(self, event: str, **fields: object) -> dict[str, Any]:
        """Wait for a record of `event` with these fields."""

        def found() -> list[dict[str, Any]]:
            return [record for record in self.records(event) if fields.items() <= record.items()]

        return eventually(found, f"a record {event!r} {fields or ''} in:\n{self.text}")[0]

    def stop(self) -> int:
        """Send SIGTERM, as Lambda does to a function with an extension; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def wait(self) -> int:
        return self.process.wait(40)


def _records(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


def url_event(path: str = "/", method: str = "GET", **members: Any) -> dict[str, Any]:
    """The event of a function URL, as small as it may be; `members` are added."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.lambda-url.eu-central-1.on.aws", "x-forwarded-proto": "https"},
        "requestContext": {
            "domainName": "abc.lambda-url.eu-central-1.on.aws",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7"},
        },
        "isBase64Encoded": False,
        **members,
    }
