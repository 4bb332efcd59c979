"""`appserver top` on terminals that cannot be painted on."""

from __future__ import annotations

import os
import pty
import sys
from typing import Any

import pytest

from appserver.cli.top import watch
from appserver.errors import ControlError
from tests.unit.cli.test_activity import look, worker


def test_a_terminal_without_control_sequences_gets_one_view(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [look(2.0, worker()), look(1.0, worker())]

    def take() -> Any:
        if not looks:
            raise ControlError("one view takes two looks")
        return looks.pop()

    master, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as screen:
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("TERM", "dumb")
        watch(take, 0.0, once=False)
        shown = os.read(master, 65536)
    os.close(master)
    assert b"requests/s" in shown
    assert b"\x1b" not in shown
