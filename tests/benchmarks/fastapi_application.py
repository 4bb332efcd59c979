"""One JSON route in FastAPI, with a path and a query parameter."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{number}")
async def item(number: int, name: str = "nobody") -> dict[str, object]:
    """Answer with what was asked for."""
    return {"number": number, "name": name, "tags": ["one", "two"]}
