"""The settings, from wherever the operator has written them to typed values.

Owns every key of the settings file, of the APPSERVER_ variables and of the command line: its name, type, default
and documentation; the merging of the sources, and the messages about what is wrong in them.
Must not know what the settings do: nothing here binds, forks, logs, or imports another part of appserver but the
errors. Of the machine it only looks at files and accounts that the settings name.

Start reading with `model` (the keys), then `loading` (the way from the sources to `Loaded`): the short one in `plain`, the one
that explains every mistake in `merging`. `values`, `quantities` and `address` are the types of single values; `places` says where settings can
stand, and `sources` are these places as sources of pydantic-settings; `origins` keeps who said what; `checks` holds what involves more
than one value; `problems` words what pydantic found; `locations` writes where a value stands; `keys` is the index of all names; `secrets`
masks what others' tables hold. `report` and `reference` write settings: the resolved ones, and what is published in `config/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appserver.late import late
from appserver.settings.address import Address, DescriptorAddress, SystemdAddress, TCPAddress, UnixAddress
from appserver.settings.loading import by_key, load, look_up, read_settings
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
from appserver.settings.origins import Loaded, Origin
from appserver.settings.places import Override, settings_files, usual_files
from appserver.settings.quantities import format_duration, format_size

if TYPE_CHECKING:
    from appserver.settings.env_file import read_env_file
    from appserver.settings.keys import SECRET_VARIABLES
    from appserver.settings.logging_config import read_logging_config
    from appserver.settings.report import Difference, differences
    from appserver.settings.secrets import mask_text
else:
    __getattr__ = late(
        __name__,
        {
            "env_file": ("read_env_file",),
            "keys": ("SECRET_VARIABLES",),
            "logging_config": ("read_logging_config",),
            "report": ("Difference", "differences"),
            "secrets": ("mask_text",),
        },
    )

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
