"""The words that an operator can begin with, and what was probably meant by another one."""

from __future__ import annotations

from appserver.nearest import nearest

COMMANDS: tuple[str, ...] = (
    *("dev", "check", "settings", "init", "migrate", "lambda"),
    *("help", "completion"),
    *("status", "top", "reload", "scale", "stop", "stacks", "reopen-logs", "upgrade"),
)


def unknown_word(word: str) -> str:
    """Say that a word is no command, and what to do."""
    near = nearest(word, COMMANDS)
    hint = f"did you mean {near}?" if near else "appserver --help lists the commands"
    return f"{word!r} is neither a command nor an application (module:attribute); {hint}"
