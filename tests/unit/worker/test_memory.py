"""When memory is given back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from appserver.worker.memory import CROWD, PAUSE, CrowdMemory, malloc_trim

SIZE = 64 * 1024
"""Less than what the C library would map on its own."""


class Looks:
    def __init__(self) -> None:
        self.given_back = 0
        self._memory = CrowdMemory(self._give_back)
        self.now = 100.0

    def _give_back(self) -> None:
        self.given_back += 1

    def burst(self, most: int) -> int:
        """Look when a burst has come and gone since the last look."""
        self._memory.look(0, most, self.now)
        return self.given_back

    def at(self, *connections: int) -> int:
        """Look at these numbers of connections, one after the other; how often memory has been given back so far."""
        for number in connections:
            self._memory.look(number, number, self.now)
            self.now += 0.5
        return self.given_back


@pytest.fixture
def looks() -> Looks:
    return Looks()


def test_it_is_when_a_crowd_has_left(looks: Looks) -> None:
    assert looks.at(10, 1000, 1000) == 0
    assert looks.at(500) == 1
    assert looks.at(500, 400) == 1


def test_it_is_when_a_crowd_has_come_and_left_between_two_looks(looks: Looks) -> None:
    assert looks.burst(1000) == 1


def test_it_is_not_for_a_few(looks: Looks) -> None:
    assert looks.at(CROWD - 1, 0) == 0


def test_it_is_not_while_most_are_there(looks: Looks) -> None:
    assert looks.at(10_000, 6_000) == 0
    assert looks.at(5_000) == 1


def test_it_is_not_again_and_again(looks: Looks) -> None:
    assert looks.at(1000, 0, 1000, 0) == 1
    looks.now += PAUSE
    assert looks.at(0) == 2, "what the second crowd has left"


def test_the_c_library_gives_back_what_is_free_between_what_is_used() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(SIZE) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    last = blocks.pop()  # what lies behind them keeps their memory from being given back when they are free
    for block in blocks:
        library.free(block)
    before = resident()
    malloc_trim()
    assert before - resident() > 500 * SIZE
    library.free(last)


def resident() -> int:
    """The resident memory of this process, in octets (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
