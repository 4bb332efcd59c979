"""The hidden words with which a running master starts its successor (see `appserver.master.upgrade`).

    take-over FD …          go on as the master that hands over what is behind the descriptor
    take-over-check FD …    find out whether that would work

The command line that the server was started with follows.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import appserver
from appserver.cli.options import loader, run_parser
from appserver.cli.output import show
from appserver.cli.sources import reload_this_process, watch_sources
from appserver.errors import AppserverError

if TYPE_CHECKING:
    from appserver.master import Command


def own_command(arguments: Sequence[str]) -> Command:
    """How this program was started, with these arguments of a run."""
    from appserver.master import Command

    if not _is_own(Path(sys.argv[0])):  # a program that has called appserver.run
        return Command((sys.executable, "-m", "appserver"), tuple(arguments))
    # sys.argv is what follows the program, with one name for it: "-m appserver" becomes the path of __main__.py.
    program = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    return Command((sys.executable, *program), tuple(arguments))


def _is_own(program: Path) -> bool:
    """Whether it is the console script or `-m appserver`, and not another package's `__main__`."""
    if program.name == "__main__.py":
        return program.parent == Path(appserver.__file__).parent
    return program.name == "appserver"


def _take_over(arguments: Sequence[str]) -> int:
    from appserver.master import take_over

    fd, *run = arguments
    options = run_parser().parse(run)
    read = loader(options, os.environ)
    if options.watch:
        with contextlib.suppress(AppserverError):  # settings that have been broken meanwhile: a reload will say so
            watch_sources(read(), read, reload_this_process)
    return take_over(int(fd), read, own_command(run))


def _check(arguments: Sequence[str]) -> int:
    from appserver.master import FIT, check_take_over

    fd, *run = arguments
    loader(run_parser().parse(run), os.environ)()
    check_take_over(int(fd))
    show(f"{FIT}\n")
    return 0


WORDS: dict[str, Callable[[Sequence[str]], int]] = {"take-over": _take_over, "take-over-check": _check}
