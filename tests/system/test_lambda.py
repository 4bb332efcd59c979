"""`appserver lambda` under a Runtime API: the life of a function, invocations, streams, what goes wrong on either side."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.runtime_api import Function, RuntimeAPI, url_event
from tests.support.server import PYTHONPATH
from tests.support.waiting import eventually

SITE = """
import asyncio, decimal, json, os, threading, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    await globals()[scope["path"].strip("/").replace("-", "_") or "index"](scope, body, send)

async def lifespan(receive, send):
    await receive()
    note("startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})

def note(text):
    with open("journal", "a") as journal:
        print(text, file=journal)

async def answer(send, body, status=200, kind=b"text/plain", more=False, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": more})

async def index(scope, body, send):
    await answer(send, b"hello " + body)

async def describe(scope, body, send):
    context = scope["aws.context"]
    known = {
        "id": scope["state"]["request_id"], "event": scope["aws.event"]["rawPath"], "client": scope["client"],
        "function": context.function_name, "left": context.get_remaining_time_in_millis(),
        "trace": os.environ.get("_X_AMZN_TRACE_ID"), "custom": getattr(context.client_context, "custom", None),
    }
    await answer(send, json.dumps(known).encode(), kind=b"application/json")

async def bytes_(scope, body, send):
    await answer(send, body[::-1], kind=b"application/octet-stream")

async def fail(scope, body, send):
    raise ValueError("on purpose")

async def fail_late(scope, body, send):
    await answer(send, b"half", more=True)
    raise ValueError("too late")

async def hang(scope, body, send):
    note("hanging")
    await asyncio.Event().wait()

async def block(scope, body, send):
    time.sleep(4)

async def after(scope, body, send):
    await answer(send, b"done")
    await asyncio.sleep(0.2)
    note("after")

async def after_the_signal(scope, body, send):
    await answer(send, b"done")
    while not os.path.exists("answered"):
        await asyncio.sleep(0.01)
    note("blocking")
    while not os.path.exists("signalled"):
        time.sleep(0.01)  # the event loop is not to see the signal earlier
    for _ in range(5):
        await asyncio.sleep(0)
    note("after")

async def never_after(scope, body, send):
    await answer(send, b"done")
    try:
        await asyncio.Event().wait()
    finally:
        note("cancelled")

async def behind_the_end(scope, body, send):
    await answer(send, b"done")
    await answer(send, b"once more")

async def leave(scope, body, send):
    raise SystemExit(3)

async def large(scope, body, send):
    await answer(send, b"x" * 7_000_000)

async def events(scope, body, send):
    await answer(send, b"data: 0\\n\\n", kind=b"text/event-stream", more=True)
    for number in range(1, 4):
        while not os.path.exists(f"event{number}"):
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"data: %d\\n\\n" % number, "more_body": number < 3})

async def print_(scope, body, send):
    print("printed", end="")
    await answer(send, b"done")

async def meet(scope, body, send):
    global here
    here = globals().get("here", 0) + 1
    while here < 3:
        await asyncio.sleep(0.01)
    await answer(send, b"met")

def other(event, context):
    if event.get("hang"):
        note("hanging")
        threading.Event().wait()
    if event.get("result") == "decimal":
        return {"total": decimal.Decimal(1)}
    if event.get("result"):
        return float(event["result"])
    if event.get("fail"):
        raise KeyError("on purpose")
    if event.get("exit"):
        raise SystemExit(3)
    if event.get("cancel"):
        raise asyncio.CancelledError
    return {"records": len(event["Records"]), "id": context.aws_request_id}
