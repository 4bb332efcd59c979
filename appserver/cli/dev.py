"""`appserver dev`: development in one process.

The process that the shell has started imports the application, serves it, and has the terminal: `breakpoint()` and `input()`
work as in any program. When a file changes it finishes what it is serving and replaces itself by a fresh interpreter (exec):
the process id, the terminal and the listening sockets stay, and who connects meanwhile waits in the backlog. Nobody watches
it, so a debugger can hold it for as long as somebody wants.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appserver import signals
from appserver.cli.options import Parser, application_parser, loader
from appserver.cli.sources import require_watchfiles, watch_sources
from appserver.errors import AppserverError
from appserver.inprocess.arguments import USED_OF_WORKERS
from appserver.settings import SECRET_VARIABLES, AppSettings, Loaded, Settings, read_env_file
from appserver.telemetry.logs import configure, get_logger

if TYPE_CHECKING:
    from appserver.master.listeners import ListenerSet

AGAIN = "dev-again"
"""The hidden word with which the process replaces itself: `dev-again STATE ARGUMENT …`."""

# Defaults that differ in development; whatever the settings say is stronger.
_DEFAULTS = {"logging.format": "console", "access_log.format": "console"}
# What is for a master with its workers, and for AWS Lambda.
_UNUSED_SECTIONS = {"admin", "lambda", "metrics", "reload", "shutdown"}


@dataclass(slots=True)
class State:
    """State that the interpreter before this one leaves behind: its sockets, what has changed, and when (time.monotonic())."""

    listeners: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    changed: list[str] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)


def dev_parser() -> Parser:
    return application_parser(
        "appserver dev",
        "Serve for development: one process, which has the terminal (breakpoint() and input() work) and reloads when a file "
        "of the application changes. `python -m appserver dev` is the same, for IDEs.",
    )


def develop(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C; `arguments` are those that the options were read from. Raises as a run does, and UsageError."""
    return _develop(options, arguments, State())


def develop_again(arguments: Sequence[str]) -> int:
    """Go on after a change."""
    state, *rest = arguments
    return _develop(dev_parser().parse(rest), rest, State(**json.loads(state)))


def _develop(options: argparse.Namespace, arguments: Sequence[str], state: State) -> int:  # noqa: RET503 - exec
    from appserver.master.activation import Activation
    from appserver.master.configuration import python
    from appserver.master.handover import ListenerRecord, set_inheritable
    from appserver.master.host import require_proc
    from appserver.master.listeners import ListenerSet

    require_proc()
    require_watchfiles("appserver dev")
    environ = dict(os.environ)
    read = _with_defaults(loader(options, environ))
    loaded = read()
    activation = Activation.of(environ, os.getpid())
    listeners = ListenerSet(activation, [ListenerRecord(**record) for record in state.listeners])
    set_inheritable([record.fd for record in listeners.records()], False)
    changed = None
    try:
        changed = _live(loaded, read, listeners, state)
    finally:
        if changed is None:
            listeners.close()
    if changed is None:
        return 0
    records = listeners.records()
    set_inheritable([*(record.fd for record in records), *listeners.passed()], True)
    left = State([dataclasses.asdict(record) for record in records], changed, time.monotonic())
    command = python("appserver", AGAIN, json.dumps(dataclasses.asdict(left)), *arguments)
    os.execve(command[0], command, environ)


def _live(loaded: Loaded, read: Callable[[], Loaded], listeners: ListenerSet, state: State) -> list[str] | None:
    """Serve with these settings; returns the names of the files that have changed, None for the end."""
    from appserver.engine.listener import Listener
    from appserver.inprocess.development import Development
    from appserver.master.certificates import Certificates
    from appserver.worker.ending import run_exit_functions
    from appserver.worker.process import loop_factory

    settings = loaded.settings
    output = configure(settings.logging, process="dev")
    output.start_writer()
    loop = loop_factory(settings.workers.loop)()
    development: Development | None = None

    def reopen_logs() -> None:
        output.reopen()
        if development is not None:
            development.reopen_logs()

    loop.add_signal_handler(signal.SIGUSR1, reopen_logs)
    signals.unblock()
    try:
        if not state.listeners and (keys := unused(loaded)):
            get_logger("appserver.dev").warning("not used in development", settings=keys)
        certificates = Certificates.of(loaded)
        prepare_environment(settings.app)
        listeners.add(settings.listeners)
        listeners.keep(settings.listeners)
        development = Development(
            settings,
            loop,
            [
                Listener.from_fd(os.dup(grant.fd), grant.name, tls=grant.tls, proxy_protocol=grant.proxy_protocol)
                for grant in listeners.grants(settings.listeners)
            ],
            listeners.urls(settings.listeners),
            certificates,
            changed=state.changed,
            began=state.began,
        )
        watch_sources(loaded, read, lambda names: _changed(names, read, development.change))
        changed = development.run()
        run_exit_functions()
        return changed
    finally:
        output.close()


def unused(loaded: Loaded) -> list[str]:
    """Return the settings of the command line that development has no use for; a file is for production as well."""
    return [key for key, origin in loaded.origins.items() if origin.source == "command line" and not _is_used(key)]


def _is_used(key: str) -> bool:
    section, _, name = key.partition(".")
    return name in {*USED_OF_WORKERS, "loop"} if section == "workers" else section not in _UNUSED_SECTIONS


def prepare_environment(app: AppSettings) -> None:
    """Make this process's environment the application's, which is the same as in production.

    It has the variables of `app.env_file`, no secrets of the settings, and nothing that systemd says to the server alone.
    Raises SettingsError when the file cannot be read.
    """
    from appserver.master.configuration import NOT_PASSED_ON

    for name in NOT_PASSED_ON:
        os.environ.pop(name, None)
    if app.env_file is not None:
        os.environ.update(read_env_file(app.env_file))
    for name in SECRET_VARIABLES:
        os.environ.pop(name, None)


def _changed(names: list[str], read: Callable[[], Loaded], change: Callable[[list[str]], None]) -> None:
    """Pass a change on, unless the settings, or certificates, are broken: then what runs goes on, and the log says why."""
    from appserver.master.certificates import Certificates

    try:
        Certificates.of(read())
    except AppserverError as error:
        get_logger("appserver.dev").error("settings refused", reason=str(error), advice="the old ones go on")
    else:
        change([os.path.relpath(name) for name in names])


def _with_defaults(read: Callable[[], Loaded]) -> Callable[[], Loaded]:
    def read_for_development() -> Loaded:
        loaded = read()
        unset = {key: value for key, value in _DEFAULTS.items() if loaded.origins[key].source == "default"}
        return loaded._replace(settings=_updated(loaded.settings, unset)) if unset else loaded

    return read_for_development


def _updated(settings: Settings, values: dict[str, Any]) -> Settings:
    for key, value in values.items():
        section, _, name = key.partition(".")
        changed = getattr(settings, section).model_copy(update={name: value})
        settings = settings.model_copy(update={section: changed})
    return settings
