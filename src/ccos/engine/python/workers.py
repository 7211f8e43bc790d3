"""Monty worker processes: warm, bounded, in a jail, each for one session at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

import psutil
import pydantic_monty as monty

from ccos.engine.jail import Isolation, check_promise
from ccos.engine.languages import SessionRequest
from ccos.engine.places import Places
from ccos.engine.policy import MIB, SecurityPolicy
from ccos.engine.python.near import NearSession, NearWorker
from ccos.engine.python.pools import WorkerPool
from ccos.engine.python.quick import QuickPrograms
from ccos.engine.python.session import Program, PythonSession
from ccos.engine.turns import Turns

SessionT = TypeVar("SessionT", bound=PythonSession)

_SUSPENSIONS: Final = 1_000_000
_COMPILED: Final = "ccos: the text was compiled"
_LARGEST_CONFINED_BYTES: Final = 256 * MIB
_JAIL_MARGIN_BYTES: Final = 1024 * MIB
"""Address space of a worker beyond the memory that a script may have."""
_OS_POLICY: Final[dict[str, Any]] = {
    "datetime": "call_host",
    "sleep": "call_host",
    "random_start": "call_host",
}
_DIAGNOSIS_LIMITS: Final[monty.ResourceLimits] = {
    "max_memory": _LARGEST_CONFINED_BYTES,
    "max_feed_duration_secs": 5.0,
}


class PythonWorkers:
    """A bounded pool of Monty workers for sessions. Use it as an async context manager.

    A worker that crashed or was killed is replaced; one that served ten thousand sessions too. A
    session's turns run in threads, one hop for all that a script does between two stops. The first
    worker is started when it is needed.

    Args:
        processes: Most workers at once.
        max_waiting: Most sessions that wait for a worker.
        isolation: Finds out what the machine can hold workers with. None runs them without a
            jail, inside the interpreter's own sandbox alone.
    """

    def __init__(
        self, *, processes: int, max_waiting: int, isolation: Callable[[], Isolation] | None
    ) -> None:
        self._isolation = isolation
        self._places = Places(processes, waiting=max_waiting, purpose="a worker")
        self._turns = Turns(processes, name="ccos-script")
        self._quick = QuickPrograms()
        confined_bytes = _LARGEST_CONFINED_BYTES + _JAIL_MARGIN_BYTES
        self._confined = WorkerPool(processes, isolation, confined_bytes)
        self._roomy = WorkerPool(processes, isolation, None)
        self._near = NearWorker(WorkerPool(1, isolation, confined_bytes))
        self._seen: set[int] = set()
        self._kept: SecurityPolicy | None = None
        """The policy that was looked at last; what a machine can do does not change."""

    async def __aenter__(self) -> PythonWorkers:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await asyncio.to_thread(self._turns.stop)
        for pool in (self._near, self._confined, self._roomy):
            await asyncio.to_thread(pool.stop)

    def session(
        self,
        program: Program,
        request: SessionRequest,
        *,
        modules: dict[str, monty.ExternalModule],
    ) -> AbstractAsyncContextManager[PythonSession]:
        """A session for ``program``; leaving it while the script computes kills its worker.

        Args:
            program: What it will run.
            request: Its limits and its host.
            modules: Host modules that it can import.

        Raises:
            EngineBusyError: if too many wait for a worker already.
            IsolationError: as :meth:`check_isolation`, when the session starts.
        """
        return _Visit(self, program, request, modules, PythonSession)

    def session_of(
        self, kind: type[SessionT], program: Program, request: SessionRequest
    ) -> AbstractAsyncContextManager[SessionT]:
        """As :meth:`session`, of a ``kind`` of its own and without host modules."""
        return _Visit(self, program, request, {}, kind)

    async def enter(
        self,
        program: Program,
        request: SessionRequest,
        modules: dict[str, monty.ExternalModule],
        kind: type[SessionT],
    ) -> SessionT:
        """Wait for a place and make a session; :meth:`leave` has to follow."""
        await self._places.enter(request.caller)
        memory = request.memory_bytes
        confined = memory is not None and memory <= _LARGEST_CONFINED_BYTES
        pool = self._confined if confined else self._roomy
        checkout = _Checkout(self, pool, self._near, program, request, modules)
        return kind(checkout, program, request, self._turns, self._quick)

    async def leave(self, session: PythonSession) -> None:
        """End a session and give its place away."""
        try:
            if session.worker_id is not None:
                self._seen.add(session.worker_id)
            await session.close()
        finally:
            self._places.leave()

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Make sure that workers are as isolated as the level of ``policy`` promises. May block.

        Raises:
            IsolationError: if this machine cannot provide that.
        """
        if policy is not self._kept:
            check_promise(policy, self._isolation)
            self._kept = policy

    async def diagnose(self, source: str) -> monty.MontyError | None:
        """What the interpreter has against a text, which is not run."""
        found: monty.MontyError | None
        found = await self._turns.begin(lambda: self._diagnose(source)).future
        return found

    def checkout(self, *, limits: monty.ResourceLimits) -> monty.MontySession:
        """A session of the interpreter itself, for what a compiler has to run. Blocks."""
        return self._confined.checkout(limits=limits)

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of the living workers that served a session."""
        self._seen = {worker for worker in self._seen if psutil.pid_exists(worker)}
        return tuple(sorted(self._seen))

    def _diagnose(self, source: str) -> monty.MontyError | None:
        with self._confined.checkout(limits=_DIAGNOSIS_LIMITS) as session:
            try:
                # A text is compiled as a whole before its first statement, which ends it here.
                session.feed_run(f"raise SystemExit({_COMPILED!r})\n{source}")
            except monty.MontyError as error:
                return None if _COMPILED in str(error) else error
        return None


class _Checkout:
    """Makes sessions of the interpreter for one script; see :class:`Checkout`."""

    __slots__ = ("_modules", "_near", "_pool", "_program", "_request", "_workers")

    def __init__(
        self,
        workers: PythonWorkers,
        pool: WorkerPool,
        near: NearWorker,
        program: Program,
        request: SessionRequest,
        modules: dict[str, monty.ExternalModule],
    ) -> None:
        self._workers = workers
        self._pool = pool
        self._near = near
        self._program = program
        self._request = request
        self._modules = modules

    def __call__(self, seconds: float | None) -> monty.MontySession:
        return self._from(self._pool, seconds)

    def prepare(self) -> None:
        self._near.prepare()

    def at_once(self, seconds: float) -> NearSession | None:
        if not self._near.is_ready:
            return None
        return NearSession(self._near, self._from(self._near.pool, seconds))

    def _from(self, pool: WorkerPool, seconds: float | None) -> monty.MontySession:
        self._workers.check_isolation(self._request.policy)
        return pool.checkout(
            script_name="script.py",
            limits={
                "max_memory": self._request.memory_bytes,
                "max_feed_duration_secs": seconds,
                "max_suspensions": _SUSPENSIONS,
                "max_recursion_depth": self._program.recursion,
            },
            os_policy=_OS_POLICY,
            external_modules=self._modules,
        )


class _Visit(AbstractAsyncContextManager[SessionT]):
    """The time of one session in a pool."""

    def __init__(
        self,
        workers: PythonWorkers,
        program: Program,
        request: SessionRequest,
        modules: dict[str, monty.ExternalModule],
        kind: type[SessionT],
    ) -> None:
        self._workers = workers
        self._wanted = (program, request, modules, kind)

    async def __aenter__(self) -> SessionT:
        self._session = await self._workers.enter(*self._wanted)
        return self._session

    async def __aexit__(self, *_: object) -> None:
        await self._workers.leave(self._session)
