"""The settings, from wherever the operator has written them to typed values.

Owns every key of the settings file, of the APPSERVER_ variables and of the command line: its name, type, default
and documentation; the merging of the sources, and the messages about what is wrong in them.
Must not know what the settings do: nothing here binds, forks, logs, or imports another part of appserver but the
errors. Of the machine it only looks at files and accounts that the settings name.

Start reading with `model` (the keys), then `loading` (the way from the sources to `Loaded`). `values`, `quantities` and
`address` are the types of single values; `sources` are the files, the environment and the command line, as sources of
pydantic-settings; `checks` holds what involves more than one value; `problems` words what pydantic found; `keys` is the
index of all names; `secrets` masks what others' tables hold. `report` and `reference` write settings: the resolved ones, and what is published in `config/`.
"""

from __future__ import annotations

from appserver.settings.address import Address, DescriptorAddress, SystemdAddress, TCPAddress, UnixAddress
from appserver.settings.env_file import read_env_file
from appserver.settings.keys import SECRET_VARIABLES
from appserver.settings.loading import Loaded, by_key, load, look_up, read_settings
from appserver.settings.logging_config import read_logging_config
from appserver.settings.model import (
    AccessLogSettings,
    AdminSettings,
    AppSettings,
    DevSettings,
    HTTP2Settings,
    HTTPSettings,
    LambdaSettings,
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
from appserver.settings.report import Difference, differences
from appserver.settings.secrets import mask_text
from appserver.settings.sources import Origin, Override, settings_files, usual_files

__all__ = [
    "AccessLogSettings",
    "Address",
    "AdminSettings",
    "AppSettings",
    "DescriptorAddress",
    "DevSettings",
    "Difference",
    "HTTP2Settings",
    "HTTPSettings",
    "LambdaSettings",
    "ListenerSettings",
    "Loaded",
    "LoggingSettings",
    "MetricsSettings",
    "Origin",
    "Override",
    "ProxySettings",
    "ReloadSettings",
    "RequestIDSettings",
    "SECRET_VARIABLES",
    "SNISettings",
    "Settings",
    "ShutdownSettings",
    "SystemdAddress",
    "TCPAddress",
    "TLSSettings",
    "UnixAddress",
    "WebSocketSettings",
    "WorkersSettings",
    "by_key",
    "differences",
    "format_duration",
    "format_size",
    "load",
    "look_up",
    "mask_text",
    "read_env_file",
    "read_logging_config",
    "read_settings",
    "settings_files",
    "usual_files",
]
