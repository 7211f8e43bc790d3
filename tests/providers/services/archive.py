"""An archive of files as its authors would write it with FastAPI; it knows nothing of CCOS."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Body, Cookie, FastAPI, File, Form, HTTPException, Query, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field


class Cat(BaseModel):
    """An animal with lives."""

    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    """An animal that barks."""

    kind: Literal["dog"]
    loud: bool


class Login(BaseModel):
    """What a form asks for."""

    user: Annotated[str, Field(min_length=1)]
    remember: bool = False


def application() -> FastAPI:
    """A new archive."""
    archive = FastAPI(title="Archive", version="3", root_path="")

    @archive.post("/files")
    async def upload(
        file: UploadFile,
        note: Annotated[str, Form()],
        more: Annotated[list[UploadFile] | None, File()] = None,
    ) -> dict[str, Any]:
        content = await file.read()
        return {"bytes": len(content), "note": note, "more": len(more or ())}

    @archive.post("/login")
    def login(form: Annotated[Login, Form()]) -> dict[str, Any]:
        return form.model_dump()

    @archive.post("/animals")
    def animal(one: Annotated[Cat | Dog, Field(discriminator="kind")]) -> dict[str, Any]:
        return one.model_dump()

    @archive.post("/two")
    def two(
        cat: Cat, note: Annotated[str, Body(max_length=10)], urgent: Annotated[bool, Body()] = False
    ) -> dict[str, Any]:
        return {"cat": cat.model_dump(), "note": note, "urgent": urgent}

    @archive.get("/text/{name:path}", response_class=PlainTextResponse)
    def text(name: str, theme: Annotated[str | None, Cookie()] = None) -> str:
        return f"{name} {theme}"

    @archive.get("/numbers")
    def numbers(
        n: Annotated[list[int], Query(max_length=20)], scale: Annotated[float, Query(ge=0)] = 1
    ) -> float:
        return sum(n) * scale

    @archive.get("/fails/{status}")
    def fails(status: Annotated[int, Field(ge=400, le=599)]) -> JSONResponse:
        if status == 418:
            raise HTTPException(418, {"code": "teapot", "message": "Short and stout."})
        return JSONResponse({"title": "It failed", "detail": f"as {status}"}, status)

    @archive.patch("/settings")
    def settings(values: dict[str, int | str | None]) -> dict[str, Any]:
        return values

    return archive
