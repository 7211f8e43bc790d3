"""The script store: what is registered stays, is found again, and is counted exactly."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine.policy import SecurityLevel
from ccos.engine.scripts import (
    Run,
    Script,
    ScriptTool,
    ToolParameter,
    check_source,
    script_id,
)
from ccos.engine.snapshots import SnapshotSeal
from ccos.engine.store import ScriptStore
from ccos.engine.units import CompiledUnits
from ccos.errors import (
    CompilationError,
    IntegrityError,
    ScriptConflictError,
    ScriptError,
    ScriptNotFoundError,
    ScriptToolNotFoundError,
)
from ccos.keys import LocalKey
from ccos.storage import Storage

from .registered import FORMAT, compiled, script, tool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OPTIONS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4)


class Commits:
    """Counts what is committed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def before_commit(self, name: str) -> None: ...

    def after_commit(self, name: str) -> None:
        self.names.append(name)


@pytest.fixture
async def store(storage: Storage) -> ScriptStore:
    return ScriptStore(storage)


async def count(storage: Storage, store: ScriptStore, *runs: Run) -> None:
    await storage.write("count", lambda transaction: store.count_in(transaction, runs))


async def rows_of(storage: Storage, table: str) -> int:
    query = sa.text(f"SELECT count(*) FROM {table}")
    return int(await storage.read(lambda connection: connection.execute(query).scalar_one()))


# Identity


@given(st.text(), st.text(st.characters(exclude_categories=["Cs"])), OPTIONS)
def test_equal_input_has_an_equal_id(source: str, language: str, options: dict[str, Any]) -> None:
    first = script_id(source, language, options)
    again = script_id(source, language, dict(reversed(options.items())))
    assert first == again
    assert first.startswith("script_")
    assert len(first) >= len("script_") + 32
    assert set(first.removeprefix("script_")) <= set("0123456789abcdef")


@given(st.tuples(st.text(), st.text(alphabet="ab"), OPTIONS), st.tuples(st.text(), st.text(alphabet="ab"), OPTIONS))  # fmt: skip  # noqa: E501
def test_other_input_has_another_id(
    one: tuple[str, str, dict[str, Any]], other: tuple[str, str, dict[str, Any]]
) -> None:
    # Python holds 1, 1.0 and True to be equal; JSON holds only the first two to be.
    assert (script_id(*one) == script_id(*other)) <= (one == other)


def test_id_is_the_same_in_every_version() -> None:
    expected = "script_0e2a6de6461715e92f6631de7eb257eaf15e3bce"
    assert script_id("1 + 1", "python", {"level": "safe"}) == expected


# Saving and reading


@pytest.mark.anyio
async def test_script_is_read_as_it_was_saved(store: ScriptStore) -> None:
    saved = script(
        "print('é\U0001f600')\n",
        description="Prints a face.",
        author="Ada",
        version="1.2",
        tags=("b", "a"),
        metadata={"deep": [1, 2.5, None, {"é": "nul \0 in data"}]},
    )  # fmt: skip
    assert await store.save(saved) is True
    assert await store.get(saved.script_id) == saved
    assert saved.size_bytes == len(saved.source.encode())


async def commits_of(url: str, *saved: Script) -> tuple[list[bool], list[str]]:
    commits = Commits()
    async with Storage(url, observer=commits) as storage:
        store = ScriptStore(storage)
        return [await store.save(one) for one in saved], commits.names


@pytest.mark.anyio
async def test_saving_again_writes_nothing(database_url: str) -> None:
    first = script()
    later = replace(first, created_at=5000.0, updated_at=5000.0)
    news, commits = await commits_of(database_url, first, later)
    assert news == [True, False]
    assert len(commits) == 1


@pytest.mark.anyio
async def test_changed_metadata_is_written_and_the_creation_stays(
    database_url: str, storage: Storage
) -> None:
    first = script()
    later = replace(first, created_at=5000.0, updated_at=5000.0, description="Adds.", tags=("x",))
    news, commits = await commits_of(database_url, first, later)
    assert news == [True, False]
    assert len(commits) == 2
    assert await ScriptStore(storage).get(first.script_id) == replace(later, created_at=1000.0)


