"""Serving from within a program: in a loop that runs (`serving`), in a thread (`threaded`), or until Ctrl-C (`run_here`)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from appserver.asgi.loader import adapt_application, load_application
from appserver.engine.listener import Listener
from appserver.errors import SettingsError
from appserver.inprocess import arguments
from appserver.inprocess.serving import Serving
from appserver.master import binding, listeners
from appserver.master.activation import Activation
from appserver.master.certificates import Certificates
from appserver.settings import (
    ListenerSettings,
    Loaded,
    LoggingSettings,
    Override,
    SystemdAddress,
    load,
    read_env_file,
)
from appserver.telemetry.log_config import configure_embedded
from appserver.telemetry.logs import configure_own, get_logger

Application = Callable[..., Any] | str
"""An application of ASGI or WSGI, or its name as "module:attribute"."""

# Defaults other than those of a server: no log lines that the program has not asked for.
_DEFAULTS: Mapping[str, Any] = {"access_log.enabled": False}
# As above, where the end is that of a block: nobody is to wait for idle connections then.
_DEFAULTS_OF_BLOCK: Mapping[str, Any] = {**_DEFAULTS, "shutdown.linger": 0.1}


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that accepts connections: the URLs of its listeners, in the order of `bind`."""

    urls: tuple[str, ...]
    _reopen_logs: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)

    def reopen_logs(self) -> None:
        """Open the files of `logging.file` and `access_log.file` anew, after a rotation; may be called from any thread."""
        self._reopen_logs()

    @property
    def url(self) -> str:
        """The URL of the first listener, without a slash at its end; of a unix socket its address."""
        return self.urls[0]


@asynccontextmanager
async def serving(
    application: Application, *, bind: str | Sequence[str] = "127.0.0.1:0", **settings: Mapping[str, Any]
) -> AsyncIterator[RunningServer]:
    """Serve an application in the event loop that runs, from the first line of the block to its last.

    `bind` is an address of `listeners.bind`, or several; port 0 is one that is free. Any other setting can be given by its
    section: `http={"max_body_size": "1MiB"}`; neither a file nor variables of the environment are read. The lifespan start-up has
    run when the block begins; at its end requests in progress are finished, and the lifespan shutdown runs. There are no
    processes, so what of `[workers]` is about them is refused, as are `[admin]`, `[metrics]` and `[reload]`. The loop is that of the
    program. `shutdown.linger` is 0.1 unless it is given. `logging` is set up first, for the whole program, and stays: `config` as by
    dictConfig, the rest for what appserver itself logs. The variables of `app.env_file` become those of the program, and stay as
    well. Raises SettingsError, ListenerError, ApplicationImportError, StartupError.
    """
    async with _serving(_load(application, bind, settings, _DEFAULTS_OF_BLOCK), application, settings) as server:
        yield server


@asynccontextmanager
async def _serving(
    loaded: Loaded,
    application: Application,
    given: Mapping[str, Mapping[str, Any]],
    on_exit: Callable[[], None] = lambda: None,
) -> AsyncIterator[RunningServer]:
    """Do what `serving` does, with settings `loaded` of what was given; `on_exit` is called when the application raises SystemExit."""
    loop = asyncio.get_running_loop()
    shutdown = loaded.settings.shutdown
    if loaded.settings.app.env_file is not None:
        os.environ.update(read_env_file(loaded.settings.app.env_file))
    configure_embedded(loaded.settings.logging, given=given.get("logging", {}))
    app = loaded.settings.app
    served = load_application(app) if isinstance(application, str) else adapt_application(application, app)
    certificates = Certificates.of(loaded)
    bound = _bind_all(loaded)
    server = Serving(
        loaded.settings,
        served,
        [
            Listener(one.socket, one.name, tls=listener.tls, proxy_protocol=listener.proxy_protocol)
            for one, listener in bound
        ],
        certificates=certificates,
        on_exit=on_exit,
    )

    def reopen_logs() -> None:
        server.reopen_logs()
        if "file" in given.get("logging", {}):
            _reopen_log(loaded.settings.logging)

    try:
        await server.start()
        try:
            yield RunningServer(
                tuple(listeners.url(one.socket, one.name, tls=listener.tls) for one, listener in bound),
                lambda: _call_soon(loop, reopen_logs),
            )
        finally:
            await server.stop(delay=shutdown.delay, linger=shutdown.linger)
    finally:
        server.close()
        for one, _ in bound:
            one.close()


