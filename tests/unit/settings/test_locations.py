"""Locations of values."""

from __future__ import annotations

import pytest

from appserver.settings import Settings
from appserver.settings.keys import KEYS
from appserver.settings.locations import Location, dotted, value_at
from appserver.settings.model import locations


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (("workers", "count"), "workers.count"),
        (("listeners", 0, "bind"), "listeners[0].bind"),
        (("tls", "sni", 1, "name"), "tls.sni[1].name"),
        (("http", "a b"), 'http."a b"'),
        (("a.b",), '"a.b"'),
    ],
)
def test_a_location_is_written_as_people_do(location: Location, text: str) -> None:
    assert dotted(location) == text


def test_every_value_of_settings_has_a_location() -> None:
    settings = Settings.model_validate({"app": {"target": "a:b"}, "listeners": [{"bind": "a:1"}, {"bind": "a:2"}]})
    found = list(locations(settings))
    assert len(found) == len(KEYS) + 8, "the second listener's"
    assert found.index(("listeners", 1, "bind")) == found.index(("listeners", 0, "group")) + 1
    values = settings.model_dump(mode="json")
    assert value_at(("listeners", 1, "bind"), values) == "a:2"
    assert all(value_at(location, values) is not ... for location in found)
