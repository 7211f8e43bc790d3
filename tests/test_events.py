"""Events: a closed set of names, and subscriptions that never hold anybody up."""

from __future__ import annotations

import ast
import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ccos
from ccos.errors import ConfigurationError
from ccos.events import Event, EventBus, EventType, Priority, Subscription, event_type

STARTED, FAILED = EventType.EXECUTION_STARTED, EventType.EXECUTION_FAILED


async def _all(subscription: Subscription) -> list[Event]:
    subscription.close()
    return [event async for event in subscription]


@pytest.mark.anyio
async def test_events_arrive_in_order_and_only_wanted_ones() -> None:
    bus = EventBus()
    every, some = bus.subscribe(), bus.subscribe(["execution_failed"])
    for number in range(3):
        bus.publish(Event(STARTED, data={"n": number}))
        bus.publish(Event(FAILED, data={"n": number}))
    assert [event.type for event in await _all(every)] == [STARTED, FAILED] * 3
    assert [(event.type, event.data["n"]) for event in await _all(some)] == [
        (FAILED, 0),
        (FAILED, 1),
        (FAILED, 2),
    ]


@pytest.mark.anyio
async def test_slow_subscription_loses_the_oldest_and_counts_them() -> None:
    bus = EventBus()
    slow, other = bus.subscribe(capacity=3), bus.subscribe(capacity=100)
    for number in range(10):
        bus.publish(Event(STARTED, data={"n": number}))
    assert (slow.lost, other.lost) == (7, 0)
    assert [event.data["n"] for event in await _all(slow)] == [7, 8, 9]
    assert len(await _all(other)) == 10


@pytest.mark.anyio
async def test_events_nobody_wants_are_not_counted_as_lost() -> None:
    bus = EventBus()
    subscription = bus.subscribe([FAILED], capacity=1)
    for _ in range(5):
        bus.publish(Event(STARTED))
    assert subscription.lost == 0
    assert await _all(subscription) == []


@pytest.mark.anyio
async def test_subscriber_that_never_reads_holds_nobody_up() -> None:
    bus = EventBus()
    bus.subscribe(capacity=10)
    reading = bus.subscribe(capacity=100_000)
    started = time.perf_counter()
    for _ in range(20_000):
        bus.publish(Event(STARTED))
    assert time.perf_counter() - started < 2
    assert len(await _all(reading)) == 20_000


@pytest.mark.anyio
async def test_events_published_by_other_threads_wake_the_reader() -> None:
    bus = EventBus()
    subscription = bus.subscribe()

    def publish() -> None:
        for number in range(100):
            bus.publish(Event(STARTED, data={"n": number}))

    thread = threading.Thread(target=publish)
    seen = []
    async with asyncio.timeout(10):
        reader = aiter(subscription)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        thread.start()
        seen.append((await waiting).data["n"])
        while len(seen) < 100:
            seen.append((await anext(reader)).data["n"])
    thread.join()
    assert seen == list(range(100))


@pytest.mark.anyio
async def test_unsubscribing_ends_the_reader_after_what_it_has() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    reading = asyncio.ensure_future(_collect(subscription))
    await asyncio.sleep(0)
    bus.publish(Event(STARTED))
    bus.unsubscribe(subscription)
    bus.unsubscribe(subscription)
    bus.publish(Event(FAILED))
    async with asyncio.timeout(5):
        assert [event.type for event in await reading] == [STARTED]


async def _collect(subscription: Subscription) -> list[Event]:
    return [event async for event in subscription]


def test_subscription_of_a_loop_that_ended_disturbs_nobody() -> None:
    bus = EventBus()

    async def subscribe() -> None:
        bus.subscribe()

    async def main() -> int:
        live = bus.subscribe()
        bus.publish(Event(STARTED))
        return len(await _all(live))

    asyncio.run(subscribe())
    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("item", EventType)
def test_name_leads_to_its_event_type(item: EventType) -> None:
    assert event_type(item.value) is item


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'approval_granted'") as caught:
        event_type("aproval_granted")
    assert caught.value.details == {"name": "aproval_granted", "nearest": ["approval_granted"]}
    with pytest.raises(ConfigurationError) as caught:
        event_type("zzz")
    assert "Did you mean" not in caught.value.message


@pytest.mark.anyio
async def test_unknown_name_subscribes_to_nothing() -> None:
    with pytest.raises(ConfigurationError):
        EventBus().subscribe(["execution_failed", "nothing_like_it"])


def test_event_carries_its_time_and_json_data() -> None:
    before = time.time()
    event = Event(STARTED, data={"n": 1})
    assert before <= event.at <= time.time()
    assert Event(STARTED).data == {}
    assert json.dumps(dict(event.data)) == '{"n": 1}'


def _emitted(tree: ast.AST) -> Iterator[str]:
    compared = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="EventType"), attr=name) if (
                id(node) not in compared
            ):
                yield name


def test_every_event_type_is_emitted_somewhere() -> None:
    package = Path(ccos.__file__).parent
    emitted: set[str] = set()
    for path in package.rglob("*.py"):
        if "interfaces" not in path.parts:
            emitted.update(_emitted(ast.parse(path.read_text("utf-8"))))
    assert {item.name for item in EventType} - emitted == set()


def test_every_event_has_an_id_of_its_own_and_is_equal_to_its_like() -> None:
    first, second = Event(STARTED, at=1.0), Event(STARTED, at=1.0)
    assert first.id != second.id
    assert first == second


@pytest.mark.parametrize(
    ("event", "tie"),
    [
        (Event(STARTED, execution_id="e", capability_id="c"), "e"),
        (Event(STARTED, capability_id="c"), "c"),
        (Event(STARTED, id="own"), "own"),
    ],
)
def test_events_of_one_execution_are_tied_together(event: Event, tie: str) -> None:
    assert event.correlation_id == tie


@pytest.mark.parametrize(
    ("kind", "priority"),
    [
        (EventType.SECURITY_VIOLATION, Priority.CRITICAL),
        (EventType.SECURITY_POLICY_UPDATED, Priority.HIGH),
        (EventType.BUDGET_EXHAUSTED, Priority.HIGH),
        (EventType.SCRIPT_EXECUTED, Priority.NORMAL),
        (EventType.HOST_CALL, Priority.LOW),
    ],
)
def test_event_says_how_soon_somebody_should_look(kind: EventType, priority: Priority) -> None:
    assert Event(kind).priority is priority


@pytest.mark.anyio
async def test_bus_knows_whether_anybody_wants_an_event() -> None:
    bus = EventBus()
    assert not bus.wants(STARTED)
    some = bus.subscribe([FAILED])
    assert (bus.wants(STARTED), bus.wants(FAILED)) == (False, True)
    every = bus.subscribe()
    assert bus.wants(STARTED)
    bus.unsubscribe(every)
    bus.unsubscribe(some)
    assert not bus.wants(FAILED)
