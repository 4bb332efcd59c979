"""The manual page appserver(1), made from the parsers: `python -m appserver.cli.manual`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from appserver import __version__
from appserver.cli.helping import Parsers
from appserver.cli.options import Parser


def manual(parsers: Parsers) -> str:
    """Return the manual page appserver(1), as troff with the macros of man(7)."""
    run = parsers[""]()
    parts = [
        f'.TH APPSERVER 1 "" "appserver {__version__}" "User Commands"',
        ".SH NAME\nappserver \\- serve Python web applications",
        ".SH SYNOPSIS\n" + "\n.br\n".join(_troff(line.strip()) for line in (run.usage or "").splitlines()),
        f".SH DESCRIPTION\n{_troff(run.description or '')}",
        ".SH OPTIONS OF A RUN\n" + "\n".join(_options(run)),
        ".SH COMMANDS",
    ]
    for word, make in parsers.items():
        if word:
            parser = make()
            parts.append(f".SS {_troff(word)}\n.B {_troff(_usage(parser))}\n.PP\n{_troff(parser.description or '')}")
            parts += _options(parser)
    epilog = (run.epilog or "").partition("exit codes:")[2]
    parts.append(
        ".SH EXIT STATUS\n.nf\n" + "\n".join(_troff(line.strip()) for line in epilog.strip().splitlines()) + "\n.fi"
    )
    parts.append(".SH SEE ALSO\nEvery setting: config/server.toml. The handbook for operators: deploy/OPERATIONS.md.")
    return "\n".join(parts) + "\n"


def _usage(parser: Parser) -> str:
    # Not argparse's, which is another one in each version of Python.
    if parser.usage:
        return parser.usage
    places = [str(action.metavar or action.dest) for action in parser._actions if not action.option_strings]
    return " ".join([parser.prog, "[option ...]", *places])


def _options(parser: Parser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or action.dest == "help":
            continue
        value = "" if action.nargs == 0 else f" \\fI{_troff(formatter._format_args(action, action.dest.upper()))}\\fR"
        names = ", ".join(f"\\fB{_troff(flag)}\\fR{value}" for flag in action.option_strings) or value.strip()
        yield f".TP\n{names}\n{_troff(formatter._expand_help(action) if action.help else '')}"


def _troff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    from appserver.cli.commands import parsers

    sys.stdout.write(manual(parsers()))
