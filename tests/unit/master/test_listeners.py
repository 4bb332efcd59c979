from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appserver.errors import ListenerError
from appserver.master.listeners import ListenerSet
from appserver.settings import ListenerSettings
from tests.unit.master.conftest import Log


@pytest.fixture
def listeners() -> Iterator[ListenerSet]:
    bound = ListenerSet()
    yield bound
    bound.close()


def wanted(*binds: str, **fields: object) -> list[ListenerSettings]:
    return [ListenerSettings.model_validate({"bind": bind, **fields}) for bind in binds]


def names(listeners: ListenerSet, settings: list[ListenerSettings]) -> list[str]:
    return [grant.name for grant in listeners.grants(settings)]


def connect(name: str) -> socket.socket:
    if name.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(name.removeprefix("unix:"))
        return sock
    host, _, port = name.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=5)


class TestTCP:
    @pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
    def test_a_bound_address_accepts_under_the_name_it_is_given(self, listeners: ListenerSet, bind: str) -> None:
        settings = wanted(bind)
        listeners.add(settings)
        [name] = names(listeners, settings)
        assert not name.endswith(":0")
        connect(name).close()

    def test_each_port_0_is_a_port_of_its_own(self, listeners: ListenerSet) -> None:
        settings = wanted("127.0.0.1:0", "127.0.0.1:0")
        listeners.add(settings)
        assert len(set(names(listeners, settings))) == 2

    def test_the_same_port_of_both_families_can_be_bound(self, listeners: ListenerSet) -> None:
        for _ in range(20):  # what is free in one family may be somebody else's in the other
            listeners.keep()
            listeners.add(first := wanted("127.0.0.1:0"))
            port = names(listeners, first)[0].rpartition(":")[2]
            second = wanted(f"[::]:{port}")
            try:
                listeners.add(second)
            except ListenerError:
                continue
            assert names(listeners, second) == [f"[::]:{port}"]
            return
        pytest.fail("20 ports could not be bound in both families")

    @pytest.mark.parametrize("dual_stack", [False, True])
    def test_all_ipv6_addresses_are_all_addresses_if_that_is_wanted(
        self, listeners: ListenerSet, dual_stack: bool
    ) -> None:
        listeners.add(settings := wanted("[::]:0", dual_stack=dual_stack))
        port = names(listeners, settings)[0].rpartition(":")[2]
        connect(f"[::1]:{port}").close()
        if dual_stack:
            connect(f"127.0.0.1:{port}").close()
        else:  # that port of the other family may be somebody else's, so connecting tells nothing
            with socket.socket(fileno=os.dup(listeners.grants(settings)[0].fd)) as bound:
                assert bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        other = wanted("[::]:0", dual_stack=not dual_stack)
        with pytest.raises(ListenerError, match="dual_stack cannot change"):
            listeners.add(other)

    def test_a_port_in_use_names_its_holder(self, listeners: ListenerSet) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(
                ListenerError, match=rf"127\.0\.0\.1:{port}: the port is in use by .*\(pid {os.getpid()}\)"
            ):
                listeners.add(wanted(f"127.0.0.1:{port}"))

    def test_the_name_of_a_holder_may_be_cut_in_a_character(self, listeners: ListenerSet) -> None:
        name = Path("/proc/self/comm")
        before = name.read_bytes()
        with socket.create_server(("127.0.0.1", 0)) as other:
            name.write_bytes("обслуживание".encode())
            try:
                with pytest.raises(ListenerError, match="the port is in use by обслужи"):
                    listeners.add(wanted(f"127.0.0.1:{other.getsockname()[1]}"))
            finally:
                name.write_bytes(before.strip())

    def test_an_address_of_another_machine_is_refused(self, listeners: ListenerSet) -> None:
        with pytest.raises(ListenerError, match=r"192\.0\.2\.1 is not an address of this machine"):
            listeners.add(wanted("192.0.2.1:8000"))

    def test_a_name_that_does_not_resolve_is_refused(self, listeners: ListenerSet) -> None:
        with pytest.raises(ListenerError, match=r"cannot listen on host\.invalid:80"):
            listeners.add(wanted("host.invalid:80"))


