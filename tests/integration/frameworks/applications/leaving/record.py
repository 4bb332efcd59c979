"""What the applications of this folder note: how many streams are open, and what has ended and how.

Each application has `/feed`, an event stream that says hello and then waits for an event that never comes; `/flood`, a
stream that never waits for anything but its client; `/compute`, which answers after a second; and `/record`, this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

HELLO = b"data: hello\n\n"

streams = {"open": 0}
notes: list[str] = []


def snapshot() -> dict[str, Any]:
    return {**streams, "notes": notes}


def note(text: str) -> None:
    notes.append(text)


async def feed() -> AsyncIterator[bytes]:
    streams["open"] += 1
    try:
        yield HELLO
        await asyncio.Event().wait()
    finally:
        streams["open"] -= 1
        note("feed ended")


async def flood() -> AsyncIterator[bytes]:
    streams["open"] += 1
    try:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)
    finally:
        streams["open"] -= 1
        note("flood ended")


async def compute() -> None:
    note("computing")
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        note("cut off")
        raise
    note("computed")
