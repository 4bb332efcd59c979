"""The application's environment file: NAME=value lines.

The common part of what Docker, systemd and dotenv read, without their guessing: blank lines and `#` comments; an
optional `export`; values bare (a ` #` begins a comment), in single quotes (literal) or in double quotes (with \\n, \\t,
\\", \\\\ and \\$), quoted ones over several lines if need be. `$` substitutes nothing: it is common in passwords.
"""

from __future__ import annotations

import re
from pathlib import Path

from appserver.errors import Problem, SettingsError

_MAX_SIZE = 1024 * 1024

_BLANK = r"[ \t]*(#[^\n]*)?(\n|\Z)"
_ASSIGNMENT = r"""
    [ \t]* (export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) [ \t]* =
    ( [ \t]* '(?P<single>[^']*)' | [ \t]* "(?P<double>([^"\\]|\\.)*)" | (?![ \t]*['"]) (?P<bare>[^\n]*?) )
    ([ \t]+\#[^\n]* | [ \t]*) (\n|\Z)
"""
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of the file; the last of two of one name counts.

    Raises SettingsError with every line that is none of the above; values are not in it, they may be secrets.
    """
    from appserver.files import read  # few runs have such a file

    try:
        text = read(path, _MAX_SIZE).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise SettingsError([Problem(str(path), "", "", "not UTF-8")]) from None
    except FileNotFoundError:
        raise SettingsError([Problem(str(path), "", "", "no such file")]) from None
    except OSError as error:
        raise SettingsError([Problem(str(path), "", "", f"cannot be read: {error.strerror}")]) from None
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    blank, assignment = re.compile(_BLANK), re.compile(_ASSIGNMENT, re.VERBOSE | re.DOTALL)
    position = 0
    while position < len(text):
        match = blank.match(text, position) or assignment.match(text, position)
        if match is None or "\0" in match[0]:
            line = text.count("\n", 0, position) + 1
            problems.append(Problem(str(path), "", "", f"line {line}: expected NAME=value"))
            position = (text.find("\n", position) + 1) or len(text)
            continue
        if match.re is assignment:
            variables[match["name"]] = _value(match)
        position = match.end()
    if problems:
        raise SettingsError(problems)
    return variables


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["double"], flags=re.DOTALL)
    return match["single"] if match["single"] is not None else match["bare"].strip()
