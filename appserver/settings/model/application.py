"""The settings of the application that is served."""

from pathlib import Path
from typing import Literal

from appserver.settings.model.base import Section
from appserver.settings.values import ExistingPath, Flag, ImportString, OptionalPath, PositiveCount, RootPath


class AppSettings(Section):
    """The application."""

    target: ImportString
    """The application: the module to import, a colon, and the attribute (dots allowed) that is the application.
    Required, here or as the argument of the command."""

    factory: Flag = False
    """The attribute is no application but a function that returns one; it is called without arguments."""

    interface: Literal["auto", "asgi3", "asgi2", "wsgi"] = "auto"
    """The interface of the application. "auto" tells ASGI 3 and ASGI 2 apart; a WSGI application that is not recognised as one
    (it has other parameters than two) has to be named as one."""

    async_library: Literal["asyncio", "trio"] = "asyncio"
    """The library that the application awaits things of. With "trio", its lifespan, requests and sessions run as tasks of
    trio, for which that has to be installed; frameworks that stand on anyio (Starlette, FastAPI) run under either. Not for
    WSGI applications, which await nothing."""

    directory: ExistingPath = Path()
    """The directory that modules are imported from, in front of the others. Relative paths, here and in every other
    setting, start at the directory in which appserver was started, not at this file."""

    root_path: RootPath = ""
    """The path under which the application is mounted (ASGI's root_path, WSGI's SCRIPT_NAME), such as "/api". The
    proxy in front is taken to remove it from the path of requests; if it does not, set proxy.strips_prefix = false."""

    lifespan: Literal["auto", "on", "off"] = "auto"
    """The application's start-up and shutdown events: "on" sends them and takes an application that does not support
    them as failed, "auto" sends them and goes on if they are not supported, "off" does not send them."""

    env_file: OptionalPath = None
    """A file of NAME=value lines for the environment of the application. Values are taken literally ("$" is only a
    character) and win over variables that are already set. It is read again by a reload. appserver's own APPSERVER_
    variables are not read from it."""

    threads: PositiveCount = 8
    """WSGI applications only: how many requests a worker runs at once, each in a thread of its own; further ones wait.
    Requests that wait for a database or another service leave the processor to others, so there are more threads than
    processors; each may hold a connection to the database, so there are not many more. 1 for an application that is
    not thread-safe."""
