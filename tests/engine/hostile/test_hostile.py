"""Hostile scripts: each is refused as its entry says, and its harmless twin works."""

from __future__ import annotations

import asyncio
import os
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ccos.assembly import Ccos
from ccos.engine.executions import CompilationContext, ExecutionContext, ExecutionResult
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.errors import ScriptError
from ccos.events import Event, EventType, Subscription
from opening import opened

SECRET = "marker-7f3a91c2-never-shown"
CASES: list[dict[str, Any]] = [
    case
    for path in sorted(Path(__file__).parent.glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]
VIOLATIONS = {"CCOS-SCRIPT-SECURITY", "CCOS-SCRIPT-RESOURCE", "CCOS-BUDGET-EXHAUSTED"}


@dataclass
class Arena:
    """An engine in a thread of its own, with a secret in reach of its process."""

    portal: BlockingPortal
    ccos: Ccos
    subscription: Subscription
    folder: Path

    def run(self, entry: dict[str, Any], timeout: float) -> ExecutionResult:
        result: ExecutionResult = self.portal.call(self._run, entry, timeout)
        return result

    async def _run(self, entry: dict[str, Any], timeout: float) -> ExecutionResult:
        source = entry["source"]
        for name in ("SECRET_FILE", "PLAIN_FILE"):
            source = source.replace(name, str(self.folder / name))
        return await self.ccos.script_engine.execute_script_source(
            source,
            ExecutionContext(timeout=timeout, environment={"GIVEN": "given"}),
            CompilationContext(policy=level_policy(SecurityLevel(entry["level"]))),
        )

    def events(self, since: float, wanted: set[EventType]) -> list[Event]:
        """The events that came after a moment, once there is one of each wanted type."""
        return self.portal.call(self._events, since, wanted)

    async def _events(self, since: float, wanted: set[EventType]) -> list[Event]:
        found: list[Event] = []
        async with asyncio.timeout(5):
            async for event in self.subscription:
                if event.at >= since:
                    found.append(event)
                if wanted <= {one.type for one in found}:
                    break
        return found


@contextmanager
def arena_of(folder: Path, isolation: str) -> Iterator[Arena]:
    folder.joinpath("SECRET_FILE").write_text(SECRET)
    folder.joinpath("PLAIN_FILE").write_text("plain text")
    with start_blocking_portal() as portal:
        opening = opened(folder / "home", CCOS_SCRIPT_ENGINE_ISOLATION=isolation)
        with portal.wrap_async_context_manager(opening) as ccos:

            async def subscribe() -> Subscription:
                return ccos.events.subscribe(
                    [
                        EventType.SCRIPT_COMPILED,
                        EventType.SCRIPT_EXECUTED,
                        EventType.SECURITY_VIOLATION,
                    ]
                )

            yield Arena(portal, ccos, portal.call(subscribe), folder)


@pytest.fixture(scope="module", params=["jail", "interpreter"])
def arena(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    os.environ["CCOS_HOSTILE_SECRET"] = SECRET
    try:
        with arena_of(tmp_path_factory.mktemp("arena"), request.param) as made:
            yield made
    finally:
        del os.environ["CCOS_HOSTILE_SECRET"]


def refusal(arena: Arena, case: dict[str, Any]) -> tuple[ScriptError, str, EventType]:
    """The error, all that came out with it, and the event that tells of the end."""
    try:
        result = arena.run(case, case["timeout"])
    except ScriptError as error:
        return error, "", EventType.SCRIPT_COMPILED
    assert result.error is not None, f"it ran to its end: {result.value!r:.200}"
    said = f"{result.value}{result.stdout}{result.stderr}"
    return result.error, said, EventType.SCRIPT_EXECUTED


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_refused_and_twin_works(arena: Arena, case: dict[str, Any]) -> None:
    since = time.time()
    error, said, ending = refusal(arena, case)
    assert error.code == case["refused"], error.message
    assert case["says"] in error.message
    assert SECRET not in f"{said}{error.as_dict()}"

    violation = error.code in VIOLATIONS or "Permission denied" in error.message
    wanted = {ending} | ({EventType.SECURITY_VIOLATION} if violation else set())
    told = arena.events(since, wanted)
    endings = [one for one in told if one.type is ending and not one.data["success"]]
    assert len(endings) == 1
    entries = arena.portal.call(arena.ccos.audit.tail, 20)
    of_it = [one for one in entries if one.data.get("script_id") == endings[0].data["script_id"]]
    assert wanted <= {EventType(one.event_type) for one in of_it}
    assert SECRET not in str([one.data for one in of_it])

    twin = arena.run(case["twin"], 5.0)
    assert twin.error is None, twin.error
    assert twin.value == case["twin"]["value"]
    assert SECRET not in f"{twin.value}{twin.stdout}{twin.stderr}"
    health = arena.portal.call(arena.ccos.script_engine.health_check)
    assert health.details["active_executions"] == 0


def test_corpus_is_large_and_has_no_id_twice() -> None:
    names = [case["id"] for case in CASES]
    assert len(names) >= 150
    assert len(names) == len(set(names))
