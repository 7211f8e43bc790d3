"""Real GraphQL servers, imported by introspection and called: strawberry and graphql-yoga."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import AuthReference, Manifest, SchemaValidator
from ccos.egress import Egress, EgressPolicy
from ccos.errors import CapabilityFailedError, ProviderTimeoutError
from ccos.importers.graphql import ImportedApi, import_graphql
from ccos.providers.graphql import GraphQlInvoker
from ccos.providers.graphql_introspection import introspect
from ccos.providers.secrets import EnvironmentSecrets

from .conftest import free_port, wait_until_open

HERE = Path(__file__).parent / "graphql_servers"
PACKAGES = ("graphql@16.11.0", "graphql-yoga@5.24.1", "graphql-ws@6.4.2", "ws@8.23.0")
TOKEN = AuthReference(scheme="bearer", environment=("LIBRARY_TOKEN",))
SERVERS = ("strawberry", "strawberry_legacy", "yoga", "yoga_sockets")


@dataclass
class Library:
    """A server, and what importing it gave."""

    api: ImportedApi
    invoker: GraphQlInvoker

    def capability(self, name: str, **provider: Any) -> Manifest:
        (found,) = (one for one in self.api.capabilities if one.id.endswith(f".{name}"))
        changed = found.provider.model_copy(update=provider)
        return found.model_copy(update={"provider": changed})

    async def call(self, name: str, provider: Any = None, **arguments: Any) -> Any:
        capability = self.capability(name, **(provider or {}))
        assert SchemaValidator(capability.input_schema).faults(arguments) == ()
        result = await self.invoker.invoke(capability, arguments, idempotency_key="call-1")
        assert capability.output_schema is not None
        assert SchemaValidator(capability.output_schema).faults(result) == (), result
        return result


@pytest.fixture(scope="session")
def strawberry() -> Iterator[str]:
    yield from serving([sys.executable, "library.py"], HERE, "/")


@pytest.fixture(scope="session")
def strawberry_legacy() -> Iterator[str]:
    yield from serving([sys.executable, "library.py"], HERE, "/", "legacy")


@pytest.fixture(scope="session")
def yoga_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("yoga")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        pytest.skip("The npm registry is not reachable in time")
    if done.returncode:
        pytest.skip(f"The npm registry is not reachable: {done.stderr[-200:]}")
    shutil.copy(HERE / "library.mjs", folder)
    return folder


def serving(command: list[str], folder: Path, path: str, *arguments: str) -> Iterator[str]:
    """A server in a process of its own: what it changes in libraries is nobody else's."""
    port = free_port()
    with subprocess.Popen([*command, str(port), *arguments], cwd=folder) as process:
        try:
            wait_until_open(port, seconds=30)
            yield f"http://127.0.0.1:{port}{path}"
        finally:
            process.kill()


@pytest.fixture(scope="session")
def yoga(yoga_folder: Path) -> Iterator[str]:
    yield from serving(["node", "library.mjs"], yoga_folder, "/graphql")


@pytest.fixture(scope="session")
def yoga_sockets(yoga_folder: Path) -> Iterator[str]:
    yield from serving(["node", "library.mjs"], yoga_folder, "/graphql", "sockets")


@pytest.fixture(params=SERVERS)
async def library(request: pytest.FixtureRequest) -> AsyncIterator[Library]:
    endpoint = request.getfixturevalue(request.param)
    policy = EgressPolicy(private_hosts=frozenset({"127.0.0.1"}), timeout_seconds=20)
    async with Egress(policy) as egress:
        document = await introspect(egress, endpoint)
        api = import_graphql(
            document, location=endpoint, endpoint=endpoint, api="library", auth=(TOKEN,)
        )
        assert api.quarantined == ()
        secrets = EnvironmentSecrets({"LIBRARY_TOKEN": "s3cret"})
        yield Library(api, GraphQlInvoker(egress, secrets))


@pytest.mark.anyio
async def test_queries_with_arguments_of_every_kind(library: Library) -> None:
    given: dict[str, Any] = {
        "place": {"x": 1.5, "labels": ['a"b', "{ c }", "ü\u2028"], "inner": {"x": -2, "y": 0}},
        "genres": [["FICTION"], None, []],
        "extra": {"deep": [1, None, {"$ref": "x"}]},
        "flag": None,
    }
    echoed = (await library.call("query.echo", **given))["data"]
    assert echoed["place"] == {
        "x": 1.5,
        "y": 0.5,
        "labels": given["place"]["labels"],
        "inner": {"x": -2, "y": 0},
    }
    assert {name: echoed[name] for name in ("genres", "extra", "flag")} == {
        name: given[name] for name in ("genres", "extra", "flag")
    }
    assert (await library.call("query.find", key={"title": "Two"}))["data"]["id"] == "2"


