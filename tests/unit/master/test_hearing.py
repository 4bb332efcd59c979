"""The master's end of a channel, with a real channel, real descriptors and somebody hostile at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable

import pytest

from appserver.errors import ChannelError
from appserver.master.hearing import Hearing
from appserver.worker.messages import MAX_MESSAGE_SIZE, Channel, Drain, Message, Ready


class Scene:
    """A hearing, what it has heard, and the hostile end."""

    def __init__(self, hear: Callable[[Message | None], None] | None = None) -> None:
        self.theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.heard: list[Message | None] = []
        self.distrusted: list[str] = []
        self.lost = 0
        loop = asyncio.get_running_loop()
        self.hearing = Hearing(Channel(ours), loop, hear or self.heard.append, self.distrusted.append, self._lose)

    def _lose(self) -> None:
        self.lost += 1

    def close(self) -> None:
        self.hearing.close()
        self.theirs.close()


def play(act: Callable[[Scene], Awaitable[None]], hear: Callable[[Message | None], None] | None = None) -> Scene:
    """Let `act` do something to a scene, in an event loop; returns it when it is over."""

    async def scenario() -> Scene:
        scene = Scene(hear)
        try:
            await act(scene)
        finally:
            scene.close()
        return scene

    return asyncio.run(scenario())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


READY = b'{"type": "Ready"}'

NO_MESSAGES = [
    b"{",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"1",
    b'"Ready"',
    b"{}",
    b'{"type": null}',
    b'{"type": []}',
    b'{"type": "Forked"}',
    b'{"type": "Forked", "worker": 1, "pid": "1"}',
    b'{"type": "Forked", "worker": true, "pid": 1}',
    b'{"type": "Forked", "worker": 1, "pid": 1.0}',
    b'{"type": "Forked", "worker": 1, "pid": 1%s}' % (b"0" * 30),
    b'{"type": "Forked", "worker": 1, "pid": 1%s}' % (b"0" * 10_000),
    b'{"type": "Imported", "preloaded": 1}',
    b'{"type": "BootFailed", "kind": "whim", "message": "", "traceback": "", "exit_code": 5}',
    b'{"type": "BootFailed", "kind": ["bug"], "message": "", "traceback": "", "exit_code": 5}',
    b'{"type": "BootFailed", "kind": "bug", "message": null, "traceback": "", "exit_code": 5}',
    b'{"type": "Drain", "reason": "stop", "linger": NaN}',
    b'{"type": "Drain", "reason": "stop", "linger": 1e999}',
    b"[" * 100_000,
    b'{"a":' * 20_000,
]


@pytest.mark.parametrize("data", NO_MESSAGES, ids=lambda data: data[:50].decode(errors="replace"))
def test_what_is_no_message_is_the_last_that_is_read(data: bytes) -> None:
    async def act(scene: Scene) -> None:
        for one in (READY, data, READY, data):
            scene.theirs.send(one)
        await asyncio.sleep(0)
        scene.hearing.read()

    scene = play(act)
    assert scene.heard == [Ready()]
    [reason] = scene.distrusted
    assert "no message" in reason
    assert len(reason) < 500


def test_what_is_not_due_is_the_last_that_is_read() -> None:
    def refuse(message: Message | None) -> None:
        raise ChannelError(f"it says {message}")

    async def act(scene: Scene) -> None:
        for _ in range(100):
            scene.theirs.send(READY)
        scene.hearing.read()
        scene.hearing.read()

    assert play(act, refuse).distrusted == ["it says Ready()"]


def test_a_message_that_is_too_long_is_none() -> None:
    async def act(scene: Scene) -> None:
        scene.theirs.send(json.dumps({"type": "Ready", "more": "x" * MAX_MESSAGE_SIZE}).encode())
        scene.hearing.read()

    [reason] = play(act).distrusted
    assert "more than" in reason


def test_descriptors_are_never_taken() -> None:
    async def act(scene: Scene) -> None:
        reader, writer = os.pipe()
        before = descriptors()
        socket.send_fds(scene.theirs, [READY], [writer] * 200)
        scene.hearing.read()
        assert descriptors() == before
        os.close(writer)
        assert os.read(reader, 1) == b"", "nobody holds a copy"
        os.close(reader)

    scene = play(act)
    assert scene.heard == []
    assert "descriptors" in scene.distrusted[0]


def test_a_message_of_a_type_that_is_not_known_is_told_of() -> None:
    async def act(scene: Scene) -> None:
        scene.theirs.send(b'{"type": "Invented", "number": 1}')
        scene.theirs.send(b'{"type": "Ready", "invented": true}')
        scene.hearing.read()

    assert play(act).heard == [None, Ready()]


@pytest.mark.parametrize("empty", [False, True])
def test_the_end_is_told_of_once_and_an_empty_message_is_one(empty: bool) -> None:
    async def act(scene: Scene) -> None:
        scene.theirs.send(READY)
        if empty:
            scene.theirs.send(b"")
            scene.theirs.send(READY)
        else:
            scene.theirs.close()
        scene.hearing.read()
        scene.hearing.read()

    scene = play(act)
    assert (scene.heard, scene.lost, scene.distrusted) == ([Ready()], 1, [])


def test_a_channel_is_not_read_any_more_after_that_and_costs_nothing() -> None:
    async def act(scene: Scene) -> None:
        scene.theirs.setblocking(False)
        scene.theirs.send(b"nonsense")
        scene.hearing.read()
        with contextlib.suppress(BlockingIOError):
            while True:  # until the buffer is full, as nobody reads
                scene.theirs.send(READY)
        for _ in range(100):
            await asyncio.sleep(0)

    scene = play(act)
    assert scene.heard == []
    assert len(scene.distrusted) == 1


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    async def act(scene: Scene) -> None:
        scene.theirs.send(b'{"type": "ForkRefused", "worker": 1, "reason": "\\ud800!"}')
        scene.hearing.read()

    [message] = play(act).heard
    assert getattr(message, "reason", None) == "?!"


def test_an_order_to_a_closed_channel_is_an_error() -> None:
    async def act(scene: Scene) -> None:
        scene.hearing.close()
        scene.hearing.close()
        with pytest.raises(BrokenPipeError):
            scene.hearing.send(Drain("stop", 0.0))

    play(act)
