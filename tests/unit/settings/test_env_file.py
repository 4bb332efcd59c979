"""The environment file of the application."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.errors import SettingsError
from appserver.settings import read_env_file


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", {}),
        ("\n  \n# comment\n   # another", {}),
        ("A=1", {"A": "1"}),
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("  A = 1  ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=b c # comment", {"A": "b c"}),
        ("A= # comment", {"A": ""}),
        ("A=b#c", {"A": "b#c"}),
        ("A=#c", {"A": "#c"}),
        ("A=postgres://u:p$x@h/db?a=b", {"A": "postgres://u:p$x@h/db?a=b"}),
        ("A=$HOME ${B}", {"A": "$HOME ${B}"}),
        ("A='b # $c \\n' # comment", {"A": "b # $c \\n"}),
        (r'A="a\n\t\r\"\\\$\x"', {"A": 'a\n\t\r"\\$x'}),
        ("A='one\ntwo'\nB=\"three\nfour\"\n", {"A": "one\ntwo", "B": "three\nfour"}),
        ("A=it's", {"A": "it's"}),
        ("Größe=1\nA=ü", None),
    ],
)
def test_lines_become_variables(tmp_path: Path, text: str, variables: dict[str, str] | None) -> None:
    file = tmp_path / "app.env"
    file.write_bytes(text.encode())
    if variables is None:
        with pytest.raises(SettingsError, match="line 1"):
            read_env_file(file)
    else:
        assert read_env_file(file) == variables


def test_every_line_that_cannot_be_read_is_reported_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_text('A=1\nsecret\nB=\'open\n=x\nC="a" b\nD=\0\nE-F=1\nG=2')
    with pytest.raises(SettingsError) as caught:
        read_env_file(file)
    said = [(problem.where, problem.expected) for problem in caught.value.problems]
    assert said == [(str(file), f"line {line}: expected NAME=value") for line in (2, 3, 4, 5, 6, 7)]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing", None, "no such file"),
        (".", None, "cannot be read: Is a directory"),
        ("binary", b"A=\xff", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=expected) as caught:
        read_env_file(file)
    assert caught.value.problems[0].where == str(file)


@given(st.text(st.characters(blacklist_characters="\0\r'", blacklist_categories=["Cs"])))
def test_a_value_in_single_quotes_is_read_as_it_is(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.getbasetemp() / "quoted.env"
    file.write_bytes(f"A='{value}'\n".encode())
    assert read_env_file(file) == {"A": value}
