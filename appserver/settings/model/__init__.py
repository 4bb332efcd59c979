"""The typed settings: what every key means, its default, and what it may be.

The docstring below a field is its documentation: `config/server.toml` is generated from it, so it is written for
operators. A component of the server takes the section it needs, never the whole. Nothing here reads a file or the
environment; checks that look outside one value are in `appserver.settings.checks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from pydantic import create_model
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from appserver.settings.model.application import AppSettings
from appserver.settings.model.base import Section
from appserver.settings.model.development import DevSettings
from appserver.settings.model.functions import LambdaSettings
from appserver.settings.model.network import ListenerSettings, ProxySettings, SNISettings, TLSSettings
from appserver.settings.model.observation import AccessLogSettings, AdminSettings, LoggingSettings, MetricsSettings
from appserver.settings.model.processes import ReloadSettings, ShutdownSettings, WorkersSettings
from appserver.settings.model.protocols import HTTP2Settings, HTTPSettings, RequestIDSettings, WebSocketSettings

_sources: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("sources", default=())


class _Sections(BaseSettings):
    """All settings. As JSON (`model_dump_json`, `model_validate_json`) they go to other processes and come out equal.

    An instance is made of what it is given, and of nothing else: only `read` looks into other sources.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        case_sensitive=True,
        # The schema is made when the first instance is: only for `Settings` then, and not for this base of it as well.
        defer_build=True,
    )

    app: AppSettings
    listeners: tuple[ListenerSettings, ...] = (ListenerSettings(),)
    tls: TLSSettings = TLSSettings()
    workers: WorkersSettings = WorkersSettings()
    reload: ReloadSettings = ReloadSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    http: HTTPSettings = HTTPSettings()
    http2: HTTP2Settings = HTTP2Settings()
    websocket: WebSocketSettings = WebSocketSettings()
    proxy: ProxySettings = ProxySettings()
    logging: LoggingSettings = LoggingSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    request_id: RequestIDSettings = RequestIDSettings()
    admin: AdminSettings = AdminSettings()
    metrics: MetricsSettings = MetricsSettings()
    dev: DevSettings = DevSettings()

    @property
    def on_lambda(self) -> LambdaSettings:
        """The section [lambda]: a field of that name, which the grammar of Python has for something else."""
        section: LambdaSettings = getattr(self, "lambda")
        return section

    @classmethod
    def read(cls, sources: Sequence[PydanticBaseSettingsSource]) -> Self:
        """Return the settings that these sources come to, the strongest first; raises pydantic's ValidationError."""
        token = _sources.set(tuple(sources))
        try:
            return cls()
        finally:
            _sources.reset(token)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the form of the library
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, *_sources.get())


if TYPE_CHECKING:

    class Settings(_Sections):
        """All settings."""

else:
    _later: dict[str, Any] = {"lambda": (LambdaSettings, LambdaSettings())}
    Settings = create_model("Settings", __base__=_Sections, __module__=__name__, __doc__=_Sections.__doc__, **_later)


__all__ = [
    "AccessLogSettings",
    "AdminSettings",
    "AppSettings",
    "DevSettings",
    "HTTP2Settings",
    "HTTPSettings",
    "LambdaSettings",
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