"""

Start = Callable[..., Function]


@pytest.fixture
def api() -> Iterator[RuntimeAPI]:
    with RuntimeAPI() as api:
        yield api


@pytest.fixture
def start(api: RuntimeAPI, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*arguments: str, site: str = SITE, **environment: str) -> Function:
            (tmp_path / "main.py").write_text(site, encoding="utf-8")
            return stack.enter_context(Function(api, tmp_path, *arguments, environment=environment))

        yield begin


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RuntimeAPI, Function]]:
    """A function for all tests that only need one."""
    directory = tmp_path_factory.mktemp("function")
    (directory / "main.py").write_text(SITE, encoding="utf-8")
    with RuntimeAPI() as api, Function(api, directory) as function:
        yield api, function


Running = tuple[RuntimeAPI, Function]


def journal(directory: Path) -> list[str]:
    file = directory / "journal"
    return file.read_text(encoding="utf-8").split() if file.exists() else []


class TestLife:
    def test_lifespan_runs_once_around_all_invocations(self, api: RuntimeAPI, start: Start, tmp_path: Path) -> None:
        function = start()
        assert api.invoke(url_event()).json() == {
            "statusCode": 200,
            "headers": {"content-type": "text/plain", "content-length": "6", "x-request-id": "request-1"},
            "body": "hello ",
            "isBase64Encoded": False,
        }
        assert api.invoke(url_event(body="you")).json()["body"] == "hello you"
        assert api.registered == ["appserver"]
        assert journal(tmp_path) == ["startup"]
        assert function.stop() == 0
        assert journal(tmp_path) == ["startup", "shutdown"]

    def test_the_application_learns_of_the_invocation(self, running: Running) -> None:
        api, _ = running
        outcome = api.invoke(
            url_event("/describe"), timeout=29, **{"Lambda-Runtime-Client-Context": '{"custom":{"a":1}}'}
        )
        known = json.loads(outcome.json()["body"])
        assert 0 < known.pop("left") <= 29_000
        trace = known.pop("trace")
        assert trace.startswith("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e7")
        assert known == {
            "id": outcome.request_id,
            "event": "/describe",
            "client": ["192.0.2.7", 0],
            "function": "test",
            "custom": {"a": 1},
        }

    def test_a_client_context_that_json_does_not_hold_is_none(self, running: Running) -> None:
        api, _ = running
        for context in ("{", "[" * 5000):
            headers: dict[str, Any] = {"Lambda-Runtime-Client-Context": context}
            outcome = api.invoke(url_event("/describe"), **headers)
            assert json.loads(outcome.json()["body"])["custom"] is None

    def test_what_is_printed_is_logged_before_the_next_event_is_asked_for(self, api: RuntimeAPI, start: Start) -> None:
        function = start(PYTHONUNBUFFERED="")
        assert api.invoke(url_event("/print_")).json()["body"] == "done"
        eventually(lambda: api.polls == 1, "the next event is asked for")
        assert "printed" in function.text

    def test_bodies_are_safe_whatever_octets_they_have(self, running: Running) -> None:
        api, _ = running
        octets = bytes(range(256)) * 20_000
        event = url_event("/bytes_", "POST", body=base64.b64encode(octets[:4_000_000]).decode(), isBase64Encoded=True)
        answer = api.invoke(event).json()
        assert answer["isBase64Encoded"]
        assert base64.b64decode(answer["body"]) == octets[:4_000_000][::-1]

    def test_requests_are_logged_with_the_ids_of_the_invocation(self, running: Running) -> None:
        api, function = running
        request_id = api.invoke(url_event("/fail")).request_id
        function.wait_for_record("application failed")
        [record] = [one for one in function.records("application failed") if one["request_id"] == request_id]
        assert record["trace_id"].startswith("Root=1-5bef4de7")
        assert record["process"] == "lambda"
        [line] = eventually(
            lambda: [one for one in function.records("request") if one["request_id"] == request_id], "its access line"
        )
        assert (line["path"], line["status"]) == ("/fail", 500)
        assert line["client"] == "192.0.2.7"
        assert line["trace_id"] == record["trace_id"]

    def test_the_handler_of_the_function_names_the_application(self, api: RuntimeAPI, start: Start) -> None:
        start("--log-level", "info", _HANDLER="main:app")
        assert api.invoke(url_event()).json()["statusCode"] == 200

    def test_work_behind_a_response_is_waited_for(self, api: RuntimeAPI, start: Start, tmp_path: Path) -> None:
        start()
        assert api.invoke(url_event("/after")).json()["body"] == "done"
        assert api.invoke(url_event()).json()["body"] == "hello "
        assert journal(tmp_path) == ["startup", "after"]

    def test_an_application_that_asks_for_the_end_gets_it_behind_its_answer(
        self, api: RuntimeAPI, start: Start
    ) -> None:
        function = start()
        assert api.invoke(url_event("/leave")).json()["statusCode"] == 500
        assert function.wait() == 0

    def test_the_end_waits_for_the_invocation_under_way(self, api: RuntimeAPI, start: Start, tmp_path: Path) -> None:
        function = start()
        outcome = api.send(url_event("/after-the-signal"))
        eventually(lambda: outcome.kind, "its answer")
        (tmp_path / "answered").touch()
        eventually(lambda: "blocking" in journal(tmp_path), "it blocks the event loop")
        function.process.send_signal(signal.SIGTERM)
        (tmp_path / "signalled").touch()
        assert function.wait() == 0
        assert journal(tmp_path) == ["startup", "blocking", "after", "shutdown"]

    def test_the_end_cuts_off_what_takes_longer_than_lambda_waits(
        self, api: RuntimeAPI, start: Start, tmp_path: Path
    ) -> None:
        """The shutdown would not run any more: Lambda kills the process half a second after SIGTERM."""
        function = start("main:app", "--set", "workers.graceful_timeout=600")
        outcome = api.send(url_event("/never-after"), timeout=600)
        eventually(lambda: outcome.kind, "its answer")
        assert function.stop() == 0
        assert journal(tmp_path) == ["startup", "cancelled", "shutdown"]
        assert "in never_after" in function.wait_for_record("invocation cut off")["stack"]

    def test_an_invocation_that_is_cut_off_is_answered_for(self, api: RuntimeAPI, start: Start, tmp_path: Path) -> None:
        function = start()
        outcome = api.send(url_event("/hang"), timeout=600)
        eventually(lambda: "hanging" in journal(tmp_path), "the application has it")
        assert function.stop() == 0
        assert outcome.wait().json()["statusCode"] == 503

    @pytest.mark.parametrize("timeout", [0.5, 600])
    def test_a_thread_that_hangs_does_not_outlive_the_signal(
        self, timeout: float, api: RuntimeAPI, start: Start, tmp_path: Path
    ) -> None:
        """Whether the time of its invocation is up, so that it has been answered for, or not."""
        function = start("main:app", "--set", "lambda.other=main:other")
        outcome = api.send({"hang": True}, timeout=timeout)
        eventually(lambda: "hanging" in journal(tmp_path), "the function runs")
        if timeout < 600:
            assert outcome.wait().json()["errorType"] == "Function.TimedOut"
            stack = function.wait_for_record("invocation timed out")["stack"]
        assert function.stop() == 0
        if timeout == 600:
            assert outcome.wait().json()["errorType"] == "Function.Cancelled"
            stack = function.wait_for_record("invocation cut off")["stack"]
        assert "threading.Event().wait()" in stack
        assert journal(tmp_path) == ["startup", "hanging", "shutdown"]
        [thread] = function.wait_for_record("exit cut off")["threads"]
        assert "threading.py" in thread

    def test_several_invocations_at_once_where_lambda_has_them(self, api: RuntimeAPI, start: Start) -> None:
        start(AWS_LAMBDA_MAX_CONCURRENCY="3")
        eventually(lambda: api.polls == 3, "three polls")
        headers: list[dict[str, Any]] = [
            {"Lambda-Runtime-Invocation-Id": f"invocation-{number}"} for number in range(3)
        ]
        outcomes = [api.send(url_event("/meet"), timeout=30, **more) for more in headers]
        assert [outcome.wait().json()["body"] for outcome in outcomes] == ["met"] * 3
        assert [outcome.headers["lambda-runtime-invocation-id"] for outcome in outcomes] == [
            f"invocation-{number}" for number in range(3)
        ]


class TestStreaming:
    def test_events_arrive_one_by_one(self, api: RuntimeAPI, start: Start, tmp_path: Path) -> None:
        start("main:app", "--set", "lambda.streaming=true")
        outcome = api.send(url_event("/events"))
        for number in range(1, 4):
            eventually(lambda: f"data: {number - 1}\n\n".encode() in outcome.body, f"event {number - 1}")  # noqa: B023
            assert f"data: {number}".encode() not in outcome.body
            (tmp_path / f"event{number}").touch()
        prelude, body = outcome.wait().split()
        assert prelude == {
            "statusCode": 200,
            "headers": {"content-type": "text/event-stream", "x-request-id": "request-1"},
        }
        assert body == b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n"
        assert outcome.headers["lambda-runtime-function-response-mode"] == "streaming"
        assert outcome.headers["content-type"] == "application/vnd.awslambda.http-integration-response"

    def test_a_large_response_is_no_problem(self, api: RuntimeAPI, start: Start) -> None:
        start("main:app", "--set", "lambda.streaming=true")
        assert len(api.invoke(url_event("/large")).split()[1]) == 7_000_000

    def test_an_error_before_the_head_is_a_500(self, api: RuntimeAPI, start: Start) -> None:
        start("main:app", "--set", "lambda.streaming=true")
        assert api.invoke(url_event("/fail")).split()[0]["statusCode"] == 500
        assert api.invoke(url_event()).split()[1] == b"hello "

    @pytest.mark.long
    def test_an_application_that_fails_or_hangs_in_the_middle_costs_its_own_response(
        self, api: RuntimeAPI, start: Start
    ) -> None:
        function = start("main:app", "--set", "lambda.streaming=true")
        assert api.invoke(url_event("/fail-late")).split()[1] == b"half"
        outcome = api.invoke(url_event("/events"), timeout=3)
        assert outcome.split()[1] == b"data: 0\n\n"
        assert function.wait_for_record("request timed out")["path"] == "/events"
        assert api.invoke(url_event(method="HEAD")).split()[1] == b""
        assert api.invoke(url_event()).split()[1] == b"hello "

    def test_who_cannot_take_pieces_gets_the_whole(self, api: RuntimeAPI, start: Start) -> None:
        start("main:app", "--set", "lambda.streaming=true")
        event = {**url_event(), "requestContext": {"http": {"method": "GET", "path": "/"}}}
        assert api.invoke(event).json()["body"] == "hello "


class TestFailures:
    def test_an_application_that_fails_is_answered_for(self, running: Running) -> None:
        api, function = running
        for path in ("/fail", "/fail-late"):
            outcome = api.invoke(url_event(path))
            answer = outcome.json()
            assert (answer["statusCode"], answer["body"]) == (
                500,
                "500 Internal Server Error: the application failed\n",
            )
            wanted = outcome.request_id
            assert wanted in {record["request_id"] for record in function.records("application failed")}
        assert api.invoke(url_event("/behind-the-end")).json()["body"] == "done"

    def test_an_application_that_never_answers_is_ended_in_time(self, running: Running) -> None:
        api, function = running
        outcome = api.invoke(url_event("/hang"), timeout=2)
        assert outcome.json()["statusCode"] == 504
        assert "the function's time is up" in outcome.json()["body"]
        record = function.wait_for_record("request timed out", request_id=outcome.request_id)
        assert "in hang" in record["stack"]
        assert api.invoke(url_event()).json()["statusCode"] == 200

    def test_an_application_that_blocks_the_event_loop_is_named(self, running: Running) -> None:
        api, function = running
        outcome = api.send(url_event("/block"), timeout=2)
        record = function.wait_for_record("event loop blocked", request_id=outcome.request_id)
        assert record["path"] == "/block"
        assert "time.sleep(4)" in record["stack"]
        assert outcome.wait().json()["statusCode"] in (500, 504)

    def test_a_response_beyond_the_limit_is_an_error_that_says_so(self, running: Running) -> None:
        api, function = running
        answer = api.invoke(url_event("/large")).json()
        assert answer["statusCode"] == 500
        assert "larger" in answer["body"]
        assert function.wait_for_record("response too large")["path"] == "/large"

    @pytest.mark.parametrize(
        ("event", "kind", "words"),
        [
            ({"Records": [{"eventSource": "aws:sqs"}]}, "Function.UnknownEvent", "aws:sqs"),
            (b"no json", "Function.MalformedEvent", "not JSON"),
            ([1], "Function.UnknownEvent", "list"),
            (
                {"requestContext": {"connectionId": "x", "eventType": "CONNECT"}},
                "Function.WebSocketsNotServed",
                "WebSocket",
            ),
            (url_event(headers=3), "Function.MalformedEvent", "headers"),
        ],
    )
    def test_what_is_no_request_is_an_error_with_advice(
        self, event: object, kind: str, words: str, running: Running
    ) -> None:
        api, _ = running
        outcome = api.invoke(event)
        assert outcome.kind == "error"
        assert outcome.headers["lambda-runtime-function-error-type"] == kind
        assert outcome.json()["errorType"] == kind
        assert words in outcome.json()["errorMessage"]
        assert api.invoke(url_event()).json()["statusCode"] == 200

    def test_events_of_others_go_to_their_function(self, api: RuntimeAPI, start: Start) -> None:
        function = start("main:app", "--set", "lambda.other=main:other")
        assert api.invoke({"Records": [{}, {}]}).json() == {"records": 2, "id": "request-1"}
        outcome = api.invoke({"fail": True})
        assert outcome.json()["errorType"] == "Function.KeyError"
        assert "on purpose" in function.wait_for_record("invocation failed")["exception"]
        for result, words in (("nan", "not JSON compliant"), ("-inf", "not JSON compliant"), ("decimal", "Decimal")):
            outcome = api.invoke({"result": result})
            assert outcome.kind == "error"
            assert outcome.json()["errorType"] == "Function.UnusableResult"
            assert outcome.json()["errorMessage"].startswith("lambda.other has returned what JSON does not hold: ")
            assert words in outcome.json()["errorMessage"]
        assert api.invoke({"cancel": True}).json()["errorType"] == "Function.Cancelled"
        assert api.invoke({"exit": True}).json()["errorType"] == "Function.SystemExit"
        assert function.wait() == 0
        assert "raise SystemExit(3)" in function.records("invocation failed")[-1]["exception"]


class TestStart:
    @pytest.mark.parametrize(
        ("site", "code", "kind", "words"),
        [
            ("import no_such_module", 4, "Runtime.ImportModuleError", "no_such_module"),
            ("async def app(scope, receive, send): raise SystemExit(1)", 5, "Runtime.StartupError", "SystemExit"),
        ],
    )
    def test_lambda_is_told_why_a_function_does_not_start(
        self, site: str, code: int, kind: str, words: str, api: RuntimeAPI, start: Start
    ) -> None:
        function = start(site=site)
        assert function.wait() == code
        assert api.init_error["errorType"] == kind
        assert words in api.init_error["errorMessage"]
        assert words in function.text
        assert any(line.startswith("appserver: ") for line in function.text.splitlines())

    def test_a_handler_with_a_dot_is_explained(self, api: RuntimeAPI, start: Start) -> None:
        function = start("--log-level", "info", _HANDLER="main.app")
        assert function.wait() == 2
        assert '"main:app" instead of "main.app"' in api.init_error["errorMessage"]

    def test_a_start_up_that_hangs_is_cut_off_and_shown(self, api: RuntimeAPI, start: Start) -> None:
        site = "import asyncio\nasync def app(scope, receive, send):\n    await asyncio.Event().wait()\n"
        function = start(site=site, APPSERVER_WORKERS__BOOT_TIMEOUT="0.3")
        assert function.wait() == 5
        assert "boot_timeout" in api.init_error["errorMessage"]
        assert any("asyncio.Event().wait()" in line for line in api.init_error["stackTrace"])

    def test_an_application_for_trio_is_refused(self, api: RuntimeAPI, start: Start) -> None:
        function = start(APPSERVER_APP__ASYNC_LIBRARY="trio")
        assert function.wait() == 5
        assert api.init_error["errorType"] == "Runtime.StartupError"
        assert "trio are not served as Lambda functions" in api.init_error["errorMessage"]
        assert "trio are not served as Lambda functions" in function.text

    def test_wrong_settings_are_reported(self, api: RuntimeAPI, start: Start) -> None:
        function = start("main:app", "--set", "lambda.streeming=true")
        assert function.wait() == 2
        assert api.init_error["errorType"] == "Runtime.InvalidSettings"
        assert "streaming" in api.init_error["errorMessage"]

    def test_elsewhere_it_says_what_is_missing(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        result = subprocess.run(
            [sys.executable, "-m", "appserver", "lambda", "main:app"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 2
        assert "this is no Lambda environment: AWS_LAMBDA_RUNTIME_API is not set" in result.stderr


class TestRuntimeAPIThatFails:
    @pytest.mark.parametrize("fault", [500, 403, "close"])
    def test_the_next_invocation_is_asked_for_again(self, fault: int | str, api: RuntimeAPI, start: Start) -> None:
        api.faults["next"] = [fault]
        start()
        assert api.invoke(url_event()).json()["statusCode"] == 200

    def test_an_environment_that_is_over_ends_the_process(self, api: RuntimeAPI, start: Start, tmp_path: Path) -> None:
        api.faults["next"] = [500] * 5
        function = start()
        assert function.wait() == 1
        assert "has no invocation: it has answered 500" in function.text
        assert journal(tmp_path) == ["startup", "shutdown"]

    @pytest.mark.parametrize("fault", [403, 413])
    def test_a_refused_answer_is_logged_and_the_next_one_served(
        self, fault: int, api: RuntimeAPI, start: Start
    ) -> None:
        api.faults["response"] = [fault]
        function = start()
        api.send(url_event())
        assert function.wait_for_record("answer refused by Lambda")["status"] == fault
        assert api.invoke(url_event()).json()["statusCode"] == 200

    def test_a_broken_environment_is_left(self, api: RuntimeAPI, start: Start) -> None:
        api.faults["response"] = [500]
        function = start()
        api.send(url_event())
        assert function.wait() == 1

    def test_without_extensions_it_runs_all_the_same(self, api: RuntimeAPI, start: Start) -> None:
        api.faults["register"] = [404]
        start()
        assert api.invoke(url_event()).json()["statusCode"] == 200


def test_variables_of_the_environment_are_not_needed(api: RuntimeAPI, start: Start) -> None:
    environment: Mapping[str, str] = {"AWS_LAMBDA_MAX_CONCURRENCY": "many"}
    start(**environment)
    assert api.invoke(url_event()).json()["statusCode"] == 200


def test_the_zip_file_of_the_documentation_runs(api: RuntimeAPI, tmp_path: Path) -> None:
    """`bootstrap` and `server.toml` of deploy/lambda with the example; their Python is the one of the tests."""
    deploy = Path(__file__).parents[2] / "deploy"
    for file in ("lambda/bootstrap", "lambda/server.toml", "example/main.py"):
        shutil.copy(deploy / file, tmp_path)
    with (tmp_path / "main.py").open("a", encoding="utf-8") as source:
        source.write("\n@app.get('/print')\ndef say() -> None:\n    print('printed')\n")
    python = tmp_path / "python/bin/python3"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    ours = ("APPSERVER_", "AWS_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"AWS_LAMBDA_RUNTIME_API": api.address, "LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "main:app"}
    environment |= {"PYTHONPATH": PYTHONPATH}
    output = tmp_path / "output"
    with output.open("wb") as log, subprocess.Popen([tmp_path / "bootstrap"], env=environment, stdout=log) as process:
        try:
            prelude, body = api.invoke(url_event("/articles/1")).split()
            assert prelude["statusCode"] == 200
            assert json.loads(body)["name"] == "Bicycle bell"
            assert api.invoke(url_event("/print")).split()[0]["statusCode"] == 200
            assert "printed\n" in output.read_text(), "what is left in a buffer is logged when Lambda thaws the process"
        finally:
            process.terminate()
    assert process.returncode == 0
