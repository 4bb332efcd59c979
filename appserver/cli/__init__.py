"""The command line: what the words and options mean, and the exit codes.

It owns what an operator types, and what is printed in return. What a command does is done elsewhere: `settings` reads
the files, `master` runs the server; and a running server is asked over its control socket, like by any other client.

    program     from the arguments to the exit code: the only place where an error becomes one
    commands    their parsers and functions; function: `appserver lambda`, which is imported without the others
    words       the commands there are, and what was probably meant by one that there is not
    options     of a run, and of what concerns the settings of one; reading: the settings that they come to
    habits      options of a run that other servers have, by their names there
    peers       all options of other servers, and what they are here; `migration`: their command lines as settings
    helping     `help`, completion for shells, the manual page
    programmatic  `appserver.run`
    run         the run itself, `check` and `settings`
    dev         development in one process; sources: the files that it watches
    control     the commands to a running server; client: the way to it; status: how its state is shown

Start reading with `program`.
"""

from __future__ import annotations

from appserver.cli.program import main, prepare

__all__ = ["main", "prepare"]
