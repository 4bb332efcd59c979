"""Certificates for a worker that has no descriptors left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from appserver.tls import ServerTLS
from appserver.worker import renewal
from appserver.worker.descriptors import NEEDED, Reserve
from appserver.worker.messages import MAX_TEXT_LENGTH, RenewTLS, write_file
from appserver.worker.renewal import Renewal

MATERIAL = json.dumps({"pairs": [], "client_ca": None})


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class ShortOfDescriptors:
    """A context that other threads keep without descriptors for some tries."""

    def __init__(self, tries: int) -> None:
        self.left = tries
        self.renewed = 0
        self.free: list[int] = []

    def renew(self, _material: object) -> None:
        self.free.append(open_files())
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self.renewed += 1


def test_a_reserve_is_there_when_it_is_needed_and_afterwards_again() -> None:
    before = open_files()
    reserve = Reserve()
    assert open_files() == before + NEEDED
    with reserve.lent():
        assert open_files() == before
    with pytest.raises(RuntimeError), reserve.lent():
        raise RuntimeError
    assert open_files() == before + NEEDED
    with reserve.lent(), reserve.lent():
        pass
    assert open_files() == before + NEEDED
    reserve._size = 0
    with reserve.lent():
        pass


def test_it_is_tried_until_there_are_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "PAUSE", 0.01)
    tls = ShortOfDescriptors(3)

    async def act() -> None:
        reserve = Reserve()
        held = open_files()
        Renewal(cast("Any", tls), asyncio.get_running_loop(), reserve).begin(MATERIAL)
        while not tls.renewed:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert set(tls.free) == {held - NEEDED}, "the reserve was lent each time"
        reserve._size = 0
        with reserve.lent():
            pass

    asyncio.run(act())
    assert (tls.renewed, tls.left) == (1, 0)


def test_what_comes_later_takes_the_place_of_what_is_still_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "PAUSE", 0.01)
    tls = ShortOfDescriptors(1)

    async def act() -> None:
        reserve = Reserve(0)
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
    before = open_files()
    assert order.read([write_file("test", text)]) == text
    assert order.read([]) == (text if length <= MAX_TEXT_LENGTH else "")
    assert open_files() == before
