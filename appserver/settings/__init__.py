"""What the operator wanted: the settings, from wherever they were written to typed values.

Owns every key of the settings file, of the APPSERVER_ variables and of the command line: its name, type, default
and documentation; the merging of the sources, and the messages about what is wrong in them.
Must not know what the settings do: nothing here binds, forks, logs, or imports another part of appserver but the
errors. Of the machine it only looks at files and accounts that the settings name.

Start reading with `model` (the keys), then `loading` (the way from the sources to `Loaded`). `values`, `quantities` and
`address` are the types of single values; `sources` reads the file, the environment and the command line; `checks` holds
what involves more than one value; `problems` words what pydantic found; `keys` is the index of all names. `report` and
`reference` write settings: the resolved ones, and the annotated `config/server.toml`.
"""

from __future__ import annotations

from appserver.settings.address import Address, DescriptorAddress, SystemdAddress, TCPAddress, UnixAddress
from appserver.settings.differences import Difference, differences
from appserver.settings.env_file import read_env_file
from appserver.settings.loading import Loaded, load
from appserver.settings.model import (
    AccessLogSettings,
    AdminSettings,
    AppSettings,
    HTTPSettings,
    ListenerSettings,
    LoggingSettings,
    MetricsSettings,
    ProxySettings,
    ReloadSettings,
    RequestIDSettings,
    Settings,
    ShutdownSettings,
    SNISettings,
    TLSSettings,
    WebSocketSettings,
    WorkersSettings,
)
from appserver.settings.quantities import format_duration, format_size
from appserver.settings.sources import Origin, Override

__all__ = [
    "AccessLogSettings",
    "Address",
    "AdminSettings",
    "AppSettings",
    "DescriptorAddress",
    "Difference",
    "HTTPSettings",
    "ListenerSettings",
    "Loaded",
    "LoggingSettings",
    "MetricsSettings",
    "Origin",
    "Override",
    "ProxySettings",
    "ReloadSettings",
    "RequestIDSettings",
    "SNISettings",
    "Settings",
    "ShutdownSettings",
    "SystemdAddress",
    "TCPAddress",
    "TLSSettings",
    "UnixAddress",
    "WebSocketSettings",
    "WorkersSettings",
    "differences",
    "format_duration",
    "format_size",
    "load",
    "read_env_file",
]
