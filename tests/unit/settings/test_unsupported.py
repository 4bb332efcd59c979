"""Settings without a meaning yet."""

from __future__ import annotations

import pytest

from appserver.settings.keys import KEYS, SECTIONS
from appserver.settings.unsupported import NOT_SUPPORTED_YET, is_unsupported, unsupported


def test_the_table_names_only_what_there_is() -> None:
    assert set(KEYS) | set(SECTIONS) >= NOT_SUPPORTED_YET


@pytest.mark.parametrize("entry", sorted(NOT_SUPPORTED_YET))
def test_a_key_or_section_of_the_table_is_refused_where_it_is_given(entry: str) -> None:
    section, _, name = entry.partition(".")
    name = name or next(iter(SECTIONS[section].model_fields))
    location = (section, 0, name) if section == "listeners" else (section, name)
    assert is_unsupported(f"{section}.{name}")
    assert list(unsupported([location, ("app", "target")])) == [location]
