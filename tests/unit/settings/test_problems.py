"""What pydantic finds, in the words of an operator."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appserver.settings import Settings
from appserver.settings.locations import Location
from appserver.settings.problems import describe, shown_value


def found(**sections: Any) -> ErrorDetails:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"app": {"target": "a:b"}, **sections})
    [error] = caught.value.errors()
    return error


@pytest.mark.parametrize(
    ("sections", "value", "expected"),
    [
        ({"app": {}}, "", "required; expected module:attribute of the application"),
        ({"tls": {"sni": [{"name": "a", "key": "b"}]}}, "", "required; expected a value"),
        ({"workers": {"cuont": 4}}, "4", "unknown key; did you mean workers.count?"),
        ({"listeners": [{}, {"bnid": 4}]}, "4", "unknown key; did you mean listeners[1].bind?"),
        (
            {"tls": {"sni": [{"name": "a", "key": "b", "certificate": "c", "nmae": 4}]}},
            "4",
            "unknown key; did you mean tls.sni[0].name?",
        ),
        ({"workers": {"count": 0}}, "0", 'expected a whole number, from 1 to 1024, or "auto"'),
        ({"http": {"parser": "lex"}}, '"lex"', 'expected "auto", "httptools" or "h11"'),
        ({"http": {"parser": ["h11"]}}, '["h11"]', 'expected "auto", "httptools" or "h11"'),
        ({"logging": {"level": True}}, "true", 'expected "debug", "info", "warning", "error" or "critical"'),
        ({"tls": {"min_version": 1.2}}, "1.2", 'expected "1.2" or "1.3"'),
        ({"http": {"headers": "A: b"}}, '"A: b"', "expected a list"),
        ({"http": {"headers": {"A": "b"}}}, '{A = "b"}', "expected a list"),
        ({"listeners": {"bind": "x"}}, '{bind = "x"}', "expected a list of tables: [[listeners]]"),
        ({"tls": {"sni": {"name": "x"}}}, '{name = "x"}', "expected a list of tables: [[tls.sni]]"),
        ({"listeners": ["x"]}, '"x"', "expected a table"),
        ({"tls": {"key_password": 3}}, "********", "expected text (without control characters)"),
        ({"tls": {"key_pasword": "geheim"}}, "********", "unknown key; did you mean tls.key_password?"),
        ({"tls": {"password": "geheim"}}, "********", "unknown key; did you mean tls.key_password?"),
    ],
)
def test_every_kind_of_mistake_is_told_with_its_value_and_what_is_expected(
    sections: dict[str, Any], value: str, expected: str
) -> None:
    assert describe(found(**sections)) == (value, expected)


def test_a_mistake_of_a_kind_that_no_type_here_makes_is_told_in_pydantics_words() -> None:
    error = ErrorDetails(type="int_type", loc=("workers", "count"), msg="Input should be an integer", input="x")
    assert describe(error) == ('"x"', "not valid: Input should be an integer")


@pytest.mark.parametrize(
    ("location", "is_shown"),
    [
        (("tls",), False),
        (("tls", "key_password"), False),
        (("tls", "key_passwd"), False),
        (("passwords", "key_password"), False),
        (("tls", "key"), True),
        (("tls", "sni", 0, "key"), True),
        (("workers",), True),
        (("zzz",), True),
    ],
)
def test_a_value_is_shown_unless_it_holds_or_may_be_a_secret(location: Location, is_shown: bool) -> None:
    assert shown_value(location, "x") == ('"x"' if is_shown else "********")
