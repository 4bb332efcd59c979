"""`appserver.run`: the command, from within a program."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appserver import signals
from appserver.cli.program import complain, main
from appserver.errors import SettingsError
from appserver.settings.rendering import toml_value


def run(
    application: Callable[..., Any] | str,
    *,
    bind: str | Sequence[str] = "127.0.0.1:8000",
    workers: int | str | Mapping[str, Any] | None = None,
    **settings: Mapping[str, Any],
) -> int:
    """Serve until Ctrl-C or TERM; returns the exit code (see `appserver --help`).

    Named as "module:attribute", the application is served as by the command, by a master with `workers` processes, and what is
    wrong is printed as there. An application itself is served in this process, since it cannot be handed to others; `workers`
    is then left out, and settings that are about processes, or the master, are refused (SettingsError). Any other setting can
    be given by its section: `http={"max_body_size": "1MiB"}`. So can those of the section `workers`:
    `workers={"count": 4, "graceful_timeout": 5}`.

    Raises RuntimeError where an event loop runs already, and for a name outside the main thread.
    """
    count = workers
    if isinstance(workers, Mapping):
        settings, count = {**settings, "workers": workers}, None
    if isinstance(application, str):
        _refuse_place()
        return _run_command(application, bind, count, settings)
    processes = workers.get("count") if isinstance(workers, Mapping) else workers
    if processes not in (None, 1):
        raise ValueError(f'workers={workers!r}: other processes need the name of the application, "module:attribute"')
    from appserver.inprocess.embedding import run_here

    run_here(application, bind, settings)
    return 0


def _refuse_place() -> None:
    """Raise RuntimeError where a master cannot run."""
    import asyncio

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            'appserver.run("module:attribute") handles signals, for which Python wants the main thread: call it there, or '
            "serve the application itself in a thread, `with appserver.testing.serve(app) as server:`"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "appserver.run() waits until the server has been stopped, and would hold up the event loop that runs here: "
        "write `async with appserver.serving(app) as server:` instead"
    )


def _run_command(application: str, bind: object, count: object, settings: Mapping[str, object]) -> int:
    from appserver.inprocess.arguments import addresses, values

    arguments = [application]
    try:
        for address in addresses(bind):
            arguments += ["--bind", address]
        given = values(settings)
    except SettingsError as error:
        complain(error)
        return error.exit_code
    if count is not None:
        arguments += ["--workers", str(count)]
    for key, value in given.items():
        # By its own option a certificate has the addresses of --bind encrypt.
        arguments += [f"--certfile={value}"] if key == "tls.certificate" else ["--set", f"{key}={toml_value(value)}"]
    try:
        return main(arguments)
    finally:
        signals.unblock()  # they are held back until all has been let go of; the program that goes on is to get them
