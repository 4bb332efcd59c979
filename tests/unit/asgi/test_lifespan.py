"""appserver.asgi.lifespan: every way an application can behave between start-up and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from appserver.asgi.lifespan import Lifespan
from appserver.asgi.types import ASGIApplication, Message, Receive, Scope, Send
from appserver.errors import StartupError

Mode = Literal["auto", "on", "off"]
UNAWARE_MODES: list[Mode] = ["auto", "on"]


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []

    def debug(self, event: str, **fields: Any) -> None:
        self.records.append(("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        self.records.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.records.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.records.append(("error", event, fields))

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(level, event) for level, event, _ in self.records]

    def fields(self, event: str) -> dict[str, Any]:
        return next(fields for _, found, fields in self.records if found == event)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop; it must leave no task, and the loop must have nothing to complain about."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(30):
            await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "the application is still running"
        gc.collect()

    asyncio.run(main())
    assert not complaints


async def until(condition: Callable[[], object]) -> None:
    """Let others run until a condition holds; the scenario's time limit bounds it."""
    while not condition():
        await asyncio.sleep(0)


class Conversation:
    """An application that does what a test says, and notes what it receives and which errors its messages meet."""

    def __init__(self, *steps: str | BaseException | Message) -> None:
        self.steps = steps
        self.scope: Scope = {}
        self.received: list[str] = []
        self.refused: list[str] = []
        self.cleaned_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        try:
            for step in self.steps:
                await self.do(step, receive, send)
        finally:
            self.cleaned_up = True

    async def do(self, step: str | BaseException | Message, receive: Receive, send: Send) -> None:
        if isinstance(step, BaseException):
            raise step
        if step == "receive":
            self.received.append((await receive())["type"])
        elif step == "hang":
            await asyncio.Event().wait()
        elif step == "yield":
            await asyncio.sleep(0)
        else:
            try:
                await send({"type": step} if isinstance(step, str) else step)
            except RuntimeError as error:
                self.refused.append(str(error))


WELL_BEHAVED = ("receive", "lifespan.startup.complete", "receive", "lifespan.shutdown.complete")


def start_and_stop(application: ASGIApplication, mode: Mode = "auto") -> Log:
    """Start an application and shut it down; returns what was logged."""
    log = Log()

    async def scenario() -> None:
        lifespan = Lifespan(application, mode, log)
        await lifespan.startup()
        await lifespan.shutdown()

    run(scenario)
    return log


def failing_startup(application: ASGIApplication, mode: Mode = "auto") -> StartupError:
    """Start an application that does not come up; returns the error. Nothing of the application is left running."""
    errors: list[StartupError] = []

    async def scenario() -> None:
        with pytest.raises(StartupError) as raised:
            await Lifespan(application, mode, Log()).startup()
        errors.append(raised.value)

    run(scenario)
    return errors[0]


