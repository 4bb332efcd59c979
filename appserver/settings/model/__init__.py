"""The typed settings: what every key means, its default, and what it may be.

The docstring below a field is its documentation: `config/server.toml` is generated from it, so it is written for
operators. A component of the server takes the section it needs, never the whole. Nothing here reads a file or the
environment; checks that look outside one value are in `appserver.settings.checks`.
"""

from __future__ import annotations

from appserver.settings.model.application import AppSettings
from appserver.settings.model.base import Section
from appserver.settings.model.network import ListenerSettings, ProxySettings, SNISettings, TLSSettings
from appserver.settings.model.observation import AccessLogSettings, AdminSettings, LoggingSettings, MetricsSettings
from appserver.settings.model.processes import ReloadSettings, ShutdownSettings, WorkersSettings
from appserver.settings.model.protocols import HTTPSettings, RequestIDSettings, WebSocketSettings


class Settings(Section):
    """All settings. As JSON (`model_dump_json`, `model_validate_json`) they go to other processes and come out equal."""

    app: AppSettings
    listeners: tuple[ListenerSettings, ...] = (ListenerSettings(),)
    tls: TLSSettings = TLSSettings()
    workers: WorkersSettings = WorkersSettings()
    reload: ReloadSettings = ReloadSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    http: HTTPSettings = HTTPSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    proxy: ProxySettings = ProxySettings()
    logging: LoggingSettings = LoggingSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    request_id: RequestIDSettings = RequestIDSettings()
    admin: AdminSettings = AdminSettings()
    metrics: MetricsSettings = MetricsSettings()


__all__ = [
    "AccessLogSettings",
    "AdminSettings",
    "AppSettings",
    "HTTPSettings",
    "ListenerSettings",
    "LoggingSettings",
    "MetricsSettings",
    "ProxySettings",
    "ReloadSettings",
    "RequestIDSettings",
    "SNISettings",
    "Section",
    "Settings",
    "ShutdownSettings",
    "TLSSettings",
    "WebSocketSettings",
    "WorkersSettings",
]
