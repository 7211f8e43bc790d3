"""Sessions of Rune scripts, with a host that leaves every call but the pure ones to the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ccos.engine.hosts import Effect, HostFunction
from ccos.engine.languages import (
    Entry,
    Finished,
    HostCall,
    SessionRequest,
    Settled,
    Stop,
    Value,
    Waiting,
)
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.rune import RuneLanguage, RuneSession, RuneWorkers

MODULES = host_modules()
DEVELOPMENT = level_policy(SecurityLevel.DEVELOPMENT)


@dataclass
class Host:
    """Remembers what it is asked and told."""

    functions: Mapping[str, HostFunction]
    answers: Callable[[HostCall], Settled | None] = lambda _: None
    """What is answered at once."""
    calls: list[HostCall] = field(default_factory=list)
    output: str = ""
    steps: int = 0

    def answer(self, call: HostCall) -> Settled | None:
        self.calls.append(call)
        function = self.functions.get(call.target)
        if function is not None and function.effect is Effect.PURE:
            return self.answers(call) or Value(call.sequence)
        return self.answers(call)

    def clock(self, sequence: int) -> float:
        raise AssertionError("a Rune script has no clock of its own")

    def printed(self, stream: str, text: str) -> None:
        assert stream == "stdout"
        self.output += text

    def forbidden(self, what: str) -> None:
        raise AssertionError(what)

    def notice(self, call: HostCall) -> None:
        raise AssertionError(call)

    def step(self) -> None:
        self.steps += 1


@contextlib.asynccontextmanager
async def session(
    workers: RuneWorkers,
    source: str,
    *,
    policy: SecurityPolicy = DEVELOPMENT,
    seed: str = "seed",
    memory_bytes: int | None = 50_000_000,
    cpu_seconds: float | None = 5.0,
    host: Host | None = None,
) -> AsyncIterator[tuple[RuneSession, Host]]:
    language = RuneLanguage(workers, MODULES)
    functions = MODULES.granted(policy)
    compiled = await language.compile(source, name="it.rn", functions=functions, level=policy.name)
    host = host or Host(functions)
    host.functions = functions
    request = SessionRequest(
        functions=functions,
        policy=policy,
        memory_bytes=memory_bytes,
        cpu_seconds=cpu_seconds,
        host=host,
        seed=seed,
    )
    async with language.session(compiled, request) as opened:
        assert isinstance(opened, RuneSession)
        yield opened, host


async def to_the_end(
    opened: RuneSession,
    answer: Callable[[HostCall], Settled] = lambda call: Value(call.sequence),
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    stop: Stop = await opened.start(Entry(None, arguments or {}))
    while isinstance(stop, Waiting):
        stop = await opened.deliver({call.sequence: answer(call) for call in stop.calls})
    assert isinstance(stop, Finished)
    return stop.value


async def value_of(workers: RuneWorkers, source: str, **options: Any) -> Any:
    arguments = options.pop("arguments", None)
    async with session(workers, source, **options) as (opened, _):
        return await to_the_end(opened, arguments=arguments)