@pytest.mark.anyio
async def test_processes_that_save_at_once_agree_who_was_first(database_url: str) -> None:
    async with Storage(database_url) as one, Storage(database_url) as other:
        for number in range(10):
            new = await asyncio.gather(
                *(ScriptStore(each).save(script(f"{number}")) for each in (one, other, one, other))
            )
            assert sorted(new) == [False, False, False, True]


@pytest.mark.anyio
@pytest.mark.parametrize("source", ["x = '\0'", "x = '\ud800'"])
async def test_source_that_cannot_be_kept_is_refused_with_its_place(
    store: ScriptStore, source: str
) -> None:
    with pytest.raises(CompilationError) as caught:
        await store.save(script("one\ntwo" + source))
    assert caught.value.details["diagnostics"][0]["line"] == 2
    assert caught.value.details["diagnostics"][0]["column"] == 9
    assert await store.list() == ()


@pytest.mark.anyio
async def test_source_may_be_as_large_as_allowed_and_no_larger(storage: Storage) -> None:
    store = ScriptStore(storage, max_source_bytes=100)
    assert await store.save(script("é" * 50))
    for source in ("é" * 50 + "x", "x" * 101, "x" * 1_000_000):
        with pytest.raises(CompilationError, match="100 bytes"):
            await store.save(script(source))


def test_default_limit_of_a_source_is_a_mebibyte() -> None:
    check_source("x" * 2**20, "exact.py")
    with pytest.raises(CompilationError, match=r"large\.py"):
        check_source("x" * (2**20 + 1), "large.py")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a\0b"},
        {"name": "\udfff"},
        {"name": "n" * 513},
        {"script_id": "script_" + "0" * 600},
        {"script_id": "script_\0"},
        {"description": "\0"},
        {"description": "d" * 1_048_577},
        {"author": "a\0"},
        {"version": "v\0"},
        {"tags": ("\ud800",)},
        {"metadata": {"key": float("nan")}},
        {"metadata": {"key": object()}},
        {"metadata": {"key": "\ud800"}},
        {"metadata": {"key": "m" * 1_048_576}},
    ],
)
async def test_metadata_that_cannot_be_kept_is_refused(
    store: ScriptStore, changes: dict[str, Any]
) -> None:
    with pytest.raises(ScriptError):
        await store.save(script(**changes))
    assert await store.list() == ()


@pytest.mark.anyio
async def test_metadata_may_be_as_long_as_allowed(store: ScriptStore) -> None:
    long = script(name="é" * 512, description="d" * 1_000_000, author="a" * 512)
    await store.save(long)
    assert await store.get(long.script_id) == long
    assert await store.find("é" * 512) == long


@pytest.mark.anyio
async def test_damaged_script_is_named(store: ScriptStore, storage: Storage) -> None:
    saved = script()
    await store.save(saved)
    statement = sa.text("UPDATE scripts SET level = 'almighty'")
    await storage.write("damage", lambda transaction: transaction.execute(statement))
    with pytest.raises(IntegrityError, match=saved.script_id):
        await store.get(saved.script_id)
    with pytest.raises(IntegrityError, match=saved.script_id):
        await store.list()


# Finding


@pytest.mark.anyio
async def test_script_is_found_by_id_beginning_and_name(store: ScriptStore) -> None:
    one, other = script("1", name="one.py"), script("2", name="two%.py")
    await store.save(one)
    await store.save(other)
    for text in (one.script_id, one.script_id[:20], one.script_id[:8], "one.py"):
        assert (await store.find(text)).name == "one.py"
    assert await store.find("two%.py") == other


@pytest.mark.anyio
@pytest.mark.parametrize(
    "text", ["", "script_", "SCRIPT_", "script_%", "script__", "one", "\0", "\ud800", "x" * 10_000]
)
async def test_what_means_no_script_is_not_found(store: ScriptStore, text: str) -> None:
    await store.save(script(name="one.py"))
    for seek in (store.find, store.get):
        with pytest.raises(ScriptNotFoundError):
            await seek(text)


