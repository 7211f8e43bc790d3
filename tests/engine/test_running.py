"""Running scripts: streaming, stopping, limits, and what is left behind afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.assembly import Ccos
from ccos.engine import PythonLanguage, PythonWorkers
from ccos.engine.executions import (
    ChunkType,
    CompilationContext,
    ExecutionChunk,
    ExecutionContext,
    ExecutionResult,
    ExecutionStatus,
)
from ccos.engine.jail.isolation import nothing
from ccos.engine.policy import MIB, SecurityPolicy
from ccos.engine.service import ScriptEngine
from ccos.errors import (
    EngineBusyError,
    EngineStoppedError,
    IsolationError,
    ScriptConflictError,
    StorageError,
)
from opening import Failing, opened, until

from .engines import FILES, PRODUCTION, SAFE, SLEEP, SPIN, another, code, engine, run

pytestmark = pytest.mark.anyio


async def kept(service: ScriptEngine, source: str, policy: SecurityPolicy = SAFE) -> str:
    made = await service.compile_script(source, CompilationContext(policy=policy))
    return made.script_id


async def begun(service: ScriptEngine, source: str, **context: Any) -> asyncio.Task[Any]:
    """A script that computes by now."""
    task = asyncio.create_task(run(service, source, **context))

    async def runs() -> bool:
        return bool(service._executions.active)

    await until(runs)
    await asyncio.sleep(0.1)
    return task


async def entries(ccos: Ccos, execution_id: str) -> list[Any]:
    await ccos.script_engine.get_execution_stats()
    return [
        entry
        for entry in await ccos.audit.tail(10_000)
        if entry.execution_id == execution_id and entry.event_type == "script_executed"
    ]


# What a script is given, and what it gives.


async def test_a_text_gives_the_value_of_its_last_expression(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        result = await run(service, "print('out')\nx * 2", arguments={"x": 21})
        assert (result.success, result.value, result.stdout) == (True, 42, "out\n")
        assert result.error is None
        assert 0 < result.seconds < 5


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_function_takes_its_arguments_by_name(tmp_path: Path, prefix: str) -> None:
    source = f"{prefix}def divide(a, b=2):\n    return a / b"
    async with engine(tmp_path) as service:
        result = await run(service, source, function="divide", arguments={"b": 4, "a": 2})
        assert result.value == 0.5
        assert (await run(service, source, function="divide", arguments={"a": 3})).value == 1.5


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("missing", {}), ("f", {}), ("f", {"a": 1, "b": 2})],
    ids=["unknown function", "missing argument", "unknown argument"],
)
async def test_a_call_that_does_not_fit_is_a_failed_result(
    tmp_path: Path, function: str, arguments: dict[str, Any]
) -> None:
    async with engine(tmp_path) as service:
        source = "def f(a):\n    return a"
        result = await run(service, source, function=function, arguments=arguments)
        assert (result.status, code(result)) == (ExecutionStatus.FAILED, "CCOS-SCRIPT-RAISED")
        assert (await run(service, source, function="f", arguments={"a": 1})).value == 1


async def test_what_a_script_raises_is_a_result_with_its_place(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        result = await run(service, "print('before')\nraise ValueError('no')")
        assert (result.status, result.value) == (ExecutionStatus.FAILED, None)
        assert result.error is not None
        assert "line 2: ValueError: no" in result.error.message
        assert result.error.details["line"] == 2
        assert result.stdout == "before\n"
        assert result.as_dict()["error"]["code"] == "CCOS-SCRIPT-RAISED"


async def test_an_exception_that_the_interpreter_cannot_make_is_told_as_such(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path) as service:
        result = await run(service, "raise SystemExit(0)")
        assert result.error is not None
        assert "exceptions can only be called with zero or one string" in result.error.message
        assert "nternal error" not in result.error.message
        result = await run(service, "raise SystemExit('enough')")
        assert result.error is not None
        assert result.error.message.endswith("SystemExit: enough")


@pytest.mark.parametrize("name", ["ccos.sleep", "crucible.basic.math_abs"])
async def test_host_functions_are_not_called_as_capabilities(tmp_path: Path, name: str) -> None:
    async with engine(tmp_path) as service:
        result = await run(service, f"await call({name!r}, x=1)")
        assert code(result) == "CCOS-SCRIPT-RAISED"
        assert f"{name} is no capability" in str(result.error)
        assert (await run(service, "from crucible.basic import math_abs\nmath_abs(-1)")).value == 1


async def test_a_kept_script_runs_from_another_opening(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        identity = await kept(service, "def main(n):\n    return n + 1")
    async with engine(tmp_path) as service:
        context = ExecutionContext(function="main", arguments={"n": 1})
        assert (await service.execute_script(identity, context)).value == 2


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=15,
)


async def test_json_of_any_shape_survives_the_way_in_and_out(tmp_path: Path) -> None:
    values: list[Any] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_json)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    async with engine(tmp_path) as service:
        identity = await kept(service, "def same(value):\n    return value")
        for value in values:
            context = ExecutionContext(function="same", arguments={"value": value})
            result = await service.execute_script(identity, context)
            assert repr(result.value) == repr(value)


# Streams.


async def test_chunks_arrive_while_the_script_runs(tmp_path: Path) -> None:
    source = (
        "import asyncio\nimport crucible.basic as b\n"
        "print('first')\nb.report_progress(0.5, 'half')\nb.log_info('logged')\n"
        "await asyncio.sleep(0.4)\nprint('second')\n42"
    )
    async with engine(tmp_path) as service:
        identity = await kept(service, source)
        chunks: list[ExecutionChunk] = []
        times: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        async for chunk in service.execute_script_stream(identity):
            chunks.append(chunk)
            times.setdefault(str(chunk.data), loop.time())
        assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
        said = [(chunk.type, chunk.data) for chunk in chunks[:-1]]
        assert said == [
            (ChunkType.STATUS, "pending"),
            (ChunkType.STATUS, "running"),
            (ChunkType.STDOUT, "first\n"),
            (ChunkType.PROGRESS, {"fraction": 0.5, "message": "half"}),
            (ChunkType.STDERR, "INFO logged\n"),
            (ChunkType.STDOUT, "second\n"),
            (ChunkType.RESULT, 42),
        ]
        assert times["second\n"] - times["first\n"] > 0.3
        last = chunks[-1]
        assert last.type is ChunkType.COMPLETE
        assert isinstance(last.data, ExecutionResult)
        assert (last.data.value, last.data.stdout) == (42, "first\nsecond\n")


async def test_a_failing_stream_ends_with_the_error_and_the_result(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        identity = await kept(service, "1 / 0")
        chunks = [chunk async for chunk in service.execute_script_stream(identity)]
        assert [chunk.type for chunk in chunks[-2:]] == [ChunkType.ERROR, ChunkType.COMPLETE]
        assert chunks[-2].data["code"] == "CCOS-SCRIPT-RAISED"


@pytest.mark.parametrize("source", [SPIN, SLEEP], ids=["computing", "waiting"])
async def test_leaving_a_stream_early_cancels_the_execution(tmp_path: Path, source: str) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        identity = await kept(service, source)
        stream = service.execute_script_stream(identity, ExecutionContext(execution_id="left"))
        async for chunk in stream:
            if chunk.data == "running":
                break
        async with asyncio.timeout(5):
            await stream.aclose()  # type: ignore[attr-defined]
        assert service._executions.active == 0
        assert [entry.data["status"] for entry in await entries(ccos, "left")] == ["cancelled"]


# Cancelling.


async def computing(service: ScriptEngine) -> float:
    """Processor seconds that all workers use in a fifth of a second."""

    def used() -> float:
        total = 0.0
        for child in psutil.Process().children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    before = used()
    await asyncio.sleep(0.2)
    return max(0.0, used() - before)


@pytest.mark.parametrize("source", [SPIN, SLEEP], ids=["computing", "waiting"])
async def test_cancelling_really_stops_the_script(tmp_path: Path, source: str) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        task = await begun(service, source, execution_id="it")
        if source is SPIN:  # however little a busy machine has left for it
            assert any([await computing(service) > 0.05 for _ in range(5)])
        async with asyncio.timeout(3):
            assert await service.cancel_execution("it")
            result = await task
        assert (result.status, code(result)) == (
            ExecutionStatus.CANCELLED,
            "CCOS-SCRIPT-CANCELLED",
        )
        assert await computing(service) < 0.03
        assert not await service.cancel_execution("it")
        assert [entry.data["status"] for entry in await entries(ccos, "it")] == ["cancelled"]
        assert (await run(service, "1 + 1")).value == 2


async def test_cancelling_what_does_not_run_is_false(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        assert not await service.cancel_execution("nothing")


async def test_an_execution_can_be_cancelled_before_it_gets_its_place(tmp_path: Path) -> None:
    narrow = SAFE.derive("narrow", max_concurrent_operations=1)
    async with engine(tmp_path) as service:
        first = await begun(service, SLEEP, policy=narrow, execution_id="first")
        second = await begun(service, "1", policy=narrow, execution_id="second")

        async def both() -> bool:
            return service._executions.active == 2

        await until(both)
        async with asyncio.timeout(3):
            assert await service.cancel_execution("second")
            result = await second
            assert (result.status, result.seconds) == (ExecutionStatus.CANCELLED, 0.0)
            assert not first.done()
            assert await service.cancel_execution("first")
            await first
        assert (await run(service, "1", narrow)).value == 1


async def test_a_caller_that_goes_away_takes_its_execution_along(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        task = await begun(ccos.script_engine, SPIN, execution_id="abandoned")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await computing(ccos.script_engine) < 0.03
        assert [one.data["status"] for one in await entries(ccos, "abandoned")] == ["cancelled"]


async def test_two_executions_cannot_have_one_id(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        task = await begun(service, SLEEP, execution_id="same")
        with pytest.raises(ScriptConflictError, match="same"):
            await run(service, "1", execution_id="same")
        await service.cancel_execution("same")
        await task
        assert (await run(service, "1", execution_id="same")).value == 1


async def rows(ccos: Ccos) -> dict[str, int]:
    """How many rows each table has that tells of more than what happened."""

    def count(connection: sa.Connection) -> dict[str, int]:
        return {
            name: connection.execute(sa.text(f'SELECT count(*) FROM "{name}"')).scalar_one()
            for name in sa.inspect(connection).get_table_names()
            if "audit" not in name
        }

    await ccos.script_engine.get_execution_stats()
    counted: dict[str, int] = await ccos.marketplace.storage.read(count)
    return counted


def files(*folders: Path) -> set[Path]:
    return {
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix not in (".db-wal", ".db-shm")
    }


async def test_cancelling_at_random_moments_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, target = tmp_path / "temporary", tmp_path / "target"
    temporary.mkdir()
    target.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    chance = random.Random(7)
    host_calls = "from crucible.basic import math_abs\nwhile True:\n    math_abs(-1)"
    printing = "import asyncio\nwhile True:\n    print('x')\n    await asyncio.sleep(0.001)"
    writing = (
        "import crucible.file as f\nwhile True:\n"
        f"    await f.file_write({str(target / 'written')!r}, 'x' * 10000)"
    )
    async with opened(tmp_path / "home") as ccos:
        service = ccos.script_engine
        scripts = [await kept(service, one) for one in (SPIN, SLEEP, host_calls, printing)]
        scripts.append(await kept(service, writing, FILES))
        for script in scripts:  # so that every kind of worker is there, and every count
            await service.execute_script(script, ExecutionContext(timeout=0.1))
        before, held = await rows(ccos), files(temporary, tmp_path / "home")
        for number in range(40):
            name = f"random-{number}"
            context = ExecutionContext(execution_id=name, caller=chance.choice("ab"))
            task = asyncio.create_task(service.execute_script(chance.choice(scripts), context))
            await asyncio.sleep(chance.random() ** 3 * 0.08)
            async with asyncio.timeout(5):
                while not await service.cancel_execution(name):
                    await asyncio.sleep(0)
                assert (await task).status is ExecutionStatus.CANCELLED
        assert await computing(service) < 0.03
        health = (await service.health_check()).as_dict()
        assert health["details"]["active_executions"] == 0
        assert health["details"]["waiting_executions"] == 0
        assert await rows(ccos) == before
        assert files(temporary, tmp_path / "home") == held
        assert files(target) <= {target / "written"}
        for number in range(40):
            found = [entry.data["status"] for entry in await entries(ccos, f"random-{number}")]
            assert found == ["cancelled"]
        assert (await ccos.audit.verify()).intact
        assert (await run(service, "1 + 1")).value == 2


# Limits.


@pytest.mark.parametrize("source", [SPIN, SLEEP], ids=["computing", "waiting"])
async def test_a_call_can_shorten_the_time(tmp_path: Path, source: str) -> None:
    async with engine(tmp_path) as service:
        await run(service, "1", FILES)
        result = await run(service, source, FILES, timeout=0.2)
        assert (result.status, code(result)) == (ExecutionStatus.TIMEOUT, "CCOS-SCRIPT-TIMEOUT")
        assert result.error is not None
        assert result.error.details == {"timeout_seconds": 0.2}
        assert 0.2 <= result.seconds < 2


async def test_a_call_cannot_lengthen_the_time(tmp_path: Path) -> None:
    short = SAFE.derive("short", execution_timeout=0.2)
    async with engine(tmp_path) as service:
        result = await run(service, SLEEP, short, timeout=60)
        assert result.status is ExecutionStatus.TIMEOUT


async def test_safe_computes_for_half_of_its_time_only(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        result = await run(service, SPIN, timeout=0.6)
        assert code(result) == "CCOS-SCRIPT-RESOURCE"
        assert result.error is not None
        assert result.error.details["limit"] == "time"
        assert 0.3 <= result.seconds < 0.55
        waits = "import asyncio\nawait asyncio.sleep(0.4)\n'waited'"
        assert (await run(service, waits, timeout=0.6)).value == "waited"


async def test_output_has_an_end_and_its_beginning_is_kept(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        flood = await run(service, "while True:\n    print('x' * 999)")
        assert code(flood) == "CCOS-SCRIPT-RESOURCE"
        assert flood.error is not None
        assert flood.error.details["limit"] == "output"
        assert len(flood.stdout) == MIB
        logged = await run(
            service, "from crucible.basic import log_info\nwhile True:\n    log_info('x' * 999)"
        )
        assert code(logged) == "CCOS-SCRIPT-RESOURCE"
        much = await run(service, "print('x' * 1000000)")
        assert (much.success, len(much.stdout)) == (True, 1_000_001)


async def test_memory_has_an_end_at_each_level(tmp_path: Path) -> None:
    source = "x = [0] * (9 * 1024 * 1024)\nlen(x)"
    async with engine(tmp_path) as service:
        refused = await run(service, source)
        assert code(refused) == "CCOS-SCRIPT-RESOURCE"
        assert refused.error is not None
        assert refused.error.details["limit"] == "memory"
        assert (await run(service, source, FILES)).value == 9 * MIB


async def test_no_more_run_at_once_than_the_policy_says(tmp_path: Path) -> None:
    two = SAFE.derive("two", max_concurrent_operations=2, operation_timeout=0.3)
    async with engine(tmp_path) as service:
        tasks = [await begun(service, SLEEP, policy=two, execution_id=f"{n}") for n in range(2)]
        with pytest.raises(EngineBusyError, match="did not get its turn") as caught:
            await run(service, "1", two)
        assert caught.value.code == "CCOS-ENGINE-BUSY"
        for number in range(2):
            await service.cancel_execution(str(number))
        await asyncio.gather(*tasks)
        assert (await run(service, "1", two)).value == 1


# Isolation, workers and state.


async def test_levels_that_promise_isolation_refuse_where_there_is_none(tmp_path: Path) -> None:
    async with (
        opened(tmp_path) as ccos,
        PythonWorkers(processes=1, max_waiting=10, isolation=lambda: nothing("test")) as workers,
        another(ccos, languages=[PythonLanguage(workers)]) as bare,
    ):
        for policy in (SAFE, PRODUCTION, SAFE.derive("own", max_memory_bytes=MIB)):
            with pytest.raises(IsolationError, match="promises workers in a jail"):
                await run(bare, "1", policy)
        assert (await run(bare, "1 + 1", FILES)).value == 2


async def test_a_worker_killed_from_outside_ends_only_its_execution(tmp_path: Path) -> None:
    async with engine(tmp_path) as service:
        await asyncio.gather(*(run(service, f"{n}") for n in range(4)))
        other = await begun(service, "import asyncio\nawait asyncio.sleep(2)\n'fine'")
        spinning = await begun(service, SPIN)
        workers = {child: child.cpu_times().user for child in psutil.Process().children(True)}
        await asyncio.sleep(0.3)
        victim = max(workers, key=lambda one: one.cpu_times().user - workers[one]).pid
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(5):
            result = await spinning
            assert (result.status, code(result)) == (
                ExecutionStatus.FAILED,
                "CCOS-SCRIPT-RESOURCE",
            )
            assert (await other).value == "fine"
        again = await asyncio.gather(*(run(service, f"{n} + 1") for n in range(6)))
        assert [one.value for one in again] == [1, 2, 3, 4, 5, 6]


async def test_executions_share_no_state(tmp_path: Path) -> None:
    leave = (
        "import math\nimport sys\nfrom crucible.basic import math_abs\nkept = 'here'\n"
        "try:\n    math.kept = 'here'\nexcept Exception:\n    pass\n"
        "try:\n    sys.modules['kept'] = 'here'\nexcept Exception:\n    pass\nkept"
    )
    look = (
        "import math\nimport sys\nfound = []\n"
        "try:\n    kept\n    found.append('global')\nexcept NameError:\n    pass\n"
        "if hasattr(math, 'kept'):\n    found.append('module')\nfound"
    )
    async with engine(tmp_path) as service:
        for _ in range(8):
            assert (await run(service, leave)).value == "here"
            assert (await run(service, look)).value == []


# Order and truth of what is written down.


class Watching:
    """Notes whether a file was there when each entry came to be on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[bool] = []

    def before_commit(self, name: str) -> None:
        pass

    def after_commit(self, name: str) -> None:
        if "audit" in name:
            self.seen.append(self.path.exists())


