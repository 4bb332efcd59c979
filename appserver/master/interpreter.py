"""The options that this interpreter was started with, for the interpreters that it starts (`python -O -X dev -m appserver`).

The environment, with all PYTHON* variables, is passed on anyway. The options of the command line are in no variable, and `sys.flags`
knows only the half of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Options of one letter that stand alone, and may stand together (-OB); see `python --help`. Not among them, as they are not
# for a server: -h, -i, -V, -x.
_ALONE = frozenset("bBdEIOPqRsSuv")
# Those that take a value, attached (-Xdev) or as the next argument.
_WITH_VALUE = frozenset("WX")
_LONG_WITH_VALUE = "--check-hash-based-pycs"


def options(command: Sequence[str]) -> list[str]:
    """Those of an interpreter whose command line is `command` (`sys.orig_argv`), as they are to be repeated."""
    found: list[str] = []
    arguments = iter(command[1:])
    for argument in arguments:
        if argument == _LONG_WITH_VALUE:
            found += [argument, next(arguments, "default")]
        elif argument.startswith("--") or not argument.startswith("-") or argument == "-":
            break  # the program
        else:
            taken, goes_on = _letters(argument[1:], arguments)
            found += taken
            if not goes_on:
                break
    return found


def _letters(letters: str, arguments: Iterator[str]) -> tuple[list[str], bool]:
    """The options in one argument, and whether others may follow: not behind -m and -c, which name the program."""
    found: list[str] = []
    for at, letter in enumerate(letters):
        if letter in "mc":
            return found, False
        if letter in _WITH_VALUE:
            value = letters[at + 1 :] or next(arguments, "")
            return [*found, f"-{letter}{value}"], True
        if letter in _ALONE:
            found.append(f"-{letter}")
    return found, True
