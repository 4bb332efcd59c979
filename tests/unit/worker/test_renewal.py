"""Certificates for a worker that has no descriptors left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Iterator
from typing import cast

import pytest

from appserver.tls import ServerTLS
from appserver.worker import renewal
from appserver.worker.descriptors import NEEDED, Reserve
from appserver.worker.messages import MAX_TEXT_LENGTH, RenewTLS, write_file
from appserver.worker.renewal import Renewal

MATERIAL = json.dumps({"pairs": [], "client_ca": None})


class ShortOfDescriptors:
    """A context that other threads keep without descriptors for some tries."""

    def __init__(self, tries: int, reserve: Reserve) -> None:
        self.left = tries
        self.renewed = 0
        self.held: list[int] = []
        self.reserve = reserve

    def renew(self, _material: object) -> None:
        self.held.append(len(self.reserve._held))
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self.renewed += 1


@pytest.fixture
def reserve() -> Iterator[Reserve]:
    reserve = Reserve()
    yield reserve
    reserve._size = 0
    with reserve.lent():
        pass


def test_a_reserve_is_there_when_it_is_needed_and_afterwards_again(reserve: Reserve) -> None:
    assert len(reserve._held) == NEEDED
    before = list(reserve._held)
    with reserve.lent():
        for fd in before:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
    with pytest.raises(RuntimeError), reserve.lent():
        raise RuntimeError
    with reserve.lent(), reserve.lent():
        pass
    assert [os.get_inheritable(fd) for fd in reserve._held] == [False] * NEEDED


def test_it_is_tried_until_there_are_descriptors(reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "PAUSE", 0.01)
    tls = ShortOfDescriptors(3, reserve)

    async def act() -> None:
        Renewal(cast("ServerTLS", tls), asyncio.get_running_loop(), reserve).begin(MATERIAL)
        while not tls.renewed:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    asyncio.run(act())
    assert (tls.renewed, tls.held) == (1, [0] * 4), "the reserve was lent each time"


def test_what_comes_later_takes_the_place_of_what_is_still_tried(
    reserve: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "PAUSE", 0.01)
    tls = ShortOfDescriptors(1, reserve)

    async def act() -> None:
        again = Renewal(cast("ServerTLS", tls), asyncio.get_running_loop(), reserve)
        again.begin(MATERIAL)
        again.begin(MATERIAL)
        await asyncio.sleep(0.05)
        again.begin("")  # it has been lost on its way

    asyncio.run(act())
    assert tls.renewed == 1


@pytest.mark.parametrize("length", [10, MAX_TEXT_LENGTH, MAX_TEXT_LENGTH + 1])
def test_a_material_comes_in_the_message_or_in_the_file(length: int) -> None:
    text = "x" * length
    order = RenewTLS.of(text)
    file = write_file("test", text)
    assert order.read([file]) == text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    assert order.read([]) == (text if length <= MAX_TEXT_LENGTH else "")
