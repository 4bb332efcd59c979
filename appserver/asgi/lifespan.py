"""The application's start-up and shutdown: the ASGI lifespan protocol, version 2.0.

The application is called once with a scope of type "lifespan" and runs, in a task of its own, as long as the worker.
What it may say, and what follows from it, is in the table `_NEXT`; anything else that it says is an error raised in the
application. It can also end without a word: what that means depends on the phase it ends in.

Nothing in here has a time limit of its own. The caller bounds `startup` and `shutdown`, and calls `cancel` when it has waited long
enough; so a start-up that hangs is never taken for one that is done.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any, Literal, Protocol

from appserver.asgi.tracebacks import application_traceback, describe
from appserver.asgi.trio import mistakes
from appserver.asgi.types import ASGIApplication, Message
from appserver.errors import StartupError


class Logger(Protocol):
    """Where a lifespan reports what nobody waits for; a bound logger of structlog is one."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class _Phase(Enum):
    NEW = auto()
    """Not started yet; `startup` comes next."""
    STARTING = auto()
    """`lifespan.startup` can be received; an answer, a return or an exception ends the phase."""
    SERVING = auto()
    """Started up; the application is waiting for `lifespan.shutdown`."""
    STOPPING = auto()
    """`lifespan.shutdown` can be received; an answer, a return or an exception ends the phase."""
    FAILED = auto()
    """The start-up or the shutdown failed, and the application said so; it has nothing left but to return."""
    OVER = auto()
    """Shut down, broken, cancelled or not supported; what the application says is not listened to."""


_NEXT = {
    (_Phase.STARTING, "lifespan.startup.complete"): _Phase.SERVING,
    (_Phase.STARTING, "lifespan.startup.failed"): _Phase.FAILED,
    (_Phase.STOPPING, "lifespan.shutdown.complete"): _Phase.OVER,
    (_Phase.STOPPING, "lifespan.shutdown.failed"): _Phase.FAILED,
    # Unasked: frameworks say this when something breaks in the meantime, such as a task that was started with them.
    (_Phase.SERVING, "lifespan.shutdown.failed"): _Phase.OVER,
}

_DEAF = frozenset({_Phase.FAILED, _Phase.OVER})
"""Where nothing that the application says matters any more, and nothing more will be said to it."""


