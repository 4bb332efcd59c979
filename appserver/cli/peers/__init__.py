"""Other servers' options, and what they are here: for people who come with a command line or a file of theirs.

One table for each server (`uvicorn.toml` ...), held complete by a test against the installed releases. It feeds

    answers    what a run says to an option that is another server's
    migrate    `appserver migrate`: a command line, with files and environment, as settings
    document   deploy/MIGRATION.md

`table` reads the tables and describes their form. `habits` are the options that a run takes by their old names.
"""

from __future__ import annotations


def answer(flag: str) -> str | None:
    """Say what an option of other servers is here; see `answers.answer`. The tables are read when one is asked for."""
    from appserver.cli.peers import answers

    return answers.answer(flag)