class TestUnix:
    def test_the_file_has_the_mode_and_goes_with_the_listener(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        listeners.add(wanted(f"unix:{path}", mode="0606"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o606
        connect(f"unix:{path}").close()
        listeners.close()
        assert not path.exists()

    def test_a_new_mode_holds_for_a_bound_one(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "s.sock"
        listeners.add(wanted(f"unix:{path}"))
        listeners.add(wanted(f"unix:{path}", mode="0600"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
        path.touch(0o644)
        listeners.add(wanted(f"unix:{path}", mode="0666"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, "a file that is somebody else's"

    def test_a_new_owner_that_cannot_be_given_is_refused(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "s.sock"
        listeners.add(wanted(f"unix:{path}"))
        if os.getuid() == 0:
            listeners.add(wanted(f"unix:{path}", user="nobody", group="nogroup"))
            assert (path.owner(), path.group()) == ("nobody", "nogroup")
        else:
            with pytest.raises(ListenerError, match="owner or mode cannot be changed"):
                listeners.add(wanted(f"unix:{path}", user="root"))

    def test_the_file_of_another_server_in_the_same_place_is_left_alone(
        self, listeners: ListenerSet, tmp_path: Path
    ) -> None:
        path = tmp_path / "app.sock"
        listeners.add(wanted(f"unix:{path}"))
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            listeners.close()
            assert path.exists()

    def test_a_file_that_somebody_has_removed_is_not_missed(self, listeners: ListenerSet, tmp_path: Path) -> None:
        listeners.add(wanted(f"unix:{tmp_path}/app.sock"))
        (tmp_path / "app.sock").unlink()
        listeners.close()

    def test_one_whose_file_is_gone_is_made_anew_for_a_new_generation(
        self, listeners: ListenerSet, tmp_path: Path, log: Log
    ) -> None:
        settings = wanted(f"unix:{tmp_path}/app.sock", mode="0600")
        listeners.add(settings)
        [before] = listeners.grants(settings)
        listeners.renew(settings)
        assert listeners.grants(settings) == (before,), "it is not lost"
        (tmp_path / "app.sock").unlink()
        listeners.renew(settings)
        [after] = listeners.grants(settings)
        assert after.fd != before.fd
        os.fstat(before.fd)  # the generation that serves may start another zygote with it
        listeners.settle()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(before.fd)
        connect(f"unix:{tmp_path}/app.sock").close()
        assert stat.S_IMODE((tmp_path / "app.sock").stat().st_mode) == 0o600
        assert [record["event"] for record in log() if record["level"] == "warning"] == ["socket file lost"]

    def test_the_new_one_goes_where_the_new_generation_does_not_come(
        self, listeners: ListenerSet, tmp_path: Path, log: Log
    ) -> None:
        settings = wanted(f"unix:{tmp_path}/app.sock")
        listeners.add(settings)
        before = listeners.grants(settings)
        (tmp_path / "app.sock").unlink()
        listeners.renew(settings)
        listeners.give_back()
        assert listeners.grants(settings) == before
        assert not (tmp_path / "app.sock").exists(), "nobody would accept there"
        assert (log()[-1]["event"], log()[-1]["level"]) == ("socket file lost", "error")
        listeners.renew(settings)
        connect(f"unix:{tmp_path}/app.sock").close()

    def test_one_that_cannot_be_made_anew_is_an_error(self, listeners: ListenerSet, tmp_path: Path) -> None:
        settings = wanted(f"unix:{tmp_path}/first.sock", f"unix:{tmp_path}/second.sock")
        listeners.add(settings)
        before = listeners.grants(settings)
        for name in ("first.sock", "second.sock"):
            (tmp_path / name).unlink()
        (tmp_path / "second.sock").write_text("precious")
        with pytest.raises(ListenerError, match="no socket is in the way"):
            listeners.renew(settings)
        listeners.give_back()
        assert listeners.grants(settings) == before
        assert (tmp_path / "second.sock").read_text() == "precious"

    def test_an_abstract_one_has_no_file(self, listeners: ListenerSet) -> None:
        settings = wanted(f"unix:@appserver-test-{os.getpid()}")
        listeners.add(settings)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0appserver-test-{os.getpid()}")

    def test_a_stale_one_is_replaced(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        listeners.add(wanted(f"unix:{path}"))
        connect(f"unix:{path}").close()

    def test_a_live_one_is_not(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(str(path))
            live.listen(1)
            with pytest.raises(ListenerError, match="another server is listening on it"):
                listeners.add(wanted(f"unix:{path}"))
        assert path.exists()

    def test_a_file_in_the_way_is_kept(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        path.write_text("precious")
        with pytest.raises(ListenerError, match="no socket is in the way"):
            listeners.add(wanted(f"unix:{path}"))
        assert path.read_text() == "precious"

    def test_a_folder_that_does_not_exist_is_a_clear_error(self, listeners: ListenerSet, tmp_path: Path) -> None:
        with pytest.raises(ListenerError, match="No such file or directory"):
            listeners.add(wanted(f"unix:{tmp_path}/none/app.sock"))


class TestInherited:
    def test_a_listening_socket_is_taken_over_and_stays_open_behind_it(self, listeners: ListenerSet) -> None:
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            settings = wanted(f"fd://{inherited.fileno()}")
            listeners.add(settings)
            [name] = names(listeners, settings)
            assert name == f"127.0.0.1:{inherited.getsockname()[1]}"
            listeners.close()
            connect(name).close()

    def test_a_descriptor_that_is_not_there_is_refused(self, listeners: ListenerSet) -> None:
        with pytest.raises(ListenerError, match="no such descriptor was inherited"):
            listeners.add(wanted("fd://999"))

    def test_a_descriptor_that_is_no_socket_is_refused(self, listeners: ListenerSet, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file, pytest.raises(ListenerError, match="is no socket"):
            listeners.add(wanted(f"fd://{file.fileno()}"))

    def test_a_datagram_socket_is_refused(self, listeners: ListenerSet) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            pytest.raises(ListenerError, match="not a stream socket"),
        ):
            listeners.add(wanted(f"fd://{datagrams.fileno()}"))


class TestReload:
    def test_what_is_wanted_again_stays_bound(self, listeners: ListenerSet) -> None:
        settings = wanted("127.0.0.1:0")
        listeners.add(settings)
        before = listeners.grants(settings)
        listeners.add(settings)
        assert listeners.grants(settings) == before

    def test_what_nobody_wants_any_more_is_closed(self, listeners: ListenerSet) -> None:
        old, new = wanted("127.0.0.1:0", "[::1]:0"), wanted("127.0.0.1:0")
        listeners.add(old)
        listeners.add(new)
        kept, gone = names(listeners, old)
        listeners.keep(new)
        connect(kept).close()
        with pytest.raises(ConnectionRefusedError):
            connect(gone)

    def test_all_is_bound_or_nothing(self, listeners: ListenerSet, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        with pytest.raises(ListenerError):
            listeners.add(wanted(f"unix:{path}", f"unix:{tmp_path}/none/app.sock"))
        assert not path.exists()

    def test_a_new_backlog_holds_for_a_bound_socket(self, listeners: ListenerSet) -> None:
        settings = wanted("127.0.0.1:0", backlog=1)
        listeners.add(settings)
        listeners.add(wanted("127.0.0.1:0", backlog=50))
        [name] = names(listeners, settings)
        clients = [connect(name) for _ in range(10)]  # with the old backlog these would not all come through
        for client in clients:
            client.close()


class TestHandOver:
    """Sockets that are passed on through exec: to another set in the same process, they are the same descriptors."""

    def test_a_successor_holds_the_same_sockets_for_the_same_settings(self, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        settings = wanted("127.0.0.1:0", "127.0.0.1:0", f"unix:{path}")
        predecessor = ListenerSet()
        predecessor.add(settings)
        records = [replace(record, fd=os.dup(record.fd)) for record in predecessor.records()]
        successor = ListenerSet(records=records)
        assert names(successor, settings) == names(predecessor, settings)
        successor.add(settings)  # nothing is bound anew: the file would be in the way
        for listener in predecessor.grants(settings):
            connect(listener.name).close()
        successor.close()
        assert not path.exists()
        predecessor.close()
