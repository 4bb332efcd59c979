"""Every key that the settings know, by its dotted name, where its value stands, and the known name nearest to an unknown one.

Made from the model once, so that sources, origins, differences, the reference and the messages about slips all go by
one list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from appserver.nearest import nearest
from appserver.settings.address import Address
from appserver.settings.locations import ENVIRONMENT_PREFIX
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, Section
from appserver.settings.quantities import parse_size


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: where it stands, and what kind of value it has."""

    section: str
    name: str
    field: FieldInfo

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{ENVIRONMENT_PREFIX}{self.section}__{self.name}".upper()

    @property
    def is_list(self) -> bool:
        return get_origin(self.field.annotation) is tuple

    @property
    def is_table(self) -> bool:
        return get_origin(self.field.annotation) is dict

    @property
    def is_text(self) -> bool:
        """Whether text is what it wants, so that "8000" stays text."""
        return bool(_plain_types(self.field.annotation) & {str, Path, SecretStr, *get_args(Address)})

    @property
    def is_size(self) -> bool:
        return any(isinstance(part, BeforeValidator) and part.func is parse_size for part in self.field.metadata)

    @property
    def is_secret(self) -> bool:
        return SecretStr in _plain_types(self.field.annotation)

    @property
    def may_hold_secrets(self) -> bool:
        """Whether it is a secret, or a table of others' making in which there may be some."""
        return self.is_secret or self.is_table


def _plain_types(annotation: Any) -> set[Any]:
    """Return the types that a scalar annotation allows; a Literal counts as the types of its values."""
    origin = get_origin(annotation)
    if origin is Literal:
        return {type(value) for value in get_args(annotation)}
    if origin in (Union, UnionType):
        return set().union(*map(_plain_types, get_args(annotation)))
    return {annotation}


KEYS: dict[str, Key] = {
    f"{section}.{name}": Key(section, name, field)
    for section, model in SECTIONS.items()
    for name, field in model.model_fields.items()
}
"""All keys; those of a list of tables under the name of the list ("listeners.bind")."""

VARIABLES: dict[str, str] = {f"{ENVIRONMENT_PREFIX}{section}".upper(): section for section in SECTIONS} | {
    key.variable: name for name, key in KEYS.items() if key.section not in LISTS_OF_TABLES
}
"""The environment variables, and the section or key that each sets (a list of tables only as a whole)."""

SECRET_VARIABLES = frozenset(
    variable
    for key in KEYS.values()
    if key.may_hold_secrets
    for variable in (key.variable, f"{ENVIRONMENT_PREFIX}{key.section}".upper())
)
"""The environment variables that may hold a secret: those of secret keys, and of the sections that such a key is in."""


def nearest_section(name: str, *, is_table: bool) -> str:
    """Return a hint for an unknown section: the known one nearest to it, or all of them."""
    if not is_table:
        # A key that lacks its section: `count = 4` at the top of the file.
        owners = [dotted for dotted, key in KEYS.items() if key.name == name]
        if owners:
            return f"did you mean {' or '.join(owners)}?"
    near = nearest(name, SECTIONS)
    return f"did you mean {_heading(near)}?" if near else f"the sections are {', '.join(SECTIONS)}"


def _heading(section: str) -> str:
    return f"[[{section}]]" if section in LISTS_OF_TABLES else f"[{section}]"


def nearest_key(table: str, model: type[Section], name: str) -> str:
    """Return a hint for an unknown key of a table: the same one elsewhere, the nearest one there, or all of them."""
    elsewhere = [dotted for dotted, key in KEYS.items() if key.name == name]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    near = nearest(name, model.model_fields)
    if near:
        return f"did you mean {table}.{near}?"
    return f"{table} has {', '.join(model.model_fields)}"


def nearest_variable(name: str) -> str:
    """Return a hint for an unknown APPSERVER_ variable."""
    # Without the prefix that they all share, and that makes everything look alike.
    known = {variable.removeprefix(ENVIRONMENT_PREFIX): variable for variable in [*VARIABLES, "APPSERVER_CONFIG"]}
    near = nearest(name.upper().removeprefix(ENVIRONMENT_PREFIX), known)
    if near:
        return f"did you mean {known[near]}?"
    return f"the form is {ENVIRONMENT_PREFIX}SECTION__KEY, such as APPSERVER_WORKERS__COUNT"
