"""An upgrade that cannot even be tried is refused, and whoever has asked is told."""

from __future__ import annotations

import asyncio
import errno
import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appserver.errors import UpgradeError
from appserver.master.upgrade import Command, Upgrade


def refuse(*_arguments: object) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("without", ["a file for its words", "a file for the state"])
def test_without_descriptors_it_is_refused_and_can_be_asked_for_again(
    without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = cast("Any", SimpleNamespace(state="serving"))
    handover = cast("Any", SimpleNamespace(write=refuse))
    if without == "a file for its words":
        monkeypatch.setattr(os, "memfd_create", refuse)

    async def ask() -> None:
        upgrade = Upgrade(Command(("python",), ()), serving, lambda: handover, cast("Any", None))
        for _ in range(2):
            with pytest.raises(UpgradeError, match="Too many open files"):
                await asyncio.wait_for(upgrade.request(10.0), 10)
            await asyncio.sleep(0)

    asyncio.run(ask())
