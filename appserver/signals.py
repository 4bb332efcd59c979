"""The signals that the master handles, and holding them back while there is nobody to handle them.

A blocked signal waits in the kernel, through `exec` as well (signal(7)), so between the last event that the old program
handles and the first handler of the new one nothing is lost, and nothing kills the server.
"""

from __future__ import annotations

import signal

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
)


def block() -> None:
    """Hold them back, from this thread and from those that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def unblock() -> None:
    """Let them come, those that have waited at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
