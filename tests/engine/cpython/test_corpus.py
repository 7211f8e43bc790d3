"""Hostile scripts on full CPython, as data: each is refused as its entry says, its twin works.

Development gives a script files, network and processes, so being hostile means here: to get out
of its limits, to outlive its end, to lie to the service, or to reach into it.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ccos.assembly import Ccos
from ccos.engine.budget import Allowance, Budget, Dimension
from ccos.engine.cpython import CPythonWorkers
from ccos.engine.cpython.worker.containment import NAMESPACES
from ccos.engine.executions import CompilationContext, ExecutionContext, ExecutionResult
from ccos.engine.jail import kernel
from ccos.engine.policy import MIB, SecurityPolicy
from ccos.errors import ScriptError
from ccos.events import Event, EventType, Subscription
from opening import opened

from .running import DEVELOPMENT
from .test_hostile import PIPES

SECRET = "marker-7f3a91c2-never-shown"
FOLDER = Path(__file__).parent / "hostile"
CASES: list[dict[str, Any]] = [
    case
    for path in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]
VIOLATIONS = {"CCOS-SCRIPT-SECURITY", "CCOS-SCRIPT-RESOURCE"}
MARK = f"600.{os.getpid():08}"
"""Seconds that hostile commands sleep, to tell them from those of tests running beside these."""
LATER_SECONDS = 2.5
"""When a process that got away would have left its mark."""


def has_landlock() -> bool:
    try:
        return sys.platform == "linux" and kernel.landlock_abi() >= 2
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not has_landlock(), reason="This machine cannot hold them off.")


@dataclass
class Arena:
    """An engine in a thread of its own, with a secret among the variables of its process."""

    portal: BlockingPortal
    ccos: Ccos
    subscription: Subscription
    folder: Path
    has_namespace: bool
    """Whether scripts have a namespace of process ids of their own."""
    last: float = 0.0

    @property
    def canary(self) -> Path:
        """A file that no hostile script gets to write."""
        return self.folder / "canary"

    def run(self, entry: dict[str, Any], case: dict[str, Any]) -> ExecutionResult:
        self.last = time.monotonic()
        result: ExecutionResult = self.portal.call(self._run, self.text(entry["source"]), case)
        return result

    async def _run(self, source: str, case: dict[str, Any]) -> ExecutionResult:
        budget = case.get("budget")
        return await self.ccos.script_engine.execute_script_source(
            source,
            ExecutionContext(
                timeout=case.get("timeout", 10.0),
                environment={"GIVEN": "given"},
                budget=_budget(budget) if budget else None,
            ),
            CompilationContext(policy=_policy(case), language="cpython"),
        )

    def text(self, source: str) -> str:
        """The source of a script with what it says in capitals filled in."""
        if source.startswith("#REPEAT "):
            piece, times, end = source.removeprefix("#REPEAT ").strip().split(",")
            return (
                piece[0] + piece[1:] * int(times) + end if piece[1:] else piece * int(times) + end
            )
        source = source.replace("#PIPES", PIPES).replace("CANARY", repr(str(self.canary)))
        source = source.replace("600.125", MARK)
        source = source.replace("{'" + str(self.canary) + "'}", str(self.canary))
        return source.replace("SERVICE", str(os.getpid())).replace("GROUP", str(os.getpgrp()))

    def events(self, since: float, wanted: set[EventType]) -> list[Event]:
        """The events that came after a moment, once there is one of each wanted type."""
        return self.portal.call(self._events, since, wanted)

    async def _events(self, since: float, wanted: set[EventType]) -> list[Event]:
        found: list[Event] = []
        async for event in self.subscription:
            if event.at >= since:
                found.append(event)
            if wanted <= {one.type for one in found}:
                break
        return found

    def left(self) -> list[str]:
        """Living processes of scripts."""
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                is_ours = str(self.folder) in process.environ().get("HOME", "")
                if (is_ours or MARK in words) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(words)
            except psutil.Error:
                continue
        return found


def _policy(case: dict[str, Any]) -> SecurityPolicy:
    limits: dict[str, Any] = {}
    if "memory_mib" in case:
        limits["max_memory_bytes"] = case["memory_mib"] * MIB
    if "cpu_percent" in case:
        limits |= {"max_cpu_percentage": case["cpu_percent"], "execution_timeout": case["timeout"]}
    return DEVELOPMENT.derive("tight", **limits) if limits else DEVELOPMENT


def _budget(limits: dict[str, float]) -> Budget:
    return Budget(MappingProxyType({Dimension(key): Allowance(limits[key]) for key in limits}))


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    folder = tmp_path_factory.mktemp("arena")
    (folder / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch, start_blocking_portal() as portal:
        patch.setenv("CCOS_HOSTILE_SECRET", SECRET)
        patch.setattr(tempfile, "tempdir", str(folder / "temporary"))
        with portal.wrap_async_context_manager(opened(folder / "home")) as ccos:

            async def subscribe() -> Subscription:
                return ccos.events.subscribe(
                    [
                        EventType.SCRIPT_COMPILED,
                        EventType.SCRIPT_EXECUTED,
                        EventType.SECURITY_VIOLATION,
                        EventType.BUDGET_EXHAUSTED,
                    ]
                )

            has_namespace = portal.call(_containment) in NAMESPACES
            yield Arena(portal, ccos, portal.call(subscribe), folder, has_namespace)


async def _containment() -> str:
    async with CPythonWorkers(processes=1, max_waiting=0) as workers:
        return await workers.containment()


def refusal(arena: Arena, case: dict[str, Any]) -> tuple[ScriptError, str, EventType]:
    """The error, all that came out with it, and the event that tells of the end."""
    try:
        result = arena.run(case, case)
    except ScriptError as error:
        return error, "", EventType.SCRIPT_COMPILED
    assert result.error is not None, f"it ran to its end: {result.value!r:.200}"
    return result.error, f"{result.stdout}{result.stderr}", EventType.SCRIPT_EXECUTED


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_refused_and_twin_works(arena: Arena, case: dict[str, Any]) -> None:
    if case.get("namespace") and not arena.has_namespace:
        pytest.skip("Here a script can change limits and priorities of its user's processes.")
    since, began = time.time(), time.monotonic()
    error, said, ending = refusal(arena, case)
    took = time.monotonic() - began
    assert error.code == case["refused"], error.message
    assert re.search(case["says"], error.message), error.message
    assert "limit" not in case or error.details["limit"] == case["limit"]
    assert SECRET not in f"{said}{error.as_dict()}"
    if error.code == "CCOS-SCRIPT-TIMEOUT":
        assert took < case["timeout"] + 20
    assert arena.left() == []
    assert not list((arena.folder / "temporary").glob("ccos-script-*"))

    wanted = {ending}
    if error.code in VIOLATIONS:
        wanted.add(EventType.SECURITY_VIOLATION)
    if error.code == "CCOS-BUDGET-EXHAUSTED" and "wall_clock_ms" not in case["budget"]:
        wanted.add(EventType.BUDGET_EXHAUSTED)
    told = arena.events(since, wanted)
    endings = [one for one in told if one.type is ending and not one.data["success"]]
    assert len(endings) == 1
    entries = arena.portal.call(arena.ccos.audit.tail, 300)
    of_it = [one for one in entries if one.data.get("script_id") == endings[0].data["script_id"]]
    assert wanted <= {EventType(one.event_type) for one in of_it}
    assert SECRET not in str([one.data for one in of_it])

    twin = arena.run(case["twin"], {**case, "timeout": 10.0})
    assert twin.error is None, twin.error
    assert twin.value == case["twin"]["value"]
    health = arena.portal.call(arena.ccos.script_engine.health_check)
    assert health.details["active_executions"] == 0
    assert not arena.canary.exists()


def test_nothing_that_got_away_leaves_its_mark(arena: Arena) -> None:
    time.sleep(max(0.0, arena.last + LATER_SECONDS - time.monotonic()))
    assert arena.left() == []
    assert not arena.canary.exists()


def test_corpus_is_large_and_has_no_id_twice() -> None:
    names = [case["id"] for case in CASES]
    assert len(names) >= 150
    assert len(names) == len(set(names))
