"""From `[app]` of the settings to one callable of ASGI 3.0."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from appserver.asgi import hints
from appserver.asgi.asgi2 import ASGI2Adapter
from appserver.asgi.interfaces import (
    Interface,
    argument_counts,
    detect,
    instances_are_applications,
    is_async,
)
from appserver.asgi.target import Target
from appserver.asgi.tracebacks import describe
from appserver.asgi.types import ASGIApplication, Receive, Scope, Send
from appserver.distribution import how_to_install
from appserver.files.kinds import is_directory
from appserver.settings import AppSettings


def import_application(
    app: AppSettings, loop: asyncio.AbstractEventLoop, around: AbstractContextManager[None] | None = None
) -> ASGIApplication:
    """Do what `load_application` does, with `loop` as the event loop that the application finds; it does not run yet.

    So an application may ask for the loop that it will be served by, let it run until something is complete, or use
    `asyncio.run`. That takes the present loop away at its end, so it is set again.
    """
    asyncio.set_event_loop(loop)
    try:
        return load_application(app, around)
    finally:
        asyncio.set_event_loop(loop)


def load_application(app: AppSettings, around: AbstractContextManager[None] | None = None) -> ASGIApplication:
    """Import the application, call its factory if it has one, and adapt it to ASGI 3.0.

    Puts `app.directory` first on sys.path and leaves it there, because applications import while they run, too. What is
    returned gives a coroutine when it is called. `around` is entered when the application's modules can be imported, before
    the first one is. Raises ApplicationImportError, whatever the application's code raises;
    sys.path is then as it was.
    """
    target = Target.parse(app.target)
    directory = find_directory(app)
    with _first_on_path(target, directory), around or nullcontext():
        try:
            found = target.load(directory)
        finally:
            _refuse_patched_threads(target)
        if app.factory:
            found = _make(target, found)
        return _adapt(target, found, app)


def adapt_application(application: object, app: AppSettings) -> ASGIApplication:
    """Adapt an application that is there already, or have its factory make it, as `load_application` does."""
    target = Target.parse(app.target)
    return _adapt(target, _make(target, application) if app.factory else application, app)


def _adapt(target: Target, found: object, app: AppSettings) -> ASGIApplication:
    if not callable(found):
        raise target.failure(_explain_not_callable(found))
    interface = detect(found) if app.interface == "auto" else app.interface
    if interface is None:
        raise target.failure(_explain_unclear(found))
    if app.async_library == "trio":
        return _with_trio(target, found, interface)
    if interface == "asgi2":
        return ASGI2Adapter(found)
    if interface == "wsgi":
        from appserver.asgi.wsgi import WSGIAdapter

        return WSGIAdapter(found, app.threads)
    return found if is_async(found) else _with_coroutine(found)


def _with_trio(target: Target, found: Callable[..., Any], interface: Interface) -> ASGIApplication:
    if interface == "wsgi":
        lines = [
            "this is a WSGI application, which awaits nothing, so it does not run under trio",
            "leave app.async_library out",
        ]
        raise target.failure(lines)
    from appserver.asgi.trio import TrioAdapter

    try:
        return TrioAdapter(ASGI2Adapter(found) if interface == "asgi2" else found)
    except ImportError as error:
        lines = [
            f'app.async_library = "trio" needs trio, which cannot be imported: {describe(error)}',
            how_to_install("trio"),
        ]
        raise target.failure(lines, error) from error


def find_directory(app: AppSettings) -> Path:
    """The absolute path of `app.directory`. Raises ApplicationImportError when the current directory is gone."""
    try:
        return Path(os.path.abspath(app.directory))  # noqa: PTH100 resolve() would see through a "current" link
    except FileNotFoundError:
        lines = [
            f"app.directory = {str(app.directory)!r} is relative to the current directory, which has been removed",
            "start appserver from a directory that stays, or name an absolute app.directory",
        ]
        raise Target.parse(app.target).failure(lines) from None


@contextmanager
def _first_on_path(target: Target, directory: Path) -> Iterator[None]:
    # Python passes over a directory that it may not read, and then does not find what everybody else sees there.
    if not (os.access(directory, os.R_OK | os.X_OK) and is_directory(directory)):
        raise target.failure([f"app.directory = {directory} is no directory that uid {os.getuid()} may read"])
    before = sys.path.copy()
    if sys.path[:1] != [str(directory)]:  # which `python -m` has put there; every import would look into it twice
        sys.path.insert(0, str(directory))
    try:
        yield
    except BaseException:
        sys.path[:] = before
        raise


def _refuse_patched_threads(target: Target) -> None:
    """Raise ApplicationImportError if gevent has put something else in the place of threads, whatever else has happened.

    Its threads run only where its own loop runs. Those of this server, and whatever it gives to a thread, would hang.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        lines = [
            "it has gevent patch the standard library (gevent.monkey.patch_all), so threads do not run beside an event loop",
            "remove that: a WSGI application runs in real threads here (app.threads);",
            "or leave these alone: patch_all(thread=False, select=False, queue=False)",
        ]
        raise target.failure(lines) from None


def _make(target: Target, factory: object) -> object:
    """Call a factory and return the application."""
    if not callable(factory):
        raise target.failure([f"app.factory is set, but this is a {type(factory).__qualname__}, not a function"])
    if detect(factory) is not None and 0 not in argument_counts(factory):
        raise target.failure(["this is an application, not a factory: set app.factory = false"])
    if is_async(factory):
        raise target.failure(
            [
                "the factory is an async function, but an application is made before the event loop runs",
                "make it a plain function, and do what has to be awaited at the lifespan's start-up",
            ]
        )
    try:
        made = factory()
    except BaseException as error:
        raise target.failure([f"the factory raises {describe(error)}"], error) from error
    if not callable(made):
        if inspect.iscoroutine(made):
            made.close()
        raise target.failure([f"the factory returns a {type(made).__qualname__}, which is not an application"])
    return made


def _explain_not_callable(found: object) -> list[str]:
    if isinstance(found, ModuleType):
        return ["this is a module, not an application", *hints.applications(found, prefix=f"{found.__name__}:")]
    return [f"this is a {type(found).__qualname__}, not an application: it cannot be called"]


def _explain_unclear(found: Callable[..., Any]) -> list[str]:
    """Say why a callable is not taken for an application of any kind."""
    counts = argument_counts(found)
    if is_async(found):
        return [
            "this is async, but does not take (scope, receive, send)",
            "an application of ASGI takes these three; a factory must not be async",
        ]
    if inspect.isclass(found) and instances_are_applications(found):
        if 0 in counts:
            return ["this is a class; its instances are applications: set app.factory = true (--factory)"]
        return ["this is a class; its instances are applications: name one of these"]
    if counts == {0}:
        return ["this takes no arguments, like a factory: set app.factory = true (--factory) if it is one"]
    return [
        "it cannot be told from its signature what kind of application this is",
        'set app.interface = "asgi3" (scope, receive, send), "asgi2" (scope) or "wsgi" (environ, start_response)',
        *(["or app.factory = true (--factory) if it makes the application"] if 0 in counts else []),
    ]


def _with_coroutine(application: Callable[..., Any]) -> ASGIApplication:
    """Wrap what may return any awaitable, so that calling it always gives a coroutine, which a task can be made of."""

    async def awaiting(scope: Scope, receive: Receive, send: Send) -> None:
        await application(scope, receive, send)

    return awaiting
