"""Processes of full CPython: a fresh one for each session, bounded in number."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from ccos.engine.cpython.process import ScriptProcess, command, environment
from ccos.engine.cpython.session import CPythonSession
from ccos.engine.cpython.worker.containment import CONTAINMENTS
from ccos.engine.languages import Compiled, SessionRequest
from ccos.engine.modules.waiting import to_its_end
from ccos.engine.places import Places, Visit
from ccos.errors import IsolationError

_PROBE_SECONDS: Final = 10.0


class CPythonWorkers:
    """Starts a process for each session. Use it as an async context manager.

    How the processes of a script are held together, so that their end is certain, is probed
    before the first one: by a PID namespace; by one within a user namespace, for an ordinary
    user; by a subreaper; or, outside of Linux, by the process group, which a process can leave.

    Args:
        processes: Most sessions at once.
        max_waiting: Most sessions that wait for their turn.
        containments: What may be used, the best first.
    """

    def __init__(
        self,
        *,
        processes: int,
        max_waiting: int,
        containments: tuple[str, ...] = CONTAINMENTS,
    ) -> None:
        self._places = Places(processes, waiting=max_waiting, purpose="a process")
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="ccos-cpython")
        self._containments = containments
        self._probing = asyncio.Lock()
        self._containment: str | None = None
        self._sessions: set[CPythonSession] = set()

    async def __aenter__(self) -> CPythonWorkers:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        for session in list(self._sessions):
            await self._end(session)
        await asyncio.to_thread(self._threads.shutdown)

    @contextlib.asynccontextmanager
    async def session(
        self, compiled: Compiled, request: SessionRequest
    ) -> AsyncIterator[CPythonSession]:
        """A session for a script; leaving it kills everything that the script started.

        Raises:
            EngineBusyError: if too many wait for their turn already.
            IsolationError: if no process can be started at all.
        """
        containment = await self.containment()
        async with Visit((self._places,), request.caller):
            session = CPythonSession(
                compiled, request, partial(ScriptProcess, containment), self._threads
            )
            self._sessions.add(session)
            try:
                yield session
            finally:
                await self._end(session)

    async def containment(self) -> str:
        """How the processes of a script are held together on this machine.

        Raises:
            IsolationError: if there is no way, since not even a process can be started.
        """
        async with self._probing:
            if self._containment is None:
                self._containment = await asyncio.to_thread(self._probe)
            return self._containment

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of the scripts' first processes."""
        found = (session.worker_id for session in self._sessions)
        return tuple(sorted(one for one in found if one is not None))

    async def _end(self, session: CPythonSession) -> None:
        if session in self._sessions:  # else the pool ended before the session was left
            try:
                await to_its_end(session.close())
            finally:
                self._sessions.discard(session)

    def _probe(self) -> str:
        for containment in self._containments:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                home = tempfile.gettempdir()
                finished = subprocess.run(  # noqa: S603 - the command is our own
                    command("probe", containment),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    cwd=Path(home),
                    env=environment(home),
                    timeout=_PROBE_SECONDS,
                    check=False,
                )
                if finished.returncode == 0:
                    return containment
        raise IsolationError("This machine does not start processes of CPython.")
