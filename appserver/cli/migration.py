"""`appserver migrate`: the settings that another server's command line comes to."""

from __future__ import annotations

import argparse
import os

from appserver.cli.options import Parser
from appserver.cli.output import show


def migrate_parser() -> Parser:
    parser = Parser(
        prog="appserver migrate",
        description="Print the settings that a command line of uvicorn, `fastapi run`, gunicorn, hypercorn, granian or daphne comes to, with what "
        "it reads: its configuration file (a Python one is run, in a process of its own) and its environment.",
        usage="appserver migrate -- COMMAND LINE",
        epilog="example: appserver migrate -- gunicorn -c gunicorn.conf.py -w 4 main:app > server.toml",
        allow_abbrev=False,
    )
    parser.add_argument("words", metavar="COMMAND LINE", nargs=argparse.REMAINDER, help="as you type it today")
    return parser


def migrate(options: argparse.Namespace) -> int:
    """Print a settings file; what is wrong with it on this machine is a remark in it. Raises UsageError."""
    from appserver.cli.peers.migrate import migrate as translate
    from appserver.cli.peers.render import as_toml

    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    show(as_toml(translate(words, os.environ), words))
    return 0
