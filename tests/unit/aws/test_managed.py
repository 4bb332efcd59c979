"""`appserver.aws.handler`, called as Lambda's Python runtime calls it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import appserver.aws
from appserver.aws import arguments
from appserver.errors import ApplicationImportError, EventError, Problem, SettingsError, StartupError
from appserver.settings.keys import KEYS
from appserver.telemetry import logs
from tests.unit.aws import events


class Context:
    aws_request_id = "request-1"

    def __init__(self, milliseconds: int = 30_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@pytest.fixture
def own_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program in which appserver's log is not set up yet; what is set up is put away."""
    monkeypatch.setattr(logs, "_log", None)
    yield
    if logs._log is not None:
        logs._log.output.close()


class Application:
    """Answers with what `answer` does, and notes its lifespan."""

    def __init__(self, answer: Callable[[Any, Any], Any] | None = None) -> None:
        self.lifespan: list[str] = []
        self.scopes: list[Any] = []
        self.answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["count"] = 1
            for _ in range(2):
                message = await receive()
                self.lifespan.append(message["type"])
                await send({"type": f"{message['type']}.complete"})
            return
        self.scopes.append(scope)
        if self.answer is not None:
            await self.answer(scope, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


def test_the_lifespan_runs_once() -> None:
    application = Application()
    handler = appserver.aws.handler(application)
    assert application.lifespan == []  # nobody is starting a function here
    for _ in range(3):
        assert handler(events.FUNCTION_URL, Context())["body"] == "/my/path"
    assert application.lifespan == ["lifespan.startup"]
    assert [scope["state"]["count"] for scope in application.scopes] == [1, 1, 1]


def test_it_runs_when_lambda_imports_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    application = Application()
    appserver.aws.handler(application)
    assert application.lifespan == ["lifespan.startup"]


def test_a_snapshot_is_started_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the start-up opens would be shared by all that are started from the snapshot."""
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    application = Application()
    appserver.aws.handler(application)
    assert application.lifespan == []


def test_a_start_up_that_fails_is_raised() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartupError, match="no database"):
        appserver.aws.handler(application)(events.HTTP, Context())


def test_an_application_for_trio_is_refused() -> None:
    with pytest.raises(StartupError, match="applications written for trio are not served as Lambda functions"):
        appserver.aws.handler(Application(), app={"async_library": "trio"})


@pytest.mark.parametrize("trace", [None, "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"])
def test_access_lines_have_the_trace_of_the_invocation(
    trace: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trace is None:
        monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    else:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    log = tmp_path / "access.log"
    handler = appserver.aws.handler(Application(), access_log={"enabled": True, "file": str(log)})
    handler(events.REST, Context())
    line = json.loads(log.read_text())
    assert line["request_id"] == "request-1"
    assert line.get("trace_id") == trace


def test_event_and_context_are_in_the_scope() -> None:
    application, context = Application(), Context()
    appserver.aws.handler(application)(events.REST, context)
    [scope] = application.scopes
    assert scope["aws.event"] is events.REST
    assert scope["aws.context"] is context
    assert scope["state"]["request_id"] == "request-1"
    assert scope["server"] == ("abc123.execute-api.eu-central-1.amazonaws.com", 443)


@pytest.mark.parametrize("given", ["/prod", "prod", "prod/"])
def test_the_base_path_of_mangum_is_the_root_path(given: str) -> None:
    application = Application()
    appserver.aws.handler(application, api_gateway_base_path=given)(events.HTTP, Context())
    assert (application.scopes[0]["root_path"], application.scopes[0]["path"]) == ("/prod", "/prod/my/path")


def test_the_other_options_of_mangum() -> None:
    async def answer(scope: Any, send: Any) -> None:
        headers = [(b"content-type", b"image/svg+xml"), (b"server", b"x"), (b"x-secret", b"y")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"text"})

    handler = appserver.aws.handler(
        Application(answer), "off", text_mime_types=["image/"], exclude_headers=["X-Secret", "x-request-id"]
    )
    assert handler(events.HTTP, Context()) == {
        "statusCode": 200,
        "headers": {"content-type": "image/svg+xml", "server": "x", "content-length": "4"},
        "body": "text",
        "isBase64Encoded": False,
    }


def test_custom_handlers_of_mangum() -> None:
    class Queue:
        def __init__(self, event: Any, context: Any, config: Any) -> None:
            self.event, self.config = event, config

        @classmethod
        def infer(cls, event: Any, context: Any, config: Any) -> bool:
            return "queue" in event

        @property
        def body(self) -> bytes:
            return b""

        @property
        def scope(self) -> dict[str, Any]:
            return {
                "type": "http",
                "method": "POST",
                "path": f"/queue/{self.event['queue']}",
                "query_string": b"",
                "headers": [[b"host", b"queue"]],
                "client": ("192.0.2.1", 0),
                "server": ("queue", 80),
                "queue.event": self.event,
            }

        def __call__(self, response: Any) -> Any:
            return {"done": response["status"] == 200, "body": response["body"].decode()}

    application = Application()
    handler = appserver.aws.handler(application, custom_handlers=[Queue])
    assert handler({"queue": "a b"}, Context()) == {"done": True, "body": "/queue/a b"}
    assert application.scopes[0]["queue.event"] == {"queue": "a b"}
    assert handler(events.HTTP, Context())["statusCode"] == 200


@pytest.mark.parametrize(
    ("event", "size", "status"),
    [
        (events.REST, 6_000_000, 200),
        (events.REST, 6_400_000, 500),
        (events.BALANCER, 1_000_000, 200),
        (events.BALANCER, 1_060_000, 500),
    ],
)
@pytest.mark.parametrize(("character", "octets"), [("x", 1), ('"', 2), ("ü", 2), ("\x01", 6)])
def test_what_is_limited_is_the_json_of_an_answer(
    event: dict[str, Any], size: int, status: int, character: str, octets: int
) -> None:
    """Quotes and control characters take more room in it than in the response, and text has more octets than characters."""

    async def answer(scope: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": character.encode() * (size // octets)})

    assert appserver.aws.handler(Application(answer))(event, Context())["statusCode"] == status


def test_events_of_others() -> None:
    handler = appserver.aws.handler(Application(), other=lambda event, context: {"seen": event["x"]})
    assert handler({"x": 1}, Context()) == {"seen": 1}
    with pytest.raises(EventError, match=r"lambda\.other"):
        appserver.aws.handler(Application())({"x": 1}, Context())


async def cancelled(event: Any, context: Any) -> None:
    sleep = asyncio.create_task(asyncio.sleep(60))
    sleep.cancel()
    await sleep


def stops(event: Any, context: Any) -> None:
    next(iter([]))


def test_a_function_of_others_that_raises_stop_iteration_does_not_hang() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        appserver.aws.handler(Application(), other=stops)({"x": 1}, Context())


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.parametrize("result", [math.nan, {"a": [math.inf]}, b"bytes", {1, 2}, {(1, 2): 3}, RECURSIVE, object()])
def test_what_json_does_not_hold_is_an_error_of_the_function(result: Any) -> None:
    with pytest.raises(EventError, match=r"^lambda\.other has returned what JSON does not hold: ") as caught:
        appserver.aws.handler(Application(), other=lambda event, context: result)({"x": 1}, Context())
    assert caught.value.kind == "UnusableResult"


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [(lambda event, context: sys.exit(3), "SystemExit", r"sys\.exit\(3\)"), (cancelled, "Cancelled", "CancelledError")],
)
def test_a_function_of_others_that_ends_more_than_itself(other: Any, kind: str, words: str) -> None:
    """Lambda gets an error of the function, and not an environment that ends without a word."""
    handler = appserver.aws.handler(Application(), other=other)
    with pytest.raises(EventError, match=words) as caught:
        handler({"x": 1}, Context())
    assert caught.value.kind == kind
    assert handler(events.FUNCTION_URL, Context())["statusCode"] == 200


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with functions for events that are no requests."""
    name = "function_for_other_events"
    (tmp_path / f"{name}.py").write_text(
        "import os\nname = os.environ.get('TABLE')\n"
        "def answer(event, context):\n    return {'seen': event['x'], 'table': name}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)  # so that it is forgotten at the end
    monkeypatch.delitem(sys.modules, name)
    return name


def test_the_function_of_the_settings_for_events_of_others(module: str) -> None:
    named: dict[str, Any] = {"lambda": {"other": f"{module}:answer"}}
    handler = appserver.aws.handler(Application(), **named)
    assert handler({"x": 1}, Context()) == {"seen": 1, "table": None}


def test_the_argument_goes_before_the_function_of_the_settings() -> None:
    named: dict[str, Any] = {"lambda": {"other": "missing:function"}}
    handler = appserver.aws.handler(Application(), other=lambda event, context: "argument", **named)
    assert handler({"x": 1}, Context()) == "argument"


@pytest.mark.parametrize("name", ["missing_for_sure:answer", "json:missing", "json:__name__"])
def test_a_function_of_the_settings_that_is_none(name: str) -> None:
    named: dict[str, Any] = {"lambda": {"other": name}}
    with pytest.raises(ApplicationImportError, match=f'^lambda.other = "{name}": ') as caught:
        appserver.aws.handler(Application(), **named)
    assert "application" not in str(caught.value).removeprefix("lambda.other")


def test_the_variables_of_the_environment_file_are_set(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE", "before")
    (tmp_path / "env").write_text("TABLE=orders\n")
    sections: dict[str, Any] = {"app": {"env_file": str(tmp_path / "env")}, "lambda": {"other": f"{module}:answer"}}
    handler = appserver.aws.handler(Application(), **sections)
    assert os.environ["TABLE"] == "orders"
    assert handler({"x": 1}, Context()) == {"seen": 1, "table": "orders"}


class TestLogging:
    @pytest.fixture(autouse=True)
    def log(self, own_log: None) -> None:
        pass

    @staticmethod
    async def fail(scope: Any, send: Any) -> None:
        raise ValueError("on purpose")

    def test_what_appserver_logs_has_the_level_and_the_file_of_the_settings(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        files = {level: tmp_path / level for level in ("critical", "error")}
        for level, file in files.items():
            handler = appserver.aws.handler(Application(self.fail), logging={"level": level, "file": str(file)})
            assert handler(events.HTTP, Context())["statusCode"] == 500
        assert files["critical"].read_text() == ""
        assert "on purpose" in json.loads(files["error"].read_text())["exception"]
        assert capfd.readouterr().err == ""

    def test_the_configuration_is_for_the_whole_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        logger = logging.getLogger("shop.of.a.function")
        monkeypatch.setattr(logger, "level", logging.DEBUG)
        config = {"version": 1, "incremental": True, "loggers": {logger.name: {"level": "CRITICAL"}}}
        appserver.aws.handler(Application(), logging={"config": config})
        assert logger.level == logging.CRITICAL
        assert logs._log is None  # it leaves what appserver logs alone

    def test_a_configuration_that_cannot_be_applied_is_an_error_of_the_settings(self) -> None:
        config = {"version": 1, "incremental": True, "handlers": {"missing": {"level": "INFO"}}}
        with pytest.raises(SettingsError, match=r"logging\.config"):
            appserver.aws.handler(Application(), logging={"config": config})


def test_sections_that_are_none() -> None:
    wrong: Any = {"http": 5, "proxy": ["x"]}
    with pytest.raises(SettingsError) as caught:
        appserver.aws.handler(Application(), **wrong, access_log={"enabled": True})
    expected = "expected a mapping of the keys of that section to their values"
    assert caught.value.problems == (
        Problem("argument", "http", "5", expected),
        Problem("argument", "proxy", "['x']", expected),
    )


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"listeners": []}, "argument: listeners: nothing listens here, Lambda's runtime calls the handler"),
        (
            {"tls": {"certificate": "c.pem", "key": "k.pem"}, "admin": {"control": "/run/control"}},
            (
                "argument: tls.certificate: nothing listens here, Lambda's runtime calls the handler\n"
                "argument: tls.key: nothing listens here, Lambda's runtime calls the handler\n"
                "argument: admin.control: there is no master process here"
            ),
        ),
        (
            {"workers": {"boot_timeout": 5, "count": 2, "max_concurrency": 3}},
            (
                "argument: workers.count: there are no worker processes here, Lambda starts as many environments as it needs\n"
                "argument: workers.max_concurrency: Lambda's runtime calls the handler with one event after the other"
            ),
        ),
        (
            {"app": {"directory": "/"}},
            "argument: app.directory: nothing is imported, the application is the first argument",
        ),
        ({"app": {"target": "a:b"}}, "argument: app.target: the application is the first argument"),
        (
            {"http": {"max_headers": 5, "keepalive_timeout": 5}},
            "argument: http.keepalive_timeout: there are no connections of clients here, an event is a whole request",
        ),
        (
            {"lambda": {"streaming": True}},
            'argument: lambda.streaming: the managed Python runtime cannot stream, the command "appserver lambda" can',
        ),
    ],
)
def test_settings_that_mean_nothing_here_are_refused(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        appserver.aws.handler(Application(), **sections)
    assert str(caught.value) == said


def test_settings_that_say_what_is_the_case_are_taken() -> None:
    sections: dict[str, Any] = {
        "workers": {"count": 1, "boot_timeout": 9},
        "lambda": {"streaming": False, "concurrency": 1},
        "http": {"server_header": "", "date_header": False},
        "websocket": {"enabled": False},
        "app": {"threads": 2},
    }
    assert appserver.aws.handler(Application(), **sections)(events.REST, Context())["statusCode"] == 200


def test_each_setting_has_been_thought_of() -> None:
    """A key whose table is renamed would be taken silently again."""
    known = {f"{key.section.removeprefix('on_')}.{key.name}" for key in KEYS.values()}
    sections = {key.partition(".")[0] for key in known}
    assert {*arguments._WHY_UNUSED, *arguments._SAYS_WHAT_IS} <= known | sections


def test_an_application_that_hangs_is_a_504_in_time() -> None:
    async def answer(scope: Any, send: Any) -> None:
        await asyncio.Event().wait()

    answered = appserver.aws.handler(Application(answer))(events.HTTP, Context(200))
    assert answered["statusCode"] == 504


def test_a_wrong_length_is_a_500_and_half_a_response_is_none() -> None:
    async def answer(scope: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"short"})

    assert appserver.aws.handler(Application(answer))(events.HTTP, Context())["statusCode"] == 500


