"""Workers that lie: whatever one says that no worker says ends it, and is told as such."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ccos.engine.languages import Entry, Finished
from ccos.engine.rune import RuneWorkers
from ccos.engine.rune.frames import MAXIMUM_BYTES, FrameReader, WorkerProtocolError, frame, framed
from ccos.errors import IsolationError, ResourceExceededError

from .sessions import session

READY = {"type": "ready", "protocol": 1, "format": "rune-fake/1"}
COMPILED = {
    "type": "compiled",
    "request": 1,
    "unit": "u",
    "functions": [
        {"path": "main", "parameters": [], "public": True, "asynchronous": False, "line": 1}
    ],
    "uses": [],
    "calls": [],
    "diagnostics": [],
}
STATISTICS = {"instructions": None, "memory_peak": 860, "compute_us": 5, "calls": 0, "printed": 0}
RESULT = {
    "type": "result",
    "request": 2,
    "value": 42,
    "unawaited": [],
    "statistics": STATISTICS,
}
CALL = {
    "type": "host_call",
    "request": 2,
    "id": 0,
    "function": "crucible::basic::math_abs",
    "arguments": {"value": 1},
    "blocking": True,
    "line": 1,
}
PROGRAM = """#!{interpreter} -IS
import sys
for answer in {answers!r}:
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    sys.stdin.buffer.read(length)
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
{then}
"""
WAITS = "sys.stdin.buffer.read()"


def liar(folder: Path, *answers: bytes, then: str = WAITS) -> Path:
    """A worker that says these things, one after each thing it is told."""
    path = folder / "liar"
    path.write_text(PROGRAM.format(interpreter=sys.executable, answers=answers, then=then))
    path.chmod(0o755)
    return path


async def run(program: Path, *, cpu_seconds: float | None = 5.0) -> Any:
    async with (
        RuneWorkers(
            processes=1, max_waiting=1, isolation=None, find_program=lambda: program
        ) as workers,
        session(workers, "", cpu_seconds=cpu_seconds) as (opened, _),
    ):
        stop = await opened.start(Entry())
        assert isinstance(stop, Finished)
        return stop.value


def said(*messages: Any) -> bytes:
    return b"".join(framed(message) for message in messages)


def framed_text(text: str) -> bytes:
    return frame(text.encode())


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["😀\x01", [[]] * 200, {"a": {"a": 1}}, 1.5e300, None])
async def test_any_value_of_an_honest_worker_is_taken(tmp_path: Path, value: Any) -> None:
    answers = said(READY), said(COMPILED), said(RESULT | {"value": value})
    assert await run(liar(tmp_path, *answers)) == value


@pytest.mark.anyio
async def test_a_worker_that_is_honest_is_believed(tmp_path: Path) -> None:
    answers: tuple[bytes, ...] = (
        said(READY),
        said(COMPILED),
        said({"type": "print", "request": 2, "text": "x"}, RESULT),
    )
    assert await run(liar(tmp_path, *answers)) == 42
    answers = said(READY), said(COMPILED), said(CALL), said(RESULT)
    assert await run(liar(tmp_path, *answers)) == 42


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data",
    [
        said(RESULT | {"request": 1}),
        said(RESULT | {"request": True}),
        said({"type": "result", "request": 2}),
        said(RESULT | {"unawaited": [1]}),
        said(RESULT | {"unawaited": [{"function": "a::b", "line": "1"}]}),
        said(RESULT | {"statistics": {}}),
        said(RESULT | {"statistics": STATISTICS | {"memory_peak": -1}}),
        said(RESULT | {"statistics": STATISTICS | {"instructions": "5"}}),
        framed_text('{"type":"result","request":2,"value":1e999}'),
        framed_text('{"type":"result","request":2,"value":{"a":1,"a":2}}'),
        framed_text('{"type":"result","request":2,"value":"\\ud800"}'),
        framed_text('{"type":"result","request":2,"value":NaN}'),
        said({"type": "surprise", "request": 2}),
        said({"type": "unknown_unit", "request": 2}) * 2,
        said({"type": "fault", "request": 2, "message": "no"}),
        said({"type": "waiting", "request": 2, "pending": [0]}),
        said({"type": "waiting", "request": 2, "pending": []}),
        said({"type": "waiting", "request": 2, "pending": [-1]}),
        said({"type": "waiting", "request": 2, "pending": [True]}),
        said({"type": "waiting", "request": 2}),
        said(CALL | {"id": 1}),
        said(CALL | {"id": -1}),
        said(CALL | {"id": "0"}),
        said(CALL | {"function": "crucible::basic::nothing"}),
        said(CALL | {"function": 7}),
        said(CALL | {"arguments": [1]}),
        said(CALL | {"blocking": 1}),
        said({"type": "print", "request": 2, "text": 5}),
        said({"type": "error", "request": 2, "kind": "panic"}),
        said([1]),
        said("result"),
        said({"type": 5}),
        b"\xff\xff\xff\xff",
        (MAXIMUM_BYTES + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x02{]",
        b"\x00\x00\x00\x01\xff",
        b"\x00\x00\x00\x00",
        len(b"[" * 5000).to_bytes(4, "big") + b"[" * 5000,
        said(json.loads('{"type": "result", "request": 2, "value":' + "[" * 200 + "]" * 200 + "}")),
        b'\x00\x00\x00\x18{"type": "x", "type": "y"}'[:4] + b'{"type":"x","type":"yy"}',
    ],
)
async def test_a_lie_ends_its_worker(tmp_path: Path, data: bytes) -> None:
    program = liar(tmp_path, said(READY), said(COMPILED), data, said(RESULT))
    with pytest.raises(ResourceExceededError) as caught:
        await run(program)
    assert caught.value.details["limit"] == "worker"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "compiled",
    [
        {"type": "compiled", "request": 1},
        COMPILED | {"unit": 5},
        COMPILED | {"functions": [5]},
        COMPILED | {"functions": [{"path": "main"}]},
        COMPILED | {"uses": [1]},
        COMPILED | {"calls": [{"function": "a::b", "line": 1}]},
        COMPILED | {"calls": [{"function": "a::b", "literal": 5, "line": 1, "column": 1}]},
        COMPILED | {"diagnostics": [{"message": "x", "severity": "terrible"}]},
        {"type": "rejected", "request": 1, "diagnostics": {}},
        {"type": "result", "request": 1, "value": 1},
    ],
)
async def test_a_lie_about_a_text_is_found_out(tmp_path: Path, compiled: dict[str, Any]) -> None:
    with pytest.raises(WorkerProtocolError):
        await run(liar(tmp_path, said(READY), said(compiled)))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("data", "then"),
    [
        (b"", WAITS),
        (b"\x00\x00\xff\xff{", WAITS),
        (b"", "while True: sys.stdout.buffer.write(b'')"),
    ],
    ids=["silent", "half a frame", "busy"],
)
async def test_a_worker_that_never_answers_is_stopped_in_time(
    tmp_path: Path, data: bytes, then: str
) -> None:
    program = liar(tmp_path, said(READY), said(COMPILED), data, then=then)
    begun = time.monotonic()
    with pytest.raises(ResourceExceededError) as caught:
        await run(program, cpu_seconds=0.3)
    assert caught.value.details["limit"] == "time"
    assert time.monotonic() - begun < 5


@pytest.mark.anyio
@pytest.mark.parametrize("then", ["sys.exit(3)", "import os; os.abort()", "sys.stdout.close()"])
async def test_a_worker_that_goes_away_is_no_answer(tmp_path: Path, then: str) -> None:
    program = liar(tmp_path, said(READY), said(COMPILED), b"", then=then)
    with pytest.raises(ResourceExceededError) as caught:
        await run(program)
    assert caught.value.details["limit"] == "worker"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answers", "then"),
    [
        ((), "print('cannot', file=sys.stderr); sys.exit(1)"),
        ((said(READY | {"protocol": 2}),), WAITS),
        ((said({"type": "fault", "request": None, "message": "no"}),), WAITS),
    ],
    ids=["ends", "another protocol", "fault"],
)
async def test_a_worker_that_does_not_start_is_an_error_of_its_own(
    tmp_path: Path, answers: tuple[bytes, ...], then: str
) -> None:
    with pytest.raises(IsolationError, match="Rune worker"):
        await run(liar(tmp_path, *answers, then=then))


@pytest.mark.anyio
async def test_what_is_no_program_does_not_start(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(IsolationError):
        await run(text)


def test_frames_are_put_together_from_any_pieces() -> None:
    data = said({"type": "a"}, {"type": "b", "x": "é" * 100})
    reader = FrameReader()
    found = []
    for index in range(len(data)):
        assert reader.next() is None
        reader.feed(data[index : index + 1])
        while (message := reader.next()) is not None:
            found.append(message.type)
    assert found == ["a", "b"]


def test_what_is_sent_is_bounded() -> None:
    assert len(framed({"x": "y" * 1000})) > 1000
    with pytest.raises(ValueError, match="most"):
        framed({"x": "y" * MAXIMUM_BYTES})
    with pytest.raises(ValueError, match="JSON"):
        framed({"x": float("nan")})
