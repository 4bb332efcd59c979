"""A settings file with remarks, written from a translation."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from appserver.cli.peers.migrate import LISTENERS, Translation
from appserver.errors import SettingsError
from appserver.settings import Override, load
from appserver.settings.model import SECTIONS
from appserver.settings.rendering import toml_value

_WIDTH = 100


def as_toml(translation: Translation, words: Sequence[str]) -> str:
    """Return the text of a `server.toml`; `words` are the command line that it was made from."""
    parts = [_comment("From: " + shlex.join(words)), *_tables(translation)]
    for title, lines in (
        ("There is no setting for", translation.without),
        ("Besides", translation.advice),
        ("To be looked at", problems(translation)),
    ):
        if lines:
            parts.append("\n".join([f"# {title}:", *(_comment(line, "#   ") for line in lines)]))
    return "\n\n".join(parts) + "\n"


def _tables(translation: Translation) -> Iterator[str]:
    sections = translation.sections()
    for section in SECTIONS:
        if section == "listeners":
            for listener in translation.listeners():
                yield "\n".join(["[[listeners]]", *_lines(LISTENERS[:-1], listener, translation)])
        elif section in sections:
            yield "\n".join([f"[{section}]", *_lines(section, sections[section], translation)])


def _lines(section: str, values: dict[str, Any], translation: Translation) -> Iterator[str]:
    for name, value in values.items():
        line = f"{name} = {toml_value(value)}"
        remark = translation.remarks.get(f"{section}.{name}", "")
        if remark and len(line) + len(remark) + 4 > _WIDTH:
            yield _comment(remark)
            remark = ""
        yield f"{line}  # {remark}" if remark else line


def _comment(text: str, indent: str = "# ") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def problems(translation: Translation) -> list[str]:
    """Return what is wrong with the settings on this machine: values, files, accounts."""
    overrides = [
        Override(f"{section}.{name}", value, "here")
        for section, values in translation.sections().items()
        for name, value in values.items()
    ]
    overrides.append(Override("listeners", translation.listeners(), "here"))
    try:
        load(None, environ={}, overrides=overrides)
    except SettingsError as error:
        return [str(problem).removeprefix("here: ") for problem in error.problems]
    return []
