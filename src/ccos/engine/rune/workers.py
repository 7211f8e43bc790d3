"""Rune worker processes: warm, bounded, in a jail, each for one session at a time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

from ccos.engine.jail import Isolation, Jail, JailSpec, check_promise
from ccos.engine.languages import SessionRequest
from ccos.engine.places import Places
from ccos.engine.policy import MIB, SecurityPolicy
from ccos.engine.python.quick import QuickPrograms
from ccos.engine.rune.client import (
    NOTHING_DECLARED,
    Accepted,
    Declared,
    Inspection,
    Refused,
    RuneWorker,
)
from ccos.engine.rune.installation import find_worker
from ccos.engine.rune.session import Program, Quickly, RuneSession
from ccos.engine.turns import Turns
from ccos.errors import CompilationError

_Result = TypeVar("_Result")

_REQUESTS_PER_WORKER: Final = 1000
_LARGEST_CONFINED_BYTES: Final = 256 * MIB
_JAIL_MARGIN_BYTES: Final = 1024 * MIB
"""Address space of a worker beyond the memory that a script may have: its stacks and what the
allocator reserves."""
_FEW_THREADS: Final = 8


class RuneWorkers:
    """A bounded pool of Rune workers. Use it as an async context manager.

    A worker that crashed, that was killed, or that said what no worker says is replaced; one that
    served a thousand requests too. A session's turns run in threads, one hop for all that a script
    does between two stops. The first worker is started when it is needed.

    Args:
        processes: Most sessions at once, and most compilations and inspections.
        max_waiting: Most sessions that wait for a worker.
        isolation: Finds out what the machine can hold workers with. None runs them without a
            jail of ours, in the one that they make for themselves.
        find_program: Tells where the worker is.
    """

    def __init__(
        self,
        *,
        processes: int,
        max_waiting: int,
        isolation: Callable[[], Isolation] | None,
        find_program: Callable[[], Path] = find_worker,
    ) -> None:
        self._isolation = isolation
        self._find_program = find_program
        self._places = Places(processes, waiting=max_waiting, purpose="a worker")
        self._turns = Turns(processes, name="ccos-rune")
        self._quick = QuickPrograms()
        largest = _LARGEST_CONFINED_BYTES + _JAIL_MARGIN_BYTES
        self._confined = _Pool(processes, isolation, find_program, largest)
        self._roomy = _Pool(processes, isolation, find_program, None)
        self._format: str | None = None
        self._asking = threading.Lock()

    async def __aenter__(self) -> RuneWorkers:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await asyncio.to_thread(self._turns.stop)
        for pool in (self._confined, self._roomy):
            await asyncio.to_thread(pool.stop)

    @property
    def format(self) -> str:
        """What a compiled unit is good for, as the worker says it.

        The first time it blocks for some milliseconds, in which a worker is asked.

        Raises:
            ConfigurationError: if no worker is installed.
            IsolationError: if it cannot be started.
        """
        with self._asking:
            if self._format is None:
                # It runs nothing but its own start, so it needs no jail besides its own.
                worker = RuneWorker(self._find_program())
                worker.close()
                self._format = worker.format
            return self._format

    def session(
        self, program: Program, request: SessionRequest
    ) -> AbstractAsyncContextManager[RuneSession]:
        """A session for ``program``; leaving it before its end kills its worker.

        Raises:
            EngineBusyError: if too many wait for a worker already.
            IsolationError: as :meth:`check_isolation`, when the session starts.
            ConfigurationError: if no worker is installed, when the session starts.
        """
        return _Visit(self, program, request)

    async def enter(self, program: Program, request: SessionRequest) -> RuneSession:
        """Wait for a place and make a session; :meth:`leave` has to follow."""
        await self._places.enter(request.caller)
        memory = request.memory_bytes
        confined = memory is not None and memory <= _LARGEST_CONFINED_BYTES
        pool = self._confined if confined else self._roomy

        def take() -> RuneWorker:
            self.check_isolation(request.policy)
            return pool.take()

        quick = Quickly(self._quick, pool.take_idle)
        return RuneSession(take, pool.give_back, program, request, self._turns, quick)

    async def leave(self, session: RuneSession) -> None:
        """End a session and give its place away."""
        try:
            await session.close()
        finally:
            self._places.leave()

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Make sure that workers are as isolated as the level of ``policy`` promises. May block.

        Raises:
            IsolationError: if this machine cannot provide that.
        """
        check_promise(policy, self._isolation)

    async def compile(
        self, source: str, name: str, declared: Declared = NOTHING_DECLARED
    ) -> Accepted | Refused:
        """What the compiler says of a text, which is not run.

        Args:
            source: The text.
            name: What people call it, for messages.
            declared: The host functions that it may name.

        Raises:
            CompilationError: if the compiler does not survive the text, or takes too long.
            ConfigurationError: if no worker is installed.
        """
        return await self._borrow(lambda worker: worker.compile(source, name, declared))

    async def inspect(
        self,
        source: str,
        name: str,
        declared: Declared = NOTHING_DECLARED,
        *,
        constants: Sequence[str] = (),
    ) -> Inspection:
        """What a text says of itself; nothing of it runs but what gives the constants.

        Args:
            source: The text.
            name: What people call it, for messages.
            declared: The host functions that it may name. None exists while it is read.
            constants: Names of constants, and of public functions without parameters, whose
                values are wanted, in any module of the text.

        Raises:
            CompilationError: if the worker does not survive the text, or takes too long.
            ConfigurationError: if no worker is installed.
        """
        return await self._borrow(lambda worker: worker.inspect(source, name, declared, constants))

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of all living workers."""
        return tuple(sorted((*self._confined.worker_ids(), *self._roomy.worker_ids())))

    async def _borrow(self, ask: Callable[[RuneWorker], _Result]) -> _Result:
        """Ask a worker one thing; if nobody waits for the answer any more, it is killed."""
        loan = _Loan(self._confined)
        turn = self._turns.begin(lambda: loan.use(ask))
        try:
            result: _Result = await turn.future
        except asyncio.CancelledError:
            loan.end()
            await turn.end()
            raise
        return result


class _Visit(AbstractAsyncContextManager[RuneSession]):
    """The time of one session in a pool."""

    def __init__(self, workers: RuneWorkers, program: Program, request: SessionRequest) -> None:
        self._workers = workers
        self._wanted = (program, request)

    async def __aenter__(self) -> RuneSession:
        self._session = await self._workers.enter(*self._wanted)
        return self._session

    async def __aexit__(self, *_: object) -> None:
        await self._workers.leave(self._session)


class _Loan:
    """A worker for the time of one question, which may be ended from any thread."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._worker: RuneWorker | None = None
        self._over = False

    def use(self, ask: Callable[[RuneWorker], _Result]) -> _Result:
        worker = self._pool.take()
        healthy = False
        try:
            with self._lock:
                self._worker = worker
                if self._over:
                    raise CompilationError("Nobody waits for it any more.")
            result = ask(worker)
            healthy = True
            return result
        finally:
            with self._lock:
                self._worker = None
            self._pool.give_back(worker, healthy)

    def end(self) -> None:
        with self._lock:
            self._over = True
            if self._worker is not None:
                self._worker.kill()


