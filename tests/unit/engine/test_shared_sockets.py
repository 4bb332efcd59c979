"""A client's socket that another process has as well: the end of a response must not wait for that process."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from appserver.asgi.types import Receive, Scope, Send
from tests.unit.engine.serving import serving
from tests.unit.engine.world import LOOPS, request, respond, run


# The large one is more than the buffers of the kernel hold, so it is on its way when the connection is closed.
@pytest.mark.parametrize("size", [5, 20_000_000])
@pytest.mark.parametrize("loop", LOOPS)
def test_the_end_of_a_response_reaches_the_client(loop: str, size: int) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * size)

    async def scenario() -> None:
        async with serving(application) as served:
            peer = await served.connect()
            await served.accepted(1)
            other = os.dup(served.link.descriptor)  # as a forked process has it
            try:
                peer.send(request("/", "GET", "Connection: close"))
                async with asyncio.timeout(20):
                    answer = await peer.rest()
            finally:
                os.close(other)
            assert len(answer.partition(b"\r\n\r\n")[2]) == size
            await peer.close()

    run(scenario, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_all_that_refers_to_a_client_is_known_while_a_file_is_on_its_way(loop: str, tmp_path: Path) -> None:
    """A forked process is rid of what is known (`worker.children`). With the rest it would keep the connection open."""
    file = tmp_path / "file"
    with file.open("wb") as large:
        large.truncate(50_000_000)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(file)})

    async def scenario() -> None:
        async with serving(application) as served:
            peer = await served.connect(limit=1000)
            peer.send(request())
            await served.accepted(1)
            found = referring_to(served.link.descriptor)
            async with asyncio.timeout(20):
                while len(found) < 2:  # until it waits for the client, with a copy
                    await asyncio.sleep(0.001)
                    found = referring_to(served.link.descriptor)
            assert found <= set(served.server.descriptors())
            await peer.close()

    run(scenario, loop)


def referring_to(descriptor: int) -> set[int]:
    """The descriptors of this process that refer to the same as this one."""
    wanted = os.fstat(descriptor).st_ino
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.fstat(int(name)).st_ino == wanted:
                found.add(int(name))
        except OSError:
            pass  # that of the listing itself
    return found