class TestAWellBehavedApplication:
    @pytest.mark.parametrize("mode", UNAWARE_MODES)
    def test_receives_startup_and_shutdown_and_nothing_is_logged(self, mode: Mode) -> None:
        application = Conversation(*WELL_BEHAVED)
        log = start_and_stop(application, mode)
        assert application.received == ["lifespan.startup", "lifespan.shutdown"]
        assert application.cleaned_up
        assert log.records == []

    def test_is_called_with_a_scope_of_lifespan_2_0(self) -> None:
        application = Conversation(*WELL_BEHAVED)
        start_and_stop(application)
        assert application.scope == {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": {},
        }

    def test_leaves_its_state_to_the_requests(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            scope["state"]["pool"] = "a pool"
            await send({"type": "lifespan.startup.complete"})
            await receive()

        async def scenario() -> None:
            lifespan = Lifespan(application, "on", Log())
            await lifespan.startup()
            assert lifespan.state == {"pool": "a pool"}
            await lifespan.shutdown()

        run(scenario)

    def test_may_answer_startup_without_receiving_it(self) -> None:
        application = Conversation("lifespan.startup.complete", "receive", "receive", "lifespan.shutdown.complete")
        assert start_and_stop(application).records == []
        assert application.received == ["lifespan.startup", "lifespan.shutdown"]

    def test_may_return_instead_of_answering_shutdown(self) -> None:
        assert start_and_stop(Conversation("receive", "lifespan.startup.complete", "receive")).records == []

    def test_is_waited_for_after_it_answered_shutdown(self) -> None:
        application = Conversation(*WELL_BEHAVED, "yield", "yield")
        start_and_stop(application)
        assert application.cleaned_up

    def test_may_loop_over_receive_for_ever(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            while True:
                await send({"type": (await receive())["type"] + ".complete"})

        assert start_and_stop(application).records == []

    def test_is_not_called_at_all_with_mode_off(self) -> None:
        application = Conversation(ValueError("called"))
        assert start_and_stop(application, "off").records == []
        assert application.scope == {}

    def test_is_shut_down_only_once(self) -> None:
        application = Conversation(*WELL_BEHAVED)

        async def scenario() -> None:
            lifespan = Lifespan(application, "on", Log())
            await lifespan.startup()
            await lifespan.shutdown()
            await lifespan.shutdown()
            await lifespan.cancel()

        run(scenario)
        assert application.received == ["lifespan.startup", "lifespan.shutdown"]


class TestAnApplicationThatEndsWithoutAnAnswerToStartup:
    def test_does_not_support_lifespan_in_mode_auto_if_it_raises_at_once(self) -> None:
        log = start_and_stop(Conversation(ValueError("only HTTP, not lifespan")))
        assert log.events == [("info", "lifespan not supported"), ("debug", "lifespan not supported")]
        assert log.records[0][2] == {"reason": "it raised ValueError: only HTTP, not lifespan"}
        assert log.records[1][2]["exception"].endswith("ValueError: only HTTP, not lifespan")

    def test_is_served_in_mode_auto_if_it_raises_on_the_message_but_with_a_warning_and_the_traceback(self) -> None:
        log = start_and_stop(Conversation("receive", ConnectionError("no database")))
        assert log.events == [("warning", "lifespan not supported, or start-up failed")]
        assert "raise step" in log.records[0][2]["exception"]

    def test_does_not_support_lifespan_in_mode_auto_if_it_returns(self) -> None:
        log = start_and_stop(Conversation())
        assert log.records == [("info", "lifespan not supported", {"reason": "it returned without an answer"})]

    def test_fails_in_mode_on_if_it_raises(self) -> None:
        error = failing_startup(Conversation(ValueError("no such scope")), "on")
        assert str(error) == "the application did not complete its start-up: it raised ValueError: no such scope"
        assert "raise step" in error.traceback
        assert "appserver/asgi" not in error.traceback

    def test_fails_in_mode_on_if_it_returns(self) -> None:
        error = failing_startup(Conversation("receive"), "on")
        assert str(error) == "the application did not complete its start-up: it returned without an answer"
        assert error.traceback == ""

    @pytest.mark.parametrize("mode", UNAWARE_MODES)
    @pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
    def test_fails_in_every_mode_if_it_wants_the_process_to_end(self, ending: BaseException, mode: Mode) -> None:
        assert type(ending).__name__ in str(failing_startup(Conversation("receive", ending), mode))


class TestAnApplicationThatSaysItsStartupFailed:
    @pytest.mark.parametrize("mode", UNAWARE_MODES)
    def test_fails_in_every_mode_with_its_message(self, mode: Mode) -> None:
        said: Message = {"type": "lifespan.startup.failed", "message": "no database"}
        error = failing_startup(Conversation("receive", said), mode)
        assert str(error) == "the application's start-up failed: no database"
        assert error.traceback == ""
        assert error.exit_code == 5

    def test_fails_without_a_message(self) -> None:
        error = failing_startup(Conversation("lifespan.startup.failed"))
        assert str(error) == "the application's start-up failed: it gave no reason"

    @pytest.mark.parametrize("reason", [5, b"no database", ValueError("no database")])
    def test_a_reason_that_is_no_text_is_shown_as_it_is(self, reason: object) -> None:
        error = failing_startup(Conversation({"type": "lifespan.startup.failed", "message": reason}))
        assert str(error) == f"the application's start-up failed: {reason!r}"

    def test_fails_with_message_and_traceback_if_it_raises_as_well(self) -> None:
        said: Message = {"type": "lifespan.startup.failed", "message": "no database"}
        error = failing_startup(Conversation("receive", said, OSError("connection refused")))
        assert str(error) == "the application's start-up failed: no database"
        assert error.traceback.endswith("OSError: connection refused")

    def test_fails_with_the_error_in_one_line_if_its_message_is_a_traceback(self) -> None:
        text = "Traceback (most recent call last):\n  File x\nValueError: first line\nsecond line\n"
        said: Message = {"type": "lifespan.startup.failed", "message": text}
        error = failing_startup(Conversation("receive", said, ValueError("first line\nsecond line")))
        assert str(error) == "the application's start-up failed: ValueError: first line"
        assert "raise step" in error.traceback

    def test_fails_with_the_last_line_of_a_traceback_if_it_does_not_raise(self) -> None:
        text = "Traceback (most recent call last):\n  File x\nValueError: no database\n"
        error = failing_startup(Conversation({"type": "lifespan.startup.failed", "message": text}))
        assert str(error) == "the application's start-up failed: ValueError: no database"
        assert error.traceback == text.strip()

    def test_is_not_waited_for(self) -> None:
        said: Message = {"type": "lifespan.startup.failed", "message": "no database"}
        application = Conversation("receive", said, "hang")
        assert str(failing_startup(application)) == "the application's start-up failed: no database"
        assert application.cleaned_up

    def test_is_not_heard_any_more(self) -> None:
        application = Conversation("receive", "lifespan.startup.failed", "lifespan.startup.complete")
        assert "it gave no reason" in str(failing_startup(application))
        assert application.refused == []

    def test_may_loop_over_receive(self) -> None:
        application = Conversation("receive", "lifespan.startup.failed", "receive")
        assert "it gave no reason" in str(failing_startup(application))


class TestAnApplicationThatEndsWhileServing:
    def test_is_reported_with_its_traceback_if_it_raises(self) -> None:
        log = start_and_stop(Conversation("receive", "lifespan.startup.complete", OSError("lost")))
        assert log.events == [("error", "lifespan broken")]
        fields = log.fields("lifespan broken")
        assert fields["reason"] == "OSError: lost"
        assert "raise step" in fields["exception"]

    def test_is_reported_at_once_and_not_at_shutdown(self) -> None:
        log = Log()

        async def scenario() -> None:
            breaks = asyncio.Event()

            async def application(scope: Scope, receive: Receive, send: Send) -> None:
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await breaks.wait()
                raise OSError("lost")

            lifespan = Lifespan(application, "auto", log)
            await lifespan.startup()
            assert log.records == []
            breaks.set()
            await until(lambda: log.records)
            await lifespan.shutdown()

        run(scenario)
        assert log.events == [("error", "lifespan broken")]

    def test_is_noted_if_it_returns(self) -> None:
        log = start_and_stop(Conversation("receive", "lifespan.startup.complete"))
        assert log.records == [("info", "lifespan over", {"reason": "it returned before lifespan.shutdown"})]

    def test_is_reported_once_if_it_says_so_and_raises(self) -> None:
        said: Message = {"type": "lifespan.shutdown.failed", "message": "a background task died"}
        log = start_and_stop(Conversation("receive", "lifespan.startup.complete", said, OSError("lost")))
        assert log.records == [("error", "lifespan broken", {"reason": "a background task died"})]

    def test_is_ended_at_shutdown_if_it_says_so_and_goes_on(self) -> None:
        application = Conversation("receive", "lifespan.startup.complete", "lifespan.shutdown.failed", "hang")
        log = start_and_stop(application)
        assert log.events == [("error", "lifespan broken")]
        assert application.received == ["lifespan.startup"]
        assert application.cleaned_up


class TestAFailingShutdown:
    STARTED = ("receive", "lifespan.startup.complete", "receive")

    def test_is_logged_with_the_applications_message(self) -> None:
        said: Message = {"type": "lifespan.shutdown.failed", "message": "could not flush"}
        log = start_and_stop(Conversation(*self.STARTED, said))
        assert log.records == [("error", "lifespan shutdown failed", {"reason": "could not flush"})]

    def test_is_logged_with_the_traceback_if_the_application_raises(self) -> None:
        log = start_and_stop(Conversation(*self.STARTED, OSError("could not flush")))
        assert log.events == [("error", "lifespan shutdown failed")]
        assert log.fields("lifespan shutdown failed")["exception"].endswith("OSError: could not flush")

    def test_is_logged_if_the_application_raises_after_it_answered(self) -> None:
        log = start_and_stop(Conversation(*WELL_BEHAVED, OSError("could not close")))
        assert log.events == [("error", "lifespan shutdown failed")]


class TestAWrongMessage:
    def test_of_an_unknown_type_is_an_error_in_the_application(self) -> None:
        application = Conversation("receive", "lifespan.startup.done", *WELL_BEHAVED[1:])
        assert start_and_stop(application).records == []
        expected = "lifespan.startup.complete or lifespan.startup.failed"
        assert application.refused == [f'the application sent "lifespan.startup.done" where only {expected} may follow']

    @pytest.mark.parametrize(
        "message", ["lifespan.startup.complete", "lifespan.startup.failed", "lifespan.shutdown.complete"]
    )
    def test_that_does_not_fit_the_phase_is_an_error_in_the_application(self, message: str) -> None:
        application = Conversation("receive", "lifespan.startup.complete", message, *WELL_BEHAVED[2:])
        assert start_and_stop(application).records == []
        assert len(application.refused) == 1

    def test_that_the_application_does_not_catch_breaks_its_lifespan(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.startup.complete"})

        log = start_and_stop(application)
        assert log.events == [("error", "lifespan broken")]
        assert "appserver/asgi" not in log.fields("lifespan broken")["exception"]

    def test_after_the_shutdown_is_ignored(self) -> None:
        application = Conversation(*WELL_BEHAVED, "lifespan.shutdown.complete", "nonsense")
        assert start_and_stop(application).records == []
        assert application.refused == []


class TestAnApplicationThatHangs:
    def test_at_startup_can_be_cut_off_by_the_caller(self) -> None:
        application = Conversation("receive", "hang")
        log = Log()

        async def scenario() -> None:
            lifespan = Lifespan(application, "auto", log)
            startup = asyncio.create_task(lifespan.startup())
            await until(lambda: application.received)
            startup.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await startup
            await lifespan.cancel()

        run(scenario)
        assert application.cleaned_up
        assert log.records == []

    def test_at_shutdown_can_be_cut_off_by_the_caller(self) -> None:
        application = Conversation("receive", "lifespan.startup.complete", "receive", "hang")
        log = Log()

        async def scenario() -> None:
            lifespan = Lifespan(application, "auto", log)
            await lifespan.startup()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await lifespan.shutdown()
            assert not application.cleaned_up
            await lifespan.cancel()

        run(scenario)
        assert application.cleaned_up
        assert log.records == []

    def test_and_ignores_its_cancellation_is_left_after_a_while(self) -> None:
        end = asyncio.Event()
        ignored = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError as error:
                    ignored.append(error)

        async def scenario() -> None:
            lifespan = Lifespan(application, "on", Log())
            startup = asyncio.create_task(lifespan.startup())
            await until(lambda: lifespan.task is not None)
            await asyncio.sleep(0)
            startup.cancel()
            await lifespan.cancel(0.01)
            assert len(ignored) == 1
            assert lifespan.task is not None
            assert not lifespan.task.done()
            end.set()
            await lifespan.task

        run(scenario)

    def test_may_report_its_own_cancellation(self) -> None:
        waiting = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            waiting.append(await receive())
            try:
                await asyncio.Event().wait()
            except BaseException:
                await send({"type": "lifespan.startup.failed", "message": "cancelled"})
                raise

        log = Log()

        async def scenario() -> None:
            lifespan = Lifespan(application, "on", log)
            startup = asyncio.create_task(lifespan.startup())
            await until(lambda: waiting)
            startup.cancel()
            await lifespan.cancel()

        run(scenario)
        assert log.records == []

    def test_before_it_was_started_there_is_nothing_to_cancel(self) -> None:
        run(lambda: Lifespan(Conversation(), "auto", Log()).cancel())