@pytest.mark.anyio
async def test_prefix_is_told_apart_by_case(store: ScriptStore) -> None:
    await store.save(script(script_id="weather_tool"))
    assert (await store.find("weather_t")).script_id == "weather_tool"
    with pytest.raises(ScriptNotFoundError):
        await store.find("WEATHER_T")


@pytest.mark.anyio
async def test_ambiguous_text_lists_what_it_can_mean(store: ScriptStore) -> None:
    for number in range(20):
        await store.save(script(name="same.py", script_id=f"weather_{number:02}"))
    with pytest.raises(ScriptConflictError, match="weather_00") as caught:
        await store.find("weather_")
    assert caught.value.details["scripts"] == [f"weather_{number:02}" for number in range(10)]
    with pytest.raises(ScriptConflictError):
        await store.find("same.py")
    await store.save(script(script_id="weather_0", name="other.py"))
    assert (await store.find("weather_0")).name == "other.py"


@pytest.mark.anyio
async def test_unknown_id_is_answered_with_the_nearest(store: ScriptStore) -> None:
    saved = script()
    await store.save(saved)
    mistyped = saved.script_id[:-3] + "xyz"
    with pytest.raises(ScriptNotFoundError) as caught:
        await store.get(mistyped)
    assert saved.script_id in caught.value.next_step
    with pytest.raises(ScriptNotFoundError) as caught:
        await store.get(saved.script_id[:12])
    assert saved.script_id in caught.value.next_step
    with pytest.raises(ScriptNotFoundError) as caught:
        await store.get("nothing of the kind")
    assert caught.value.details["nearest"] == []


@pytest.mark.anyio
async def test_list_is_ordered_and_filtered(store: ScriptStore) -> None:
    safe = [script(str(number), name=name) for number, name in enumerate(["b", "a", "B", "a"])]
    trusted = script("x", name="c", language="rune", level=SecurityLevel.DEVELOPMENT)
    for one in (*safe, trusted):
        await store.save(one)
    listed = await store.list()
    assert [info.name for info in listed] == ["B", "a", "a", "b", "c"]
    assert listed[1].script_id < listed[2].script_id
    assert [one.name for one in await store.list(language="rune")] == ["c"]
    assert [one.name for one in await store.list(level=SecurityLevel.DEVELOPMENT)] == ["c"]
    assert len(await store.list(language="python", level=SecurityLevel.SAFE)) == 4
    assert await store.list(language="rune", level=SecurityLevel.SAFE) == ()
    assert listed[4].as_dict()["security_level"] == "development"
    assert (listed[4].execution_count, listed[4].last_executed) == (0, None)


# Tools


@pytest.mark.anyio
async def test_tool_is_read_as_it_was_registered(store: ScriptStore) -> None:
    saved = script()
    await store.save(saved)
    forecast = tool(saved)
    await store.register_tool(forecast)
    assert await store.tool("forecast") == forecast
    bare = ScriptTool(
        name="a", description="nul \0 is kept", script_id=saved.script_id, function_name="f"
    )
    await store.register_tool(bare)
    assert await store.tools() == (bare, forecast)


def test_signature_is_readable() -> None:
    assert tool(script()).signature == "call(city: string, days?: integer) -> object"
    assert tool(script(), parameters=(), return_type="any").signature == "call() -> any"
    assert ToolParameter.from_dict(ToolParameter("a").as_dict()) == ToolParameter("a")


@pytest.mark.anyio
async def test_tool_needs_its_script(store: ScriptStore) -> None:
    with pytest.raises(ScriptNotFoundError, match="forecast"):
        await store.register_tool(tool(script()))
    assert await store.tools() == ()


