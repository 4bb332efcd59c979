"""The TOML that the tests write is read back by the standard library as what it was."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support import toml

plain = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
values = st.recursive(
    plain | st.lists(plain, max_size=3),
    lambda inner: (
        st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.lists(st.dictionaries(st.text(max_size=5), inner, max_size=3), min_size=1, max_size=2)
    ),
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_a_document_is_read_back_as_it_was_written(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml.dumps(document)) == document


def test_none_leaves_a_key_out() -> None:
    assert toml.dumps({"app": {"target": None, "factory": True}}) == "\n[app]\nfactory = true\n"
