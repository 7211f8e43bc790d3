"""Monty worker processes: warm, bounded, each for one session at a time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import psutil
import pydantic_monty as monty

from ccos.engine.languages import SessionRequest
from ccos.engine.places import Places
from ccos.engine.policy import MIB
from ccos.engine.python.session import Program, PythonSession

T = TypeVar("T")

_SESSIONS_PER_WORKER: Final = 1000
_SUSPENSIONS: Final = 1_000_000
_RECURSION: Final = 1000
_COMPILED: Final = "ccos: the text was compiled"
_DIAGNOSIS_LIMITS: Final[monty.ResourceLimits] = {
    "max_memory": 256 * MIB,
    "max_feed_duration_secs": 5.0,
}


class PythonWorkers:
    """A bounded pool of Monty workers for sessions. Use it as an async context manager.

    A worker that crashed or was killed is replaced; one that served a thousand sessions too. A
    session's turns run in threads, one hop for all that a script does between two stops. The first
    worker is started when it is needed.

    Args:
        processes: Most workers at once.
        max_waiting: Most sessions that wait for a worker.
    """

    def __init__(self, *, processes: int, max_waiting: int) -> None:
        self._processes = processes
        self._places = Places(processes, waiting=max_waiting, purpose="a worker")
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="ccos-script")
        self._pool: monty.Monty | None = None
        self._starting = threading.Lock()
        self._seen: set[int] = set()

    async def __aenter__(self) -> PythonWorkers:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.__exit__, *exception)
            self._pool = None

    @contextlib.asynccontextmanager
    async def session(
        self,
        program: Program,
        request: SessionRequest,
        *,
        modules: dict[str, monty.ExternalModule],
    ) -> AsyncIterator[PythonSession]:
        """A session for ``program``; leaving it while the script computes kills its worker.

        Args:
            program: What it will run.
            request: Its limits and its host.
            modules: Host modules that it can import.

        Raises:
            EngineBusyError: if too many wait for a worker already.
        """
        async with self._places.place(request.caller):
            session = PythonSession(
                partial(self._checkout, request, modules), program, request, self._threads
            )
            try:
                yield session
            finally:
                if session.worker_id is not None:
                    self._seen.add(session.worker_id)
                await session.close()

    async def diagnose(self, source: str) -> monty.MontyError | None:
        """What the interpreter has against a text, which is not run."""
        return await self._in_thread(self._diagnose, source)

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of the living workers that served a session."""
        self._seen = {worker for worker in self._seen if psutil.pid_exists(worker)}
        return tuple(sorted(self._seen))

    def _diagnose(self, source: str) -> monty.MontyError | None:
        with self._started().checkout(limits=_DIAGNOSIS_LIMITS) as session:
            try:
                # A text is compiled as a whole before its first statement, which ends it here.
                session.feed_run(f"raise SystemExit({_COMPILED!r})\n{source}")
            except monty.MontyError as error:
                return None if _COMPILED in str(error) else error
        return None

    def _checkout(
        self, request: SessionRequest, modules: dict[str, monty.ExternalModule]
    ) -> monty.MontySession:
        return self._started().checkout(
            script_name="script.py",
            limits={
                "max_memory": request.memory_bytes,
                "max_feed_duration_secs": request.cpu_seconds,
                "max_suspensions": _SUSPENSIONS,
                "max_recursion_depth": _RECURSION,
            },
            os_policy={
                "datetime": "call_host",
                "sleep": "call_host",
                "random_start": "call_host",
            },
            external_modules=modules,
        )

    def _started(self) -> monty.Monty:
        with self._starting:
            if self._pool is None:
                pool = monty.Monty(
                    min_processes=1,
                    max_processes=self._processes,
                    max_checkouts_per_worker=_SESSIONS_PER_WORKER,
                )
                self._pool = pool.__enter__()
            return self._pool

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.wrap_future(self._threads.submit(function, *arguments))