@pytest.mark.anyio
async def test_a_default_holds_unless_null_is_given(library: Library) -> None:
    titles = {
        str(arguments): [
            one["title"] for one in (await library.call("query.books", **arguments))["data"]
        ]
        for arguments in ({}, {"genre": "FACT"}, {"genre": None})
    }
    assert titles["{}"][0] == "One"
    assert "Two" not in titles["{}"]
    assert titles["{'genre': 'FACT'}"] == ["Two"]
    assert set(titles["{'genre': None}"]) >= {"One", "Two"}


@pytest.mark.anyio
async def test_unions_and_interfaces_answer_with_the_fields_of_each_type(library: Library) -> None:
    first = (await library.call("query.book", id="1"))["data"]
    second = (await library.call("query.book", id="2"))["data"]
    assert first["maker"] == {"__typename": "Author", "name": "Ann", "born": 1970}
    assert second["maker"] == {
        "__typename": "Robot",
        "name": "Bot",
        "born_Robot": "yesterday",
        "serial": "R2",
    }
    assert second["author"]["name"] == "Bot"
    assert "excerpt" not in first


@pytest.mark.anyio
async def test_partial_errors_keep_the_data(library: Library) -> None:
    answer = await library.call("query.book", id="1")
    assert answer["data"]["title"] == "One"
    assert answer["data"]["broken"] is None
    (error,) = answer["errors"]
    assert error["path"] == ["book", "broken"]
    assert "the page is torn" in error["message"]


@pytest.mark.anyio
async def test_nothing_found_is_no_failure_and_a_failure_has_the_own_words(
    library: Library,
) -> None:
    assert await library.call("query.book", id="none") == {"data": None}
    with pytest.raises(CapabilityFailedError, match="this always fails") as caught:
        await library.call("query.fails")
    assert caught.value.details["errors"][0]["path"] == ["fails"]


@pytest.mark.anyio
async def test_mutations_write(library: Library) -> None:
    added = (await library.call("mutation.addBook", title="Three", genre="FACT"))["data"]
    assert added["title"] == "Three"
    assert (await library.call("mutation.deleteBook", id=added["id"])) == {"data": True}
    assert (await library.call("mutation.deleteBook", id=added["id"])) == {"data": False}


@pytest.mark.anyio
async def test_the_secret_is_sent_with_calls_and_subscriptions(library: Library) -> None:
    assert (await library.call("query.whoami"))["data"] == "Bearer s3cret"
    heard = await library.call("subscription.caller")
    assert heard == {"events": [{"data": "Bearer s3cret"}], "complete": True}


@pytest.mark.anyio
async def test_a_subscription_is_a_stream(library: Library) -> None:
    capability = library.capability("subscription.countdown")
    stream = library.invoker.subscribe(capability, {"from": 3})
    assert [event["data"] async for event in stream] == [3, 2, 1, 0]
    heard = await library.call("subscription.countdown", **{"from": 3})
    assert heard["complete"] is True
    assert len(heard["events"]) == 4


@pytest.mark.anyio
async def test_an_endless_stream_is_left_when_enough_was_heard(library: Library) -> None:
    heard = await library.call("subscription.endless", {"maximum_events": 3})
    assert heard == {"events": [{"data": number} for number in range(3)], "complete": False}
    capability = library.capability("subscription.endless")
    async with aclosing(library.invoker.subscribe(capability, {})) as stream:
        async for event in stream:
            if event["data"] == 2:
                break


@pytest.mark.anyio
async def test_a_refused_subscription_has_the_servers_words(library: Library) -> None:
    try:
        heard = await library.call("subscription.refused")
        said = heard["events"][0]["errors"][0]["message"]
    except CapabilityFailedError as error:
        said = error.message
    assert "nobody may listen" in said


@pytest.mark.anyio
async def test_a_call_ends_in_time(library: Library) -> None:
    with pytest.raises(ProviderTimeoutError):
        await library.call("subscription.endless", {"timeout_seconds": 0.0001})
