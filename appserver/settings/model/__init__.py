"""The typed settings: what every key means, its default, and what it may be.

The docstring below a field is its documentation: `config/server.toml` is generated from it, so it is written for
operators. A component of the server takes the section it needs, never the whole. Nothing here reads a file or the
environment; checks that look outside one value are in `appserver.settings.checks`.

The modules here do without `from __future__ import annotations`: pydantic would have to compile the text of each annotation, in every
start.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from appserver.settings.locations import Location
from appserver.settings.model.application import AppSettings
from appserver.settings.model.base import Part, Section
from appserver.settings.model.development import DevSettings
from appserver.settings.model.functions import LambdaSettings
from appserver.settings.model.network import ListenerSettings, ProxySettings, SNISettings, TLSSettings
from appserver.settings.model.observation import AccessLogSettings, AdminSettings, LoggingSettings, MetricsSettings
from appserver.settings.model.processes import ReloadSettings, ShutdownSettings, WorkersSettings
from appserver.settings.model.protocols import HTTP2Settings, HTTPSettings, RequestIDSettings, WebSocketSettings


class _Sections(BaseModel):
    """All settings. As JSON (`model_dump_json`, `model_validate_json`) they go to other processes and come out equal."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        # The schema is made when the first instance is: only for `Settings` then, and not for this base of it as well.
        defer_build=True,
    )

    app: Part[AppSettings]
    listeners: tuple[Part[ListenerSettings], ...] = Field(default_factory=lambda: (ListenerSettings.model_construct(),))
    tls: Part[TLSSettings] = Field(default_factory=TLSSettings.model_construct)
    workers: Part[WorkersSettings] = Field(default_factory=WorkersSettings.model_construct)
    reload: Part[ReloadSettings] = Field(default_factory=ReloadSettings.model_construct)
    shutdown: Part[ShutdownSettings] = Field(default_factory=ShutdownSettings.model_construct)
    http: Part[HTTPSettings] = Field(default_factory=HTTPSettings.model_construct)
    http2: Part[HTTP2Settings] = Field(default_factory=HTTP2Settings.model_construct)
    websocket: Part[WebSocketSettings] = Field(default_factory=WebSocketSettings.model_construct)
    proxy: Part[ProxySettings] = Field(default_factory=ProxySettings.model_construct)
    logging: Part[LoggingSettings] = Field(default_factory=LoggingSettings.model_construct)
    access_log: Part[AccessLogSettings] = Field(default_factory=AccessLogSettings.model_construct)
    request_id: Part[RequestIDSettings] = Field(default_factory=RequestIDSettings.model_construct)
    admin: Part[AdminSettings] = Field(default_factory=AdminSettings.model_construct)
    metrics: Part[MetricsSettings] = Field(default_factory=MetricsSettings.model_construct)
    dev: Part[DevSettings] = Field(default_factory=DevSettings.model_construct)

    @property
    def on_lambda(self) -> LambdaSettings:
        """The section [lambda]: a field of that name, which the grammar of Python has for something else."""
        section: LambdaSettings = getattr(self, "lambda")
        return section


if TYPE_CHECKING:

    class Settings(_Sections):
        """All settings."""

else:
    _later: dict[str, Any] = {"lambda": (Part[LambdaSettings], Field(default_factory=LambdaSettings.model_construct))}
    Settings = create_model("Settings", __base__=_Sections, __module__=__name__, __doc__=_Sections.__doc__, **_later)


def _model(field: FieldInfo) -> type[Section]:
    model: Any = field.annotation
    if get_origin(model) is tuple:
        model = get_args(get_args(model)[0])[0]  # of the section in a `Part`
    section: type[Section] = model
    return section


SECTIONS: dict[str, type[Section]] = {name: _model(field) for name, field in Settings.model_fields.items()}
"""The sections by name; of a list of tables, the model of one of them."""

LISTS_OF_TABLES = frozenset(
    name for name, field in Settings.model_fields.items() if get_origin(field.annotation) is tuple
)
"""The sections that are written as [[name]], any number of times."""


def locations(settings: Settings) -> Iterator[Location]:
    """Yield the location of every value, in the order of the model; a list of values is one value."""
    for section, model in SECTIONS.items():
        if section in LISTS_OF_TABLES:
            for index in range(len(getattr(settings, section))):
                yield from ((section, index, name) for name in model.model_fields)
        else:
            yield from ((section, name) for name in model.model_fields)


__all__ = [
    "LISTS_OF_TABLES",
    "SECTIONS",
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
    "locations",
]