@contextmanager
def threaded(
    application: Application, *, bind: str | Sequence[str] = "127.0.0.1:0", **settings: Mapping[str, Any]
) -> Iterator[RunningServer]:
    """As `serving`, in a thread with an event loop of its own: for programs and tests without one."""
    ready = threading.Event()
    found: list[RunningServer] = []
    failures: list[BaseException] = []
    end: list[Callable[[], object]] = []

    async def live() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with serving(application, bind=bind, **settings) as server:
            found.append(server)
            end.append(lambda: loop.call_soon_threadsafe(ended.set))
            ready.set()
            await ended.wait()

    def work() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:  # noqa: BLE001 - it is the caller's: raised in the thread that waits for it
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="appserver", daemon=True)
    thread.start()
    ready.wait()
    try:
        if found:
            yield found[0]
    finally:
        for stop in end:
            stop()
        thread.join()
    if failures:
        raise failures[0]


def run_here(
    application: Callable[..., Any], bind: str | Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> None:
    """Serve an application in this process until Ctrl-C or TERM."""
    asyncio.run(_until_told_to_stop(application, bind, settings))


async def _until_told_to_stop(
    application: Application, bind: str | Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> None:
    loaded = _load(application, bind, settings, _DEFAULTS)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    is_up = is_cut_off = False

    def tell(number: int) -> None:
        nonlocal is_cut_off
        # Nothing is under way yet that could be finished; and whoever presses Ctrl-C again does not want to wait for it.
        if task is not None and (not is_up or (told.is_set() and number == signal.SIGINT)):
            is_cut_off = True
            task.cancel()
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError, RuntimeError):  # not the main thread: whoever has it decides
            loop.add_signal_handler(number, tell, number)
    try:
        async with _serving(loaded, application, settings, on_exit=told.set) as server:
            is_up = True
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(signal.SIGUSR1, server.reopen_logs)
            print(f"serving {' '.join(server.urls)}", file=sys.stderr)  # noqa: T201
            await told.wait()
            if delay := loaded.settings.shutdown.delay:
                print(f"stopping in {delay:g} s (Ctrl-C: stop at once)", file=sys.stderr)  # noqa: T201
    except asyncio.CancelledError:
        if not is_cut_off:
            raise
    finally:
        # `asyncio.run` waits for what does not let itself be cancelled: from here on Ctrl-C is KeyboardInterrupt again.
        with suppress(ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)


def _reopen_log(settings: LoggingSettings) -> None:
    try:
        configure_own(settings)
    except SettingsError as error:
        get_logger("appserver.log").warning("log file cannot be reopened", reason=str(error))


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # it is closed: there is nothing left to log
        loop.call_soon_threadsafe(call)


def _load(
    application: Application,
    bind: str | Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Any],
) -> Loaded:
    named = isinstance(application, str)
    given = arguments.values(settings)
    values = {**defaults, "app.target": application if named else "the:application", **given}
    overrides = [Override(key, value, "argument") for key, value in values.items()]
    tls = {"tls": True} if "tls.certificate" in values else {}
    listening = [{"bind": address, **tls} for address in arguments.addresses(bind)]
    overrides.append(Override("listeners", listening, "bind"))
    loaded = load(None, environ={}, overrides=overrides)
    arguments.refuse_unused(loaded, given, named=named)
    return loaded


def _bind_all(loaded: Loaded) -> list[tuple[binding.BoundListener, ListenerSettings]]:
    bound: list[tuple[binding.BoundListener, ListenerSettings]] = []
    activation = binding.NOTHING_PASSED
    if any(isinstance(listener.bind, SystemdAddress) for listener in loaded.settings.listeners):
        activation = Activation.of(os.environ, os.getpid())
    try:
        for listener in loaded.settings.listeners:
            for one in binding.bind(listener, activation):
                bound.append((one, listener))
                one.adjust(listener)
                one.socket.setblocking(False)
    except BaseException:
        for one, _ in bound:
            one.close()
        raise
    return bound