async def test_what_acts_on_the_world_is_on_the_audit_trail_first(tmp_path: Path) -> None:
    target = tmp_path / "written"
    source = f"import crucible.file as f\nawait f.file_write({str(target)!r}, 'x')"
    watching = Watching(target)
    async with opened(tmp_path / "home", observer=watching) as ccos:
        identity = await kept(ccos.script_engine, source, FILES)
        await ccos.script_engine.get_execution_stats()
        watching.seen.clear()
        result = await ccos.script_engine.execute_script(identity)
        assert result.success, result
        assert target.exists()
        assert watching.seen[0] is False
        found = await ccos.audit.tail(100, execution_id=result.execution_id)
        calls = [entry.data for entry in found if entry.event_type == "host_call"]
        assert [(one["function"], one["effect"]) for one in calls] == [
            ("crucible.file.file_write", "act")
        ]


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    target = tmp_path / "written"
    source = f"import crucible.file as f\nawait f.file_write({str(target)!r}, 'x')"
    failing = Failing("audit")
    failing.active = False
    async with opened(tmp_path / "home", observer=failing) as ccos:
        identity = await kept(ccos.script_engine, source, FILES)
        failing.active = True
        with pytest.raises(StorageError):
            await ccos.script_engine.execute_script(identity)
        assert not target.exists()
        failing.active = False
        assert (await ccos.script_engine.execute_script(identity)).success
        assert target.exists()


