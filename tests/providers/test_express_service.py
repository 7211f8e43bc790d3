"""An application made with Express, imported from what it says of itself and called.

It refuses every request that does not fit its description, by a library that knows nothing of CCOS.
The packages come from the npm registry; where that cannot be reached, the tests are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ccos.capabilities import Manifest
from ccos.egress import Egress
from ccos.errors import CapabilityFailedError, InvalidArgumentsError
from ccos.importers.openapi import import_openapi, read_document
from ccos.providers.openapi import OpenApiInvoker
from ccos.providers.secrets import EnvironmentSecrets
from importers.samples import sample

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(200)]

APPLICATION = Path(__file__).parent / "services" / "library.mjs"
PACKAGES = ("express@5.3.0", "express-openapi-validator@5.6.2")
SECRETS = {"LENDING_LIBRARY_TOKEN": "ann:card"}


@pytest.fixture(scope="module")
def library_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("express")
    (folder / "package.json").write_text("{}")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix",
               str(folder), *PACKAGES]  # fmt: skip
    installed = subprocess.run(install, capture_output=True, text=True, timeout=150)
    if installed.returncode != 0:
        pytest.skip(f"Express cannot be fetched: {installed.stderr[-200:]}")
    command = [node, str(APPLICATION), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def imported(url: str) -> dict[str, Manifest]:
    location = f"{url}/openapi.json"
    with urlopen(location) as response:
        document = read_document(response.read(), location=location)
    found = import_openapi(document, location=location)
    assert found.quarantined == ()
    assert found.notes == ()
    return {one.metadata["operation_id"]: one for one in found.capabilities}


async def test_no_generated_call_is_refused(library_url: str, egress: Egress) -> None:
    invoker = OpenApiInvoker(egress, EnvironmentSecrets(SECRETS))
    operations = imported(library_url)
    assert len(operations) == 5
    refused, made = [], 0
    for operation, manifest in operations.items():
        for attempt in range(12):
            arguments = sample(
                manifest.input_schema, seed=zlib.crc32(f"{operation}/{attempt}".encode())
            )
            try:
                await invoker.invoke(manifest, arguments, idempotency_key="k")
            except InvalidArgumentsError:
                continue  # a header cannot carry every text; nothing was sent
            except CapabilityFailedError as error:
                refused.append((operation, arguments, error.message))
            made += 1
    assert refused == []
    assert made > 50


async def test_a_library(library_url: str, egress: Egress) -> None:
    operations = imported(library_url)
    invoker = OpenApiInvoker(egress, EnvironmentSecrets(SECRETS))

    async def call(operation: str, /, **arguments: Any) -> Any:
        return await invoker.invoke(operations[operation], arguments, idempotency_key="k")

    found = await call(
        "findBooks",
        **{"X-Reader": 7, "tags": ["a", "b"], "filter": {"shelf": "x y"}, "year": 1984},
    )
    assert found["query"] == {"year": 1984, "tags": ["a", "b"], "filter": {"shelf": "x y"}}
    assert (await call("addBook", title="Ada", year=1990))["body"] == {"title": "Ada", "year": 1990}
    assert (await call("readPages", id=3, range=[1, 9]))["params"] == {"id": 3, "range": [1, 9]}
    letter = await call("sendLetter", to="a&b=c", copies="2")
    assert letter["body"]["to"] == "a&b=c"
    assert (await call("leaveNote", body="häll"))["body"] == "häll"


async def test_it_does_refuse_what_does_not_fit(library_url: str, egress: Egress) -> None:
    operations = imported(library_url)
    invoker = OpenApiInvoker(egress, EnvironmentSecrets(SECRETS))
    with pytest.raises(CapabilityFailedError, match="400 Bad Request") as caught:
        await invoker.invoke(operations["addBook"], {"title": "x", "year": 1}, idempotency_key="k")
    assert "year" in caught.value.details["body"]
