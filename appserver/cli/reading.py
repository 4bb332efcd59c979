"""The settings of a run, from what the command line names: read once, and again at every reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from appserver.errors import SettingsError, UsageError
from appserver.settings import Loaded, Override, load, usual_files

_NOTHING_TO_SERVE = """\
nothing to serve: name the application, as in
    appserver module:attribute
or a settings file, as in
    appserver --config server.toml"""


def reader(
    config: Sequence[Path] | None, overrides: Sequence[Override], environ: Mapping[str, str]
) -> Callable[[], Loaded]:
    """Return what loads the settings, now and at every reload: from the same files, options and environment."""
    environ = dict(environ)
    is_named = config is not None or bool(environ.get("APPSERVER_CONFIG"))
    if not is_named and not any(one.key == "app.target" and one.where == "argument" for one in overrides):
        config = usual_files()
        is_named = config is not None

    def read() -> Loaded:
        try:
            return load(config, environ=environ, overrides=overrides)
        except SettingsError as error:
            if not is_named and _lacks_only_target(error):
                raise UsageError(_NOTHING_TO_SERVE) from None
            raise

    return read


def _lacks_only_target(error: SettingsError) -> bool:
    return [(problem.key, problem.value) for problem in error.problems] == [("app.target", "")]
