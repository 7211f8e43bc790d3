"""Quick programs are awaited where they are, and lose nothing when they turn out not to be."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import pytest

from ccos.engine.languages import Entry, Finished, Stop, Value, Waiting
from ccos.engine.rune import RuneWorkers
from ccos.engine.rune.process import WorkerProcess
from ccos.errors import ResourceExceededError, ScriptRaisedError

from .sessions import Host, session

pytestmark = pytest.mark.anyio

SOURCE = """
pub async fn call(args) {
    let total = 0;
    for number in 0..args.n { total += number % 7 }
    match args.then {
        "ask" => total + ccos::call("a.b", #{total}).await?,
        "pure" => total + crucible::math_abs(-5),
        "print" => { println!("total {}", total); total },
        "raise" => panic!("no"),
        _ => total,
    }
}
"""


class Watched:
    """Runs one program again and again, and knows which turns had a thread."""

    def __init__(self, workers: RuneWorkers, patch: pytest.MonkeyPatch) -> None:
        self._workers = workers
        self.threads = 0
        begin = workers._turns.begin

        def counted(work: Any) -> Any:
            self.threads += 1
            return begin(work)

        patch.setattr(workers._turns, "begin", counted)

    async def run(self, host: Host | None = None, **arguments: Any) -> Any:
        """Its value, after answering what it asks with 100."""
        given: Mapping[str, Any] = {"n": 5, "then": ""} | arguments
        async with session(self._workers, SOURCE, host=host) as (opened, _):
            self.threads = 0  # of compiling
            entry = Entry(None, given)
            stop: Stop = opened.at_once(entry) or await opened.start(entry)
            while isinstance(stop, Waiting):
                stop = await opened.deliver({call.sequence: Value(100) for call in stop.calls})
            assert isinstance(stop, Finished)
            return stop.value


@pytest.fixture
async def quick(workers: RuneWorkers, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The program, after it was seen to be quick."""
    watched = Watched(workers, monkeypatch)
    for threads in (1, 1, 0):
        assert await watched.run() == 10
        assert watched.threads == threads
    return watched


async def test_a_program_that_was_seen_to_be_quick_needs_no_thread(quick: Watched) -> None:
    for n in range(20):
        assert await quick.run(n=n) == sum(number % 7 for number in range(n))
        assert quick.threads == 0


@pytest.mark.parametrize(
    ("arguments", "expected", "said"),
    [
        ({"n": 3_000_000}, 8_999_994, ""),
        ({"then": "ask"}, 110, ""),
        ({"then": "pure"}, 15, ""),
        ({"then": "print"}, 10, "total 10\n"),
        ({"pad": "x" * 200_000}, 10, ""),
    ],
    ids=["long", "ask", "pure", "print", "large"],
)
async def test_what_takes_longer_or_asks_goes_on_in_a_thread(
    quick: Watched, arguments: dict[str, Any], expected: Any, said: str
) -> None:
    host = Host({}, answers=lambda call: Value(5) if call.target.endswith("abs") else None)
    assert await quick.run(host, **arguments) == expected
    assert (host.output, host.steps) == (said, 2 if arguments.get("then") == "ask" else 1)
    assert quick.threads >= 1
    assert await quick.run() == 10


async def test_an_error_is_told_and_leaves_the_worker_as_it_was(
    workers: RuneWorkers, quick: Watched
) -> None:
    before = workers.worker_ids()
    with pytest.raises(ScriptRaisedError, match="no"):
        await quick.run(then="raise")
    assert await quick.run() == 10
    assert workers.worker_ids() == before


async def test_a_worker_that_dies_is_told(
    workers: RuneWorkers, quick: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    [worker] = workers.worker_ids()
    monkeypatch.setattr("ccos.engine.rune.session.TRY_SECONDS", 10.0)
    send = WorkerProcess.send

    def deadly(self: WorkerProcess, data: bytes, seconds: float | None) -> None:
        send(self, data, seconds)
        if b'"type":"call"' in data:
            os.kill(worker, signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(WorkerProcess, "send", deadly)
        with pytest.raises(ResourceExceededError, match="the worker died"):
            await quick.run(n=3_000_000)
    assert await quick.run() == 10
    assert worker not in workers.worker_ids()


async def test_a_script_that_waits_is_left_without_harm_to_its_worker(
    workers: RuneWorkers, quick: Watched
) -> None:
    for _ in range(3):
        async with session(workers, SOURCE) as (opened, _):
            stop = await opened.start(Entry(None, {"n": 5, "then": "ask"}))
            assert isinstance(stop, Waiting)
            worker = opened.worker_id
        assert workers.worker_ids() == (worker,)
    assert await quick.run() == 10
