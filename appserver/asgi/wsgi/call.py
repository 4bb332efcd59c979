"""One call of a WSGI application: half in the event loop, half in a thread.

The loop's half passes on to the client what the thread's half puts into a queue. They wake each other only when one of
them waits, and a usual response is one such waking: head, body and the end of the call at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextvars import copy_context
from types import TracebackType
from typing import Any

from appserver.asgi.types import Message, Receive, Scope, Send, WSGIApplication
from appserver.asgi.wsgi.body import Body
from appserver.asgi.wsgi.early_hints import make_early_hints
from appserver.asgi.wsgi.environ import make_environ
from appserver.asgi.wsgi.input import Input
from appserver.asgi.wsgi.response import Response
from appserver.asgi.wsgi.threads import Threads
from appserver.forked import end_child, generation

WINDOW = 64 * 1024
"""So many octets of a response may be on their way to the client's connection before the application has to wait."""

WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
"""The methods of requests whose application wants a body, as a rule, so that it is asked for at once."""


class Call:
    """Await `serve`. The methods behind it are for the thread."""

    __slots__ = (
        "_application", "_body", "_changed", "_common", "_context", "_error", "_failure", "_loop", "_messages", "_over",
        "_process", "_put", "_scope", "_sent", "_signalled", "_submitted", "_threads", "_ticket", "_waited", "_waiter", "lost",
        "thread",
    )  # fmt: skip

    def __init__(
        self,
        application: WSGIApplication,
        common: dict[str, Any],
        scope: Scope,
        receive: Receive,
        loop: asyncio.AbstractEventLoop,
        threads: Threads,
    ) -> None:
        self._application = application
        self._common = common
        self._scope = scope
        self._loop = loop
        self._threads = threads
        self._context = copy_context()  # with the id of the request, for the records that the application makes
        self._changed = threading.Condition(threading.Lock())
        self._body = Body(receive, loop, self._changed)
        self._ticket = [True]  # who takes it decides whether the application is called
        self._messages: deque[tuple[Message, int]] = deque()
        self._put = 0  # octets of bodies that the thread has put there
        self._sent = 0  # octets that the loop has passed on
        self._signalled = False  # the loop has been woken, and has not looked yet
        self._waiter: asyncio.Future[None] | None = None
        self._over = False  # nothing more comes from the thread
        self._error: BaseException | None = None  # what the application has raised
        self._failure: Exception | None = None  # what `send` has raised, and it is not that the client has gone
        self._submitted = self._waited = time.monotonic()
        self._process = generation()
        self.lost = False  # nothing that the application says is of interest to anybody
        self.thread = 0  # its identifier, for those who want to see where it stands

    async def serve(self, send: Send) -> None:
        """Have the application called, and pass its response on; raises what it raises."""
        if self._scope["method"] in WITH_BODY and all(name != b"expect" for name, _ in self._scope["headers"]):
            self._body.start()
        if not self._threads.submit(self):
            self._body.watch(self._client_left)
        try:
            await self._deliver(send)
        except asyncio.CancelledError:
            self._give_up()
            raise
        finally:
            self._body.close("the request is over")
        error = self._failure or self._error
        if error is not None:
            try:
                raise error
            finally:
                del error
                self._error = self._failure = None  # their tracebacks refer to this call

    async def _deliver(self, send: Send) -> None:
        """Send the messages as they come, until the call is over."""
        messages = self._messages
        while messages or not self._over:
            if not messages:
                self._waiter = self._loop.create_future()
                await self._waiter
                continue
            message, size = messages.popleft()
            if not self.lost:
                try:
                    await send(message)
                except OSError:
                    self._lose()
                except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the thread has to be told
                    self._failure = error
                    self._lose()
            if size:
                with self._changed:
                    self._sent += size
                    self._changed.notify_all()

    def _lose(self) -> None:
        with self._changed:
            self.lost = True
            self._changed.notify_all()

    def _give_up(self) -> None:
        """Nobody waits for the call any more; the thread comes to its end by itself."""
        if self.claim():
            self._threads.finished(None)
        self._lose()

    def _client_left(self) -> None:
        """The client has left while the call was waiting for a thread, or has closed its side."""
        if self.claim():
            self._threads.finished(None)
            self._over = True
            self._wake()

    def _wake(self) -> None:
        self._signalled = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        """The thread is done."""
        self._over = True
        self._threads.finished(self._waited)
        self._wake()

    # In the thread.

    def claim(self) -> bool:
        """Take the right to decide what becomes of the call; True for the first who asks."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        return True

    def run(self) -> None:
        """Call the application, and put its response into the queue; never raises."""
        self._waited = time.monotonic() - self._submitted
        self.thread = threading.get_ident()
        self._body.ignore_leave()
        try:
            self._context.run(self._respond)
        except BaseException as error:  # noqa: BLE001  # raised in the loop's half, where it is logged
            self._error = error.with_traceback(_of_application(error.__traceback__))
        if self._process != generation():
            end_child(self._error)
        self.thread = 0
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            pass  # the event loop is closed: the process ends

    def _respond(self) -> None:
        scope = self._scope
        environ = make_environ(self._common, scope)
        environ["wsgi.input"] = Input(self._body.take)
        announced = "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ
        if not announced and scope["method"] not in WITH_BODY and scope["http_version"] in ("1.1", "1.0"):
            self._body.end()  # as every request says of itself in HTTP/1.1; the loop need not be asked
        extensions = scope.get("extensions") or {}
        response = Response(self, may_send_files="http.response.zerocopysend" in extensions)
        if "http.response.early_hint" in extensions:
            environ["wsgi.early_hints"] = make_early_hints(response)
        result = self._application(environ, response.start)
        try:
            response.transmit(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def put(self, messages: Iterable[Message], size: int) -> None:
        """Send messages with `size` octets of body, and wait if too much is on its way; nothing if all is lost."""
        if self.lost:
            return
        self.put_last(messages, size)
        if not self._signalled:
            self._signalled = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                self.lost = True  # the event loop is closed: the process ends
        if self._put - self._sent > WINDOW:
            self._wait(WINDOW)

    def put_last(self, messages: Iterable[Message], size: int = 0) -> None:
        """Send them with the end of the call, which is near."""
        *before, last = messages
        for message in before:
            self._messages.append((message, 0))
        self._put += size
        self._messages.append((last, size))

    def wait_sent(self) -> None:
        """Wait until everything has been sent, or nothing can be."""
        self._wait(0)

    def _wait(self, allowed: int) -> None:
        if self._process != generation():
            end_child(None)
        with self._changed:
            while self._put - self._sent > allowed and not self.lost:
                self._changed.wait()


def _of_application(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package at its beginning."""
    while traceback and traceback.tb_next and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    return traceback