async def test_every_execution_has_its_entry_when_the_engine_has_stopped(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        identity = await kept(service, "def main(n):\n    return 10 // n")
        contexts: Sequence[ExecutionContext] = [
            ExecutionContext(execution_id=f"e{n}", function="main", arguments={"n": n % 3})
            for n in range(700)
        ]
        results = [await service.execute_script(identity, one) for one in contexts[:20]]
        results += await asyncio.gather(
            *(service.execute_script(identity, one) for one in contexts[20:])
        )
        await service.stop()
        found = {
            entry.execution_id: entry.data["success"]
            for entry in await ccos.audit.tail(10_000)
            if entry.event_type == "script_executed"
        }
        assert found == {one.execution_id: one.success for one in results}
        assert (await ccos.audit.verify()).intact
        with pytest.raises(EngineStoppedError):
            await service.execute_script(identity)


async def test_statistics_asked_for_by_many_at_once_count_nothing_twice(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        identity = await kept(service, "1")
        for _ in range(5):
            await service.execute_script(identity)
            asked = await asyncio.gather(*(service.get_execution_stats() for _ in range(5)))
        assert {one.total_executions for one in asked} == {5}
        told = [one for one in await ccos.audit.tail(1000) if one.event_type == "script_executed"]
        assert len(told) == 5


class Hesitant:
    """Python, which takes its time to find out whether it is isolated."""

    def __init__(self, python: Any) -> None:
        self._python = python
        self.asked = threading.Event()
        self.goes_on = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._python, name)

    def check_isolation(self, policy: SecurityPolicy) -> None:
        self.asked.set()
        self.goes_on.wait(10)


@contextlib.asynccontextmanager
async def hesitant(home: Path) -> AsyncIterator[tuple[ScriptEngine, Hesitant, str]]:
    """An engine that hesitates before its first execution, and a script."""
    async with opened(home) as ccos:
        python = Hesitant(ccos.script_engine._languages[0])
        async with another(ccos, languages=[python]) as service:
            yield service, python, await kept(service, "1")


async def test_an_engine_that_is_stopped_meanwhile_does_not_begin(tmp_path: Path) -> None:
    async with hesitant(tmp_path) as (service, python, identity):
        execution = asyncio.create_task(service.execute_script(identity))
        await asyncio.to_thread(python.asked.wait, 10)
        await service.stop()
        python.goes_on.set()
        with pytest.raises(EngineStoppedError):
            await execution
        await service.start()
        assert (await service.execute_script(identity)).value == 1


async def test_a_stream_that_is_left_before_it_begins_runs_nothing(tmp_path: Path) -> None:
    async with hesitant(tmp_path) as (service, python, identity):
        stream = service.execute_script_stream(identity)
        first = asyncio.ensure_future(anext(aiter(stream)))
        await asyncio.to_thread(python.asked.wait, 10)
        first.cancel()
        python.goes_on.set()
        await asyncio.gather(first, return_exceptions=True)
        await service.stop()
        assert first.cancelled()
        assert (await service.get_execution_stats()).total_executions == 0
        await service.start()
        chunks = [chunk.type async for chunk in service.execute_script_stream(identity)]
        assert chunks[-1] is ChunkType.COMPLETE
        assert (await service.get_execution_stats()).total_executions == 1
