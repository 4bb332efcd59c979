"""The tables of the other servers' options: `uvicorn.toml`, `gunicorn.toml`, `hypercorn.toml` and so on.

`fastapi.toml` is for the command `fastapi`, which runs uvicorn. A table has a part for each option, by the name that the option has in the other server's own configuration:

    [option.timeout]
    flags = "-t --timeout"            on the command line; none for what is only in its configuration file
    negated = "--no-timeout"          flags that say the opposite
    takes = "value"                   or "values" (repeatable), "nothing", "perhaps" (a value may be left out)
    setting = "workers.stall_timeout" what it is here; with
    unit = "ms"                       its unit, where it has another one: "ms", "MiB"
    split = true                      commas between the parts of a list
    values = { trace = "debug" }      what its values are called here; the others have no counterpart
    on, off = { "key" = value }       instead of `setting`: what the flag and its negation come to
    by = "host"                       instead of `setting`: the method of `migrate.Translation` that knows
    here = "listeners.bind"           what to say that it is here, for `by` and for commands
    none = "..."                      instead of all these: why there is nothing of the kind
    remark = "..."                    what else to know

and a [[default]] for what the other server does when nothing is said and appserver does otherwise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from appserver.settings.rendering import toml_value

PEERS = ("uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi")

_NOTHING: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Option:
    """One option of another server; the fields are those that `table` describes."""

    name: str
    flags: tuple[str, ...] = ()
    negated: tuple[str, ...] = ()
    takes: Literal["value", "values", "nothing", "perhaps"] = "value"
    setting: str = ""
    unit: Literal["", "ms", "MiB"] = ""
    split: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    on: Mapping[str, Any] = field(default_factory=dict)
    off: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    here: str = ""
    none: str = ""
    remark: str = ""

    @classmethod
    def read(cls, name: str, content: Mapping[str, Any]) -> Option:
        """Make one of its part of the table. Raises TypeError for a field that there is not."""
        words = {field: tuple(content[field].split()) for field in ("flags", "negated") if field in content}
        return cls(name, **{**content, **words})

    def counterpart(self, flag: str = "") -> str:
        """Say what it is here, as a short phrase; empty if it is nothing. `flag` is how it was written."""
        if self.setting:
            return self.setting
        meant = self.off if flag in self.negated else self.on
        if meant:
            return ", ".join(f"{key} = {toml_value(value)}" for key, value in meant.items())
        return self.here

    def settings(self) -> set[str]:
        """Return the settings that it names."""
        return {key for key in (self.setting, *self.on, *self.off) if key}


@dataclass(frozen=True, slots=True)
class Default:
    """A default of another server that differs from this one's: a setting, or a method of `Translation`, and the value.

    `variable` is the environment variable that both servers take it from.
    """

    value: Any
    remark: str
    setting: str = ""
    by: str = ""
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The options of one server.

    `name` is what it is called in texts, with its release. `environment` is the prefix of the variables that its options are read from, `attribute` the application's name in a
    target that has none.
    """

    peer: str
    release: str
    name: str
    environment: str
    attribute: str
    options: Mapping[str, Option]
    defaults: tuple[Default, ...]

    def by_flag(self, flag: str) -> Option | None:
        return next((one for one in self.options.values() if flag in one.flags or flag in one.negated), None)


@cache
def read_table(peer: str) -> Table:
    """Read the table of a server of PEERS."""
    text = resources.files(__package__).joinpath(f"{peer}.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    return Table(
        peer,
        content["release"],
        content.get("name", f"{peer} {content['release']}"),
        content.get("environment", ""),
        content.get("attribute", ""),
        {name: Option.read(name, part) for name, part in content["option"].items()},
        tuple(Default(**part) for part in content.get("default", ())),
    )


def tables() -> Iterator[Table]:
    return map(read_table, PEERS)