@pytest.mark.anyio
async def test_registering_a_tool_again_changes_nothing(store: ScriptStore) -> None:
    saved = script()
    await store.save(saved)
    await store.register_tool(tool(saved))
    await store.register_tool(tool(saved))
    with pytest.raises(ScriptConflictError, match="forecast") as caught:
        await store.register_tool(tool(saved, description="Something else."))
    assert caught.value.details["script_id"] == saved.script_id
    assert await store.tools() == (tool(saved),)


@pytest.mark.anyio
async def test_tool_is_replaced_where_that_is_asked_for(store: ScriptStore) -> None:
    old, new = script("old"), script("new")
    await store.save(old)
    await store.save(new)
    await store.register_tool(tool(old))
    await store.register_tool(tool(new), replace=True)
    assert await store.tools() == (tool(new),)
    assert await store.delete(old.script_id)
    with pytest.raises(ScriptConflictError):
        await store.delete(new.script_id)


@pytest.mark.anyio
async def test_tool_is_unregistered_once(store: ScriptStore) -> None:
    saved = script()
    await store.save(saved)
    await store.register_tool(tool(saved))
    assert await store.unregister_tool("forecast") is True
    assert await store.unregister_tool("forecast") is False
    assert await store.unregister_tool("\0") is False
    assert await store.tools() == ()


@pytest.mark.anyio
async def test_unknown_tool_is_answered_with_the_nearest(store: ScriptStore) -> None:
    saved = script()
    await store.save(saved)
    await store.register_tool(tool(saved))
    with pytest.raises(ScriptToolNotFoundError) as caught:
        await store.tool("forcast")
    assert "forecast" in caught.value.next_step
    for name in ("", "\0", "\ud800", "x" * 10_000, "' OR 1=1 --"):
        with pytest.raises(ScriptToolNotFoundError):
            await store.tool(name)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("a\0", {}),
        ("n" * 513, {}),
        ("a", {"function_name": "f\0"}),
        ("a", {"description": "\ud800"}),
        ("a", {"description": "d" * 1_048_577}),
    ],
)
async def test_tool_that_cannot_be_kept_is_refused(
    store: ScriptStore, name: str, changes: dict[str, Any]
) -> None:
    saved = script()
    await store.save(saved)
    with pytest.raises(ScriptError):
        await store.register_tool(tool(saved, name, **changes))
    assert await store.tools() == ()


# Deleting


@pytest.mark.anyio
async def test_script_is_not_deleted_while_a_tool_uses_it(store: ScriptStore) -> None:
    saved = script()
    await store.save(saved)
    for name in ("second", "first"):
        await store.register_tool(tool(saved, name))
    with pytest.raises(ScriptConflictError, match="'first', 'second'") as caught:
        await store.delete(saved.script_id)
    assert caught.value.details["tools"] == ["first", "second"]
    assert await store.get(saved.script_id) == saved
    for name in ("second", "first"):
        await store.unregister_tool(name)
    assert await store.delete(saved.script_id) is True
    assert await store.delete(saved.script_id) is False
    assert await store.delete("\0") is False


@pytest.mark.anyio
async def test_nothing_of_a_deleted_script_is_left(store: ScriptStore, storage: Storage) -> None:
    saved, kept = script("1 + 1"), script("2")
    units = CompiledUnits(storage, SnapshotSeal(LocalKey(b"k" * 32)))
    for one in (saved, kept):
        await store.save(one)
        assert await units.keep(one.script_id, FORMAT, compiled(one.source), now=1.0)
        await count(storage, store, Run(one.script_id, True, 1.0, 1.0))
    assert await store.delete(saved.script_id)
    for table in ("scripts", "script_usage", "compiled_scripts"):
        assert await rows_of(storage, table) == 1
    assert await store.save(saved) is True
    assert (await store.statistics()).executions_by_script == {kept.script_id: 1}


@pytest.mark.anyio
async def test_refused_deletion_leaves_the_counters(store: ScriptStore, storage: Storage) -> None:
    saved = script()
    await store.save(saved)
    await store.register_tool(tool(saved))
    await count(storage, store, Run(saved.script_id, True, 1.0, 1.0))
    with pytest.raises(ScriptConflictError):
        await store.delete(saved.script_id)
    assert (await store.statistics()).total_executions == 1


