"""The files in `config/`, made from the model: `python -m appserver.settings.reference`.

server.toml is the complete, annotated settings file: every key stands in it with its documentation and its default,
commented out; only what a file must have is set. So it is a reference, and a valid file to start from. schema.json
(`... reference --schema`) is the same for editors, which complete and check settings files by it.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import sys
import textwrap
from collections.abc import Iterator
from types import GenericAlias
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from appserver.settings.keys import KEYS, Key
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, AppSettings, Section, Settings
from appserver.settings.rendering import toml_size, toml_value

_WIDTH = 100
_SCHEMA_LINE = "#:schema ./schema.json"
_EXAMPLE = AppSettings(target="example:app")

_HEAD = """
The settings of appserver: every key, what it means, and its default (commented out).

Copy what you change. An editor that knows TOML completes and checks it by the schema that the first line names: Even Better
TOML, Taplo ("appserver settings --json-schema" prints it). Check the file with "appserver check --config FILE"; see what a server would use, and where each
value comes from, with "appserver settings --config FILE".

A key can also come from the environment (APPSERVER_SECTION__KEY, such as APPSERVER_WORKERS__COUNT=4; lists and tables as
JSON) or from the command line (--set section.key=value). The command line wins over the environment, the environment over
this file. APPSERVER_CONFIG names the file; of several, with ":" between them, the last is the strongest. WEB_CONCURRENCY and FORWARDED_ALLOW_IPS stand for the defaults of workers.count
and proxy.trusted.

Secrets can also come from files that are named like variables, such as appserver_tls__key_password, in /run/secrets, in
systemd's $CREDENTIALS_DIRECTORY, or else in the directories that APPSERVER_SECRETS_DIR names. They win over this file.

Durations are seconds (1.5) or text ("1m30s", "500ms"), sizes are bytes (65536) or text ("64KiB"). An empty text unsets a
key without a default. Relative paths start at the directory in which appserver is started.
"""


def reference() -> str:
    """Return the text of `config/server.toml`."""
    defaults = Settings(app=_EXAMPLE).model_dump(mode="json")
    paragraphs = [f"{_SCHEMA_LINE}\n\n{_comment(_HEAD)}"]
    for section, model in SECTIONS.items():
        is_list = section in LISTS_OF_TABLES
        values = defaults[section][0] if is_list else defaults[section]
        paragraphs.append(f"{_comment(inspect.getdoc(model))}\n{f'[[{section}]]' if is_list else f'[{section}]'}")
        documentation = field_documentation(model)
        for name, value in values.items():
            key = KEYS[f"{section}.{name}"]
            paragraphs.append(f"{_comment(_explanation(key, documentation[name]))}\n{_assignment(key, value)}")
    return "\n\n".join(paragraphs) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema of settings files: each key with its documentation, what it may be, and its default."""
    whole = _whole()
    document = whole.model_json_schema(schema_generator=_Schema)
    for section in document["properties"].values():
        section.pop("title", None)
        section.pop("default", None)  # that of a section is the sum of its keys'
    examples = dict(_examples())
    for model in _models(whole):
        properties = document["$defs"][model.__name__]["properties"]
        for name, text in field_documentation(model).items():
            properties[name].pop("title", None)
            field = model.model_fields[name]
            if not field.is_required() and field.default_factory is None:
                default = examples[model][name]
                properties[name]["default"] = "" if default is None else default  # TOML has no null; "" unsets a key
            properties[name]["description"] = " ".join(text.split())
    # A file need not hold all: the target can be the argument of the command, or stand in another file.
    del document["required"], document["$defs"][AppSettings.__name__]["required"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "Settings of appserver"}


def _whole() -> type[BaseModel]:
    """Return a model that says what each section holds, where `Settings` leaves that to the section."""
    defaults = Settings(app=_EXAMPLE)
    fields: dict[str, Any] = {
        name: (GenericAlias(tuple, (model, ...)) if name in LISTS_OF_TABLES else model, getattr(defaults, name))
        for name, model in SECTIONS.items()
    }
    fields["app"] = (AppSettings, ...)
    return create_model("Settings", __config__=ConfigDict(extra="forbid"), __doc__=Settings.__doc__, **fields)


class _Schema(GenerateJsonSchema):
    # Defaults are written as a file has them, whatever they are here.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def _models(model: type[BaseModel]) -> Iterator[type[Section]]:
    """Yield the models of all tables, at any depth."""
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield kind
                yield from _models(kind)


def _examples() -> Iterator[tuple[type[Section], dict[str, Any]]]:
    """Yield the models that have defaults, and these as a file has them."""
    for name in SECTIONS:
        value = getattr(Settings(app=_EXAMPLE), name)
        table = value[0] if name in LISTS_OF_TABLES else value
        yield type(table), table.model_dump(mode="json")


def field_documentation(model: type[Section]) -> dict[str, str]:
    """Return the docstrings below the fields of a section, by field, read from its source."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(definition, ast.ClassDef)
    return dict(_documented(definition))


def _documented(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in itertools.pairwise(definition.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)


def _explanation(key: Key, documentation: str) -> str:
    text = " ".join(documentation.split())
    annotation: Any = key.field.annotation
    if get_origin(annotation) is Literal:
        text += f" One of {', '.join(toml_value(choice) for choice in get_args(annotation))}."
    return text


def _assignment(key: Key, value: Any) -> str:
    if key.field.is_required():
        return f"{key.name} = {toml_value(value)}"
    # Without the space of a comment, so that text and settings are told apart; "" is how a key is unset.
    return f"#{key.name} = {toml_size(value) if key.is_size else toml_value('' if value is None else value)}"


def _comment(text: str | None) -> str:
    paragraphs = [
        textwrap.wrap(part, _WIDTH - 2, break_long_words=False) for part in (text or "").strip().split("\n\n")
    ]
    return "\n#\n".join("\n".join(f"# {line}" for line in lines) for lines in paragraphs)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n" if "--schema" in sys.argv else reference())
