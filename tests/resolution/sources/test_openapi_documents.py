"""API descriptions from folders, files and URLs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ccos.capabilities import TrustTier
from ccos.egress import Egress, EgressPolicy
from ccos.errors import SourceError
from ccos.resolution.sources import Catalogue, OpenApiDocuments, Source, Wanted

pytestmark = pytest.mark.anyio


def document(title: str = "httpbin", server: str = "https://httpbin.org") -> dict[str, Any]:
    def operation(identifier: str) -> dict[str, Any]:
        return {"operationId": identifier, "responses": {"200": {"description": "Done."}}}

    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0.0"},
        "servers": [{"url": server}],
        "paths": {
            "/uuid": {"get": operation("get_uuid")},
            "/anything": {"post": operation("post_anything")},
        },
    }


def egress() -> Egress:
    return Egress(EgressPolicy(private_hosts=frozenset({"127.0.0.1"})))


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[tuple[str, list[str]]]:
    seen: list[str] = []

    async def serve(request: Request) -> Response:
        seen.append(request.url.path)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    app = Starlette(routes=[Route("/{name}", serve)])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/httpbin.json", seen
    finally:
        server.should_exit = True
        await task


async def test_operation_of_a_described_api_is_among_the_candidates(tmp_path: Path) -> None:
    path = written(tmp_path / "httpbin.json", document())
    written(tmp_path / "other.json", document("Weather", "https://api.weather.example"))
    source: Source = OpenApiDocuments(egress(), [str(tmp_path)])
    found = await source.find(Wanted("httpbin.uuid"))
    assert len(found) == 2
    assert any("uuid" in candidate.manifest.id for candidate in found)
    for candidate in found:
        assert candidate.relevance == 1.0
        assert candidate.reference == str(path)
        assert candidate.trust_tier is TrustTier.UNKNOWN
        assert candidate.manifest.trust_tier is TrustTier.UNKNOWN


@pytest.mark.parametrize(
    ("wanted", "title", "name", "server", "found"),
    [
        ("httpbin.uuid", "Something", "httpbin.yaml", "https://x.example", True),
        ("httpbin.uuid", "Something", "x.yaml", "https://httpbin.org", True),
        ("httpbin.uuid", "The httpbin service", "x.yaml", "https://x.example", True),
        ("openapi.httpbin.get.uuid", "httpbin", "x.yaml", "https://x.example", True),
        ("bin.uuid", "httpbin", "httpbin.yaml", "https://httpbin.org", False),
        ("org.uuid", "httpbin", "httpbin.yaml", "https://httpbin.org", False),
        ("weather.uuid", "httpbin", "httpbin.yaml", "https://httpbin.org", False),
    ],
)
async def test_first_segment_names_the_api(
    wanted: str, title: str, name: str, server: str, found: bool, tmp_path: Path
) -> None:
    path = written(tmp_path / name, document(title, server))
    source = OpenApiDocuments(egress(), [str(path)])
    assert bool(await source.find(Wanted(wanted))) is found


async def test_tier_is_that_of_the_server_not_of_the_document(tmp_path: Path) -> None:
    async def tier(server: str, approved: frozenset[str] = frozenset()) -> TrustTier:
        path = written(tmp_path / "github.json", document("GitHub", server))
        source = OpenApiDocuments(egress(), [str(path)], operator_approved=approved)
        return (await source.find(Wanted("github.uuid")))[0].trust_tier

    assert await tier("https://api.github.com") is TrustTier.OFFICIAL
    assert await tier("https://api.github.com.evil.example") is TrustTier.UNKNOWN
    assert await tier("http://api.github.com") is TrustTier.UNKNOWN
    assert await tier("https://192.0.2.1") is TrustTier.UNKNOWN
    approved = frozenset({"git.example.com"})
    assert await tier("https://git.example.com", approved) is TrustTier.APPROVED


async def test_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "httpbin.json", document())
    source = OpenApiDocuments(egress(), [str(path)])
    assert len(await source.find(Wanted("httpbin.uuid"))) == 2
    changed = document()
    del changed["paths"]["/anything"]
    status = path.stat()
    content = json.dumps(changed)
    path.write_text(content + " " * (status.st_size - len(content)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(await source.find(Wanted("httpbin.uuid"))) == 2
    os.utime(path)
    assert len(await source.find(Wanted("httpbin.uuid"))) == 1
    path.unlink()
    assert await source.find(Wanted("httpbin.uuid")) == []


async def test_url_is_fetched_once_in_a_while() -> None:
    now = 0.0
    async with serving(document()) as (url, seen):
        source = OpenApiDocuments(egress(), [url], cache_ttl_seconds=10, clock=lambda: now)
        both = await asyncio.gather(*(source.find(Wanted("httpbin.uuid")) for _ in range(4)))
        assert [len(found) for found in both] == [2, 2, 2, 2]
        assert both[0][0].reference == url
        assert len(seen) == 1
        now = 11.0
        await source.find(Wanted("httpbin.uuid"))
        assert len(seen) == 2


async def test_bad_descriptions_do_not_hide_good_ones(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "notes.txt").write_text("not looked at")
    source = OpenApiDocuments(egress(), [str(tmp_path), str(tmp_path / "absent")])
    with pytest.raises(SourceError) as caught:
        await source.find(Wanted("httpbin.uuid"))
    assert len(caught.value.details["faults"]) == 2
    written(tmp_path / "httpbin.json", document())
    assert len(await source.find(Wanted("httpbin.uuid"))) == 2


async def test_bad_urls_end_in_an_error() -> None:
    for answer in (Response(status_code=404), Response(b"<html>")):
        async with serving(answer) as (url, _):
            with pytest.raises(SourceError):
                await OpenApiDocuments(egress(), [url]).find(Wanted("httpbin.uuid"))
    with pytest.raises(SourceError):
        await OpenApiDocuments(egress(), [url]).find(Wanted("httpbin.uuid"))
    refused = OpenApiDocuments(Egress(EgressPolicy()), ["http://127.0.0.1:1/httpbin.json"])
    with pytest.raises(SourceError):
        await refused.find(Wanted("httpbin.uuid"))


async def test_catalogue_names_descriptions_for_an_id(tmp_path: Path) -> None:
    async with serving(document("Anything", "https://api.example.org")) as (url, seen):
        entry = {"name": "x", "matches": ["special.*"], "document": {"url": url}}
        path = written(tmp_path / "catalogue.json", {"entries": [entry]})
        source = OpenApiDocuments(egress(), [], catalogue=Catalogue((path,), shipped=False))
        found = await source.find(Wanted("special.uuid"))
        assert len(found) == 2
        assert found[0].relevance > 0.8
        assert found[0].trust_tier is TrustTier.UNKNOWN
        seen.clear()
        assert await source.find(Wanted("other.uuid")) == []
        assert seen == []