@pytest.mark.anyio
async def test_no_tool_is_left_without_its_script(database_url: str) -> None:
    async with Storage(database_url) as one, Storage(database_url) as other:
        registering, deleting = ScriptStore(one), ScriptStore(other)
        for number in range(20):
            saved = script(str(number))
            await registering.save(saved)
            await asyncio.gather(
                registering.register_tool(tool(saved, str(number))),
                deleting.delete(saved.script_id),
                return_exceptions=True,
            )
        scripts = {info.script_id for info in await registering.list()}
        assert {each.script_id for each in await registering.tools()} == scripts


# Counting


@pytest.mark.anyio
async def test_runs_are_added_up(store: ScriptStore, storage: Storage) -> None:
    busy, idle, unused = script("busy"), script("idle"), script("unused")
    for one in (busy, idle, unused):
        await store.save(one)
    nothing = await store.statistics()
    assert nothing.as_dict() == {
        "total_executions": 0,
        "successful_executions": 0,
        "failed_executions": 0,
        "average_execution_time": None,
        "total_memory_used": None,
        "executions_by_script": {},
        "error_rates_by_script": {},
        "popular_scripts": [],
    }
    await count(
        storage,
        store,
        Run(busy.script_id, True, 1.0, 50.0, 1000),
        Run(idle.script_id, True, 0.5, 40.0),
        Run(busy.script_id, False, 2.0, 30.0, 500),
        Run("script_unknown", True, 9.0, 9.0),
    )
    await count(storage, store, Run(busy.script_id, True, 0.5, 20.0))
    await count(storage, store)
    measured = await store.statistics()
    assert (measured.total_executions, measured.successful_executions) == (4, 3)
    assert (measured.failed_executions, measured.average_execution_time) == (1, 1.0)
    assert measured.total_memory_used == 1500
    assert measured.executions_by_script == {busy.script_id: 3, idle.script_id: 1}
    assert measured.error_rates_by_script == {busy.script_id: 1 / 3, idle.script_id: 0.0}
    assert measured.popular_scripts == (busy.script_id, idle.script_id)
    listed = {info.script_id: info for info in await store.list()}
    assert listed[busy.script_id].execution_count == 3
    assert listed[busy.script_id].last_executed == 50.0
    assert listed[unused.script_id].last_executed is None


@pytest.mark.anyio
async def test_several_counts_of_one_unit_are_written_as_one(
    store: ScriptStore, storage: Storage
) -> None:
    saved = script()
    await store.save(saved)

    def unit(transaction: Any) -> None:
        for _ in range(3):
            store.count_in(transaction, [Run(saved.script_id, True, 1.0, 1.0)])

    await storage.write("unit", unit)
    assert (await store.statistics()).total_executions == 3


@pytest.mark.anyio
async def test_a_unit_that_fails_counts_nothing(store: ScriptStore, storage: Storage) -> None:
    saved = script()
    await store.save(saved)

    def unit(transaction: Any) -> None:
        store.count_in(transaction, [Run(saved.script_id, True, 1.0, 1.0)])
        raise ScriptError("no")

    with pytest.raises(ScriptError):
        await storage.write("unit", unit)
    assert (await store.statistics()).total_executions == 0


@pytest.mark.anyio
async def test_processes_that_count_at_once_lose_nothing(database_url: str) -> None:
    async with Storage(database_url) as one, Storage(database_url) as other:
        store = ScriptStore(one)
        saved = [script(str(number)) for number in range(3)]
        for each in saved:
            await store.save(each)
        runs = [Run(each.script_id, True, 0.25, 1.0, 10) for each in saved]
        await asyncio.gather(
            *(
                count(each, store, *(reversed(runs) if number % 2 else runs))
                for number in range(50)
                for each in (one, other)
            )
        )
        measured = await store.statistics()
        assert list(measured.executions_by_script.values()) == [100, 100, 100]
        assert (measured.total_memory_used, measured.average_execution_time) == (3000, 0.25)
