"""The settings of the worker processes, and of how they are replaced and stopped."""

from typing import Literal

from appserver.settings.model.base import Section
from appserver.settings.values import (
    Count,
    Duration,
    Flag,
    OptionalFileMode,
    OptionalText,
    PositiveDuration,
    Size,
    Surge,
    WorkerCount,
)


class WorkersSettings(Section):
    """The processes that run the application."""

    count: WorkerCount = "auto"
    """How many. "auto": one for each CPU that this process may use, the limits of its cgroup counted."""

    preload: Flag = False
    """Import the application once, before the workers are forked: they share its memory and start faster. An
    application that starts threads or an event loop while it is imported, or opens a connection or an SQLite file, is
    imported by each worker instead; the log then says what stood in the way."""

    loop: Literal["auto", "uvloop", "asyncio"] = "auto"
    """The event loop. "auto": uvloop if it is installed."""

    boot_timeout: PositiveDuration = 60
    """How long a worker may take to import and start the application. The log shows where it was before it is given up."""

    graceful_timeout: Duration = 30
    """How long requests that are running may take to end when a worker stops; then they are cancelled. 0 cancels
    them at once. The rest of that time is for the application's threads, executors and child processes to end."""

    end_event_streams: Flag = True
    """When a worker stops, tell event streams (text/event-stream, asked for by GET) that have sent nothing for a second
    that their client has left, so that they end: by http.disconnect, by an OSError of send, or, if the application does neither
    within a second, by cancelling it. Browsers connect again at once, to another worker. Without it such a stream takes all
    of graceful_timeout; so does any stream that sends on and on."""

    lifespan_timeout: PositiveDuration = 10
    """How long the application's shutdown event may take, on top of graceful_timeout."""

    stall_report: Duration = 5
    """Log the stacks of a worker whose event loop has been blocked for this long, or which has been booting for this long.
    0: never."""

    stall_timeout: Duration = 30
    """Replace a worker whose event loop has been blocked for this long. 0: never."""

    max_requests: Count = 0
    """Replace a worker after this many requests. 0: never."""

    max_requests_jitter: Count = 0
    """Add a random number of requests, up to this one, so that the workers are not replaced all at once."""

    max_lifetime: Duration = 0
    """Replace a worker at this age. 0: never."""

    max_rss: Size = 0
    """Replace a worker whose resident memory is larger than this. 0: never."""

    max_connections: Count = 0
    """How many connections a worker holds; the others wait in the backlog or go to another worker. 0: no limit."""

    max_concurrency: Count = 0
    """How many requests a worker runs at once; the others wait in its queue. 0: no limit."""

    queue_size: Count = 0
    """How many requests may wait for max_concurrency; those beyond it are answered 503. 0: none waits."""

    queue_timeout: Duration = 1
    """How long a request may wait in that queue before it is answered 503. 0: no limit."""

    user: OptionalText = None
    """The user that the workers run as, by name. Only root may choose. Default: the user that appserver runs as.
    A terminal that the server is started on is then only written to by workers: they have /dev/null as standard input."""

    group: OptionalText = None
    """The group that the workers run as, by name. Default: the user's."""

    umask: OptionalFileMode = None
    """The file mode creation mask of the workers, as octal digits, such as "0027". Default: inherited."""

    max_open_files: Count = 0
    """The limit of open files of a worker (RLIMIT_NOFILE), at least 32. 0: inherited."""


class ReloadSettings(Section):
    """How a reload (SIGHUP) replaces the workers by new ones."""

    surge: Surge = 1
    """How many new workers are booted before an old one stops."""

    soak: Duration = 0
    """How long the first new worker has to stay healthy before the others follow."""

    linger: Duration = 5
    """How long an old worker waits for one more request on an idle keep-alive connection, to answer it with
    "Connection: close", before it closes the connection."""


class ShutdownSettings(Section):
    """How a stop (SIGTERM) goes."""

    delay: Duration = 0
    """Report "not ready", but keep serving for this long, so that load balancers can look away."""

    linger: Duration = 1
    """As reload.linger, for a stop."""
