"""Where the control socket is when nobody has said it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appserver.settings.runtime import client_places, make_directory, server_place

FILES = [Path("/etc/appserver/shop.toml")]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory


def test_the_runtime_directory_of_a_unit_comes_first(system: Path, tmp_path: Path) -> None:
    unit = tmp_path / "unit"
    unit.mkdir()
    unit.chmod(0o777)  # as Kubernetes makes an emptyDir
    environ = {"RUNTIME_DIRECTORY": f"{unit}:{tmp_path}", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert server_place(FILES, environ, system=system) == unit / "control.sock"


def test_the_directory_of_the_system_is_used_where_it_can_be_or_can_be_made(system: Path) -> None:
    place = server_place(FILES, {}, system=system)
    assert place is not None
    assert place.parent == system
    system.rmdir()
    assert server_place(FILES, {}, system=system) == place
    assert not system.exists(), "that is for whoever binds"
    make_directory(system)
    assert system.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mode", "is_used"), [(0o755, True), (0o700, True), (0o777, False), (0o775, False), (0o1777, True)]
)
def test_where_others_could_take_the_socket_away_it_is_not_made(system: Path, mode: int, is_used: bool) -> None:
    system.chmod(mode)
    place = server_place(FILES, {}, system=system)
    assert (place is not None and place.parent == system) == is_used


def test_a_user_has_it_in_a_directory_of_the_session_or_else_in_a_private_one(system: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "run"
    place = server_place(FILES, {"XDG_RUNTIME_DIR": str(tmp_path)}, system=nowhere)
    assert place is not None
    assert place.parent == tmp_path / "appserver"
    place = server_place(FILES, {"XDG_RUNTIME_DIR": str(nowhere)}, system=nowhere)
    assert place is not None
    assert place.parent == Path(f"/tmp/appserver-{os.geteuid()}")


def test_a_symbolic_link_is_no_directory_for_it(system: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(system)
    place = server_place(FILES, {}, system=tmp_path / "link")
    assert place is not None
    assert place.parent != tmp_path / "link"


def test_what_the_kernel_does_not_take_is_passed_over(system: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    place = server_place(FILES, {"RUNTIME_DIRECTORY": str(long)}, system=system)
    assert place is not None
    assert place.parent == system


@pytest.mark.parametrize("name", ["店" * 60, "shop\udcff", "\udcff"], ids=["long", "no text", "nothing"])
def test_a_file_of_any_name_has_one_that_can_be_written_in_settings(name: str) -> None:
    place = server_place([Path(f"/etc/appserver/{name}.toml")], {}, system=Path("/run"))
    assert place is not None
    assert place.parent == Path("/run")
    assert len(str(place).encode()) <= 64


def test_every_settings_file_has_its_own_and_so_has_every_directory_without_one(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {
        server_place(files, {}, system=system)
        for files in (FILES, [Path("/srv/shop.toml")], [Path("server.toml")], [], [tmp_path / "server.toml"])
    }
    assert len(places) == 4, "a relative path is the same file"
    assert all(place is not None and place.name.startswith(("shop-", "server-", "test_every")) for place in places)


def test_a_command_looks_wherever_a_server_might_have_put_it(system: Path) -> None:
    shop, own, session, private = client_places(FILES, {}, system=system)
    assert shop == system / "shop" / "control.sock", "as the shipped unit has it"
    assert own == server_place(FILES, {}, system=system)
    assert session.parent == Path(f"/run/user/{os.geteuid()}/appserver"), "cron has no XDG_RUNTIME_DIR"
    assert private.parent == Path(f"/tmp/appserver-{os.geteuid()}")
    assert {own.name} == {session.name, private.name}
