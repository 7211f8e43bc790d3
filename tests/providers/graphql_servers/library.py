"""The same library, served by strawberry: queries, mutations, and both WebSocket protocols."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncGenerator
from enum import Enum
from typing import Annotated, Any

import strawberry
import uvicorn
from strawberry.asgi import GraphQL
from strawberry.scalars import JSON
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_WS_PROTOCOL


@strawberry.enum
class Genre(Enum):
    FICTION = "FICTION"
    FACT = "FACT"


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Author(Named):
    born: int | None
    books: list[Book]


@strawberry.type
class Robot(Named):
    born: str
    serial: strawberry.ID


Maker = Annotated[Author | Robot, strawberry.union("Maker")]


@strawberry.type
class Book:
    id: strawberry.ID
    title: str
    genre: Genre
    maker: Maker
    author: Named

    @strawberry.field
    def broken(self) -> str | None:
        raise ValueError("the page is torn")

    @strawberry.field
    def excerpt(self, words: int) -> str | None:
        return self.title[:words]


@strawberry.input
class Place:
    x: float
    y: float = 0.5
    labels: list[str] | None = strawberry.UNSET
    inner: Place | None = strawberry.UNSET


@strawberry.input(one_of=True)
class Key:
    id: strawberry.ID | None = strawberry.UNSET
    title: str | None = strawberry.UNSET


ANN = Author(name="Ann", born=1970, books=[])
BOT = Robot(name="Bot", born="yesterday", serial=strawberry.ID("R2"))
BOOKS = [
    Book(id=strawberry.ID("1"), title="One", genre=Genre.FICTION, maker=ANN, author=ANN),
    Book(id=strawberry.ID("2"), title="Two", genre=Genre.FACT, maker=BOT, author=BOT),
]
ANN.books.append(BOOKS[0])


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
        return {name: plain(item) for name, item in pairs if item is not strawberry.UNSET}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def caller_of(info: strawberry.Info) -> str | None:
    request = info.context["request"]
    found: str | None = request.headers.get("authorization")
    return found


@strawberry.type
class Query:
    @strawberry.field
    def book(self, id: strawberry.ID) -> Book | None:  # noqa: A002
        return next((book for book in BOOKS if book.id == id), None)

    @strawberry.field
    def books(self, genre: Genre | None = Genre.FICTION) -> list[Book]:
        return [book for book in BOOKS if genre in (None, book.genre)]

    @strawberry.field
    def echo(
        self,
        place: Place,
        genres: list[list[Genre] | None] | None = strawberry.UNSET,
        extra: JSON | None = strawberry.UNSET,
        flag: bool | None = strawberry.UNSET,
    ) -> JSON:
        given = {"place": place, "genres": genres, "extra": extra, "flag": flag}
        return JSON(
            {name: plain(value) for name, value in given.items() if value is not strawberry.UNSET}
        )

    @strawberry.field
    def find(self, key: Key) -> Book | None:
        wanted = plain(key)
        return next(
            (book for book in BOOKS if wanted in ({"id": book.id}, {"title": book.title})), None
        )

    @strawberry.field
    def whoami(self, info: strawberry.Info) -> str | None:
        return caller_of(info)

    @strawberry.field
    def fails(self) -> str:
        raise ValueError("this always fails")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def add_book(self, title: str, genre: Genre) -> Book:
        book = Book(
            id=strawberry.ID(str(len(BOOKS) + 1)), title=title, genre=genre, maker=ANN, author=ANN
        )
        BOOKS.append(book)
        return book

    @strawberry.mutation
    def delete_book(self, id: strawberry.ID) -> bool:  # noqa: A002
        found = [book for book in BOOKS if book.id == id]
        for book in found:
            BOOKS.remove(book)
        return bool(found)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def countdown(
        self, from_: Annotated[int, strawberry.argument(name="from")]
    ) -> AsyncGenerator[int, None]:
        for left in range(from_, -1, -1):
            yield left

    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        number = 0
        while True:
            yield number
            number += 1
            await asyncio.sleep(0.01)

    @strawberry.subscription
    async def refused(self) -> AsyncGenerator[int, None]:
        for _ in "now":
            raise ValueError("nobody may listen")
        yield 0

    @strawberry.subscription
    async def caller(self, info: strawberry.Info) -> AsyncGenerator[str | None, None]:
        yield info.context["connection_params"].get("Authorization")


SCHEMA = strawberry.Schema(Query, Mutation, Subscription, types=[Author, Robot])


def application(*, legacy: bool) -> GraphQL[Any, Any]:
    protocol = GRAPHQL_WS_PROTOCOL if legacy else GRAPHQL_TRANSPORT_WS_PROTOCOL
    return GraphQL(SCHEMA, subscription_protocols=(protocol,))


if __name__ == "__main__":
    uvicorn.run(
        application(legacy="legacy" in sys.argv),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="critical",
        lifespan="off",
    )
