"""A FastAPI application with what its tutorial teaches: models, dependencies, files, threads, events, background tasks."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

journal: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    yield {"ticks": asyncio.Queue(), "rendezvous": threading.Barrier(2)}


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


@app.get("/journal")
async def read_journal() -> list[str]:
    return journal


@app.post("/items", status_code=201)
async def create(item: Item) -> Item:
    return item


@app.get("/items/{number}")
async def read(number: int, verbose: bool = False) -> dict[str, object]:
    if number == 404:
        raise HTTPException(404, "no such item")
    return {"number": number, "verbose": verbose}


def session() -> Iterator[str]:
    journal.append("session opened")
    try:
        yield "session"
    except ValueError:
        journal.append("session rolled back")
        raise
    finally:
        journal.append("session closed")


@app.get("/session")
async def use_session(session: Annotated[str, Depends(session)], fail: bool = False) -> str:
    journal.append("session used")
    if fail:
        raise ValueError("failed on purpose")
    return session


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, object]:
    hasher = hashlib.sha256()
    while piece := await file.read(65536):
        hasher.update(piece)
    return {"name": file.filename, "size": file.size, "sha256": hasher.hexdigest(), "note": note}


@app.get("/rendezvous")
def rendezvous(request: Request) -> int:
    # Passed by two requests at once only, and only if neither of them holds up the event loop.
    request.state.rendezvous.wait(timeout=25)
    return threading.get_native_id()


@app.get("/events")
async def events(request: Request) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        yield "data: open\n\n"
        while (tick := await request.state.ticks.get()) != "end":
            yield f"data: {tick}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.post("/events/{tick}")
async def send_event(tick: str, request: Request) -> None:
    request.state.ticks.put_nowait(tick)


@app.post("/background/{name}", status_code=202)
async def work_later(name: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(journal.append, f"{name} done in a thread")
    return "accepted"


listeners: set[WebSocket] = set()


@app.websocket("/rooms/{room}")
async def enter(websocket: WebSocket, room: int, name: Annotated[str, Depends(session)]) -> None:
    # As the tutorial has it, without a thought about the end: the disconnect leaves it as an exception.
    await websocket.accept()
    listeners.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for listener in listeners:
                await listener.send_text(f"{room} {name}: {text}")
    finally:
        listeners.discard(websocket)
