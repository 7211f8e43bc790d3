"""The compile cache: what it forgets costs a recompilation, and it never holds more than it may."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ccos.engine.cache import CompileCache
from ccos.engine.languages import Compiled
from ccos.engine.scripts import CacheStatistics, Script
from ccos.engine.snapshots import SnapshotSeal
from ccos.engine.store import ScriptStore
from ccos.engine.units import CompiledUnits, StoredUnit, compiled_size
from ccos.errors import ConfigurationError
from ccos.keys import LocalKey
from ccos.storage import Storage

from .registered import FORMAT, compiled, script

SEAL = SnapshotSeal(LocalKey(b"k" * 32))
HOUR = 3600.0


class Nowhere:
    """Units that do not outlive the process, and a gate before they are found."""

    def __init__(self) -> None:
        self.found: StoredUnit | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, script_id: str, unit_format: str, *, now: float) -> StoredUnit | None:
        await self.gate.wait()
        return self.found

    async def keep(
        self, script_id: str, unit_format: str, compiled: Compiled, *, now: float
    ) -> bool:
        return False

    async def drop(self, script_id: str) -> None: ...

    async def clear(self) -> dict[tuple[str, str], int]:
        return {}


@dataclass
class Commits:
    """Counts what is committed."""

    names: list[str] = field(default_factory=list)

    def before_commit(self, name: str) -> None: ...

    def after_commit(self, name: str) -> None:
        self.names.append(name)


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def change(storage: Storage, text: str, **values: Any) -> None:
    statement = sa.text(text)
    await storage.write("change", lambda transaction: transaction.execute(statement, values))


async def saved(storage: Storage, *sources: str) -> list[Script]:
    store = ScriptStore(storage)
    scripts = [script(source) for source in sources]
    for one in scripts:
        await store.save(one)
    return scripts


async def stored_ids(storage: Storage) -> set[str]:
    query = sa.text("SELECT script_id FROM compiled_scripts")
    return set(await storage.read(lambda connection: connection.execute(query).scalars().all()))


# In memory


@dataclass
class Model:
    """What an LRU cache does, said as plainly as possible."""

    max_entries: int
    max_bytes: int
    held: OrderedDict[tuple[str, str], Compiled] = field(default_factory=OrderedDict)
    hits: int = 0
    misses: int = 0
    evictions: int = 0

    @property
    def bytes(self) -> int:
        return sum(len(one.source.encode()) + len(one.unit) for one in self.held.values())

    def get(self, key: tuple[str, str]) -> Compiled | None:
        if key not in self.held:
            self.misses += 1
            return None
        self.hits += 1
        self.held.move_to_end(key)
        return self.held[key]

    def put(self, key: tuple[str, str], compiled: Compiled) -> None:
        self.held.pop(key, None)
        if len(compiled.source.encode()) + len(compiled.unit) > self.max_bytes:
            return
        self.held[key] = compiled
        while len(self.held) > self.max_entries or self.bytes > self.max_bytes:
            self.held.popitem(last=False)
            self.evictions += 1

    def forget(self, script_id: str) -> None:
        for key in list(self.held):
            if key[0] == script_id:
                del self.held[key]

    @property
    def statistics(self) -> CacheStatistics:
        return CacheStatistics(
            entries=len(self.held),
            bytes=self.bytes,
            hits=self.hits,
            misses=self.misses,
            evictions=self.evictions,
        )


IDS = st.sampled_from("abc")
FORMATS = st.sampled_from(["one", "two"])
STEPS = st.one_of(
    st.tuples(st.just("get"), IDS, FORMATS),
    st.tuples(st.just("get"), IDS, FORMATS),
    st.tuples(st.just("put"), IDS, FORMATS, st.just("x"), st.just(3)),
    st.tuples(st.just("put"), IDS, FORMATS, st.text("xé", max_size=8), st.integers(0, 12)),
    st.tuples(st.just("forget"), IDS),
    st.tuples(st.just("clear")),
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(STEPS, min_size=5, max_size=40), st.integers(1, 5), st.integers(1, 60) | st.just(1000)
)
def test_it_behaves_as_the_model_does(
    steps: list[tuple[Any, ...]], max_entries: int, max_bytes: int
) -> None:
    async def main() -> None:
        cache = CompileCache(Nowhere(), max_entries=max_entries, max_bytes=max_bytes)
        model = Model(max_entries, max_bytes)
        for step in steps:
            match step:
                case "get", script_id, unit_format:
                    found = await cache.get(script_id, unit_format)
                    assert found is model.get((script_id, unit_format))
                case "put", script_id, unit_format, source, size:
                    one = compiled(source, b"u" * size)
                    await cache.put(script_id, unit_format, one)
                    model.put((script_id, unit_format), one)
                case "forget", script_id:
                    await cache.forget(script_id)
                    model.forget(script_id)
                case _:
                    before = replace(model.statistics)
                    assert await cache.clear() == before
                    model.held.clear()
            assert cache.statistics == model.statistics
            assert cache.statistics.entries <= max_entries
            assert cache.statistics.bytes <= max_bytes
        for script_id in "abc":
            for unit_format in ("one", "two"):
                found = await cache.get(script_id, unit_format)
                assert found is model.get((script_id, unit_format))

    asyncio.run(main())


@pytest.mark.anyio
async def test_what_was_used_lately_stays() -> None:
    cache = CompileCache(Nowhere(), max_entries=2)
    for script_id in "ab":
        await cache.put(script_id, FORMAT, compiled())
    await cache.get("a", FORMAT)
    await cache.put("c", FORMAT, compiled())
    assert await cache.get("b", FORMAT) is None
    assert await cache.get("a", FORMAT) == compiled()


@pytest.mark.anyio
async def test_disabled_cache_keeps_nothing(storage: Storage) -> None:
    (one,) = await saved(storage, "1 + 1")
    units = CompiledUnits(storage, SEAL)
    cache = CompileCache(units, enabled=False)
    await cache.put(one.script_id, FORMAT, compiled())
    assert await cache.get(one.script_id, FORMAT) is None
    assert await stored_ids(storage) == set()
    await units.keep(one.script_id, FORMAT, compiled(), now=1.0)
    assert await cache.get(one.script_id, FORMAT) is None
    assert cache.statistics == CacheStatistics(misses=2)


@pytest.mark.parametrize("limits", [{"max_entries": 0}, {"max_bytes": -1}, {"ttl": 0.0}])
def test_limit_that_makes_no_sense_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        CompileCache(Nowhere(), **limits)


@pytest.mark.anyio
async def test_what_is_too_old_is_not_used(storage: Storage) -> None:
    (one,) = await saved(storage, "1 + 1")
    clock = Clock()
    units = CompiledUnits(storage, SEAL)
    cache = CompileCache(units, ttl=60.0, clock=clock)
    await cache.put(one.script_id, FORMAT, compiled())
    clock.now += 59
    assert await cache.get(one.script_id, FORMAT) is not None
    fresh = CompileCache(units, ttl=60.0, clock=clock)
    assert await fresh.get(one.script_id, FORMAT) is not None
    clock.now += 1
    assert await cache.get(one.script_id, FORMAT) is None
    assert await fresh.get(one.script_id, FORMAT) is None
    assert cache.statistics == CacheStatistics(hits=1, misses=1)
    await cache.put(one.script_id, FORMAT, compiled())
    assert await cache.get(one.script_id, FORMAT) is not None


@pytest.mark.anyio
@pytest.mark.parametrize("forgetting", ["forget", "clear", "nothing"])
async def test_what_is_forgotten_while_it_is_loaded_stays_forgotten(forgetting: str) -> None:
    units = Nowhere()
    cache = CompileCache(units)
    units.found, units.gate = StoredUnit(compiled(), time.time()), asyncio.Event()
    loading = asyncio.ensure_future(cache.get("a", FORMAT))
    await asyncio.sleep(0)
    if forgetting == "forget":
        await cache.forget("a")
    elif forgetting == "clear":
        await cache.clear()
    units.gate.set()
    assert await loading == compiled()
    assert cache.statistics.entries == (1 if forgetting == "nothing" else 0)


# Behind it, in the database


@pytest.mark.anyio
async def test_what_was_evicted_comes_back_from_the_database(storage: Storage) -> None:
    scripts = await saved(storage, "1", "2", "3")
    cache = CompileCache(CompiledUnits(storage, SEAL), max_entries=1)
    for one in scripts:
        await cache.put(one.script_id, FORMAT, compiled(one.source))
    assert cache.statistics.evictions == 2
    for one in scripts:
        assert await cache.get(one.script_id, FORMAT) == compiled(one.source)
        assert cache.statistics.entries == 1
    assert (cache.statistics.hits, cache.statistics.misses) == (3, 0)


@pytest.mark.anyio
async def test_another_process_finds_what_was_compiled(database_url: str) -> None:
    async with Storage(database_url) as first:
        (one,) = await saved(first, "1 + 1")
        await CompileCache(CompiledUnits(first, SEAL)).put(one.script_id, FORMAT, compiled())
    async with Storage(database_url) as later:
        cache = CompileCache(CompiledUnits(later, SEAL))
        assert await cache.get(one.script_id, FORMAT) == compiled()
        assert await cache.get(one.script_id, "python 3.12") is None
        assert await cache.get("script_other", FORMAT) is None
        assert cache.statistics == CacheStatistics(
            entries=1, bytes=compiled_size(compiled()), hits=1, misses=2
        )


Change = Callable[[bytes], bytes]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "damage",
    [
        lambda blob: b"",
        lambda blob: blob[:-1],
        lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]),
        lambda blob: blob[:60] + bytes([blob[60] ^ 1]) + blob[61:],
        lambda blob: SnapshotSeal(LocalKey(b"s" * 32)).sealed(*SEAL.opened(blob)),
        lambda blob: SEAL.sealed({"format": FORMAT, "plan": "x"}, b"a snapshot of a plan"),
        lambda blob: SEAL.sealed({**SEAL.opened(blob)[0], "script_id": "script_x"}, b"unit"),
        lambda blob: SEAL.sealed({**SEAL.opened(blob)[0], "format": "python 2"}, b"unit"),
    ],
)
async def test_altered_unit_is_reported_and_not_used(storage: Storage, damage: Change) -> None:
    (one,) = await saved(storage, "1 + 1")
    units = CompiledUnits(storage, SEAL)
    await units.keep(one.script_id, FORMAT, compiled(), now=time.time())
    blob: bytes = await storage.read(
        lambda connection: connection.execute(
            sa.text("SELECT unit FROM compiled_scripts")
        ).scalar_one()
    )
    await change(storage, "UPDATE compiled_scripts SET unit = :unit", unit=damage(bytes(blob)))
    altered: list[tuple[str, str]] = []
    cache = CompileCache(units, on_altered=lambda *key: altered.append(key))
    assert await cache.get(one.script_id, FORMAT) is None
    assert altered == [(one.script_id, FORMAT)]
    assert cache.statistics == CacheStatistics(misses=1)
    await cache.put(one.script_id, FORMAT, compiled())
    assert await CompileCache(units).get(one.script_id, FORMAT) == compiled()
    assert len(altered) == 1


@pytest.mark.anyio
async def test_unit_of_an_older_text_or_policy_is_not_used(storage: Storage) -> None:
    store, units = ScriptStore(storage), CompiledUnits(storage, SEAL)
    first = script("1 + 1", script_id="weather_tool")
    altered: list[tuple[str, str]] = []
    for later in (
        replace(first, source="2 + 2"),
        replace(first, options={**first.options, "allowed_modules": []}),
        replace(first, language="rtfs"),
    ):
        await store.save(first)
        assert await units.keep("weather_tool", FORMAT, compiled(), now=1.0)
        cache = CompileCache(units, on_altered=lambda *key: altered.append(key))
        assert await cache.get("weather_tool", FORMAT) is not None
        await store.save(later)
        fresh = CompileCache(units, on_altered=lambda *key: altered.append(key))
        assert await fresh.get("weather_tool", FORMAT) is None
    assert altered == []


@pytest.mark.anyio
async def test_unit_in_the_form_of_another_version_is_not_used(storage: Storage) -> None:
    (one,) = await saved(storage, "1 + 1")
    units = CompiledUnits(storage, SEAL)
    await units.keep(one.script_id, FORMAT, compiled(), now=1.0)
    query = sa.text("SELECT unit FROM compiled_scripts")
    header, unit = SEAL.opened(
        bytes(await storage.read(lambda connection: connection.execute(query).scalar_one()))
    )
    other = SEAL.sealed({**header, "kind": "compiled script 2"}, unit)
    await change(storage, "UPDATE compiled_scripts SET unit = :unit", unit=other)
    altered: list[tuple[str, str]] = []
    cache = CompileCache(units, on_altered=lambda *key: altered.append(key))
    assert await cache.get(one.script_id, FORMAT) is None
    assert altered == []


@pytest.mark.anyio
async def test_only_units_of_scripts_in_the_store_outlive_the_process(storage: Storage) -> None:
    (one,) = await saved(storage, "1 + 1")
    units = CompiledUnits(storage, SEAL, max_bytes=100)
    assert not await units.keep("script_unknown", FORMAT, compiled(), now=1.0)
    assert not await units.keep(one.script_id, FORMAT, compiled("another text"), now=1.0)
    assert not await units.keep(one.script_id, FORMAT, compiled("1 + 1", b"u" * 96), now=1.0)
    assert await stored_ids(storage) == set()
    assert await units.keep(one.script_id, FORMAT, compiled("1 + 1", b"u" * 95), now=1.0)
    cache = CompileCache(units)
    await cache.put("script_unknown", FORMAT, compiled())
    assert await cache.get("script_unknown", FORMAT) == compiled()


@pytest.mark.anyio
async def test_least_recently_used_units_are_deleted(storage: Storage) -> None:
    one, two, three, four = await saved(storage, "1", "2", "3", "4")
    units = CompiledUnits(storage, SEAL, max_entries=3, max_bytes=1000)
    for seconds, each in enumerate((one, two, three)):
        await units.keep(each.script_id, FORMAT, compiled(each.source), now=float(seconds))
    assert await units.load(one.script_id, FORMAT, now=HOUR + 10) is not None
    await units.keep(four.script_id, FORMAT, compiled("4"), now=HOUR + 20)
    assert await stored_ids(storage) == {one.script_id, three.script_id, four.script_id}
    await units.keep(two.script_id, FORMAT, compiled("2", b"u" * 990), now=HOUR + 30)
    assert await stored_ids(storage) == {two.script_id, four.script_id}


@pytest.mark.anyio
async def test_a_hit_costs_a_commit_once_an_hour(database_url: str) -> None:
    commits = Commits()
    clock = Clock()
    async with Storage(database_url, observer=commits) as storage:
        (one,) = await saved(storage, "1 + 1")
        units = CompiledUnits(storage, SEAL)
        await CompileCache(units, clock=clock).put(one.script_id, FORMAT, compiled())
        commits.names.clear()
        for minutes in range(0, 180, 10):
            clock.now += 600
            cache = CompileCache(units, clock=clock)
            for _ in range(10):
                assert await cache.get(one.script_id, FORMAT) is not None
            assert len(commits.names) <= minutes // 60 + 1
        assert commits.names == ["unit_used"] * 2


@pytest.mark.anyio
async def test_forgetting_a_script_forgets_all_its_units(storage: Storage) -> None:
    one, other = await saved(storage, "1", "2")
    cache = CompileCache(CompiledUnits(storage, SEAL))
    for each in (one, other):
        for unit_format in (FORMAT, "python 3.12"):
            await cache.put(each.script_id, unit_format, compiled(each.source))
    await cache.forget(one.script_id)
    assert cache.statistics.entries == 2
    assert await stored_ids(storage) == {other.script_id}
    assert await cache.get(one.script_id, FORMAT) is None
    assert await cache.get(other.script_id, FORMAT) is not None


@pytest.mark.anyio
async def test_clearing_counts_what_is_in_memory_or_in_the_database_once(
    storage: Storage,
) -> None:
    scripts = await saved(storage, "1", "2", "3")
    units = CompiledUnits(storage, SEAL)
    cache = CompileCache(units, max_entries=2)
    for one in scripts:
        await cache.put(one.script_id, FORMAT, compiled(one.source))
    await cache.put("script_unknown", FORMAT, compiled("4"))
    removed = await cache.clear()
    assert (removed.entries, removed.bytes) == (4, 4 * compiled_size(compiled("1")))
    assert await stored_ids(storage) == set()
    assert cache.statistics == CacheStatistics(evictions=2)
    assert (await cache.clear()).entries == 0
    assert len(await ScriptStore(storage).list()) == 3


@pytest.mark.anyio
async def test_processes_that_compile_at_once_do_not_hinder_each_other(database_url: str) -> None:
    async with Storage(database_url) as one, Storage(database_url) as other:
        scripts = await saved(one, *map(str, range(10)))
        caches = [CompileCache(CompiledUnits(each, SEAL, max_entries=5)) for each in (one, other)]
        await asyncio.gather(
            *(
                cache.put(each.script_id, FORMAT, compiled(each.source))
                for each in scripts
                for cache in caches
            )
        )
        assert len(await stored_ids(one)) <= 5
        for cache in caches:
            for each in scripts:
                assert await cache.get(each.script_id, FORMAT) == compiled(each.source)
