"""Applications made with FastAPI, imported from what they say of themselves and called.

FastAPI holds every request to its own models and answers 422 to what does not fit them, so it is an
independent judge of the requests.
"""

from __future__ import annotations

import base64
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import pytest
import uvicorn

from ccos.capabilities import Manifest
from ccos.egress import Egress
from ccos.errors import CapabilityFailedError, InvalidArgumentsError
from ccos.importers.openapi import import_openapi, read_document
from ccos.providers.openapi import OpenApiInvoker
from ccos.providers.secrets import EnvironmentSecrets
from importers.samples import sample

from .conftest import free_port, wait_until_open

pytest.importorskip("fastapi", reason="FastAPI is not installed")

from .services import archive, shop

pytestmark = pytest.mark.anyio

SECRETS = {"CORNER_SHOP_TOKEN": "open sesame"}


@contextmanager
def running(application: Any) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until_open(port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(5)


def imported(url: str) -> dict[str, Manifest]:
    location = f"{url}/openapi.json"
    with urlopen(location) as response:
        document = read_document(response.read(), location=location)
    assert document["openapi"].startswith("3.1")
    found = import_openapi(document, location=location)
    assert found.quarantined == ()
    assert found.notes == ()
    return {one.metadata["operation_id"].partition("_")[0]: one for one in found.capabilities}


@pytest.fixture(scope="module")
def shop_url() -> Iterator[str]:
    with running(shop.application()) as url:
        yield url


@pytest.fixture(scope="module")
def archive_url() -> Iterator[str]:
    with running(archive.application()) as url:
        yield url


@pytest.mark.parametrize("name", ["shop", "archive"])
async def test_no_generated_call_is_refused(
    name: str, shop_url: str, archive_url: str, egress: Egress
) -> None:
    invoker = OpenApiInvoker(egress, EnvironmentSecrets(SECRETS))
    operations = imported(shop_url if name == "shop" else archive_url)
    assert len(operations) >= 7
    made, refused = 0, []
    for operation, manifest in operations.items():
        for attempt in range(12):
            seed = zlib.crc32(f"{operation}/{attempt}".encode())
            arguments = sample(manifest.input_schema, seed=seed)
            try:
                await invoker.invoke(manifest, arguments, idempotency_key="k")
            except InvalidArgumentsError:
                continue  # a header cannot carry every text; nothing was sent
            except CapabilityFailedError as error:
                if error.details["status"] == 422:
                    refused.append((operation, arguments, error.message))
            made += 1
    assert refused == []
    assert made > 10 * len(operations)


async def test_a_shop(shop_url: str, egress: Egress) -> None:
    operations = imported(shop_url)
    invoker = OpenApiInvoker(egress, EnvironmentSecrets(SECRETS))

    async def call(operation: str, /, **arguments: Any) -> Any:
        return await invoker.invoke(operations[operation], arguments, idempotency_key="k")

    tea = await call("add", name="tea", price=2.5, size="large", tags=["hot & sweet"])
    assert tea["tags"] == ["hot & sweet"]
    assert await call("show", item_id=tea["id"]) == tea
    assert tea in await call("search", size="large", limit=50, words=["a b", "c&d"])
    assert await call("remove", item_id=tea["id"]) is None
    with pytest.raises(CapabilityFailedError, match=f"There is no item {tea['id']}"):
        await call("show", item_id=tea["id"])
    answer = await call("by", size="small", day="2026-02-28", currency="USD")
    assert answer["day"] == "2026-02-28"
    assert operations["remove"].effects == ("destructive", "network")
    assert operations["search"].effect_type == "read_only"
    stranger = OpenApiInvoker(egress, EnvironmentSecrets({"CORNER_SHOP_TOKEN": "wrong-key"}))
    with pytest.raises(CapabilityFailedError, match="403 Forbidden: This key opens nothing"):
        await stranger.invoke(operations["add"], {"name": "x", "price": 1}, idempotency_key="k")
    assert await call("me") == {"name": "ann"}


async def test_an_archive(archive_url: str, egress: Egress) -> None:
    operations = imported(archive_url)
    invoker = OpenApiInvoker(egress, EnvironmentSecrets({}))

    async def call(operation: str, /, **arguments: Any) -> Any:
        return await invoker.invoke(operations[operation], arguments, idempotency_key="k")

    content = base64.b64encode(b"\x00\xffabc").decode()
    assert await call("upload", file=content, note="ä", more=[content, content]) == {
        "bytes": 5, "note": "ä", "more": 2,
    }  # fmt: skip
    assert await call("login", user="a&b=c", remember=True) == {"user": "a&b=c", "remember": True}
    cat = {"kind": "cat", "lives": 9}
    assert await call("animal", body=cat) == cat
    assert await call("two", cat=cat, note="n") == {"cat": cat, "note": "n", "urgent": False}
    assert await call("numbers", n=[1, 2, 3], scale=0.5) == 3.0
    assert await call("settings", body={"a": 1, "b": None}) == {"a": 1, "b": None}
    with pytest.raises(CapabilityFailedError, match="Short and stout"):
        await call("fails", status=418)
    with pytest.raises(CapabilityFailedError, match="as 500") as caught:
        await call("fails", status=500)
    assert caught.value.details["status"] == 500
