"""`appserver.aws.handler`: an application as the handler of Lambda's managed Python runtime.

That runtime has a loop of its own and calls the handler with one event after the other, so an answer is always whole, and has to wait
for the work behind the response. SIGTERM goes to the runtime, so a lifespan shutdown runs only where the interpreter ends
in an orderly way.
"""

from __future__ import annotations

import asyncio
import atexit
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from appserver.asgi.lifespan import Lifespan
from appserver.asgi.loader import adapt_application
from appserver.aws import arguments, environment
from appserver.aws.adapter import Adapter, Invocation, Other
from appserver.aws.custom import CustomHandlers
from appserver.aws.events.kind import MANGUM_TEXT_TYPES
from appserver.aws.other import load_other
from appserver.aws.starting import refuse_trio, start_up
from appserver.settings import Override, Settings, load
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.log_config import configure_embedded
from appserver.telemetry.logs import get_logger

# Defaults other than those of a server: no log lines that the function has not asked for.
_DEFAULTS: Mapping[str, Any] = {"access_log.enabled": False}

SHUTDOWN_TIMEOUT = 2.0
"""Seconds for the lifespan shutdown; Lambda kills the process sooner than that, where it runs at all."""


class Handler:
    """Called by Lambda with an event and its context."""

    def __init__(
        self, application: Any, settings: Settings, *, custom: CustomHandlers | None = None, other: Other | None = None
    ) -> None:
        refuse_trio(settings)
        self._application = adapt_application(application, settings.app)
        self._settings = settings
        self._custom = custom
        self._other = other
        self._loop: asyncio.AbstractEventLoop | None = None
        self._adapter: Adapter | None = None
        if environment.is_initializing():
            self._start()  # now, where Lambda lends a whole processor and takes failures for what they are

    def __call__(self, event: Any, context: Any) -> Any:
        """Answer one event. Raises EventError, StartupError, and what `other` raises."""
        adapter = self._adapter or self._start()
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(self._answer(adapter, event, context))

    async def _answer(self, adapter: Adapter, event: Any, context: Any) -> Any:
        remaining: Callable[[], float] | None = getattr(context, "get_remaining_time_in_millis", None)
        left = math.inf if remaining is None else remaining() / 1000
        invocation = Invocation(
            event,
            context,
            str(getattr(context, "aws_request_id", "")),
            adapter.service.clock() + left,
            environment.trace_id(),
        )
        answer = await adapter.answer(invocation)
        await adapter.settle(invocation)
        if adapter.access_log is not None:
            adapter.access_log.flush()
        return answer

    def _start(self) -> Adapter:
        """Run the lifespan start-up, once."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            adapter = loop.run_until_complete(self._begin())
        except BaseException:
            asyncio.set_event_loop(None)
            loop.close()
            raise
        self._loop, self._adapter = loop, adapter
        return adapter

    async def _begin(self) -> Adapter:
        settings = self._settings
        lifespan = Lifespan(self._application, settings.app.lifespan, get_logger("appserver.lifespan"))
        await start_up(lifespan, settings.workers.boot_timeout, get_logger("appserver.lambda"))
        atexit.register(self._stop, lifespan)
        return Adapter(
            self._application,
            settings,
            state=lifespan.state,
            access_log=AccessLog(settings.access_log, threaded=False, traced=True)
            if settings.access_log.enabled
            else None,
            logger=get_logger("appserver.engine"),
            other=self._other,
            recognise=None if self._custom is None else self._custom.recognise,
        )

    def _stop(self, lifespan: Lifespan) -> None:
        async def stop() -> None:
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                await lifespan.shutdown()

        if self._loop is not None and not self._loop.is_running() and not self._loop.is_closed():
            try:
                self._loop.run_until_complete(stop())
            except TimeoutError:
                pass
            finally:
                self._loop.close()


def handler(
    app: Any,
    /,
    lifespan: Literal["auto", "on", "off"] = "auto",
    api_gateway_base_path: str = "/",
    custom_handlers: Sequence[Any] | None = None,
    text_mime_types: Sequence[str] | None = None,
    exclude_headers: Sequence[str] | None = None,
    *,
    other: Other | None = None,
    **settings: Mapping[str, Any],
) -> Handler:
    """Make the handler of a function of an application (ASGI or WSGI): `handler = appserver.aws.handler(app)`.

    The arguments are those of Mangum. `other` is a function of event and context for events that are no requests, and goes before
    `lambda.other`, which names one that can be imported here. Any other setting can be given by its section:
    `access_log={"enabled": True}`. `app.env_file` is read and `logging` set up now, for the whole program: `config` as by
    dictConfig, the rest for what appserver itself logs. The lifespan start-up runs once: here if Lambda is starting the
    function, else with the first event. Raises SettingsError, also for a setting that means nothing here,
    ApplicationImportError and StartupError.
    """
    base_path = "/" + api_gateway_base_path.strip("/") if api_gateway_base_path else "/"
    values: dict[str, Any] = {**_DEFAULTS, "app.target": "the:application", "app.lifespan": lifespan}
    values["lambda.base_path"] = "" if base_path == "/" else base_path
    values["lambda.exclude_headers"] = list(exclude_headers or ())
    if text_mime_types:
        values["lambda.text_types"] = list(text_mime_types)
    values |= arguments.values(settings)
    overrides = [Override(key, value, "argument") for key, value in values.items()]
    loaded = load(None, environ={}, overrides=overrides).settings
    environment.add_file(loaded.app.env_file)
    configure_embedded(loaded.logging, given=settings.get("logging", {}))
    config = {
        "api_gateway_base_path": base_path,
        "text_mime_types": list(text_mime_types or MANGUM_TEXT_TYPES),
        "exclude_headers": [name.lower() for name in exclude_headers or ()],
    }
    custom = CustomHandlers(custom_handlers, config) if custom_handlers else None
    return Handler(app, loaded, custom=custom, other=load_other(loaded) if other is None else other)
