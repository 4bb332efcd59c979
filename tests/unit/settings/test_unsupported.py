"""Settings without a meaning yet."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.settings import Settings
from appserver.settings.keys import KEYS, SECTIONS
from appserver.settings.unsupported import NOT_SUPPORTED_YET, is_unsupported, unsupported


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({"app": {"target": "a:b"}, **sections})


def test_the_table_names_only_what_there_is() -> None:
    assert set(KEYS) | set(SECTIONS) >= NOT_SUPPORTED_YET


@pytest.mark.parametrize("entry", sorted(NOT_SUPPORTED_YET))
def test_a_key_or_section_of_the_table_is_refused_where_it_is_given(entry: str) -> None:
    section, _, name = entry.partition(".")
    name = name or next(iter(SECTIONS[section].model_fields))
    location = (section, 0, name) if section == "listeners" else (section, name)
    assert is_unsupported(f"{section}.{name}")
    assert list(unsupported(settings(), [location, ("app", "target")])) == [location]


@pytest.mark.parametrize(
    ("bind", "refused"), [("systemd:x", True), ("unix:@x", True), ("unix:/x", False), ("a:1", False)]
)
def test_a_form_of_address_is_refused_wherever_it_stands(bind: str, refused: bool) -> None:
    listeners = settings(listeners=[{}, {"bind": bind}])
    assert list(unsupported(listeners, [])) == [("listeners", 1, "bind")] * refused
