"""The table of the commands: their parsers, and their functions."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from appserver import signals
from appserver.cli import control, replacement, run
from appserver.cli.dev import AGAIN, dev_parser, develop, develop_again
from appserver.cli.function import lambda_parser, serve_function
from appserver.cli.helping import completion_parser, help_parser, show_completion, show_help
from appserver.cli.init import init, init_parser
from appserver.cli.migration import migrate, migrate_parser
from appserver.cli.options import Parser, check_parser, run_parser, settings_parser
from appserver.cli.words import COMMANDS, unknown_word
from appserver.errors import UsageError


def dispatch(arguments: list[str]) -> int:
    """Run the command; returns its exit code. Raises UsageError, and whatever the command raises."""
    word = arguments[0] if arguments else "-"
    if word.startswith("-") or ":" in word:
        return run.serve(run_parser().parse(arguments), arguments)
    if word == "dev":
        return develop(dev_parser().parse(arguments[1:]), arguments[1:])
    if word in HIDDEN_WORDS:
        return HIDDEN_WORDS[word](arguments[1:])
    signals.unblock()  # these commands end by them, as any program does
    if word not in COMMANDS:
        raise UsageError(unknown_word(word))
    parser, command = _COMMANDS[word]
    return command(parser().parse(arguments[1:]))


HIDDEN_WORDS: dict[str, Callable[[Sequence[str]], int]] = {**replacement.WORDS, AGAIN: develop_again}

_COMMANDS: dict[str, tuple[Callable[[], Parser], Callable[[argparse.Namespace], int]]] = {
    "check": (check_parser, run.check),
    "settings": (settings_parser, run.show_settings),
    "init": (init_parser, init),
    "migrate": (migrate_parser, migrate),
    "lambda": (lambda_parser, serve_function),
    **control.COMMANDS,
    "help": (help_parser, lambda options: show_help(options, parsers())),
    "completion": (completion_parser, lambda options: show_completion(options, parsers())),
}


def parsers() -> dict[str, Callable[[], Parser]]:
    """Return the parsers of all commands by their words; that of a run is under ""."""
    made = {"dev": dev_parser, **{word: parser for word, (parser, _) in _COMMANDS.items()}}
    return {"": run_parser, **{word: made[word] for word in COMMANDS}}
