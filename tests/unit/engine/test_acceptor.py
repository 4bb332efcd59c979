"""appserver.engine.acceptor: listeners of every kind, and when not to accept."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.acceptor import COMPLAINT_INTERVAL, Acceptor
from appserver.engine.listener import Listener
from appserver.settings import ProxySettings, WorkersSettings
from appserver.telemetry.slot import WorkerSlot
from tests.unit.engine.serving import listen, serving
from tests.unit.engine.world import LOOPS, World, echo, request, respond, run

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Troubled(socket.socket):
    """A listening socket on which accepting fails with these errors, one after the other, before it works."""

    errors: list[int]

    def _accept(self) -> Any:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return super()._accept()  # type: ignore[misc]  # of the C base class


def troubled(*errors: int) -> Listener:
    listener = listen()
    listening = Troubled(fileno=listener.socket.detach())
    listening.errors = list(errors)
    return Listener(listening, listener.name)


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, repr((scope["server"], scope["client"] and scope["client"][0])).encode())


class TestAddresses:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_a_listener_on_an_address(self, loop: str, address: str) -> None:
        async def scenario() -> None:
            async with serving(describe, listen(address)) as served:
                port = served.listener.socket.getsockname()[1]
                peer = await served.connect()
                peer.send(request())
                assert (await peer.response()).body == repr(((address, port), address)).encode()
                await peer.close()

        run(scenario, loop)

    def test_a_listener_on_all_addresses_tells_which_one_the_client_reached(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(describe, listen("0.0.0.0")) as served:
                port = served.listener.socket.getsockname()[1]
                peer = await served.connect("127.0.0.2")
                peer.send(request())
                assert (await peer.response()).body == repr((("127.0.0.2", port), "127.0.0.1")).encode()
                await peer.close()

        run(scenario, loop)

    def test_a_listener_on_a_path(self, loop: str, tmp_path: Path) -> None:
        async def scenario() -> None:
            path = tmp_path / "s.sock"
            async with serving(describe, listen(path)) as served:
                peer = await served.connect()
                peer.send(request())
                assert (await peer.response()).body == repr(((str(path), None), None)).encode()
                await peer.close()

        run(scenario, loop)

    def test_small_responses_are_not_held_back_by_the_kernel(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                peer = await served.connect()
                await served.accepted(1)
                connection = served.link
                accepted = connection._transport.get_extra_info("socket")
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                await peer.close()

        run(scenario, loop)


def test_a_listener_can_be_taken_over_by_its_descriptor(loop: str) -> None:
    async def scenario() -> None:
        bound = listen()
        inherited = Listener.from_fd(bound.socket.detach(), "tcp:80")
        async with serving(echo, inherited) as served:
            assert (inherited.name, inherited.socket.gettimeout()) == ("tcp:80", 0)
            peer = await served.connect()
            peer.send(request())
            assert (await peer.response()).status == 200
            await peer.close()

    run(scenario, loop)


class TestAccepting:
    def test_the_backlog_stays_as_it_was_set(self, loop: str) -> None:
        def backlog(listening: socket.socket) -> int:
            info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            return int.from_bytes(info[28:32], "little")  # tcpi_sacked: of a listening socket, its backlog

        async def scenario() -> None:
            async with serving(echo, listen(backlog=123)) as served:
                assert backlog(served.listener.socket) == 123

        run(scenario, loop)

    def test_one_that_gets_no_transport_leaves_its_place_to_the_next(
        self, loop: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base: Any = uvloop.Loop if loop == "uvloop" else asyncio.SelectorEventLoop
        failures = iter([OSError(errno.ENOMEM, "no memory")])

        class Exhausted(base):  # type: ignore[misc]  # one of two classes
            async def connect_accepted_socket(self, *arguments: Any, **options: Any) -> Any:
                for failure in failures:
                    raise failure
                return await super().connect_accepted_socket(*arguments, **options)

        monkeypatch.setitem(LOOPS, loop, Exhausted)

        async def scenario() -> None:
            listener = replace(listen(), proxy_protocol=True)
            trusting = ProxySettings(trusted=("*",))
            async with serving(echo, listener, workers=WorkersSettings(max_connections=1), proxy=trusting) as served:
                lost, next_one = await served.connect(), await served.connect()
                next_one.send(b"PROXY UNKNOWN\r\n" + request())
                assert (await next_one.response()).status == 200
                assert await lost.rest() == b""
                for peer in (lost, next_one):
                    await peer.close()

        run(scenario, loop)

    def test_or_the_one_that_has_been_idle_the_longest_gives_way(self, loop: str) -> None:
        release = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await release.wait()
            await respond(send, b"here")

        async def scenario() -> None:
            async with serving(slow, workers=WorkersSettings(max_connections=3), makes_room=True) as served:
                working, silent, asked = [await served.connect() for _ in range(3)]
                working.send(request("/slow"))
                await served.accepted(3)
                asked.send(request())
                assert (await asked.response()).status == 200
                for _ in range(2):
                    new = await served.connect()
                    new.send(request())
                    assert (await new.response()).status == 200
                    assert served.slot.connections <= 3
                    await new.close()
                assert await silent.rest() == b"", "it has been closed, and the first, which is older, has not"
                release.set()
                assert (await working.response()).status == 200
                for peer in (working, silent, asked):
                    await peer.close()

        release = asyncio.Event()
        run(scenario, loop)

    @pytest.mark.parametrize("asks", [False, True])
    def test_those_that_give_way_let_go_of_their_descriptors_before_others_are_taken(
        self, loop: str, asks: bool
    ) -> None:
        def descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))

        async def scenario() -> None:
            async with serving(echo, workers=WorkersSettings(max_connections=3), makes_room=True) as served:
                await asyncio.sleep(0.01)
                address = served.listener.socket.getsockname()
                clients = [stack.enter_context(socket.create_connection(address)) for _ in range(20)]
                for client in clients if asks else ():
                    client.sendall(request())
                before = most = descriptors()
                poll = select.poll()
                poll.register(clients[-4], select.POLLIN | select.POLLRDHUP)  # answered, or turned away: 16 have been
                while not poll.poll(0):
                    await asyncio.sleep(0)
                    most = max(most, descriptors())
            assert most - before <= 8

        with ExitStack() as stack:
            run(scenario, loop)

    def test_beyond_max_connections_others_wait_in_the_backlog(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo, workers=WorkersSettings(max_connections=2)) as served:
                first, second, third = [await served.connect() for _ in range(3)]
                await served.accepted(2)
                third.send(request("/third"))
                await asyncio.sleep(0.05)
                assert served.slot.connections == 2
                await first.close()
                assert (await third.response()).body == b"GET /third "
                await second.close()
                await third.close()

        run(scenario, loop)

    def test_a_busier_worker_leaves_a_connection_to_another_one_once(
        self, loop: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = 0

        def connections_ahead(_: WorkerSlot) -> int:
            nonlocal asked
            asked += 1
            return 5

        async def scenario() -> None:
            monkeypatch.setattr(WorkerSlot, "connections_ahead", connections_ahead)
            async with serving(echo) as served:
                peer = await served.connect()
                peer.send(request())
                assert (await peer.response()).status == 200, "the other one may be busy in another way"
                assert asked >= 1
                await peer.close()

        run(scenario, loop)

    def test_out_of_descriptors_it_says_so_waits_and_serves_again(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                clients = [await served.connect() for _ in range(2)]
                await served.accepted(2)
                name = served.listener.socket.getsockname()
                waiting = socket.socket()
                waiting.setblocking(False)
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                # No descriptor is left: not below the lowest one that is free.
                free = os.dup(0)
                os.close(free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
                try:
                    waiting.connect_ex(name)
                    before = time.process_time()
                    await asyncio.sleep(0.3)
                    assert time.process_time() - before < 0.15, "it must not spin"
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                (record,) = served.log.of("cannot accept")
                assert "workers.max_open_files" in record["detail"]
                await served.accepted(3)
                waiting.close()
                for client in clients:
                    await client.close()

        run(scenario, loop)

    @pytest.mark.parametrize(
        "error",
        [
            errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
            errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM, errno.ETIMEDOUT,
        ],
    )  # fmt: skip
    def test_a_connection_that_was_lost_in_the_backlog_does_not_hide_the_next_one(self, loop: str, error: int) -> None:
        async def scenario() -> None:
            listener = troubled(error)
            async with serving(echo, listener) as served:
                peer = await served.connect()
                peer.send(request("/next"))
                assert (await peer.response()).body == b"GET /next "
                await peer.close()
                listener.socket.errors.append(error)  # type: ignore[attr-defined]  # for the drain

        run(scenario, loop)

    def test_a_shortage_is_told_now_and_then_with_the_number_of_failures(self, loop: str) -> None:
        async def scenario() -> None:
            world = World(echo)
            listener = troubled(*[errno.EMFILE] * 9)
            acceptor = Acceptor(world.service, listener, 100)
            for _ in range(4):
                assert not acceptor._accept()
            world.clock.now += COMPLAINT_INTERVAL
            for _ in range(2):
                assert not acceptor._accept()
            acceptor._pause()
            assert [record["failures"] for record in world.log.of("cannot accept")] == [1, 4]
            listener.socket.close()

        run(scenario, loop)

    def test_a_socket_that_was_shut_down_is_left_alone(self, loop: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                peer = await served.connect()
                await served.accepted(1)
                served.listener.socket.shutdown(socket.SHUT_RDWR)  # as the master does, which has a copy of it
                (acceptor,) = served.server._acceptors
                before = time.process_time()
                while acceptor._epoll is not None:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                assert time.process_time() - before < 0.15, "it must not spin"
                peer.send(request())
                assert (await peer.response()).status == 200
                await peer.close()

        run(scenario, loop)