class _Pool:
    """Workers that share a jail and its bound on memory."""

    def __init__(
        self,
        processes: int,
        isolation: Callable[[], Isolation] | None,
        find_program: Callable[[], Path],
        jail_bytes: int | None,
    ) -> None:
        self._processes = processes
        self._isolation = isolation
        self._find_program = find_program
        self._jail_bytes = jail_bytes
        self._executable: Path | None = None
        self._starting = threading.Lock()
        self._changing = threading.Lock()
        self._idle: list[RuneWorker] = []
        self._all: set[RuneWorker] = set()
        self._exits = contextlib.ExitStack()

    def take(self) -> RuneWorker:
        """A worker that nobody else uses, until :meth:`give_back`. Blocks while one starts."""
        idle = self.take_idle()
        if idle is not None:
            return idle
        worker = RuneWorker(self._program())
        with self._changing:
            self._all.add(worker)
        return worker

    def take_idle(self) -> RuneWorker | None:
        """As :meth:`take`, without blocking; None if one would have to be started."""
        while (idle := self._next_idle()) is not None:
            if idle.alive:
                return idle
            self.give_back(idle, healthy=False)  # somebody killed it meanwhile
        return None

    def _next_idle(self) -> RuneWorker | None:
        with self._changing:
            return self._idle.pop() if self._idle else None

    def give_back(self, worker: RuneWorker, healthy: bool) -> None:
        """Let others have a worker; one that came to harm, or served long, is ended."""
        with self._changing:
            if (
                healthy
                and worker.requests < _REQUESTS_PER_WORKER
                and len(self._idle) < self._processes
            ):
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.close()

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of its workers."""
        with self._changing:
            return tuple(worker.pid for worker in self._all)

    def stop(self) -> None:
        """End every worker."""
        with self._changing:
            workers, self._all, self._idle = list(self._all), set(), []
        for worker in workers:
            worker.close()
        self._exits.close()
        self._executable = None

    def _program(self) -> Path:
        with self._starting:
            if self._executable is None:
                program = self._find_program()
                if self._isolation is None:
                    return program
                spec = JailSpec(program, memory_bytes=self._jail_bytes, threads=_FEW_THREADS)
                jail = Jail(spec, self._isolation())
                self._executable = self._exits.enter_context(jail)
            return self._executable
