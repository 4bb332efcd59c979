"""An ASGI application that misbehaves on demand; what it does not know itself the usual test application answers.

/spin             an endless loop in Python
/hold             a call in C that keeps the interpreter's lock: a regular expression that backtracks without end
/doze             time.sleep, which blocks the event loop without using the processor
/nap              blocks the event loop as well, until there is a file `wake`, then answers
/stubborn         ignores its cancellation
/threads          starts a thread that nobody can stop, and answers
/grow/MIB         keeps so much memory, and answers
/flood            answers with a gibibyte
/resign           answers, and a task of its own raises SystemExit
/halt             answers, and stops the event loop
/sweep            cancels all tasks but its own, and answers; from then on it does so in its shutdown, too
/die              answers never: the process kills itself

Each leaves a file `reached-PID-ACTION` behind before it begins, so that a test knows when it does. While a file of one
of these names is there, the application

    crash-early   dies in its start-up
    crash-late    dies shortly after it has become ready
    hang          never gets through its import
    slow          takes as many seconds to import, and as many to start, as the file says
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.application import Message, Receive, Send
from tests.support.application import app as usual

HERE = Path.cwd()
kept: list[object] = []

if (HERE / "hang").exists():
    time.sleep(600)
if (HERE / "slow").exists():
    time.sleep(float((HERE / "slow").read_text()))


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Misbehave, or do what the usual application does."""
    if scope["type"] == "lifespan":
        await _start_up()
        try:
            await usual(scope, receive, send)
        finally:
            if (HERE / "sweep").exists():
                await _sweep()
        return
    _, action, *rest = scope["path"].split("/", 2)
    if action == "flood":
        await _flood(send)
        return
    misdeed = MISDEEDS.get(action)
    if misdeed is not None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        (HERE / f"reached-{os.getpid()}-{action}").touch()
        await misdeed(*rest)
        scope = {**scope, "path": "/"}
    await usual(scope, receive, send)


async def _start_up() -> None:
    if (HERE / "crash-early").exists():
        os._exit(3)
    if (HERE / "crash-late").exists():
        asyncio.get_running_loop().call_later(0.05, os._exit, 3)
    if (HERE / "slow").exists():
        time.sleep(float((HERE / "slow").read_text()))  # noqa: ASYNC251 - what is asked for


async def _spin() -> None:
    while True:
        pass


async def _hold() -> None:
    re.match("(a+)+$", "a" * 64 + "b")


async def _doze() -> None:
    time.sleep(600)  # noqa: ASYNC251 - what is asked for


async def _nap() -> None:
    while not (HERE / "wake").exists():
        time.sleep(0.01)  # noqa: ASYNC251 - what is asked for


async def _stubborn() -> None:
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


async def _threads() -> None:
    threading.Thread(target=time.sleep, args=(600,), name="leaked", daemon=False).start()


async def _grow(mebibytes: str) -> None:
    kept.append(bytearray(os.urandom(1024)) * (int(mebibytes) * 1024))


async def _flood(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1024):
        await send({"type": "http.response.body", "body": bytes(1024 * 1024), "more_body": True})
    await send({"type": "http.response.body"})


async def _resign() -> None:
    async def resign() -> None:
        raise SystemExit(3)

    kept.append(asyncio.create_task(resign()))


async def _halt() -> None:
    asyncio.get_running_loop().call_later(0.05, asyncio.get_running_loop().stop)


async def _sweep() -> None:
    (HERE / "sweep").touch()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


MISDEEDS: dict[str, Any] = {
    "spin": _spin,
    "hold": _hold,
    "doze": _doze,
    "nap": _nap,
    "stubborn": _stubborn,
    "threads": _threads,
    "grow": _grow,
    "resign": _resign,
    "halt": _halt,
    "sweep": _sweep,
    "die": _die,
}
