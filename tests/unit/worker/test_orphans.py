"""appserver.worker.orphans: knowing that a process has gone, and closing a socket that others have, too."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess

import pytest

from appserver.worker.orphans import exits, shut_down, when_exited
from tests.unit.engine.world import LOOPS, run


def waiting_child() -> subprocess.Popen[bytes]:
    """A child that ends when its standard input does."""
    return subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)


def end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("reaped", [False, True])
def test_a_loop_hears_of_the_exit_of_a_process(loop: str, reaped: bool) -> None:
    child = waiting_child()

    async def scenario() -> None:
        gone = asyncio.Event()
        if not reaped:
            when_exited(child.pid, asyncio.get_running_loop(), gone.set)
            await asyncio.sleep(0)
            assert not gone.is_set()
        end(child)
        if reaped:
            child.wait()
            when_exited(child.pid, asyncio.get_running_loop(), gone.set)
        async with asyncio.timeout(10):
            await gone.wait()

    run(scenario, loop)
    child.wait()


def test_the_exit_of_a_process_is_waited_for_a_bounded_time() -> None:
    child = waiting_child()
    assert not exits(child.pid, 0.01)
    end(child)
    assert exits(child.pid, 10)
    child.wait()
    assert exits(child.pid, 0)


def test_a_socket_that_another_process_has_refuses_connections_and_its_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, listening.dup():
        address = listening.getsockname()
        shut_down(listening.fileno())
        shut_down(listening.fileno())  # as the next worker does
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        socket.create_server(address).close()
        assert listening.getsockname() == address, "its descriptor is left alone"
