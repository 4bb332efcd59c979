"""The admin addresses: bound, served, moved at a reload, and left without a trace."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from appserver.errors import ListenerError
from appserver.master.admin import Admin
from appserver.settings import AdminSettings
from tests.support.address import Address, Response
from tests.support.proxies import free_ports
from tests.unit.master.admin.master import FakeMaster
from tests.unit.master.conftest import Log


def settings(bind: str = "", control: Path | None = None) -> AdminSettings:
    return AdminSettings.model_validate({"bind": bind, "control": "" if control is None else str(control)})


async def request(address: str, target: str = "/livez", method: str = "GET") -> Response:
    return await asyncio.to_thread(Address.parse(address).request, method, target)


def run(body: Callable[[Admin], Awaitable[None]]) -> None:
    async def whole() -> None:
        admin = Admin()
        try:
            await body(admin)
        finally:
            await admin.stop()

    asyncio.run(whole())


def test_what_is_bound_before_the_loop_runs_is_served_when_it_does(tmp_path: Path) -> None:
    path, bind = tmp_path / "control", f"127.0.0.1:{free_ports(1)[0]}"

    async def body(admin: Admin) -> None:
        admin.add(settings(bind, path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        waiting = asyncio.create_task(request(bind))
        admin.start(FakeMaster(), FakeMaster())
        assert (await waiting).text == "alive\n"
        assert (await request(f"unix:{path}", "/reload", "POST")).status == 200
        assert (await request(bind, "/reload", "POST")).status == 403

    run(body)
    assert not path.exists()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed connection may linger, no listener may
        sock.bind(("127.0.0.1", int(bind.rpartition(":")[2])))


def test_nothing_is_bound_unless_it_is_asked_for() -> None:
    async def body(admin: Admin) -> None:
        before = set(os.listdir("/proc/self/fd"))
        admin.add(settings())
        admin.start(FakeMaster(), FakeMaster())
        assert set(os.listdir("/proc/self/fd")) == before

    run(body)


def test_a_reload_moves_an_address_while_it_is_served(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    bind = f"127.0.0.1:{free_ports(1)[0]}"

    async def body(admin: Admin) -> None:
        admin.add(settings(bind, old))
        admin.start(FakeMaster(), FakeMaster())
        admin.add(settings(bind, new))
        assert [(await request(f"unix:{path}")).status for path in (old, new)] == [200, 200]
        admin.keep(settings(bind, new))
        await asyncio.sleep(0)
        assert not old.exists()
        assert [(await request(address)).status for address in (f"unix:{new}", bind)] == [200, 200]

    run(body)


def test_a_command_is_answered_where_it_was_given_even_if_the_address_goes(tmp_path: Path) -> None:
    path = tmp_path / "control"
    outcome = asyncio.Event()

    class SlowMaster(FakeMaster):
        async def upgrade(self) -> str:
            self.asked.append(("upgrade",))
            await outcome.wait()
            return "upgraded"

    async def body(admin: Admin) -> None:
        master = SlowMaster()
        admin.add(settings(control=path))
        admin.start(master, master)
        waiting = asyncio.create_task(request(f"unix:{path}", "/upgrade", "POST"))
        async with asyncio.timeout(30):
            while not master.asked:
                await asyncio.sleep(0.01)
        admin.keep(settings())
        await asyncio.sleep(0)
        assert not path.exists()
        outcome.set()
        assert "upgraded" in (await waiting).text

    run(body)


def test_if_one_address_cannot_be_bound_the_other_is_not_either(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def body(admin: Admin) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(ListenerError, match="in use"):
                admin.add(settings(f"127.0.0.1:{taken.getsockname()[1]}", path))
        assert not path.exists()
        path.touch()
        with pytest.raises(ListenerError, match="no socket is in the way"):
            admin.add(settings(control=path))
        assert path.exists()

    run(body)


def test_a_socket_left_behind_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def body(admin: Admin) -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            with pytest.raises(ListenerError, match="another server is listening"):
                admin.add(settings(control=path))
        admin.add(settings(control=path))
        admin.start(FakeMaster(), FakeMaster())
        assert (await request(f"unix:{path}")).status == 200

    run(body)


@pytest.mark.parametrize("served", [False, True])
def test_a_reload_makes_the_file_of_a_socket_anew_that_is_gone(tmp_path: Path, log: Log, served: bool) -> None:
    path = tmp_path / "control"

    async def body(admin: Admin) -> None:
        admin.add(settings(control=path))
        if served:
            admin.start(FakeMaster(), FakeMaster())
        before = path.stat().st_ino
        admin.add(settings(control=path))
        assert path.stat().st_ino == before
        path.unlink()
        path.write_text("somebody else's")
        admin.add(settings(control=path))  # no reason to refuse a reload
        assert [record["level"] for record in log()] == ["info", "warning", "warning"]
        path.unlink()
        admin.add(settings(control=path))
        if not served:
            admin.start(FakeMaster(), FakeMaster())
        assert (await request(f"unix:{path}", "/reload", "POST")).status == 200

    run(body)
    assert not path.exists()


def test_addresses_are_let_go_of_if_the_loop_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "control"
    admin = Admin()
    admin.add(settings(control=path))
    admin.close()
    assert not path.exists()
