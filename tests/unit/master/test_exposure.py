"""What `appserver check` warns of: files that another user could replace."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from appserver.master.exposure import exposures
from appserver.settings import Loaded, Settings
from tests.support.attacker import GROUP, USER, needs_root


def warnings(settings: dict[str, Any], path: Path | None = None) -> list[str]:
    whole = {"app": {"target": "a:b"}, "workers": {"user": USER, "group": GROUP}, **settings}
    return [
        str(found)
        for found in exposures(Loaded(Settings.model_validate(whole), origins={}, paths=(path,) if path else ()))
    ]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    directory = tmp_path / "theirs"
    directory.mkdir()
    shutil.chown(directory, USER, GROUP)
    return directory


def every_file(directory: Path) -> dict[str, Any]:
    return {
        "logging": {"file": str(directory / "log")},
        "access_log": {"file": str(directory / "access")},
        "admin": {"pid_file": str(directory / "pid"), "control": str(directory / "control")},
        "listeners": [{"bind": f"unix:{directory}/app.sock"}, {"bind": "unix:@name"}],
        "tls": {"certificate": str(directory / "cert.pem"), "key": str(directory / "key.pem")},
    }


@needs_root
def test_each_file_in_a_directory_of_the_workers_is_named_with_its_directory(theirs: Path) -> None:
    found = warnings(every_file(theirs), theirs / "server.toml")
    names = [
        "settings file", "logging.file", "access_log.file", "admin.pid_file", "admin.control", "listeners[0].bind", "tls",
        "tls",
    ]  # fmt: skip
    assert [text.partition(" = ")[0] for text in found] == names
    assert all(f"the user {USER} can write to {theirs}, and so" in text for text in found)
    assert all(f"give {theirs} to root" in text for text in found)


@needs_root
def test_nothing_is_said_of_roots_own_directories(tmp_path: Path) -> None:
    assert warnings(every_file(tmp_path), tmp_path / "server.toml") == []


@needs_root
def test_what_is_run_or_read_must_not_be_writable_itself(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.touch()
    path.chmod(0o666)
    (found,) = warnings({}, path)
    assert f"every user can write to {path}" in found


@needs_root
def test_a_directory_behind_a_link_counts_as_well_as_the_links_own(tmp_path: Path, theirs: Path) -> None:
    (tmp_path / "logs").symlink_to(theirs)
    (found,) = warnings({"logging": {"file": str(tmp_path / "logs" / "log")}})
    assert f"can write to {theirs}," in found
    (tmp_path / "mine").mkdir()
    (theirs / "logs").symlink_to(tmp_path / "mine")
    (found,) = warnings({"logging": {"file": str(theirs / "logs" / "log")}})
    assert f"can write to {theirs}," in found


def test_a_server_without_privileges_minds_what_everybody_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    same = {"user": None, "group": None}
    shared = tmp_path / "shared"
    shared.mkdir()
    settings = {"workers": same, "logging": {"file": str(shared / "log")}}
    assert warnings(settings) == []
    shared.chmod(0o777)
    (found,) = warnings(settings)
    assert "every user can write to" in found
