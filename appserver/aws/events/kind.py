"""The interface of a kind of trigger, and the settings that it depends on."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from appserver.aws.events.request import InvocationRequest
from appserver.http.fields import Fields
from appserver.settings import LambdaSettings

MAX_ANSWER = 6 * 1024 * 1024 + 100
"""Octets of an answer that Lambda takes from a function, if it is sent as a whole."""


MANGUM_TEXT_TYPES = (
    "text/", "application/json", "application/javascript", "application/xml", "application/vnd.api+json",
    "application/vnd.oai.openapi",
)  # fmt: skip
"""The default text types in the configuration that custom handlers of Mangum get."""


class Options(NamedTuple):
    """The settings of `[lambda]` that events and answers depend on."""

    base_path: str = ""
    text_types: tuple[bytes, ...] = (b"text/", b"application/json", b"application/javascript", b"application/xml")
    exclude: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, settings: LambdaSettings) -> Options:
        return cls(
            settings.base_path,
            tuple(prefix.lower().encode() for prefix in settings.text_types),
            frozenset(name.lower().encode() for name in settings.exclude_headers),
        )


class Kind(Protocol):
    """A kind of trigger."""

    name: str
    streams: bool
    """Whether it can take a response piece by piece."""

    def limit(self, event: dict[str, Any]) -> int:
        """How many octets of JSON an answer to this event may have."""

    def read(self, event: dict[str, Any], options: Options) -> InvocationRequest:
        """Make a request of an event. Raises EventError for one that is not as documented, and RequestError (a status)."""

    def write(
        self, event: dict[str, Any], status: int, fields: Fields, body: bytes, options: Options
    ) -> dict[str, Any]:
        """The answer with this response; `fields` have names in lower case."""

    def prelude(self, status: int, fields: Fields, options: Options) -> dict[str, Any]:
        """The head of a response that is sent piece by piece."""
