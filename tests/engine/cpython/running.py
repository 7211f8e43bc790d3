"""Running scripts on full CPython, with a host that is easy to look into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from ccos.engine.cpython import CPythonLanguage, CPythonWorkers
from ccos.engine.hosts import Effect, HostFunction, Parameter
from ccos.engine.languages import (
    Entry,
    Finished,
    HostCall,
    Raised,
    Session,
    SessionRequest,
    Settled,
    Value,
    Waiting,
)
from ccos.engine.policy import SecurityLevel, level_policy

DEVELOPMENT = level_policy(SecurityLevel.DEVELOPMENT)


def _unused(*_: Any, **__: Any) -> None:
    raise AssertionError("The host of these tests answers by itself.")


def _function(module: str, name: str, effect: Effect, *parameters: Parameter) -> HostFunction:
    return HostFunction(module, name, parameters, "any", effect, "For tests.", _unused)


FUNCTIONS = {
    function.target: function
    for function in (
        _function("crucible.basic", "log_info", Effect.PURE, Parameter("message", "string")),
        _function(
            "crucible.basic",
            "echo",
            Effect.PURE,
            Parameter("value", "any"),
            Parameter("extra", "any", required=False),
        ),
        _function("crucible.http", "http_get", Effect.READ, Parameter("url", "string")),
    )
}


def answered(call: HostCall) -> Settled:
    """What the host says to a call."""
    match call.target:
        case "crucible.basic.log_info":
            return Value(None)
        case "crucible.basic.echo":
            return Value(call.arguments["value"])
    url = call.arguments["url"]
    return Raised(f"nobody is at {url}") if "nowhere" in url else Value(f"page {url}")


@dataclass
class Host:
    """Answers pure calls at once and keeps all that it hears, in order."""

    at_once: Callable[[HostCall], Settled | None] = lambda call: (
        answered(call) if call.target.startswith("crucible.basic") else None
    )
    heard: list[HostCall | tuple[str, str]] = field(default_factory=list)
    steps: int = 0
    room: int = 1_000_000
    refusal: Exception | None = None
    """Raised when more than ``room`` characters are printed."""

    def answer(self, call: HostCall) -> Settled | None:
        self.heard.append(call)
        return self.at_once(call)

    def clock(self, sequence: int) -> float:
        raise AssertionError("The clock is the machine's own.")

    def printed(self, stream: str, text: str) -> None:
        self.room -= len(text)
        if self.room < 0 and self.refusal is not None:
            raise self.refusal
        self.heard.append((stream, text))

    def forbidden(self, what: str) -> None:
        raise AssertionError("Nothing is forbidden.")

    def notice(self, call: HostCall) -> None:
        raise AssertionError(call)

    def step(self) -> None:
        self.steps += 1

    @property
    def calls(self) -> list[HostCall]:
        return [one for one in self.heard if isinstance(one, HostCall)]

    def output(self, stream: str = "stdout") -> str:
        return "".join(one[1] for one in self.heard if isinstance(one, tuple) and one[0] == stream)


@dataclass
class Runner:
    """Runs scripts to their end."""

    workers: CPythonWorkers
    host: Host = field(default_factory=Host)
    rounds: list[tuple[int, ...]] = field(default_factory=list)
    """Sequences of the new calls at each stop."""

    @property
    def language(self) -> CPythonLanguage:
        return CPythonLanguage(self.workers)

    def request(
        self, *, memory_bytes: int | None = None, cpu_seconds: float | None = None
    ) -> SessionRequest:
        return SessionRequest(
            functions=FUNCTIONS,
            policy=DEVELOPMENT,
            memory_bytes=memory_bytes,
            cpu_seconds=cpu_seconds,
            host=self.host,
            seed="",
        )

    async def run(
        self,
        source: str,
        function: str | None = None,
        arguments: dict[str, Any] | None = None,
        **limits: Any,
    ) -> Any:
        compiled = await self.language.compile(
            source, name="script.py", functions=FUNCTIONS, level="development"
        )
        async with self.language.session(compiled, self.request(**limits)) as session:
            return await self.finish(session, Entry(function, arguments or {}))

    async def finish(self, session: Session, entry: Entry) -> Any:
        stop = await session.start(entry)
        waiting: dict[int, HostCall] = {}
        while isinstance(stop, Waiting):
            self.rounds.append(tuple(call.sequence for call in stop.calls))
            waiting |= {call.sequence: call for call in stop.calls}
            assert waiting.keys() == stop.pending
            # The last first, so that an answer that goes to another call is seen.
            settled = waiting.pop(max(waiting))
            stop = await session.deliver({settled.sequence: answered(settled)})
        assert isinstance(stop, Finished)
        return stop.value


def processes_in(folder: str) -> list[psutil.Process]:
    """Living processes that have the folder of a script as their home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == folder and process.status() != "zombie":
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


async def eventually(holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait until something holds; fail if it does not."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)
