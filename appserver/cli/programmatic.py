"""`appserver.run`: the command, from within a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appserver.cli.program import main
from appserver.settings.rendering import toml_value


def run(
    application: Callable[..., Any] | str,
    *,
    bind: str | Sequence[str] = "127.0.0.1:8000",
    workers: int | str | None = None,
    **settings: Mapping[str, Any],
) -> int:
    """Serve until Ctrl-C or TERM; returns the exit code (see `appserver --help`).

    Named as "module:attribute", the application is served as by the command, by a master with `workers` processes, and what is
    wrong is printed as there. An application itself is served in this process, since it cannot be handed to others; `workers`
    is then left out. Any other setting can be given by its section: `http={"max_body_size": "1MiB"}`.
    """
    addresses = [bind] if isinstance(bind, str) else list(bind)
    if not isinstance(application, str):
        if workers not in (None, 1):
            raise ValueError(
                f'workers={workers!r}: other processes need the name of the application, "module:attribute"'
            )
        from appserver.inprocess.embedding import run_here

        run_here(application, addresses, settings)
        return 0
    arguments = [application]
    for address in addresses:
        arguments += ["--bind", address]
    if workers is not None:
        arguments += ["--workers", str(workers)]
    for section, content in settings.items():
        for name, value in content.items():
            arguments += ["--set", f"{section}.{name}={toml_value(value)}"]
    return main(arguments)
