"""A FastAPI application with a request that kills its worker at once, as a bug in a native library does."""

from __future__ import annotations

import os
import signal

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/poison/{number}")
async def poison(number: int) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@app.get("/poison")
async def plain_poison() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
