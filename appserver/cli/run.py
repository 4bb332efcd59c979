"""The run itself, and the commands about the settings of one: `check` and `settings`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from appserver.asgi.loader import find_directory
from appserver.cli.options import loader
from appserver.cli.output import show
from appserver.cli.replacement import own_command
from appserver.cli.sources import reload_this_process, watch_sources
from appserver.errors import ApplicationImportError, SettingsError, UsageError
from appserver.settings.report import as_data, as_toml

if TYPE_CHECKING:
    from appserver.master.configuration import Configuration


def serve(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Serve; `arguments` are those that the options were read from, to start with them again in place."""
    read = loader(options, os.environ)
    loaded = read()
    from appserver.master import run

    if options.watch:
        watch_sources(loaded, read, reload_this_process)
    return run(loaded, read, own_command(arguments))


def check(options: argparse.Namespace) -> int:
    from appserver.master.configuration import Configuration
    from appserver.master.exposure import exposures

    loaded = loader(options, os.environ)()
    prefix = f"{', '.join(map(str, loaded.paths))}: " if loaded.paths else ""
    find_directory(loaded.settings.app)
    configuration = Configuration.of(loaded)
    show(f"{prefix}the settings are valid\n")
    for exposure in exposures(loaded):
        show(f"{prefix}warning: {exposure}\n")
    if options.app:
        _check_application(configuration)
        show(f"{prefix}the application can be imported: {loaded.settings.app.target}\n")
    return 0


def _check_application(configuration: Configuration) -> None:
    """Import the application in a child process; raises ApplicationImportError when that fails.

    The child gets what a zygote would get. It prints itself what is wrong, since only it knows, and nothing of the
    application comes back.
    """
    from appserver.master.configuration import python
    from appserver.worker.check import IMPORTED

    settings = configuration.settings
    environment = configuration.environment()
    limit = settings.workers.boot_timeout
    command = python("appserver.worker.check")
    try:
        # Octets: the locale's encoding may not have what the settings hold.
        written = settings.model_dump_json().encode()
        child = subprocess.run(command, env=environment, input=written, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise ApplicationImportError(
            f"{settings.app.target} was not imported within {limit:g} s (workers.boot_timeout)"
        ) from None
    if child.returncode < 0:
        raise ApplicationImportError(
            f"importing {settings.app.target} ended its process with signal {-child.returncode}"
        )
    if child.returncode == SettingsError.exit_code:
        raise UsageError("the logging of the application cannot be set up")
    if child.returncode == 0:
        raise ApplicationImportError(f"importing {settings.app.target} ended its process with exit code 0")
    if child.returncode != IMPORTED:
        raise ApplicationImportError(f"{settings.app.target} cannot be imported (exit code {child.returncode})")


def show_settings(options: argparse.Namespace) -> int:
    if options.json_schema:
        from appserver.settings.reference import schema  # reads the model's source, for its documentation

        show(json.dumps(schema(), indent=2) + "\n")
        return 0
    loaded = loader(options, os.environ)()
    show(as_toml(loaded) if options.format == "toml" else json.dumps(as_data(loaded), indent=2) + "\n")
    return 0
