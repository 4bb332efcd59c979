"""One life of the development server: from the import to Ctrl-C, or to a change of the code."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from contextvars import Context

from appserver.asgi.loader import import_application
from appserver.asgi.types import ASGIApplication, Receive, Scope, Send
from appserver.engine.listener import Listener
from appserver.errors import ApplicationImportError, StartupError
from appserver.inprocess.serving import Serving
from appserver.inprocess.terminal import interrupts
from appserver.master.certificates import Certificates
from appserver.settings import Settings
from appserver.telemetry.log_config import LogConfig, application_logging
from appserver.telemetry.logs import get_logger, handle_loop_exceptions

# How long requests may go on when the code has changed, in seconds: somebody is waiting for the new one.
PATIENCE = 1.0
# How long a connection without a request may wait for one when this process ends, in seconds: it has been accepted.
LINGER = 0.2


class Development:
    """Serves until somebody stops it or the code changes: `run` says which.

    Code that cannot be imported, or whose start-up fails, does not end it: the error is shown, here and to whoever sends a
    request, and the next change is waited for.
    """

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[Listener],
        urls: Sequence[str],
        certificates: Certificates | None,
        *,
        changed: Sequence[str],
        began: float,
    ) -> None:
        """`changed` are the names of the files whose change has led here, `began` is when (time.monotonic())."""
        self._settings = settings
        self._loop = loop
        self._listeners = listeners
        self._urls = urls
        self._certificates = certificates
        self._changed = changed
        self._began = began
        self._log = get_logger("appserver.dev")
        self._ended = asyncio.Event()
        self._restart: list[str] | None = None
        self._serving: Serving | None = None

    def run(self) -> list[str] | None:
        """Serve; returns the names of the files that have changed, None if it was stopped."""
        asyncio.set_event_loop(self._loop)
        handle_loop_exceptions(self._loop)
        with interrupts(self._interrupt):
            try:
                self._loop.run_until_complete(self._live(self._import()))
            except KeyboardInterrupt:
                self._log.warning("stopped at once")
                self._restart = None
            finally:
                if self._serving is not None:
                    self._serving.close()
        return self._restart

    def change(self, names: list[str]) -> None:
        """Take note that files have changed; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._end, names)

    def reopen_logs(self) -> None:
        """Open the file of the access log anew, after a rotation; to be called in the event loop."""
        if self._serving is not None:
            self._serving.reopen_logs()

    def _import(self) -> ASGIApplication | ApplicationImportError:
        try:
            around = application_logging(LogConfig.read(self._settings.logging))
            return import_application(self._settings.app, self._loop, around)
        except ApplicationImportError as error:
            return error

    async def _live(self, imported: ASGIApplication | ApplicationImportError) -> None:
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._end, None)
        self._loop.add_signal_handler(signal.SIGHUP, self._end, [])
        self._loop.add_signal_handler(signal.SIGUSR2, self._refuse_upgrade)
        try:
            if isinstance(imported, ApplicationImportError):
                raise imported
            await self._serve(imported)
            self._announce()
        except (ApplicationImportError, StartupError) as error:
            if self._serving is not None:
                self._serving.close()
            await self._show(error)
        await self._ended.wait()
        if self._serving is not None:
            await self._serving.stop(linger=LINGER, limit=PATIENCE if self._restart is not None else None)

    async def _serve(self, application: ASGIApplication, settings: Settings | None = None) -> None:
        self._serving = Serving(
            settings or self._settings,
            application,
            self._listeners,
            certificates=self._certificates,
            on_exit=lambda: self._end(None),
        )
        await self._serving.start()

    def _announce(self) -> None:
        seconds = round(time.monotonic() - self._began, 2)
        if self._changed:
            self._log.info("reloaded", changed=list(self._changed), seconds=seconds)
        else:
            self._log.info("serving", urls=list(self._urls), seconds=seconds)

    async def _show(self, error: ApplicationImportError | StartupError) -> None:
        """Show an error for as long as it is there."""
        app = self._settings.app.model_copy(update={"lifespan": "off"})
        settings = self._settings.model_copy(update={"app": app})
        await self._serve(_error_page(f"{error.traceback.rstrip()}\n{error}\n"), settings)
        kind = "it cannot be imported" if isinstance(error, ApplicationImportError) else "its start-up failed"
        self._log.error(
            "not served", reason=kind, advice="waiting for a change", traceback=f"{error.traceback.rstrip()}\n{error}"
        )

    def _interrupt(self) -> None:
        """Stop; called wherever the main thread is, in the middle of a request, too."""
        if (serving := self._serving) is not None and (running := serving.running()):
            # In a context of its own: this may be in the middle of a request, which has nothing to do with it.
            Context().run(self._log.info, "stopping", waiting_for=running, advice="Ctrl-C again stops at once")
        self._loop.call_soon_threadsafe(self._end, None)

    def _refuse_upgrade(self) -> None:
        self._log.warning(
            "not upgraded", reason="USR2 is for a master in production", advice="HUP starts anew, with new code"
        )

    def _end(self, restart: list[str] | None) -> None:
        if not self._ended.is_set():
            self._restart = restart
            self._ended.set()


def _error_page(text: str) -> ASGIApplication:
    body = text.encode(errors="backslashreplace")

    async def page(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the form of ASGI
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1011})

    return page
