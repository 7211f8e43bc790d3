"""Finding capabilities by words, and by what the caller may have meant."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ccos.audit import AuditTrail, HeadFile
from ccos.capabilities import parse_manifest
from ccos.events import EventBus
from ccos.keys import LocalKey
from ccos.marketplace import Marketplace
from ccos.marketplace.search import find
from ccos.providers.local import LocalInvoker
from ccos.storage import Storage


async def fill(marketplace: Marketplace, *entries: tuple[str, str]) -> None:
    for capability_id, description in entries:
        data = {
            "id": capability_id,
            "name": capability_id,
            "description": description,
            "provider": {"type": "local", "handler": "x"},
        }
        await marketplace.register(parse_manifest(data), actor="tester")


async def ids(marketplace: Marketplace, query: str, limit: int = 10) -> list[str]:
    return [found.manifest.id for found, _ in await marketplace.search(query, limit=limit)]


ENTRIES = (
    ("github.listRepos", "Lists the repositories of an organisation."),
    ("github.create_issue", "Opens an issue in a repository."),
    ("weather.current", "Tells temperature and wind in a city."),
    ("mail.send", "Sends a message about weather or anything else."),
)


@pytest.mark.anyio
async def test_words_of_name_and_description_are_found(marketplace: Marketplace) -> None:
    await fill(marketplace, *ENTRIES)
    assert await ids(marketplace, "repos") == ["github.listRepos"]
    assert set(await ids(marketplace, "repositories issue")) == {
        "github.listRepos",
        "github.create_issue",
    }
    assert set(await ids(marketplace, "send temperatures")) == {"mail.send", "weather.current"}
    assert await ids(marketplace, "nothing-like-this") == []


@pytest.mark.anyio
async def test_word_in_the_name_weighs_more_than_one_in_the_description(
    marketplace: Marketplace,
) -> None:
    await fill(marketplace, *ENTRIES)
    assert await ids(marketplace, "weather") == ["weather.current", "mail.send"]
    assert await ids(marketplace, "weather", limit=1) == ["weather.current"]
    scores = [score for _, score in await marketplace.search("weather")]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.anyio
async def test_newer_version_is_found_by_its_own_words(marketplace: Marketplace) -> None:
    await fill(marketplace, ("a.b", "Old words."))
    newer = parse_manifest(
        {
            "id": "a.b",
            "name": "a.b",
            "version": "1.1.0",
            "description": "Fresh text.",
            "provider": {"type": "local", "handler": "x"},
        }
    )
    await marketplace.register(newer, actor="tester")
    assert await ids(marketplace, "old") == []
    assert await ids(marketplace, "fresh") == ["a.b"]


@pytest.mark.anyio
async def test_removed_capability_is_not_found(marketplace: Marketplace) -> None:
    await fill(marketplace, *ENTRIES)
    await marketplace.remove("weather.current", actor="tester")
    assert await ids(marketplace, "weather") == ["mail.send"]


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "   ", "***", '"', "\x00", "\ud800", "🙂"])
async def test_query_without_words_finds_nothing(marketplace: Marketplace, query: str) -> None:
    await fill(marketplace, *ENTRIES)
    assert await ids(marketplace, query) == []


def test_any_text_is_a_query(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    storage = Storage(database_url)
    asyncio.run(storage.__aenter__())
    key = LocalKey(b"k" * 32)
    head = HeadFile(tmp_path_factory.mktemp("head") / "head", key)
    marketplace = Marketplace(storage, AuditTrail(storage, EventBus(), head), key, LocalInvoker())
    asyncio.run(fill(marketplace, *ENTRIES))

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(
        st.text(max_size=60)
        | st.lists(
            st.sampled_from(
                [
                    *"\"'*^:-()&|!\\{}%\x00",
                    "weather",
                    "AND",
                    "OR",
                    "NOT",
                    "NEAR(",
                    "<->",
                    ";--",
                    "the",
                ]
            ),
            max_size=12,
        ).map(" ".join)
    )
    @example("NEAR(weather city, 5)")
    @example("words : weather*")
    @example("'weather' & !'city' <-> x:*")
    @example("weather " * 5000)
    def check(query: str) -> None:
        found = storage.read_blocking(lambda connection: find(connection, query, 5))
        assert {capability_id for capability_id, _ in found} <= {one for one, _ in ENTRIES}
        if "weather" in query.lower().split():
            assert "weather.current" in {capability_id for capability_id, _ in found}

    try:
        check()
    finally:
        storage.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("weather.curent", ["weather.current"]),
        ("wether.current", ["weather.current"]),
        ("gitlab.create_issue", ["github.create_issue"]),
        ("postbox.send", ["mail.send"]),
        ("quite.different", []),
    ],
)
async def test_what_the_caller_may_have_meant(
    marketplace: Marketplace, asked: str, expected: Iterable[str]
) -> None:
    await fill(marketplace, *ENTRIES)
    assert await marketplace.near(asked) == expected


@pytest.mark.anyio
async def test_only_capabilities_in_use_are_suggested_and_only_a_few(
    marketplace: Marketplace,
) -> None:
    await fill(marketplace, *((f"service{number}.current", "") for number in range(9)))
    assert len(await marketplace.near("service.current")) == 5
    await marketplace.revoke("service0.current", actor="tester", reason="x")
    assert "service0.current" not in await marketplace.near("service0.curren")
