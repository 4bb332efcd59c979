"""The settings of what the server shows of itself: logs, admin endpoints, metrics."""

from typing import Annotated, Literal

from pydantic import Field

from appserver.settings.model.base import Section
from appserver.settings.values import (
    AccessFormat,
    Buckets,
    ControlPath,
    Flag,
    LoggingConfig,
    LowerCase,
    OptionalBind,
    OptionalPath,
    RequestPath,
    Share,
)


class LoggingSettings(Section):
    """The log of the server and of the application."""

    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], LowerCase] = "info"
    """The least important records that are written."""

    format: Literal["auto", "json", "console"] = "auto"
    """One JSON object a line, or text for people. "auto": text on a terminal, else JSON."""

    file: OptionalPath = None
    """The file that the log is appended to; SIGUSR1 opens it again. Default: standard error."""

    on_full: Literal["drop", "block"] = "drop"
    """The policy for a log that cannot be written as fast as records come: "drop" counts and loses them, "block" waits.
    """

    config: LoggingConfig = Field(default_factory=dict)
    """The loggers and handlers of Python's logging, as the table [logging.config] in the form of
    logging.config.dictConfig. It is set up where the application is imported, over what the server has set up: whatever
    it does not change goes on into this log."""

    config_file: OptionalPath = None
    """The same from a file: JSON, YAML or TOML in that form, anything else (.ini, .conf) in that of
    logging.config.fileConfig."""


class AccessLogSettings(Section):
    """The access log: a line for each request, written when its response has ended."""

    enabled: Flag = True
    """Write it."""

    format: AccessFormat = "auto"
    """"json": one JSON object a line. "combined": the format of Apache and nginx. "console": a line for people. "auto":
    console on a terminal, else JSON. Or a pattern in gunicorn's notation, such as
    '%(h)s "%(r)s" %(s)s %(B)s %(D)s %({x-forwarded-for}i)s'."""

    file: OptionalPath = None
    """The file that it is appended to; SIGUSR1 opens it again. Default: standard output."""

    exclude_paths: tuple[RequestPath, ...] = ()
    """Requests for exactly these paths (without the query) are left out, such as "/healthz"."""

    sample: Share = 1.0
    """The share of the lines with status 2xx and 3xx that is kept, from 0 to 1. Others are always written."""


class AdminSettings(Section):
    """How the running server is watched and controlled."""

    bind: OptionalBind = None
    """The address of /metrics, /livez, /readyz and /status over HTTP, and of the status page at /, such as "127.0.0.1:9464".
    Empty: none."""

    page: Flag = True
    """Whether / answers with a page for browsers that shows what /status says."""

    control: ControlPath = "auto"
    """The path of the control socket (mode 0600) that the commands status, reload, stop ... talk to. "auto": in the
    runtime directory of systemd's unit, in /run/appserver, in $XDG_RUNTIME_DIR/appserver or in /tmp/appserver-UID, the first
    that can be used; the commands find it there by the settings file. Empty: none."""

    pid_file: OptionalPath = None
    """The file that holds the process id of the master while it runs. Empty: none."""


class MetricsSettings(Section):
    """What /metrics holds."""

    buckets: Buckets = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    """The upper bounds of the buckets of the request duration histogram, in seconds."""

    application: Flag = False
    """Add the application's own prometheus_client metrics, summed over the workers."""