def test_a_response_that_would_be_two_is_a_500() -> None:
    async def answer(scope: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nb: c")]})

    assert appserver.aws.handler(Application(answer))(events.HTTP, Context())["statusCode"] == 500


def test_a_bad_body_is_a_400_and_the_application_is_not_called() -> None:
    application = Application()
    event = {**events.HTTP, "body": "?", "isBase64Encoded": True}
    assert appserver.aws.handler(application)(event, Context())["statusCode"] == 400
    assert application.scopes == []


def test_a_body_beyond_the_limit_is_a_413() -> None:
    handler = appserver.aws.handler(Application(), http={"max_body_size": 10})
    event = {**events.HTTP, "body": base64.b64encode(bytes(11)).decode(), "isBase64Encoded": True}
    assert handler(event, Context())["statusCode"] == 413


def head_size(event: Mapping[str, Any]) -> int:
    """The octets of the head that HTTP/1.1 would have carried, for an event without a body."""
    http, headers = event["requestContext"]["http"], event["headers"]
    lines = [f"{http['method']} {event['rawPath']}?{event['rawQueryString']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return sum(len(line.encode()) + len(b"\r\n") for line in [*lines, ""])


PLAIN = {
    **{name: value for name, value in events.HTTP.items() if name not in ("body", "cookies")},
    "rawPath": "/path",
    "rawQueryString": "a=1",
    "headers": {"host": "example.com", "x-a": "1", "x-amzn-trace-id": "Root=1-5e6722a7"},
}


@pytest.mark.parametrize(
    ("name", "size", "status"),
    [
        ("max_target_size", len("/path?a=1"), 414),
        ("max_headers", 3, 431),
        ("max_header_size", head_size(PLAIN), 431),
    ],
)
def test_a_head_beyond_the_limits_is_refused_and_the_application_is_not_called(
    name: str, size: int, status: int
) -> None:
    application = Application()
    assert appserver.aws.handler(application, http={name: size})(PLAIN, Context())["statusCode"] == 200
    assert len(application.scopes) == 1
    refused = appserver.aws.handler(application, http={name: size - 1})(PLAIN, Context())
    assert refused["statusCode"] == status
    assert len(application.scopes) == 1
    assert appserver.aws.handler(application, http={name: 0})(PLAIN, Context())["statusCode"] == 200


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body_have_none(method: str, status: int) -> None:
    async def answer(scope: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"image/png")]})
        await send({"type": "http.response.body", "body": b"" if status == 204 else b"body"})

    event = json.loads(json.dumps(events.HTTP))
    event["requestContext"]["http"]["method"] = method
    answered = appserver.aws.handler(Application(answer))(event, Context())
    assert (answered["statusCode"], answered["body"], answered["isBase64Encoded"]) == (status, "", False)


def test_files_are_sent(tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(bytes(200_000))

    async def answer(scope: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    answered = appserver.aws.handler(Application(answer))(events.HTTP, Context())
    assert base64.b64decode(answered["body"]) == bytes(200_000)


def test_wsgi_applications_too() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode(), b" ", body]

    assert appserver.aws.handler(application)(events.EDGE, Context())["body"] == "POST /picture.jpg hello"
