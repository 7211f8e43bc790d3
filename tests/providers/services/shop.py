"""A shop as its authors would write it with FastAPI; it knows nothing of CCOS."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, Field


class Size(StrEnum):
    """How large an item is."""

    SMALL = "small"
    LARGE = "large"


class Item(BaseModel):
    """Something to buy."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    price: Annotated[float, Field(gt=0, le=10_000)]
    size: Size = Size.SMALL
    tags: Annotated[list[str], Field(max_length=5)] = Field(default_factory=list)
    parts: list[Item] = Field(default_factory=list, max_length=2)
    made: datetime.date | None = None


class Stored(Item):
    """An item that has a number."""

    id: int


class Search(BaseModel):
    """What is looked for."""

    words: Annotated[list[str], Query(max_length=5)] = []
    size: Size | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    exact: bool = False


def clerk(given: Annotated[str, Depends(APIKeyHeader(name="X-Shop-Key"))]) -> str:
    """Who holds the key of the shop."""
    if given != "open sesame":
        raise HTTPException(403, "This key opens nothing.")
    return given


def application() -> FastAPI:
    """A new shop with nothing in it."""
    shop = FastAPI(title="Corner Shop", version="1.2.0")
    items: dict[int, Stored] = {}

    @shop.get("/items")
    def search(wanted: Annotated[Search, Query()]) -> list[Stored]:
        return [one for one in items.values() if wanted.size in (None, one.size)][: wanted.limit]

    @shop.post("/items", status_code=201)
    def add(item: Item, _: Annotated[str, Depends(clerk)]) -> Stored:
        stored = Stored(id=len(items) + 1, **item.model_dump())
        items[stored.id] = stored
        return stored

    @shop.get("/items/{item_id}")
    def show(item_id: Annotated[int, Path(ge=1)]) -> Stored:
        if item_id not in items:
            raise HTTPException(404, f"There is no item {item_id}.")
        return items[item_id]

    @shop.put("/items/{item_id}")
    def replace(item_id: Annotated[int, Path(ge=1)], item: Item) -> Stored:
        items[item_id] = Stored(id=item_id, **item.model_dump())
        return items[item_id]

    @shop.delete("/items/{item_id}", status_code=204)
    def remove(item_id: int) -> Response:
        items.pop(item_id, None)
        return Response(status_code=204)

    @shop.get("/sizes/{size}/{day}")
    def by_size(
        size: Size,
        day: datetime.date,
        languages: Annotated[list[str] | None, Header()] = None,
        currency: Annotated[str, Query(pattern="^[A-Z]{3}$")] = "EUR",
    ) -> dict[str, Any]:
        return {"size": size, "day": day, "languages": languages, "currency": currency}

    @shop.get("/me", dependencies=[Depends(HTTPBearer())])
    def me() -> dict[str, str]:
        return {"name": "ann"}

    return shop
