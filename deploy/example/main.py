"""A small shop: a FastAPI application that starts and ends what it needs with its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel


class Article(BaseModel):
    """What the shop sells."""

    name: str
    price: float


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Open what the requests share (here a dictionary, elsewhere a pool of database connections)."""
    yield {"articles": {1: Article(name="Bicycle bell", price=12.5)}}


app = FastAPI(title="Shop", lifespan=lifespan)


@app.get("/")
async def index(request: Request) -> dict[str, int]:
    """Say how many articles there are."""
    return {"articles": len(request.state.articles)}


@app.get("/articles/{number}")
async def show(number: int, request: Request) -> Article:
    """Show an article."""
    if number not in request.state.articles:
        raise HTTPException(404)
    article: Article = request.state.articles[number]
    return article
