"""The complete, annotated settings file, made from the model: `python -m appserver.settings.reference`.

Every key stands in it with its documentation and its default, commented out; only what a file must have is set. So it
is a reference, and a valid file to start from.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from appserver.settings.keys import KEYS, LISTS_OF_TABLES, SECTIONS, Key
from appserver.settings.model import AppSettings, Section, Settings
from appserver.settings.rendering import toml_size, toml_value

_WIDTH = 100
_EXAMPLE = AppSettings(target="example:app")

_HEAD = """
The settings of appserver: every key, what it means, and its default (commented out).

Copy what you change. Check the file with "appserver check --config FILE"; see what a server would use, and where each
value comes from, with "appserver settings --config FILE".

A key can also come from the environment (APPSERVER_SECTION__KEY, such as APPSERVER_WORKERS__COUNT=4; lists and tables as
JSON) or from the command line (--set section.key=value). The command line wins over the environment, the environment over
this file. APPSERVER_CONFIG names the file. WEB_CONCURRENCY and FORWARDED_ALLOW_IPS stand for the defaults of workers.count
and proxy.trusted.

Durations are seconds (1.5) or text ("1m30s", "500ms"), sizes are bytes (65536) or text ("64KiB"). An empty text unsets a
key without a default. Relative paths start at the directory in which appserver is started.
"""


def reference() -> str:
    """Return the text of `config/server.toml`."""
    defaults = Settings(app=_EXAMPLE).model_dump(mode="json")
    paragraphs = [_comment(_HEAD)]
    for section, model in SECTIONS.items():
        is_list = section in LISTS_OF_TABLES
        values = defaults[section][0] if is_list else defaults[section]
        paragraphs.append(f"{_comment(inspect.getdoc(model))}\n{f'[[{section}]]' if is_list else f'[{section}]'}")
        documentation = field_documentation(model)
        for name, value in values.items():
            key = KEYS[f"{section}.{name}"]
            paragraphs.append(f"{_comment(_explanation(key, documentation[name]))}\n{_assignment(key, value)}")
    return "\n\n".join(paragraphs) + "\n"


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
    sys.stdout.write(reference())
