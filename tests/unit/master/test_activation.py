"""What systemd passes is found by its name, and only if it is meant for this process."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from appserver.errors import ListenerError
from appserver.master.activation import Activation
from appserver.master.listeners import ListenerSet
from appserver.settings import ListenerSettings

# The real protocol begins at 3, which is taken in a process that runs tests.
FIRST = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65_536) - 16


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Three listening sockets under descriptors in a row, inheritable as systemd leaves them."""
    made = []
    for index in range(3):
        with socket.create_server(("127.0.0.1", 0)) as original:
            number = fcntl.fcntl(original.fileno(), fcntl.F_DUPFD, FIRST + index)
        assert number == FIRST + index
        made.append(socket.socket(fileno=number))
    yield made
    for sock in made:
        sock.close()


def passed(count: str = "3", names: str | None = "web:web:admin", pid: str = "42") -> Activation:
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": count}
    return Activation.of(environ if names is None else {**environ, "LISTEN_FDNAMES": names}, 42, first=FIRST)


@pytest.mark.usefixtures("sockets")
class TestNames:
    def test_sockets_are_found_by_name_and_a_name_may_have_several(self) -> None:
        assert passed().sockets == {"web": (FIRST, FIRST + 1), "admin": (FIRST + 2,)}

    def test_without_names_they_are_called_as_sd_listen_fds_calls_them(self) -> None:
        assert passed(names=None).sockets == {"unknown": (FIRST, FIRST + 1, FIRST + 2)}

    def test_what_is_meant_for_another_process_is_not_touched(self) -> None:
        assert not passed(pid="43").sockets
        assert os.get_inheritable(FIRST)

    def test_programs_that_are_started_later_do_not_get_them(self) -> None:
        assert [os.get_inheritable(fd) for fd in passed().descriptors()] == [False, False, False]

    @pytest.mark.parametrize("count", ["", "x", "-1", "0", "9" * 20, "9" * 5000])
    def test_a_count_that_is_none_is_none(self, count: str) -> None:
        assert not passed(count).sockets

    @pytest.mark.parametrize("count", ["4", "2000000000"])
    def test_a_descriptor_that_is_not_there_is_left_out(self, count: str) -> None:
        assert passed(count, "web:web:admin:late").sockets.keys() == {"web", "admin"}

    def test_no_environment_is_no_socket(self) -> None:
        assert not Activation.of({}, 42).sockets


def add(activation: Activation, bind: str) -> list[str]:
    listeners = ListenerSet(activation)
    wanted = [ListenerSettings.model_validate({"bind": bind})]
    listeners.add(wanted)
    grants = listeners.grants(wanted)
    assert not any(grant.bound_here for grant in grants)
    names = [grant.name for grant in grants]
    listeners.close()
    return names


def test_a_listener_takes_all_the_sockets_of_its_name(sockets: list[socket.socket]) -> None:
    ports = [sock.getsockname()[1] for sock in sockets]
    assert add(passed(), "systemd:web") == [f"127.0.0.1:{port}" for port in ports[:2]]
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=5):
        pass  # the passed socket outlives the listener, for the next reload


@pytest.mark.usefixtures("sockets")
def test_a_name_that_was_not_passed_is_refused_with_those_that_were() -> None:
    with pytest.raises(ListenerError, match="cannot listen on systemd:wbe: the names passed are web, admin"):
        add(passed(), "systemd:wbe")


def test_without_any_socket_the_error_says_so() -> None:
    with pytest.raises(ListenerError, match="systemd has passed no socket"):
        add(Activation(), "systemd:web")


def test_an_abstract_socket_that_was_inherited_is_named_as_in_the_settings() -> None:
    name = f"appserver-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as inherited:
        inherited.bind(f"\0{name}")
        inherited.listen()
        assert add(Activation(), f"fd://{inherited.fileno()}") == [f"unix:@{name}"]
