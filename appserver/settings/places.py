"""The places where settings can stand: files, secrets, the environment, the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from appserver.files.kinds import is_directory, is_regular
from appserver.settings.locations import ENVIRONMENT_PREFIX

CONFIG_VARIABLE = "APPSERVER_CONFIG"
"""The environment variable that names the settings files (with ":" between them) where the command line does not."""

SECRETS_VARIABLE = "APPSERVER_SECRETS_DIR"
"""The environment variable that names the directories of secrets (with ":" between them)."""

MAX_SIZE = 1024 * 1024
"""Bytes of a settings file, and of a secret: more is another file, or has no end."""

_DOCKER_SECRETS = "/run/secrets"
# The last one asks for a compiled build; whoever builds may go on to run the server in the same shell.
_OWN_VARIABLES = (CONFIG_VARIABLE, SECRETS_VARIABLE, "APPSERVER_COMPILE")


class Override(NamedTuple):
    """A setting from the command line: the dotted key, its value, and the option that it was given with.

    Text that came as such is converted to what the key wants ("4" for workers.count).
    """

    key: str
    value: Any
    where: str

    @classmethod
    def parse(cls, text: str, where: str) -> Override:
        """Read "section.key=value", the value as TOML or else as text; raises ValueError if it has another form."""
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError("expected section.key=value")
        return cls(key.strip(), _toml_or_text(key.strip(), value.strip()), where)


def _toml_or_text(key: str, text: str) -> Any:
    import tomllib  # few runs have such options

    from appserver.settings.keys import KEYS

    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = document.pop("value")
    wants_text = key in KEYS and KEYS[key].is_text
    # "8000" is TOML for a number, and text to a key that wants text; a line break could bring in further keys.
    return text if document or (wants_text and not isinstance(value, str)) else value


def settings_files(config: Path | Sequence[Path] | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files to read, the weakest first; of a directory, those that end in .toml, by name.

    Where nothing is given they are those that APPSERVER_CONFIG names.
    """
    if config is None:
        config = [Path(name) for name in environ.get(CONFIG_VARIABLE, "").split(os.pathsep) if name]
    paths = [config] if isinstance(config, Path) else config
    return tuple(file for path in paths for file in ((is_directory(path) and sorted(path.glob("*.toml"))) or [path]))


def usual_files() -> list[Path] | None:
    """Return the file that is read where none is named, server.toml in the current directory, if it is there."""
    return [Path("server.toml")] if is_regular(Path("server.toml")) else None


def conventional(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Yield the variables that other servers know too, the key that each sets, and its value; they stand for defaults."""
    if environ.get("WEB_CONCURRENCY"):
        yield "WEB_CONCURRENCY", "workers.count", environ["WEB_CONCURRENCY"]
    if environ.get("FORWARDED_ALLOW_IPS"):
        yield (
            "FORWARDED_ALLOW_IPS",
            "proxy.trusted",
            [part.strip() for part in environ["FORWARDED_ALLOW_IPS"].split(",")],
        )


def variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the APPSERVER_ variables that are settings, those of whole sections first."""
    found = [name for name in environ if name.upper().startswith(ENVIRONMENT_PREFIX) and name not in _OWN_VARIABLES]
    return sorted(found, key=lambda name: (name.count("__"), name))


def secret_directories(environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """Return the directories of secrets, and whether somebody has named them.

    These are the ones that APPSERVER_SECRETS_DIR names, or else the one into which Docker puts secrets and that of systemd's
    credentials.
    """
    named = [name for name in environ.get(SECRETS_VARIABLE, "").split(os.pathsep) if name]
    usual = [_DOCKER_SECRETS, environ.get("CREDENTIALS_DIRECTORY", "")]
    return named or [name for name in usual if name], bool(named)
