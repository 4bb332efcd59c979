"""Looking up one value of settings that may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from appserver.errors import SettingsError
from appserver.settings import look_up

BROKEN = '[app]\ntarget = 7\n[workers]\ncuont = 2\n[admin]\ncontrol = "a.sock"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text(BROKEN)
    return path


def test_the_value_is_found_among_mistakes(file: Path) -> None:
    assert look_up("admin.control", file, environ={"APPSERVER_NONSENSE": "1"}) == "a.sock"


def test_the_environment_wins_over_the_file_and_can_name_it(file: Path) -> None:
    assert look_up("admin.control", file, environ={"APPSERVER_ADMIN__CONTROL": "b.sock"}) == "b.sock"
    assert look_up("admin.control", None, environ={"APPSERVER_CONFIG": str(file)}) == "a.sock"
    assert look_up("admin.control", file, environ={"APPSERVER_ADMIN": '{"control": "c.sock"}'}) == "c.sock"


def test_what_is_nowhere_is_none(file: Path) -> None:
    assert look_up("admin.bind", file, environ={}) is None
    assert look_up("admin.bind", None, environ={}) is None


@pytest.mark.parametrize("content", [None, "this is not TOML\n"])
def test_a_file_that_cannot_be_read_is_an_error(file: Path, content: str | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"server\.toml"):
        look_up("admin.control", file, environ={})