class Lifespan:
    """The lifespan of an application in one event loop.

    Await `startup` before the first request and `shutdown` after the last; await `cancel` when either of them takes too
    long. `state` is what the application keeps for its requests: each scope gets a shallow copy.
    """

    def __init__(self, application: ASGIApplication, mode: Literal["auto", "on", "off"], logger: Logger) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._mode = mode
        self._logger = logger
        self._phase = _Phase.NEW
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._startup_received = False
        self._answered = asyncio.Event()
        """Set as soon as the application answered the last message, or ended."""
        self._reason = ""
        """The reason of a failure, as the application gave it: a sentence, or a traceback as text."""
        self._error: BaseException | None = None
        """The exception that the application raised."""

    async def startup(self) -> None:
        """Start the application; when this returns, it can be called with requests.

        Raises StartupError if the application says that its start-up failed, and with mode "on" also if it ends without
        an answer. With mode "auto" the latter means that it does not know the protocol, so the specification; it is
        logged all the same, because a mistake in its start-up looks no different.
        """
        if self._mode == "off":
            return
        phase = await self._ask(_Phase.STARTING, "lifespan.startup")
        if phase is _Phase.FAILED:
            # Frameworks go on to raise what they have just reported; by now they have. Nothing else is waited for.
            await self.cancel()
            raise StartupError(f"the application's start-up failed: {self._advised(self._summary())}", self._details())
        if phase is _Phase.STARTING:
            self._phase = _Phase.OVER
            self._judge_silence()

    async def shutdown(self) -> None:
        """Shut the application down; returns when it has come to its end. Failures are logged: there is no way back."""
        if self._phase is not _Phase.SERVING or self._task is None or self._task.done():
            await self.cancel()
            return
        phase = await self._ask(_Phase.STOPPING, "lifespan.shutdown")
        await asyncio.wait([self._task])
        if phase is _Phase.FAILED or self._error is not None:
            self._log_failure("lifespan shutdown failed")

    async def cancel(self, limit: float | None = None) -> None:
        """End the application wherever it is, and wait until it has cleaned up, for at most `limit` seconds.

        It may ignore that it is cancelled. Then it goes on when this returns.
        """
        if self._task is not None:
            self._phase = _Phase.OVER
            self._task.cancel()
            await asyncio.wait([self._task], timeout=limit)

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task of the application; None before it was started."""
        return self._task

    async def _ask(self, phase: _Phase, message: str) -> _Phase:
        """Let the application have a message, wait until it answered or ended, and return the phase it is in then."""
        self._phase = phase
        self._answered.clear()
        self._messages.put_nowait({"type": message})
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="lifespan")
        await self._answered.wait()
        return self._phase

    async def _run(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        try:
            await self._application({"type": "lifespan", "asgi": asgi, "state": self.state}, self._receive, self._send)
        except BaseException as error:  # noqa: BLE001 left to itself, sys.exit() in a task takes the event loop with it
            mistakes.explain(error, "asyncio")
            if self._phase not in _DEAF or not isinstance(error, asyncio.CancelledError):
                self._error = error
        if self._phase is _Phase.SERVING:
            if self._error is not None:
                self._log_failure("lifespan broken")
            else:
                self._logger.info("lifespan over", reason="it returned before lifespan.shutdown")
        self._answered.set()

    async def _receive(self) -> Message:
        if self._phase in _DEAF and self._task is not None:
            # Nothing will come any more. An application that loops over receive() ends here instead of in a time limit.
            self._task.cancel()
        message = await self._messages.get()
        self._startup_received = True
        return message

    async def _send(self, message: Message) -> None:
        if self._phase in _DEAF:
            return
        before, kind = self._phase, message["type"]
        if (before, kind) not in _NEXT:
            expected = [name for phase, name in _NEXT if phase is before]
            raise RuntimeError(f'the application sent "{kind}" where only {" or ".join(expected)} may follow')
        self._phase = _NEXT[before, kind]
        reason = message.get("message") or ""
        self._reason = reason if isinstance(reason, str) else repr(reason)
        if before is _Phase.SERVING:
            self._log_failure("lifespan broken")
        self._answered.set()

    def _judge_silence(self) -> None:
        """Decide what it means that the application ended without an answer to `lifespan.startup`."""
        problem = "it returned without an answer" if self._error is None else f"it raised {describe(self._error)}"
        # A BaseException that is no Exception, such as SystemExit, is never a way to say "not supported".
        if self._mode == "on" or not isinstance(self._error, Exception | None):
            raise StartupError(
                f"the application did not complete its start-up: {self._advised(problem)}", self._details()
            )
        if self._startup_received:
            self._logger.warning("lifespan not supported, or start-up failed", reason=problem, **self._exception())
        else:
            self._logger.info("lifespan not supported", reason=problem)
            if self._error is not None:
                self._logger.debug("lifespan not supported", **self._exception())

    def _log_failure(self, event: str) -> None:
        self._logger.error(event, reason=self._summary(), **self._exception())

    def _summary(self) -> str:
        """The failure, in one line."""
        lines = self._reason.strip().splitlines()
        if len(lines) == 1:
            return lines[0]
        if self._error is not None:
            return describe(self._error)
        return lines[-1] if lines else "it gave no reason"

    def _advised(self, problem: str) -> str:
        advice = mistakes.advice(self._error, self._reason)
        return f"{problem}\n  {advice}" if advice else problem

    def _details(self) -> str:
        """The traceback of what went wrong; empty if there is none."""
        if self._error is not None:
            return application_traceback(self._error)
        return self._reason.strip() if "\n" in self._reason.strip() else ""

    def _exception(self) -> dict[str, str]:
        return {"exception": details} if (details := self._details()) else {}
